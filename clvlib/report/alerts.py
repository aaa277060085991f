"""Alerts: those of the chapters, those of unusual movements, and which of them are one.

A fall is often told several times: by the threshold that it crossed, the segment that it comes from, the verdict on the
key figure. Such alerts share a card, which has one severity and all the evidence, and is counted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from clvlib.report.harvest import Harvest
from clvlib.report.summary import Movement
from clvlib.words import begun, mark, tr

__all__ = ["SEVERITIES", "alerts", "by_severity", "cards"]

SEVERITIES = (mark("high"), mark("medium"), mark("low"))
_BEYOND = {
    True: mark("beyond normal variation, for the better"),
    False: mark("beyond normal variation, for the worse"),
    None: mark("beyond normal variation"),
}
# figures that one cause moves together; any other is a family of its own
_FAMILIES: Final = {
    "click_to_cart": "path",
    "conversion": "path",
    "orders": "sales",
    "gmv_net": "sales",
    "buyers": "sales",
    "return_rate": "returns",
    "refund_rate": "returns",
    "complaints_answered_in_time": "complaints",
    "complaints_solved_in_time": "complaints",
    "complaints_across_in_time": "complaints",
    "high_risk_customers": "leaving",
    "value_at_risk": "leaving",
}


def alerts(
    harvests: Mapping[str, Harvest], moved: Sequence[tuple[str, Movement]], titles: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the alerts of the chapters and those of unusual movements, the most severe first.

    A change for the worse is high where the changes of earlier weeks show what is usual, and medium where its interval
    alone tells; any other change is low.

    Parameters
    ----------
    harvests : mapping
        What the chapters say.
    moved : sequence
        What :func:`clvlib.report.summary.movements` returns.
    titles : mapping
        Of the chapters.
    """
    raised = [
        {"metric": "", "good": False, "time": False, **alert, "chapter": name, "moved": False}
        for name, said in harvests.items()
        for alert in said.alerts
    ]
    for name, move in moved:
        severity = "low" if move.good is not False else "high" if move.trend.chart else "medium"
        text = tr("{what}: {evidence}.", what=move.words, evidence=move.evidence)
        told = {"rule": tr(_BEYOND[move.good]), "text": text, "segment": "", "severity": severity, "chapter": name}
        raised.append({**told, "metric": move.kpi["name"], "good": move.good, "time": False, "moved": True})
    placed = [{**a, "title": titles[a["chapter"]], "anchor": f"chapter-{a['chapter']}"} for a in raised]
    return sorted(placed, key=lambda alert: SEVERITIES.index(alert["severity"]))


def by_severity(shown: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many alerts, or cards of them, there are of each severity."""
    return {severity: sum(alert["severity"] == severity for alert in shown) for severity in SEVERITIES}


def cards(raised: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the alerts as they are shown and counted: what has one cause, for all that can be told, is one.

    One are alerts of the same family of figures that point the same way, in segments of which one lies in the other, or
    whose segments are times: a week of bad days has one cause until more is known.
    Movements for the better that no chapter tells of share a card, so that good news crowds out no bad.

    Parameters
    ----------
    raised : sequence
        What :func:`alerts` returns.

    Returns
    -------
    list of dict
        The most severe first, each with ``severity``, ``rule``, ``segment``, ``text`` and ``moved`` of its first alert;
        its ``title``; ``lines`` (what a text is about, where the line before was about another rule or segment, and the
        text); ``links`` (anchor and title) to the chapters; and ``alerts``, those that it stands for.
    """
    groups = _together(raised)
    kinds: dict[Any, list[Mapping[str, Any]]] = {}
    for place, group in enumerate(groups):
        news = all(alert["moved"] and alert["good"] is not False for alert in group)
        kinds.setdefault((group[0]["severity"], group[0]["rule"]) if news else place, []).extend(group)
    order = {id(alert): place for place, alert in enumerate(raised)}
    return [_card(group) for group in sorted(kinds.values(), key=lambda group: order[id(group[0])])]


def _together(raised: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return the alerts in groups of one cause each, in their order."""
    order = {id(alert): place for place, alert in enumerate(raised)}
    groups: list[list[Mapping[str, Any]]] = []
    for alert in raised:
        near = [group for group in groups if any(_same(alert, other) for other in group)]
        groups = [group for group in groups if group not in near]
        merged = [*(other for group in near for other in group), alert]
        groups.append(sorted(merged, key=lambda each: order[id(each)]))
    return sorted(groups, key=lambda group: order[id(group[0])])


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    families = [_FAMILIES.get(alert["metric"], alert["metric"]) for alert in (one, other)]
    within = [set(filter(None, alert["segment"].split(" × "))) for alert in (one, other)]
    lies_in = within[0] <= within[1] or within[1] <= within[0] or (one["time"] and other["time"])
    return bool(families[0]) and families[0] == families[1] and one["good"] is other["good"] and lies_in


def _card(group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = group[0]
    lines: list[tuple[str, str]] = []
    rule, segment = first["rule"], first["segment"]
    for alert in sorted(group, key=lambda alert: alert["metric"] != first["metric"]):
        head = ""
        if (alert["rule"], alert["segment"]) != (rule, segment):
            head = " · ".join(
                [begun(alert["rule"]), *([alert["segment"]] if alert["segment"] not in {"", segment} else [])]
            )
            rule, segment = alert["rule"], alert["segment"]
        lines.append((head, alert["text"] if head else begun(alert["text"])))
    told = {field: first[field] for field in ("severity", "rule", "segment", "text", "moved")}
    return {
        **told,
        "title": begun(first["rule"]),
        "alerts": group,
        "lines": lines,
        "links": {alert["anchor"]: alert["title"] for alert in group},
    }
