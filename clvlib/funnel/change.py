"""Why a step's rate moved: the rates within segments, the mix of the traffic, and the segment that stands out (F3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from clvlib.errors import EmptyDataError, ParameterError
from clvlib.funnel.kernel import FunnelResult
from clvlib.funnel.threshold import step_counts
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust
from clvlib.stats.proportions import proportion_difference, proportion_effects
from clvlib.words import mark, tr

__all__ = ["Change", "change"]

# whether the rate fell, and whether that may be chance
_MOVED = {
    (True, False): mark("{what} fell by {points:.1f} points to {rate:.1%}"),
    (False, False): mark("{what} rose by {points:.1f} points to {rate:.1%}"),
    (True, True): mark("{what} fell by {points:.1f} points to {rate:.1%}, which may be chance"),
    (False, True): mark("{what} rose by {points:.1f} points to {rate:.1%}, which may be chance"),
}


@dataclass(frozen=True)
class Change(Result):
    """The change of one step's rate between two periods, split exactly.

    ``table`` has a row per segment of each dimension, those that stand out most first: ``dimension``, ``segment``,
    ``before_then``, ``people_then``, ``before_now``, ``people_now``, ``rate_then``, ``rate_now``; ``difference`` with
    ``lower`` and ``upper``; ``rate_effect`` and ``mix_effect``, which over a dimension add up to the whole
    ``difference`` of the rate; ``z`` and ``p_value``: how unlike all others it moved (see
    :func:`change`).

    Attributes
    ----------
    step, before : str
        The step, and the one before it.
    rate_then, rate_now, difference, lower, upper, p_value : float
        The rates in the earlier and the later period; their difference with interval and p-value (score test of
        Miettinen & Nurminen). People of both periods count in both; that makes the interval a little too wide.
    rate_effect, mix_effect : float
        What the rates within segments and the mix of segments contributed, for the dimension of ``segment``, or where
        none stands out, the first one.
    segment, dimension : str
        The segment that stands out, and what defines it; empty when none does at the funnel's level.
    """

    step: str
    before: str
    rate_then: float
    rate_now: float
    difference: float
    lower: float
    upper: float
    p_value: float
    rate_effect: float
    mix_effect: float
    segment: str
    dimension: str

    @property
    def sentence(self) -> str:
        """What moved and why, in words."""
        fell, chance = self.difference < 0, self.lower <= 0 <= self.upper
        what = tr("{before} to {step}", before=tr(self.before), step=tr(self.step))
        told = tr(_MOVED[fell, chance], what=what, points=100 * abs(self.difference), rate=self.rate_now)
        if not self.segment:
            return tr("{moved}; no segment moved unlike the others", moved=told)
        row = self.table.iloc[0]
        effect = 100 * (row["rate_effect"] + row["mix_effect"])
        return tr(
            "{moved}; {segment} stands out ({then:.1%} to {now:.1%}) and makes up {effect} of the {whole} points",
            moved=told,
            segment=tr(self.segment),
            then=row["rate_then"],
            now=row["rate_now"],
            effect=f"{effect:+.1f}".replace("-", "−"),
            whole=f"{100 * self.difference:+.1f}".replace("-", "−"),
        )


def change(
    now: FunnelResult | Sequence[FunnelResult], then: FunnelResult | Sequence[FunnelResult], step: str
) -> Change:
    """Split the change of a step's rate from ``then`` to ``now``.

    The difference of two rates is, exactly, sum over segments of (mean share) × (change of rate) plus (change of share)
    × (mean rate - overall mean rate): the rate effect and the mix effect (Kitagawa 1955; the overall mean is taken off
    so that a segment of average rate contributes nothing by growing). A segment that exists in one period only has no
    change of rate: it counts as mix.

    A segment stands out when its odds changed by another factor than those of all other people: ``z`` is the difference
    of the two changes in log odds over its standard error (Woolf's, with half a person added to each count), and
    ``p_value`` is adjusted for all the segments looked at (Holm). Where the same people are behind the movement of
    several segments, say of a platform and of a category, the one with the largest ``z`` names it.

    Parameters
    ----------
    now, then : FunnelResult or sequence of FunnelResult
        The same funnel in two periods, by the same columns; a sequence has one per dimension looked at.
    step : str
        Any step but the first.

    Returns
    -------
    Change

    Raises
    ------
    ParameterError
        The two do not match, or there are no segments.
    EmptyDataError
        In one period nobody made the step before.
    """
    later = [now] if isinstance(now, FunnelResult) else list(now)
    earlier = [then] if isinstance(then, FunnelResult) else list(then)
    if not later or [r.by for r in later] != [r.by for r in earlier] or not all(r.by for r in later):
        raise ParameterError("change: both periods need funnels by the same columns, at least one; give them with by=")
    whole = _joined(step_counts(later[0], step, total=True), step_counts(earlier[0], step, total=True))
    if whole.empty or not (whole["before_then"].iloc[0] and whole["before_now"].iloc[0]):
        raise EmptyDataError(
            tr("in one of the periods nobody made the step before '{step}': there is no change to split", step=tr(step))
        )
    level = later[0].level
    pairs = zip(later, earlier, strict=True)
    parts = [_split(_joined(step_counts(a, step), step_counts(b, step))) for a, b in pairs]
    table = _with_limits(pd.concat(parts, ignore_index=True), level)
    table["p_value"] = adjust(table["p_value"].to_numpy()).to_numpy()
    table = table.sort_values(["p_value", "z"], key=_most_first, kind="stable", ignore_index=True)
    table.loc[table["p_value"].isna(), "p_value"] = 1.0
    top = table.iloc[0]
    found = bool(top["p_value"] < 1 - level)
    dimension = str(top["dimension"]) if found else " × ".join(later[0].by)
    effects = table.loc[table["dimension"] == dimension, ["rate_effect", "mix_effect"]].sum()
    n1, x1, n0, x0 = whole[["before_now", "people_now", "before_then", "people_then"]].iloc[0]
    total = proportion_difference(x1, n1, x0, n0, level)
    return Change(
        step=step, before=later[0].step_before(step),
        rate_then=x0 / n0, rate_now=x1 / n1, difference=total.estimate, lower=total.lower,
        upper=total.upper, p_value=total.p_value, rate_effect=float(effects["rate_effect"]),
        mix_effect=float(effects["mix_effect"]), segment=str(top["segment"]) if found else "",
        dimension=dimension if found else "", table=table,
    )  # fmt: skip


def _most_first(column: pd.Series) -> pd.Series:
    return -column.abs() if column.name == "z" else column


def _joined(now: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """Both periods side by side; a segment that one of them lacks has nobody there."""
    keys = ["dimension", "segment"]
    table = then.merge(now, on=keys, how="outer", suffixes=("_then", "_now"), sort=True)
    counts = [c for c in table.columns if c not in keys]
    table[counts] = table[counts].fillna(0).astype(np.int64)
    return table[table["before_then"].gt(0) | table["before_now"].gt(0)].reset_index(drop=True)


def _with_limits(table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Limits of the differences of all segments that are there in both periods."""
    both = table["before_then"].gt(0) & table["before_now"].gt(0)
    if both.any():
        some = table[both]
        now, then = (some["people_now"], some["before_now"]), (some["people_then"], some["before_then"])
        table.loc[both, ["lower", "upper"]] = proportion_effects(*now, *then, level)[["lower", "upper"]]
    return table


def _split(table: pd.DataFrame) -> pd.DataFrame:
    """Differences, effects and how far each segment stands out, within one dimension."""
    n0, x0 = table["before_then"].to_numpy(float), table["people_then"].to_numpy(float)
    n1, x1 = table["before_now"].to_numpy(float), table["people_now"].to_numpy(float)
    both = (n0 > 0) & (n1 > 0)
    r0 = np.divide(x0, n0, out=np.divide(x1, n1, out=np.zeros_like(x1), where=n1 > 0), where=n0 > 0)
    r1 = np.divide(x1, n1, out=r0.copy(), where=n1 > 0)
    w0, w1 = n0 / max(n0.sum(), 1), n1 / max(n1.sum(), 1)
    mean = (w0 @ r0 + w1 @ r1) / 2
    z = np.where(both, _stands_out(x0, n0, x1, n1), 0.0)
    return table.assign(
        rate_then=np.where(n0 > 0, r0, np.nan),
        rate_now=np.where(n1 > 0, r1, np.nan),
        difference=np.where(both, r1 - r0, np.nan),
        lower=np.nan,
        upper=np.nan,
        rate_effect=(w0 + w1) / 2 * (r1 - r0),
        mix_effect=(w1 - w0) * ((r0 + r1) / 2 - mean),
        z=z,
        p_value=2 * stats.norm.sf(np.abs(z)),
    )


def _stands_out(x0: np.ndarray, n0: np.ndarray, x1: np.ndarray, n1: np.ndarray) -> np.ndarray:
    """How much the log odds of each segment changed unlike those of the rest, in standard errors; 0 without a rest."""

    def log_odds_change(x0: np.ndarray, n0: np.ndarray, x1: np.ndarray, n1: np.ndarray) -> tuple[np.ndarray, ...]:
        cells = [x1 + 0.5, n1 - x1 + 0.5, x0 + 0.5, n0 - x0 + 0.5]
        odds = np.log(cells[0] / cells[1]) - np.log(cells[2] / cells[3])
        return odds, sum((1 / cell for cell in cells), np.zeros_like(x0))

    here, variance = log_odds_change(x0, n0, x1, n1)
    rest = (x0.sum() - x0, n0.sum() - n0, x1.sum() - x1, n1.sum() - n1)
    there, variance_there = log_odds_change(*rest)
    alone = (rest[1] == 0) | (rest[3] == 0)
    return np.where(alone, 0.0, (here - there) / np.sqrt(variance + variance_there))
