"""Means of people or of clusters, with and without their largest values."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.abtest.clusters import Columns, covariance
from clvlib.abtest.metric import Arm, Metric, Row
from clvlib.errors import ThinDataWarning
from clvlib.stats.effect import Effect
from clvlib.stats.means import Moments, difference_error, mean_difference, mean_interval, mean_ratio
from clvlib.stats.sampling import detectable_mean_difference
from clvlib.words import tr

if TYPE_CHECKING:
    from clvlib.abtest.ratio import Ratio

__all__ = ["Mean", "Winsorised"]

NAN = float("nan")


@dataclass(frozen=True)
class Mean:
    """Mean per person of ``value``, an SQL expression of a person's row; people without it count as its zero.

    Attributes
    ----------
    capped : mapping of str to Winsorised
        What is shown beside it, by label.
    per : Ratio, optional
        The same sum per something else, such as per buyer, by which a difference is split.
    method : str
        How arms are compared, as in :func:`clvlib.stats.means.mean_difference`. ``"guarded"`` since money has a heavy
        tail: it is Welch's test for arms of one size, and covers where that does not when one arm is much smaller.
    better : str
        Which way is good, ``"higher"`` or ``"lower"``.
    needs : tuple of str
        Tables, or columns written ``table.column``, without which it cannot be measured.

    Examples
    --------
    >>> revenue = Mean("revenue", "revenue")
    >>> sorted(revenue.aggregates())
    ['revenue_mean', 'revenue_variance']
    """

    name: str
    value: str
    unit: str = "money"
    capped: Mapping[str, Winsorised] = field(default_factory=dict)
    per: Ratio | None = None
    method: str = "guarded"
    better: str = "higher"
    needs: tuple[str, ...] = ()
    family: ClassVar[str] = "normal"

    def values(self) -> tuple[str, ...]:
        """Return the value."""
        return (self.value,)

    def aggregates(self) -> dict[str, str]:
        """Mean and sample variance."""
        wanted = {f"{self.name}_mean": f"AVG({self.value})", f"{self.name}_variance": f"VAR_SAMP({self.value})"}
        for other in self._others:
            wanted |= other.aggregates()
        return wanted

    @property
    def _others(self) -> list[Mean]:
        return [*self.capped.values(), *([] if self.per is None else [self.per])]

    def merge(self, rows: Columns) -> dict[str, float]:
        """Join means and variances (Chan, Golub & LeVeque 1983)."""
        n, mean = rows["people"], rows[f"{self.name}_mean"]
        mean_all = float(np.average(mean, weights=n))
        joined = {f"{self.name}_mean": mean_all} | self._spread(rows, rows[f"{self.name}_variance"], mean - mean_all)
        for other in self._others:
            joined |= other.merge(rows)
        return joined

    def _spread(self, rows: Columns, within: NDArray[np.float64], distance: NDArray[np.float64]) -> dict[str, float]:
        """Joint variance; of clusters also how often it is that of as many independent people."""
        variance = covariance(rows, within, distance, distance)
        spread = {f"{self.name}_variance": variance}
        if "cluster" in rows:
            alone = covariance({"people": rows["people"]}, within, distance, distance)
            spread[f"{self.name}_design_effect"] = variance / alone if alone > 0 else NAN
        return spread

    def clustered(self) -> Metric:
        """Return itself: its joint variance is that of clusters wherever its aggregates are."""
        return self

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """Sum of the values, and people."""
        return cells["people"] * cells[f"{self.name}_mean"], cells["people"]

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Return them as they are, with what the split needs."""
        return dict(arms) if self.per is None else self.per.prepare(arms)

    def _moments(self, row: Row) -> Moments:
        """Moments of the independent units: of people, or of clusters that err as much together."""
        people, mean = float(row["people"]), float(row[f"{self.name}_mean"])
        clusters = row.get("clusters", 0)
        n = people if clusters == 0 else 1.0 if clusters == 1 else float(row["freedom"]) + 1
        return Moments(n, mean, float(row[f"{self.name}_variance"]) * n / people if n > 1 else 0.0)

    def arm(self, row: Row, level: float) -> Arm:
        """Mean with Student's interval."""
        m = self._moments(row)
        lower = upper = NAN
        if m.variance > 0:
            interval = mean_interval(m, level)
            lower, upper = interval.lower, interval.upper
        n = int(row["people"])
        return Arm(n, m.mean * n, m.mean, lower, upper, m.squared_error**0.5)

    def varies(self, treatment: Row, control: Row) -> bool:
        """Whether both have at least two people (clusters), and anybody differs from the others."""
        first, second = self._moments(treatment), self._moments(control)
        return min(first.n, second.n) >= 2 and first.variance + second.variance > 0

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Compare by Welch's test or its guarded form; without any variance there is none, and a warning says so."""
        first, second = self._moments(treatment), self._moments(control)
        if not self.varies(treatment, control):
            warnings.warn(
                tr(
                    "{metric}: no interval for {value:g} against {control:g}, since nothing varies within arms of "
                    "{n:,} and {control_n:,} people",
                    metric=tr(self.name),
                    value=first.mean,
                    control=second.mean,
                    n=int(treatment["people"]),
                    control_n=int(control["people"]),
                ),
                ThinDataWarning,
                stacklevel=2,
            )
            return Effect(first.mean - second.mean, NAN, NAN, 1.0, "none", level, null)
        return mean_difference(first, second, level, null=null, method=self.method)

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Fieller's interval, which inverts the same test; missing where the control's mean may be zero."""
        first, second = self._moments(treatment), self._moments(control)
        try:
            return mean_ratio(first, second, level, method=self.method)
        except ValueError:
            estimate = first.mean / second.mean if second.mean else NAN
            return Effect(estimate, NAN, NAN, 1.0, "none", level, 1.0)

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest difference at the variances seen."""
        if not self.varies(treatment, control):
            return NAN
        error, _ = difference_error(self._moments(treatment), self._moments(control), self.method)
        return detectable_mean_difference(error, power, alpha)


@dataclass(frozen=True)
class Winsorised(Mean):
    """Mean per person of what is left of ``value`` when all above ``cap`` count as ``cap``, one for all arms.

    What a few large orders decide is no longer seen; so it stands beside the mean itself and not in its place.

    Attributes
    ----------
    cap : str
        SQL expression, the same for everybody.
    """

    cap: str = "revenue_p99"

    def aggregates(self) -> dict[str, str]:
        """Mean, sample variance and the cap."""
        capped = f"LEAST({self.value}, {self.cap})"
        return Mean(self.name, capped).aggregates() | {f"{self.name}_cap": f"MAX({self.cap})"}

    def merge(self, rows: Columns) -> dict[str, float]:
        """Join means and variances."""
        return super().merge(rows) | {f"{self.name}_cap": float(rows[f"{self.name}_cap"].max())}
