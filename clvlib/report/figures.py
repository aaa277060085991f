"""The page's words for figures in time: rows of the first table, and how the forecasts turned out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from markupsafe import Markup

from clvlib.report.form import ABSENT, html_table, is_absent, show, show_change
from clvlib.report.grade import Grades
from clvlib.report.harvest import Harvest
from clvlib.report.spark import sparkline
from clvlib.report.trend import CHANGED, NORMAL, Trend

__all__ = ["changes", "figure_groups", "forecast_tables"]

Row: TypeAlias = Mapping[Any, Any]


def figure_groups(
    targets: Mapping[str, float],
    harvests: Mapping[str, Harvest],
    titles: Mapping[str, str],
    found: Mapping[tuple[str, str], Trend],
) -> list[dict[str, Any]]:
    """Return the rows of the page's first table, by chapter, as texts."""
    groups = []
    for name, chapter in harvests.items():
        rows = [_figure(kpi, found[name, kpi["name"]], targets.get(kpi["name"])) for kpi in chapter.kpis]
        if rows:
            groups.append({"title": titles[name], "anchor": f"chapter-{name}", "rows": rows})
    return groups


def _figure(kpi: Mapping[str, Any], trend: Trend, target: float | None) -> dict[str, Any]:
    unit, currency, value = kpi["unit"], kpi["currency"], kpi["value"]
    usual = trend.usual or (None, None)
    difference = "points" if unit == "share" else unit
    interval = "" if value is None else _span(kpi["lower"], kpi["upper"], unit, currency)
    return {
        "label": kpi["label"],
        "text": show(value, unit, currency, short=True),
        "interval": interval,
        "level": "" if kpi["level"] == 0.95 or not interval else f"{100 * kpi['level']:g}%",
        "why": kpi["why"] if is_absent(value) else "",
        "better": {"higher": "higher is better", "lower": "lower is better"}.get(kpi["better"], ""),
        "target": _target(value, target, kpi),
        "last": show(trend.last, unit, currency, short=True),
        "change": _change(trend, unit, currency),
        "change_interval": _span(trend.lower, trend.upper, difference, currency),
        "usual": _span(usual[0], usual[1], difference, currency),
        "verdict": _verdict(trend, kpi["better"]),
        "changed": trend.verdict == CHANGED,
        "spark": sparkline(trend.points, unit, currency),
    }


def changes(groups: Sequence[Mapping[str, Any]]) -> str:
    """Return the one sentence above the figures: which of them changed."""
    judged = [row for group in groups for row in group["rows"] if row["changed"] or row["verdict"] == NORMAL]
    changed = [row["label"] for row in judged if row["changed"]]
    if not judged:
        return "The past does not reach back far enough yet to tell a change from normal variation."
    if not changed:
        return f"No figure changed: {len(judged)} of {len(judged)} moved within their normal variation."
    return f"{len(changed)} of {len(judged)} figures changed since last week: {', '.join(changed)}."


def _span(lower: float | None, upper: float | None, unit: str, currency: str) -> str:
    if is_absent(lower) or is_absent(upper):
        return ""
    return f"{show(lower, unit, currency, short=True)} to {show(upper, unit, currency, short=True)}"


def _change(trend: Trend, unit: str, currency: str) -> str:
    if trend.change is None:
        return ABSENT
    text = show_change(trend.change, unit, currency, short=True)
    if unit in {"share", "points"} or not trend.last or trend.last < 0:
        return text
    return f"{text} ({100 * trend.change / trend.last:+.1f}%)".replace("-", "−")


def _verdict(trend: Trend, better: str) -> str:
    if trend.verdict != CHANGED or not better or not trend.change:
        return trend.verdict or ABSENT
    return f"{CHANGED}, for the {'better' if (trend.change > 0) == (better == 'higher') else 'worse'}"


def _target(value: float | None, target: float | None, kpi: Mapping[str, Any]) -> str:
    if target is None or value is None or not target:
        return ""
    reached = value <= target if kpi["better"] == "lower" else value >= target
    progress = "reached" if reached else f"now at {show(value / target, 'share')} of it"
    return f"target {show(target, kpi['unit'], kpi['currency'], short=True)}, {progress}"


def forecast_tables(graded: Grades) -> dict[str, Any]:
    """Return the sentence, and three tables: what was due, how each figure fared so far, what is forecast now."""

    def shown(row: Row, field: str) -> str:
        return show(row[field], row["unit"], row["currency"], short=True)

    def made(row: Row) -> list[str]:
        interval = _span(row["lower"], row["upper"], row["unit"], row["currency"])
        ahead = "1\u00a0week" if row["weeks"] == 1 else f"{row['weeks']}\u00a0weeks"
        return [row["label"], ahead, shown(row, "mean"), f"{interval} ({100 * row['level']:g}%)"]

    now = graded.table[(graded.table["due"] == graded.week) & graded.table["actual"].notna()].to_dict("records")
    due = [[*made(r), shown(r, "actual"), "inside" if r["inside"] else "outside"] for r in now]
    record = [
        [
            row["label"], f"{row['weeks']}\u00a0w", str(row["graded"]), str(row["inside"]),
            f"{show(row['coverage'], 'share')} ({_span(row['coverage_lower'], row['coverage_upper'], 'share', '')})",
            show(row["level"], "share"), show(row["bias"], "share"), shown(row, "mean_error"),
            shown(row, "naive_error"), show(row["gain"], "share"),
        ]
        for row in graded.record.to_dict("records")
    ]  # fmt: skip
    ahead = [[*made(row), row["due"]] for row in graded.ahead.to_dict("records")]
    forecast = ["figure", "ahead", "forecast", "interval"]
    heads = ["figure", "ahead", "graded", "inside", "coverage (95% interval)", "asked for", "bias", "mean error"]
    return {
        "sentence": graded.sentence if due or record or ahead else "",
        "tables": [
            _words([*forecast, "what came", "it fell"], due, "Due this week"),
            _words([*heads, "naive error", "saved"], record, "All forecasts that were due so far"),
            _words([*forecast, "due"], ahead, "What is expected"),
        ],
    }


def _words(heads: list[str], rows: list[list[str]], caption: str) -> Markup:
    numeric = [head not in {"figure", "ahead", "it fell", "due"} for head in heads]
    return Markup(html_table(heads, rows, numeric, caption) if rows else "")  # noqa: S704 - escaped there
