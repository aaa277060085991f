"""The one shape in which a comparison of two groups is reported."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

__all__ = ["Effect"]


@dataclass(frozen=True)
class Effect:
    """An estimated effect with the interval and the p-value that come from one and the same test.

    The interval holds exactly those values that the test does not reject at ``1 - level``; so ``p_value < 1 - level``
    and "the interval leaves ``null`` out" are the same statement.

    Attributes
    ----------
    estimate : float
        The effect, first group against second.
    lower, upper : float
        Two-sided confidence limits at ``level``.
    p_value : float
        Two-sided p-value of the hypothesis that the effect equals ``null``.
    method : str
        The test that was inverted.
    level : float
        Confidence level of the interval.
    null : float
        The value that ``p_value`` tests.

    Examples
    --------
    >>> effect = Effect(0.12, 0.05, 0.19, 0.001, "welch")
    >>> effect.significant, list(effect.table)
    (True, ['estimate', 'lower', 'upper', 'p_value', 'method', 'level', 'null'])
    """

    estimate: float
    lower: float
    upper: float
    p_value: float
    method: str
    level: float = 0.95
    null: float = 0.0

    @property
    def significant(self) -> bool:
        """Whether ``null`` is rejected at ``1 - level``."""
        return self.p_value < 1 - self.level

    @property
    def table(self) -> pd.DataFrame:
        """The same as a frame of one row."""
        return pd.DataFrame([asdict(self)])

    def _repr_html_(self) -> str:
        return self.table.to_html(border=0, index=False, float_format=lambda v: f"{v:.4g}")
