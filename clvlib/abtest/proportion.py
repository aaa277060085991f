"""Shares of people, assigned one by one or in clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from clvlib.abtest.clusters import Columns
from clvlib.abtest.mean import Mean, Winsorised
from clvlib.abtest.metric import Arm, Metric, Row
from clvlib.stats.effect import Effect
from clvlib.stats.proportions import proportion_difference, proportion_interval, proportion_ratio
from clvlib.stats.sampling import detectable_difference

__all__ = ["ClusteredProportion", "Proportion"]

NAN = float("nan")


@dataclass(frozen=True)
class Proportion:
    """Share of people for whom ``event``, an SQL condition on a person's row, is true.

    Examples
    --------
    >>> conversion = Proportion("conversion", "orders > 0")
    >>> rows = ({"people": 2000, "conversion_total": 264}, {"people": 2000, "conversion_total": 200})
    >>> round(conversion.difference(*rows, level=0.95).lower, 6)
    0.012188
    """

    name: str
    event: str
    unit: str = "share"
    better: str = "higher"
    needs: tuple[str, ...] = ()
    family: ClassVar[str] = "beta"
    per: ClassVar[None] = None

    @property
    def capped(self) -> Mapping[str, Winsorised]:
        """Nothing: a share has no tail."""
        return {}

    def values(self) -> tuple[str, ...]:
        """Return the condition."""
        return (self.event,)

    def aggregates(self) -> dict[str, str]:
        """Count the people with the event."""
        return {f"{self.name}_total": f"SUM(CASE WHEN {self.event} THEN 1 ELSE 0 END)"}

    def merge(self, rows: Columns) -> dict[str, float]:
        """Add up."""
        return {f"{self.name}_total": float(rows[f"{self.name}_total"].sum())}

    def clustered(self) -> Metric:
        """Return the mean of zeros and ones, since a score test of counts takes people for independent."""
        return ClusteredProportion(self.name, self.event, self.unit, better=self.better, needs=self.needs)

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """People with the event, and people."""
        return cells[f"{self.name}_total"], cells["people"]

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Return them as they are."""
        return dict(arms)

    def _counts(self, row: Row) -> tuple[int, int]:
        return int(row[f"{self.name}_total"]), int(row["people"])

    def arm(self, row: Row, level: float) -> Arm:
        """Rate with Wilson's interval."""
        x, n = self._counts(row)
        limits = proportion_interval(x, n, level).iloc[0]
        error = (x * (n - x) / n**3) ** 0.5
        return Arm(n, x, x / n, float(limits["lower"]), float(limits["upper"]), error)

    def varies(self, treatment: Row, control: Row) -> bool:  # noqa: ARG002 - as for every metric
        """The score test needs no variance."""
        return True

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Miettinen and Nurminen's inverted score test."""
        return proportion_difference(*self._counts(treatment), *self._counts(control), level=level, null=null)

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Invert the same score test on the relative scale."""
        (x1, n1), (x2, n2) = self._counts(treatment), self._counts(control)
        if x1 == x2 == 0:
            return Effect(NAN, NAN, NAN, 1.0, "miettinen-nurminen", level, 1.0)
        return proportion_ratio(x1, n1, x2, n2, level=level)

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest rise over the control's rate."""
        (_, n1), (x2, n2) = self._counts(treatment), self._counts(control)
        return detectable_difference(x2 / n2, n1, n2, power, alpha)


@dataclass(frozen=True)
class ClusteredProportion(Mean):
    """Share of people for whom ``value``, an SQL condition, is true, where clusters of them were assigned.

    The cluster-robust mean of zeros and ones; an arm with too few successes to vary between clusters has no interval.
    """

    unit: str = "share"

    def aggregates(self) -> dict[str, str]:
        """Count the people with the event."""
        return Proportion(self.name, self.value).aggregates()

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """People with the event, and people."""
        return cells[f"{self.name}_total"], cells["people"]

    def merge(self, rows: Columns) -> dict[str, float]:
        """Mean and variance of zeros and ones follow from the counts."""
        name, n = self.name, rows["people"]
        share = rows[f"{name}_total"] / n
        total = float(rows[f"{name}_total"].sum())
        mean = total / float(n.sum())
        within = share * (1 - share) * n / np.maximum(n - 1, 1)
        return {f"{name}_total": total, f"{name}_mean": mean} | self._spread(rows, within, share - mean)
