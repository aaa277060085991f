"""What an experiment asks of a metric, whatever it measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pandas as pd

from clvlib.abtest.clusters import Columns
from clvlib.stats.effect import Effect

if TYPE_CHECKING:
    from clvlib.abtest.mean import Winsorised
    from clvlib.abtest.ratio import Ratio

__all__ = ["Arm", "Metric", "Row"]

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """One arm's value of one metric.

    Attributes
    ----------
    n : int
        People.
    total : float
        Sum of the metric over them: conversions, revenue.
    value : float
        Per person.
    lower, upper : float
        Confidence limits of ``value``; missing where nothing varies.
    error : float
        Standard error of ``value``.
    """

    n: int
    total: float
    value: float
    lower: float
    upper: float
    error: float


class Metric(Protocol):
    """What an experiment asks of a metric."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def unit(self) -> str:
        """Share, money or number."""
        ...

    @property
    def better(self) -> str:
        """Which way is good, higher or lower."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Tables, or columns written ``table.column``, without which it cannot be measured."""
        ...

    @property
    def family(self) -> str:
        """Distribution of an arm's value for those who have a prior: beta (of counts) or normal."""
        ...

    @property
    def per(self) -> Ratio | None:
        """Return the ratio by which a difference is split, if there is one."""
        ...

    @property
    def capped(self) -> Mapping[str, Winsorised]:
        """The same metric without its largest values, by how it is called in columns beside the metric's own."""
        ...

    def values(self) -> tuple[str, ...]:
        """SQL expressions that must have a finite value for everybody."""
        ...

    def aggregates(self) -> dict[str, str]:
        """SQL aggregates over people, by the name under which they come back."""
        ...

    def merge(self, rows: Columns) -> dict[str, float]:
        """Aggregates of several groups that do not overlap, from theirs."""
        ...

    def clustered(self) -> Metric:
        """The same where clusters were assigned and not people."""
        ...

    def totals(self, cells: pd.DataFrame, arm: Row) -> tuple[pd.Series, pd.Series]:
        """Of each cell what is summed up, and the sum that it is divided by; ``arm`` is any arm, prepared."""
        ...

    def prepare(self, arms: Mapping[str, Row]) -> dict[str, Row]:
        """Add to each arm's aggregates what follows from those of all arms."""
        ...

    def arm(self, row: Row, level: float) -> Arm:
        """One arm's value with its interval."""
        ...

    def varies(self, treatment: Row, control: Row) -> bool:
        """Whether there is anything that a test could weigh."""
        ...

    def difference(self, treatment: Row, control: Row, level: float, null: float = 0.0) -> Effect:
        """Treatment less control."""
        ...

    def ratio(self, treatment: Row, control: Row, level: float) -> Effect:
        """Treatment over control, by the same test."""
        ...

    def detectable(self, treatment: Row, control: Row, power: float, alpha: float) -> float:
        """Smallest difference that arms of these sizes find with ``power``."""
        ...
