"""Means that are made of two columns: adjusted for one from before the test, and ratios of sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from clvlib.abtest.clusters import Columns, covariance
from clvlib.abtest.mean import Mean
from clvlib.abtest.metric import Arm, Row
from clvlib.stats.effect import Effect
from clvlib.stats.proportions import proportion_difference, proportion_interval, proportion_ratio
from clvlib.stats.sampling import detectable_difference

__all__ = ["Adjusted", "Ratio", "ShareOfSum"]

NAN = float("nan")


@dataclass(frozen=True)
class _Pair(Mean, ABC):
    """A mean that is made of two columns, by their means, variances and covariance."""

    parts: ClassVar[tuple[str, str]] = ("y", "x")

    @abstractmethod
    def _columns(self) -> tuple[str, str]:
        """Both as SQL expressions of a person's row."""

    def values(self) -> tuple[str, ...]:
        """Both columns."""
        return self._columns()

    def aggregates(self) -> dict[str, str]:
        """Means, sample variances and covariance."""
        y, x = self._columns()
        wanted: dict[str, str] = {}
        for part, value in zip(self.parts, (y, x), strict=True):
            wanted |= {
                f"{self.name}_{part}_mean": f"AVG({value})",
                f"{self.name}_{part}_variance": f"VAR_SAMP({value})",
            }
        return wanted | {f"{self.name}_covariance": f"COVAR_SAMP({y}, {x})"}

    def merge(self, rows: Columns) -> dict[str, float]:
        """Join means, variances and covariances."""
        n, names = rows["people"], [f"{self.name}_{part}" for part in self.parts]
        means = [float(np.average(rows[f"{name}_mean"], weights=n)) for name in names]
        distances = [rows[f"{name}_mean"] - mean for name, mean in zip(names, means, strict=True)]
        joined = {f"{self.name}_covariance": covariance(rows, rows[f"{self.name}_covariance"], *distances)}
        for name, mean, distance in zip(names, means, distances, strict=True):
            variance = covariance(rows, rows[f"{name}_variance"], distance, distance)
            joined |= {f"{name}_mean": mean, f"{name}_variance": variance}
        return joined

    def _joint(self, arms: Mapping[str, Row]) -> dict[str, NDArray[np.float64]]:
        """Return a figure per arm: ``n``, ``y``, ``x``, ``vy``, ``vx``, ``c``; variances that are missing are none."""
        y, x = (f"{self.name}_{part}" for part in self.parts)
        keys = {"n": "people", "y": f"{y}_mean", "x": f"{x}_mean"}
        spreads = {"vy": f"{y}_variance", "vx": f"{x}_variance", "c": f"{self.name}_covariance"}
        found = {
            short: np.array([row.get(key, NAN) for row in arms.values()], dtype=float)
            for short, key in (keys | spreads).items()
        }
        return found | {short: np.nan_to_num(found[short]) for short in spreads}

    def _added(self, arms: Mapping[str, Row], **figures: NDArray[np.float64] | float) -> dict[str, Row]:
        more = {f"{self.name}_{key}": np.broadcast_to(values, len(arms)).tolist() for key, values in figures.items()}
        return {
            arm: {**row, **{key: values[place] for key, values in more.items()}}
            for place, (arm, row) in enumerate(arms.items())
        }


@dataclass(frozen=True)
class Adjusted(_Pair):
    """Mean per person less what a covariate from before the assignment explains (CUPED; Deng et al. 2013).

    The covariate is no consequence of the arm, so the difference means the same and only its error shrinks: by the
    squared correlation of the two. One slope serves all arms.

    Attributes
    ----------
    covariate : str
        SQL expression of a person's row, known before the assignment: what they spent, what a model expected of them.
    """

    parts: ClassVar[tuple[str, str]] = ("raw", "before")
    covariate: str = "revenue_before"

    def _columns(self) -> tuple[str, str]:
        return self.value, self.covariate

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Add the adjusted mean and variance of each arm, and the share of the variance that is gone."""
        m = self._joint(arms)
        spread = float(((m["n"] - 1) * m["vx"]).sum())
        slope = float(((m["n"] - 1) * m["c"]).sum()) / spread if spread > 0 else 0.0
        mean = m["y"] - slope * (m["x"] - np.average(m["x"], weights=m["n"]))
        variance = np.maximum(m["vy"] - 2 * slope * m["c"] + slope * slope * m["vx"], 0.0)
        raw = float(((m["n"] - 1) * m["vy"]).sum())
        gone = 1 - float(((m["n"] - 1) * variance).sum()) / raw if raw > 0 else 0.0
        return self._added(arms, mean=mean, variance=variance, reduction=gone, slope=slope)

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:
        """Sum of the values less what the covariate explains, up to a constant per person."""
        name = self.name
        explained = float(arm[f"{name}_slope"]) * cells[f"{name}_before_mean"]
        return cells["people"] * (cells[f"{name}_raw_mean"] - explained), cells["people"]


@dataclass(frozen=True)
class Ratio(_Pair):
    """Sum of ``value`` over that of ``denominator``, such as spend per order, where it was people who were assigned.

    Its error comes from the delta method (Deng, Knoblich & Lu 2018, section 3): that of ``(y - R x) / mean(x)``.

    Attributes
    ----------
    denominator : str
        SQL expression of a person's row.
    counts : str
        What the denominator counts, such as orders or buyers.

    Examples
    --------
    >>> basket = Ratio("basket", "revenue", denominator="orders")
    >>> row = {"people": 1000, "basket_numerator_mean": 30, "basket_denominator_mean": 1.5, "basket_covariance": 20}
    >>> row |= {"basket_numerator_variance": 900, "basket_denominator_variance": 1}
    >>> ready = basket.prepare({"A": row})["A"]
    >>> ready["basket_mean"], round(ready["basket_variance"], 2)
    (20.0, 222.22)
    """

    parts: ClassVar[tuple[str, str]] = ("numerator", "denominator")
    denominator: str = "orders"
    counts: str = "orders"

    def _columns(self) -> tuple[str, str]:
        return self.value, self.denominator

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Add each arm's ratio and its variance; without a denominator both are nothing."""
        m = self._joint(arms)
        x = np.where(m["x"] != 0, m["x"], np.nan)
        ratio = np.nan_to_num(m["y"] / x)
        variance = np.nan_to_num(np.maximum(m["vy"] - 2 * ratio * m["c"] + ratio**2 * m["vx"], 0.0) / x**2)
        return self._added(arms, mean=ratio, variance=variance)

    def arm(self, row: Row, level: float) -> Arm:
        """Ratio with Student's interval; the total is the numerator's."""
        arm = replace(super().arm(row, level), total=float(row[f"{self.name}_numerator_mean"]) * int(row["people"]))
        return arm if row[f"{self.name}_denominator_mean"] else replace(arm, value=NAN)

    def varies(self, treatment: Row, control: Row) -> bool:
        """Whether both have a denominator, and anything varies."""
        there = treatment[f"{self.name}_denominator_mean"] and control[f"{self.name}_denominator_mean"]
        return bool(there) and super().varies(treatment, control)

    def split(self, treatment: Row, control: Row, level: float) -> dict[str, Effect]:
        """Split the difference of the numerator's mean into what the denominator and what the ratio brought.

        With ``p`` the denominator per person and ``s`` the ratio, a person brings ``p s``, and ``p1 s1 - p0 s0`` is
        exactly ``(p1 - p0) (s1 + s0) / 2`` and ``(s1 - s0) (p1 + p0) / 2``; errors by the delta method.
        """
        figures, variances = [], []
        for row in (treatment, control):
            n, x = float(row["people"]), float(row[f"{self.name}_denominator_mean"])
            vx, c = float(row[f"{self.name}_denominator_variance"]), float(row[f"{self.name}_covariance"])
            s = float(row[f"{self.name}_mean"])
            cross = (c - s * vx) / x
            figures.append((x, s))
            variances.append(np.array([[vx, cross], [cross, float(row[f"{self.name}_variance"])]]) / n)
        (p1, s1), (p0, s0) = figures
        dp, ds, p, s = p1 - p0, s1 - s0, (p1 + p0) / 2, (s1 + s0) / 2
        z = float(-special.ndtri((1 - level) / 2))
        effects = []
        for estimate, slopes in ((dp * s, ([s, dp / 2], [-s, dp / 2])), (ds * p, ([ds / 2, p], [ds / 2, -p]))):
            error = float(sum(np.array(g) @ v @ np.array(g) for g, v in zip(slopes, variances, strict=True))) ** 0.5
            p_value = float(2 * special.ndtr(-abs(estimate) / error)) if error > 0 else 1.0
            effects.append(Effect(estimate, estimate - z * error, estimate + z * error, p_value, "delta", level))
        return {self.counts: effects[0], self.name: effects[1]}

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:  # noqa: ARG002 - as for every metric
        """Sums of numerator and denominator."""
        sums = [cells["people"] * cells[f"{self.name}_{part}_mean"] for part in self.parts]
        return sums[0], sums[1]


@dataclass(frozen=True)
class ShareOfSum(Ratio):
    """Share of one sum in another that it is part of, such as of the money of orders what was refunded.

    The error that the delta method gives such a share rises and falls with the share itself where money has a heavy
    tail, so that its intervals end too soon on one side. Here each arm counts as so many orders of one size as its
    denominators are worth, ``(sum x)² / sum x²`` (Kish 1965), and is compared as counts are. Where clusters were
    assigned, or a share lies outside [0, 1], it is the ratio that it is otherwise.

    Examples
    --------
    >>> share = ShareOfSum("refunds", "refunded", denominator="gross")
    >>> row = {"people": 1000, "refunds_numerator_mean": 1, "refunds_denominator_mean": 10, "refunds_covariance": 9.9}
    >>> row |= {"refunds_numerator_variance": 99, "refunds_denominator_variance": 900}  # a tenth bought, for 100 each
    >>> ready = share.prepare({"A": row})["A"]
    >>> round(ready["refunds_mean"], 3), round(ready["refunds_worth"])
    (0.1, 100)
    """

    unit: str = "share"

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Add each arm's ratio, its variance, and how many orders of one size it is worth."""
        m = self._joint(arms)
        squares = m["vx"] * (m["n"] - 1) / m["n"] + m["x"] ** 2
        worth = m["n"] * np.divide(m["x"] ** 2, squares, out=np.zeros(len(squares)), where=squares > 0)
        ready = super().prepare(arms)
        return {
            arm: {**row, f"{self.name}_worth": float(n)} for (arm, row), n in zip(ready.items(), worth, strict=True)
        }

    def _count(self, row: Row) -> tuple[float, float] | None:
        """Part and whole as counts; None where they are none."""
        share, worth = float(row[f"{self.name}_mean"]), float(row[f"{self.name}_worth"])
        if row.get("clusters", 0) or not 0 <= share <= 1 or not worth > 0:
            return None
        return share * worth, worth

    def _counts(self, treatment: Row, control: Row) -> tuple[float, float, float, float] | None:
        first, second = self._count(treatment), self._count(control)
        return None if first is None or second is None else (*first, *second)

    def arm(self, row: Row, level: float) -> Arm:
        """Share with Wilson's interval."""
        arm, count = super().arm(row, level), self._count(row)
        if count is None:
            return arm
        limits = proportion_interval(*count, level).iloc[0]
        error = (arm.value * (1 - arm.value) / count[1]) ** 0.5
        return replace(arm, lower=float(limits["lower"]), upper=float(limits["upper"]), error=error)

    def varies(self, treatment: Row, control: Row) -> bool:
        """Whether both have a denominator, and anything varies where they are no counts."""
        return self._counts(treatment, control) is not None or super().varies(treatment, control)

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Miettinen and Nurminen's inverted score test."""
        counts = self._counts(treatment, control)
        if counts is None:
            return super().difference(treatment, control, level, null)
        return proportion_difference(*counts, level, null=null)

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Invert the same score test on the relative scale."""
        counts = self._counts(treatment, control)
        if counts is None or counts[0] + counts[2] == 0:
            return super().ratio(treatment, control, level)
        return proportion_ratio(*counts, level)

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest rise over the control's share."""
        counts = self._counts(treatment, control)
        if counts is None:
            return super().detectable(treatment, control, power, alpha)
        return detectable_difference(counts[2] / counts[3], counts[1], counts[3], power, alpha)
