"""The page's words for figures in time: rows of the first table, and how the forecasts turned out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from markupsafe import Markup

from clvlib.report.form import ABSENT, html_table, is_absent, list_label, outcomes, show, show_change
from clvlib.report.grade import FEWEST, Grades, middle
from clvlib.report.harvest import Harvest
from clvlib.report.lists import RIGHT
from clvlib.report.spark import sparkline
from clvlib.report.summary import FIRST
from clvlib.report.trend import CHANGED, NORMAL, Trend
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr, trn

__all__ = ["action_list", "changes", "figure_groups", "forecast_tables", "list_tables", "span"]

Row: TypeAlias = Mapping[Any, Any]
_TEXTS = {"figure", "ahead", "it fell", "spread", "list", "verdict", "stated chance"}
_DID = {"purchase": mark("bought"), "no purchase": mark("bought nothing")}


def figure_groups(
    targets: Mapping[str, float],
    harvests: Mapping[str, Harvest],
    titles: Mapping[str, str],
    found: Mapping[tuple[str, str], Trend],
) -> list[dict[str, Any]]:
    """Return the rows of the page's first table as texts: what is asked for first, and then by chapter."""
    first: dict[str, dict[str, Any]] = {}
    groups: list[dict[str, Any]] = [{"title": tr("What matters first"), "anchor": "", "rows": []}]
    for name, chapter in harvests.items():
        rows = {kpi["name"]: _figure(kpi, found[name, kpi["name"]], targets.get(kpi["name"])) for kpi in chapter.kpis}
        first |= {figure: rows.pop(figure) for figure in FIRST if figure in rows}
        groups.append({"title": titles[name], "anchor": f"chapter-{name}", "rows": list(rows.values())})
    groups[0]["rows"] = [first[figure] for figure in FIRST if figure in first]
    return [group for group in groups if group["rows"]]


def _figure(kpi: Mapping[str, Any], trend: Trend, target: float | None) -> dict[str, Any]:
    unit, currency, value = kpi["unit"], kpi["currency"], kpi["value"]
    usual = trend.usual or (None, None)
    interval = "" if value is None else span(kpi["lower"], kpi["upper"], unit, currency)
    return {
        "label": tr(kpi["label"]),
        "text": show(value, unit, currency, short=True),
        "interval": interval,
        "level": "" if kpi["level"] == 0.95 or not interval else f"{100 * kpi['level']:.4g}%",
        "why": kpi["why"] if is_absent(value) else kpi.get("note", ""),
        "better": tr({"higher": mark("higher is better"), "lower": mark("lower is better")}.get(kpi["better"], "")),
        "target": _target(value, target, kpi),
        "last": show(trend.last, unit, currency, short=True),
        "change": _change(trend, kpi),
        "change_interval": _moves(trend.lower, trend.upper, kpi),
        "usual": _moves(usual[0], usual[1], kpi),
        "verdict": _verdict(trend, kpi["better"]),
        "changed": trend.verdict == CHANGED,
        "judged": trend.verdict in {CHANGED, NORMAL},
        "spark": sparkline(trend.points, unit, currency),
    }


def changes(groups: Sequence[Mapping[str, Any]]) -> str:
    """Return the one sentence above the figures: which of them changed."""
    judged = [row for group in groups for row in group["rows"] if row["judged"]]
    changed = [row["label"] for row in judged if row["changed"]]
    if not judged:
        return tr("The past does not reach back far enough yet to tell a change from normal variation.")
    if not changed:
        return tr("No figure changed: {n} of {n} moved within their normal variation.", n=len(judged))
    return tr(
        "Of {judged} figures that can be judged, {n} changed since last week: {names}.",
        n=len(changed),
        judged=len(judged),
        names=tr(", ").join(changed),
    )


def _moves(lower: float | None, upper: float | None, kpi: Mapping[str, Any]) -> str:
    """Write an interval of a change, with signs."""
    if is_absent(lower) or is_absent(upper):
        return ""
    ends = [show_change(end, kpi["unit"], kpi["currency"], short=True, beside=kpi["value"]) for end in (lower, upper)]
    return tr("{lower} to {upper}", lower=ends[0], upper=ends[1])


def span(lower: float | None, upper: float | None, unit: str, currency: str) -> str:
    """Write an interval; nothing where it has no two ends."""
    if is_absent(lower) or is_absent(upper):
        return ""
    ends = (show(end, unit, currency, short=True) for end in (lower, upper))
    return tr("{lower} to {upper}", **dict(zip(("lower", "upper"), ends, strict=True)))


def _change(trend: Trend, kpi: Mapping[str, Any]) -> str:
    if trend.change is None:
        return ABSENT
    text = show_change(trend.change, kpi["unit"], kpi["currency"], short=True, beside=kpi["value"])
    if kpi["unit"] in {"share", "points"} or not trend.last or trend.last < 0:
        return text
    return f"{text} ({100 * trend.change / trend.last:+.1f}%)".replace("-", "−")


def _verdict(trend: Trend, better: str) -> str:
    if trend.verdict != CHANGED or not better or not trend.change:
        return tr(trend.verdict) or ABSENT
    good = (trend.change > 0) == (better == "higher")
    return tr("changed, for the better") if good else tr("changed, for the worse")


def _target(value: float | None, target: float | None, kpi: Mapping[str, Any]) -> str:
    if target is None or value is None or not target:
        return ""
    reached = value <= target if kpi["better"] == "lower" else value >= target
    aim = show(target, kpi["unit"], kpi["currency"], short=True)
    if reached:
        return tr("target {target}, reached", target=aim)
    return tr("target {target}, now at {progress} of it", target=aim, progress=show(value / target, "share"))


def action_list(harvests: Mapping[str, Harvest]) -> list[dict[str, Any]]:
    """Return what the chapters propose to do, what is expected to bring most first.

    Each has ``label``, the expected ``gain`` and its ``interval`` as texts, and ``details``: for how many customers, at
    what cost, what it rests on, whether it may also lose, and the list to work on.
    """
    made = [(name, action) for name, said in harvests.items() for action in said.actions]
    made.sort(key=lambda item: -(item[1]["value"] or 0.0))
    return [_action(name, action) for name, action in made]


def _action(chapter: str, action: Mapping[str, Any]) -> dict[str, Any]:
    currency, people, cost = action["currency"], action["people"], action["cost"]
    interval = span(action["lower"], action["upper"], "money", currency)
    level = f"{100 * action['level']:.4g}%"
    details = [
        trn("{n:,} customer", "{n:,} customers", people) if people is not None else "",
        tr("costs {cost}", cost=show(cost, "money", currency)) if cost is not None else "",
        action["basis"],
        tr("the interval reaches below zero, so it may also lose") if interval and action["lower"] < 0 else "",
        tr("list {list}", list=f"{chapter}/{action['list']}") if action["list"] else "",
    ]
    return {
        "label": tr(action["label"]),
        "gain": show(action["value"], "money", currency, short=True),
        "interval": tr("{level} interval {span}", level=level, span=interval) if interval else "",
        "details": tr("; ").join(filter(None, details)),
    }


def forecast_tables(graded: Grades) -> dict[str, Any]:
    """Return the sentence, tables of what was due and what is forecast, and those of the ``record`` so far."""

    def shown(row: Row, field: str) -> str:
        return show(row[field], row["unit"], row["currency"], short=True)

    def made(row: Row) -> list[str]:
        interval = span(*outcomes(row["lower"], row["upper"], row["unit"]), row["unit"], row["currency"])
        ahead = trn("{n}\u00a0week", "{n}\u00a0weeks", row["weeks"])
        return [tr(row["label"]), ahead, shown(row, "mean"), f"{interval} ({100 * row['level']:.4g}%)"]

    now = graded.table[(graded.table["due"] == graded.week) & graded.table["actual"].notna()].to_dict("records")
    due = [[*made(r), shown(r, "actual"), tr("inside") if r["inside"] else tr("outside")] for r in now]
    record = [
        [
            tr(row["label"]), tr("{n}\u00a0w", n=row["weeks"]), str(row["graded"]),
            f"{show(row['coverage'], 'share')} ({span(row['coverage_lower'], row['coverage_upper'], 'share', '')})",
            show(row["level"], "share"), show(row["bias"], "share"), _error(row, "mean_error"),
            _error(row, "naive_error"), show(row["gain"], "share"),
        ]
        for row in graded.record.to_dict("records")
    ]  # fmt: skip
    coming = graded.ahead.to_dict("records")
    halves = [middle(row["quantiles"]).get(0.5, (None, None)) for row in coming]
    told = any(lower is not None for lower, _ in halves)
    ahead = [
        [
            *made(row),
            *([span(*outcomes(low, high, row["unit"]), row["unit"], row["currency"]) or ABSENT] if told else []),
            row["due"],
        ]
        for row, (low, high) in zip(coming, halves, strict=True)
    ]
    forecast = [mark("figure"), mark("ahead"), mark("forecast"), mark("interval")]
    expected = [*forecast, *([mark("middle half")] if told else []), mark("due")]
    heads = ["figure", "ahead", mark("graded"), mark("coverage (95% interval)"), mark("asked for")]
    heads += [mark("bias"), mark("mean error"), mark("naive error"), mark("saved")]
    return {
        "sentence": graded.sentence if due or record or ahead else "",
        "whole": len(graded.spread) > 0,
        "tables": [
            _words([*forecast, mark("what came"), mark("it fell")], due, tr("Due this week")),
            _words(expected, ahead, tr("What is expected")),
        ],
        "record": [
            table
            for table in (_words(heads, record, tr("All forecasts that were due so far")), _spread_table(graded))
            if table
        ],
    }


def _error(row: Row, field: str) -> str:
    """Write by how much forecasts were off; on average that is no whole number of things."""
    return show(row[field], "number" if row["unit"] == "count" else row["unit"], row["currency"], short=True)


def _spread_table(graded: Grades) -> Markup:
    """Return how forecasts that told a whole distribution fared."""
    rows = graded.spread.to_dict("records")
    shares = sorted({share for row in rows for share in row["middle"]})
    cells = [
        [
            tr(row["label"]), tr("{n}\u00a0w", n=row["weeks"]), str(row["graded"]),
            *(_held(row["middle"], share) for share in shares),
            _error(row, "crps"), _error(row, "naive_error"), show(row["gain"], "share"),
            tr(row["verdict"]),
        ]
        for row in rows
    ]  # fmt: skip
    inside = [tr("in the middle {share}", share=show(share, ".0%")) for share in shares]
    heads = ["figure", "ahead", "graded", *inside, mark("CRPS"), "naive error", "saved", mark("spread")]
    return _words(heads, cells, tr("Whole distributions, from {n} weeks on judged", n=FEWEST))


def list_tables(due: Sequence[Row], before: Sequence[Row]) -> dict[str, Any]:
    """Return sentences and tables: how chances and lists that are due turned out, by bands, and all so far."""
    told = [row for row in due if not row["why"]]
    rows = [
        [
            list_label(row["label"]), row["made"], show(row["customers"], "count"), _expected(row),
            show(row["observed"], "count"), _precision(row),
            show(row.get("brier"), ".3f"), show(row.get("brier_same"), ".3f"), tr(row["verdict"]),
        ]
        for row in told
    ]  # fmt: skip
    heads = [
        mark("list"),
        mark("made in"),
        mark("customers"),
        mark("expected"),
        mark("what came"),
        mark("of those listed"),
    ]
    heads += [mark("Brier score"), mark("one chance for all"), mark("verdict")]
    bands = [
        _words(
            [mark("stated chance"), "customers", "expected", mark("what came (95% interval)")],
            [_band(band) for band in json.loads(row["bands"])],
            tr("{label}, made in {week}: by bands of chances", label=list_label(row["label"]), week=row["made"]),
        )
        for row in told
        if row.get("bands")
    ]
    return {
        "due": len(due) > 0,
        "sentences": [_list_sentence(row) for row in told if not is_absent(row.get("expected"))],
        "ungraded": [_list_sentence(row) for row in due if row["why"]],
        "tables": [_words(heads, rows, tr("Lists whose time has come")), *bands, _list_record([*before, *told])],
    }


def _expected(row: Row) -> str:
    if is_absent(row.get("expected")):
        return ABSENT
    return f"{show(row['expected'], 'count')} ({span(row['lower'], row['upper'], 'count', '')})"


def _precision(row: Row) -> str:
    if not row["listed"]:
        return ABSENT
    held = proportion_interval(row["hits"], row["listed"]).iloc[0]
    return f"{show(held['estimate'], 'share')} ({span(held['lower'], held['upper'], 'share', '')})"


def _band(band: Row) -> list[str]:
    came = proportion_interval(band["observed"], band["customers"]).iloc[0]
    return [
        span(band["lowest"], band["highest"], "share", ""), show(band["customers"], "count"),
        show(band["expected"], "share"),
        f"{show(came['estimate'], 'share')} ({span(came['lower'], came['upper'], 'share', '')})",
    ]  # fmt: skip


def _list_sentence(row: Row) -> str:
    values = {"label": list_label(row["label"]), "made": row["made"]}
    if row["why"]:
        return tr("{label} of {made} cannot be graded: {why}.", **values, why=tr(row["why"]))
    values |= {"n": int(row["customers"]), "came": int(row["observed"]), "event": tr(_DID[row["event"]])}
    values |= {"weeks": trn("{n}\u00a0week", "{n}\u00a0weeks", int(row["weeks"]))}
    said = tr("{label} of {made}: of {n:,} customers {came:,} {event} within {weeks}", **values)
    if not is_absent(row.get("expected")):
        said += tr("; {expected} were expected", expected=_expected(row))
    if row["listed"] and row["listed"] < row["customers"]:
        said += tr("; of the {n:,} listed {share} did", n=int(row["listed"]), share=_precision(row))
    if row["gone"]:
        said += tr("; {n:,} are no longer in the data", n=int(row["gone"]))
    return tr("{sentence}.", sentence=said)


def _list_record(rows: Sequence[Row]) -> Markup:
    """Return how the lists of each name fared so far, once there are two of one."""
    known: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if not row["why"]:
            known.setdefault((row["chapter"], row["name"]), []).append(row)
    cells = []
    for graded in known.values():
        stated = [row for row in graded if not is_absent(row.get("expected"))]
        right = sum(row["verdict"] == RIGHT for row in stated)
        hits, listed = (sum(row[field] for row in graded) for field in ("hits", "listed"))
        cells.append([
            list_label(graded[-1]["label"]), str(len(graded)), show(sum(row["customers"] for row in graded), "count"),
            show(sum(row["expected"] for row in stated) if stated else None, "count"),
            show(sum(row["observed"] for row in stated) if stated else None, "count"),
            show(hits / listed if listed else None, "share"),
            tr("{hits} of {n}", hits=right, n=len(stated)) if stated else ABSENT,
        ])  # fmt: skip
    heads = ["list", mark("graded"), "customers", "expected", "what came", "of those listed", mark("as expected")]
    return _words(heads, cells if len(rows) > len(known) else [], tr("All lists that were due so far"))


def _held(inside: Mapping[float, tuple[int, int]], share: float) -> str:
    return tr("{hits} of {n}", hits=inside[share][0], n=inside[share][1]) if share in inside else ABSENT


def _words(heads: list[str], rows: list[list[str]], caption: str) -> Markup:
    """Return a table of texts, without the columns that have nothing to say in any row."""
    said = [place for place in range(len(heads)) if any(row[place] != ABSENT for row in rows)]
    heads, rows = [heads[place] for place in said], [[row[place] for place in said] for row in rows]
    numeric = [head not in _TEXTS for head in heads]
    return Markup(html_table(heads, rows, numeric, caption) if rows else "")  # noqa: S704 - escaped there
