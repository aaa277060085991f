"""The page that people read: one file, nothing outside it, no script."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup

from clvlib.data.calendar import Week
from clvlib.report.alerts import alerts, by_severity, cards
from clvlib.report.cells import ChapterPage, within
from clvlib.report.facts import Facts
from clvlib.report.figures import action_list, changes, figure_groups, forecast_tables, list_tables
from clvlib.report.form import frame_cells, html_table, is_absent, show
from clvlib.report.grade import grades
from clvlib.report.harvest import Harvest
from clvlib.report.ledger import Ledger
from clvlib.report.locale import day, days
from clvlib.report.summary import movements, summary
from clvlib.report.template import fill, week_links
from clvlib.report.trend import FEWEST, SHOWN, trends
from clvlib.words import LANGUAGES, mark, tr

__all__ = ["LIMIT", "compose", "render"]

LIMIT = 2_000_000  # bytes, so that the page travels by mail
_SHRUNK = 0.9  # a table only ever grows; with fewer of its rows than this something is wrong
_LOOKED_BACK = 4  # weeks in which it had more; who cuts a table on purpose is not told for ever
# why a row or a value was set aside, where the reason names a limit: the word before it, and the message
_LIMITS = {
    "before": mark("before {limit}"),
    "below": mark("below {limit}"),
    "above": mark("above {limit}"),
    "not in": mark("not in {limit}"),
}


def _left_out(harvests: Mapping[str, Harvest]) -> list[tuple[str, str]]:
    """Return each reason with the sections that it keeps out, in their order."""
    by_reason: dict[str, list[str]] = {}
    for found in harvests.values():
        for item in found.missing:
            sections = by_reason.setdefault(str(item["reason"]).rstrip(".。") or tr("No reason was given"), [])
            sections.append(item["section"] or item["chapter"])
    return [(reason, tr(", ").join(dict.fromkeys(sections))) for reason, sections in by_reason.items()]


def _frame(frame: pd.DataFrame, caption: str, currency: str, formats: Mapping[str, str] | None = None) -> Markup:
    heads, rows, numeric = frame_cells(frame.reset_index(drop=True), dict(formats or {}), currency)
    return Markup(html_table(heads, rows, numeric, caption))  # noqa: S704 - html_table escapes every cell


def _quality(facts: Facts) -> dict[str, Any]:
    table, reasons = facts.quality, facts.reasons
    counts = ("rows_read", "rows_kept", "rows_quarantined", "rows_left_out")
    read, kept, aside, out = (int(table[c].sum()) if c in table else 0 for c in counts)
    money = {c: ",.2f" for c in table.columns if str(c).startswith("amount")}
    shown = [c for c in reasons.columns if c != "example"]  # an example may hold what identifies a person
    summary = tr(
        "{read:,} rows were read: {kept:,} kept, {aside:,} set aside because they break the data contract{share}.",
        read=read,
        kept=kept,
        aside=aside,
        share=tr(" ({share})", share=show(aside / read, "share")) if read and aside else "",
    )
    if out:
        summary += tr(" {n:,} more were left out, as the shop's configuration asks.", n=out)
    main = table.drop(columns=["files", "first", "last", *([] if out else ["rows_left_out"])], errors="ignore")
    caption = tr("Each row that was read is either kept or set aside (quarantined)")
    why = reasons[shown].assign(reason=reasons["reason"].map(_reason)) if len(reasons) else reasons
    told = _frame(why, tr("What was set aside, and why"), facts.currency, {"share": "share"}) if len(why) else ""
    return {"summary": summary, "tables": _frame(main, caption, facts.currency, money), "reasons": told}


def _reason(text: str) -> str:
    """Return why something was set aside, ``column: what is wrong with it``, in the language spoken now."""
    column, _, word = text.rpartition(": ")
    for start, message in _LIMITS.items():
        if word.startswith(f"{start} "):
            word = tr(message, limit=word.removeprefix(start).strip())
            break
    return f"{tr(column) if column == 'row' else column}{tr(': ')}{tr(word)}" if column else tr(word)


def _provenance(manifest: Mapping[str, Any]) -> dict[str, Any]:
    tables = [
        {"table": name} | {field: value for field, value in values.items() if field != "weeks"}
        for name, values in manifest["tables"].items()
    ]
    columns = list(dict.fromkeys(itertools.chain.from_iterable(tables)))
    rows = [["" if is_absent(t.get(c)) else str(t.get(c)) for c in columns] for t in tables]
    books = [[name, book["sha256"][:16], _listed(book["parameters"])] for name, book in manifest["notebooks"].items()]
    caption = tr("Tables as they were read")
    return {
        "tables": Markup(html_table(columns, rows, [False] * len(columns), caption)),  # noqa: S704 - escaped there
        "books": Markup(  # noqa: S704 - escaped there
            html_table([mark("notebook"), mark("hash"), mark("parameters")], books, [False] * 3, tr("Notebooks"))
        ),
        "versions": ", ".join(f"{name.replace('_', ' ')} {version}" for name, version in manifest["versions"].items()),
    }


def _listed(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in parameters.items() if name not in {"source", "output"})


def _fullest(past: Ledger, shop: str) -> dict[str, tuple[int, str]]:
    """Return, by table, the most rows of any report of the last weeks, and its week.

    Those that were made again count too: else a second attempt with half of the data would find nothing wrong.
    """
    runs = past.rows("runs", shop)
    since = Week(runs[-1]["week"]).shift(-_LOOKED_BACK).label if runs else ""
    found: dict[str, tuple[int, str]] = {}
    for run in runs:
        if run["week"] >= since:
            for name, table in json.loads(run["manifest"])["tables"].items():
                found[name] = max(found.get(name, (0, "")), (table["rows"], run["week"]))
    return found


def _notices(facts: Facts, week: Week, past: Ledger) -> list[str]:
    """Return what a reader must know before anything else, the worst first."""
    notices = []
    for name, (before, last) in _fullest(past, facts.name).items():
        rows = facts.fingerprint.get(name, {}).get("rows", 0)
        if rows < _SHRUNK * before:
            notices.append(
                tr(
                    "The data have shrunk: {rows:,} rows of {table} where the report of {week} had {before:,}. "
                    "Trust no figure on this page before the cause is known.",
                    rows=rows,
                    table=name,
                    week=last,
                    before=before,
                )
            )
    if facts.until < week.as_of:
        notices.append(
            tr("The data end on {day}, before this week does: its figures may still grow.", day=day(facts.until))
        )
    return notices


def compose(
    facts: Facts,
    week: Week,
    chapters: list[ChapterPage],
    harvests: Mapping[str, Harvest],
    manifest: Mapping[str, Any],
    past: Ledger,
    lists: Sequence[Mapping[str, Any]] = (),
    *,
    place: str = "",
    editions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Gather what the page, the e-mail and the archive say of a week.

    Parameters
    ----------
    facts : Facts
        Of the shop.
    week : Week
        Of the report.
    chapters : list of ChapterPage
        In order.
    harvests : mapping
        By chapter.
    manifest : mapping
        Provenance, as published beside the page.
    past : Ledger
        What earlier reports said.
    lists : sequence of dict
        Lists whose time has come, as :func:`clvlib.report.lists.graded` returns them.
    place : str
        Folder inside that of the week, where this is not its first edition.
    editions : mapping, optional
        Where the page is in other languages, by their codes.

    Returns
    -------
    dict
        What the templates name.
    """
    titles = {chapter.name: chapter.title for chapter in chapters}
    made = past.manifests(facts.name)
    found = trends(past, manifest, harvests)
    moved = movements(harvests, found)
    raised = alerts(harvests, moved, titles)
    shown = cards(raised)
    graded = grades(past, facts.name, week, harvests)
    failed = sum(bool(chapter.error) for chapter in chapters)
    sentence, bullets = summary(harvests, found, moved, shown, graded, failed=failed)
    groups = figure_groups(facts.targets, harvests, titles, found)
    intervals = {row["level"] for group in groups for row in group["rows"] if row["interval"]}
    return {
        "facts": facts,
        "week": week,
        "weeks": week_links(week.label, {label: f"{label}/index.html" for label in made}, place),
        "editions": [(code, LANGUAGES[code], href) for code, href in (editions or {}).items()],
        "address": "/".join(filter(None, (week.label, place, "index.html"))),
        "tables": "../tables" if place else "tables",
        "span": days(week.start, week.as_of),
        "as_of": day(min(facts.until, week.as_of)),
        "notices": _notices(facts, week, past),
        "sentence": sentence,
        "bullets": bullets,
        "chapters": chapters,
        "failed": failed,
        "groups": groups,
        "interval_head": tr("95% interval") if intervals <= {""} else tr("interval (95% unless marked)"),
        "compared": any(label < week.label for label in made),
        "changes": changes(groups),
        "rule": {"fewest": FEWEST, "shown": SHOWN},
        "forecasts": forecast_tables(graded),
        "lists": list_tables(lists, past.rows("grades", facts.name, week.label)),
        "alerts": raised,
        "cards": shown,
        "severities": {severity: n for severity, n in by_severity(shown).items() if n},
        "actions": action_list(harvests),
        "missing": _left_out(harvests),
        "quality": _quality(facts),
        "provenance": _provenance(manifest),
    }


def render(content: Mapping[str, Any]) -> str:
    """Write ``index.html`` from what :func:`compose` gathered: the whole file, below :data:`LIMIT`."""
    rest = len(fill("page.html", {**content, "chapters": []}).encode())
    within(content["chapters"], LIMIT - rest)
    # a caption of its own width stays readable while its table is scrolled sideways
    return fill("page.html", content).replace("<caption>", "<caption><span>").replace("</caption>", "</span></caption>")
