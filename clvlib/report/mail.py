"""The body of an e-mail: summary, key figures and alerts, as HTML with styles in its tags, and as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clvlib.report.form import text_table
from clvlib.report.template import fill
from clvlib.words import mark, tr

__all__ = ["LIMIT", "mail_html", "mail_text"]

LIMIT = 100_000  # bytes, above which Gmail cuts a message
_LONGEST = 400  # letters of a text that a notebook made
_FIGURES, _ALERTS = 60, 20


def mail_html(content: Mapping[str, Any]) -> str:
    """Write ``email.html`` from what :func:`clvlib.report.page.compose` gathered."""
    return fill("mail.html", _shortened(content))


def mail_text(content: Mapping[str, Any]) -> str:
    """Write ``email.txt``, for those who read no HTML."""
    short, facts, week = _shortened(content), content["facts"], content["week"]
    head = tr("{shop}, week {week} ({span})", shop=facts.name, week=week.label, span=content["span"])
    parts = [f"{head}\n{tr('Data as of {day}', day=content['as_of'])}"]
    parts += [tr("Sample data: this shop is made up.")] if facts.sample else []
    parts += [*content["notices"], "\n".join([content["sentence"], *(f"- {bullet}" for bullet in content["bullets"])])]
    fields = ["label", "text", *(["last", "change", "verdict"] if content["compared"] else [])]
    rows = [[row[field] for field in fields] for group in short["groups"] for row in group["rows"]]
    heads = [mark("figure"), mark("this week"), mark("last week"), mark("change"), mark("verdict")][: len(fields)]
    parts += [text_table(heads, rows, [False, True, True, True, False][: len(fields)])] if rows else []
    for alert in short["cards"]:
        where = f" [{alert['segment']}]" if alert["segment"] else ""
        told = [f"  {head}{tr(': ') if head else ''}{text}" for head, text in alert["lines"]]
        parts.append("\n".join([f"{tr(alert['severity']).upper()}{tr(': ')}{alert['title']}{where}", *told]))
    last = tr("The whole report: {page} in the folder of the reports.", page=content["address"])
    return "\n\n".join([*parts, last]) + "\n"


def _shortened(content: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a notebook said too much of from filling the message; the page has all."""
    groups, left = [], _FIGURES
    for group in content["groups"]:
        rows = [{**row, "label": _cut(row["label"])} for row in group["rows"][:left]]
        left -= len(rows)
        groups += [{**group, "rows": rows}] if rows else []
    cards = [
        {
            **card,
            "title": _cut(card["title"]),
            "segment": _cut(card["segment"]),
            "lines": [(_cut(head), _cut(text)) for head, text in card["lines"]],
        }
        for card in content["cards"][:_ALERTS]
    ]
    told = {"sentence": _cut(content["sentence"]), "bullets": [_cut(bullet) for bullet in content["bullets"]]}
    return {**content, **told, "groups": groups, "cards": cards}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …"
