"""What the notebooks left in their outputs for the report: figures, forecasts, alerts, sections left out, tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from clvlib.report.chapter import ACTION, ALERT, CHANCES, FORECAST, KPI, MISSING, TABLE

__all__ = ["Harvest", "harvest"]


@dataclass(frozen=True)
class Harvest:
    """What one executed notebook says, in its order; the fields of each are those that :class:`Chapter` wrote.

    Attributes
    ----------
    kpis, alerts, missing, tables, forecasts, actions, chances, grades : list of dict
        By kind; grades are not the notebook's, but the report's, of lists of earlier ones.
    """

    kpis: list[dict[str, Any]] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    forecasts: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    chances: list[dict[str, Any]] = field(default_factory=list)
    grades: list[dict[str, Any]] = field(default_factory=list)


def _payloads(node: Any, kind: str) -> Iterator[dict[str, Any]]:
    for cell in node.cells:
        for output in cell.get("outputs", []):
            payload = output.get("data", {}).get(kind)
            if isinstance(payload, dict):
                yield payload


def harvest(node: Any) -> Harvest:
    """Collect what an executed notebook says; where one thing was shown twice, the last one counts."""
    last_kpi = {kpi["name"]: kpi for kpi in _payloads(node, KPI)}
    last_forecast = {(made["name"], made["weeks"]): made for made in _payloads(node, FORECAST)}
    last_table = {table["name"]: table for table in _payloads(node, TABLE)}
    return Harvest(
        list(last_kpi.values()),
        list(_payloads(node, ALERT)),
        list(_payloads(node, MISSING)),
        list(last_table.values()),
        list(last_forecast.values()),
        list({made["name"]: made for made in _payloads(node, ACTION)}.values()),
        list({made["name"]: made for made in _payloads(node, CHANCES)}.values()),
    )
