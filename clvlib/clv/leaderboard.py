"""Many scored forecasts become a leaderboard: pooled figures, paired intervals, the choice and its sentence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.scores import BrierParts, brier_parts, pit_test
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.resample import interval_of_draws
from clvlib.words import in_words, mark, tr, trn

__all__ = ["FINE", "GROUPS", "PIT_BINS", "Leaderboard", "Score", "Standing", "leaderboard", "sentence", "standing"]

Array = NDArray[np.float64]

GROUPS = 1024  # customers are resampled in this many groups: the standard error is then known to 2%
PIT_BINS = 10
FINE = 1000  # steps of the square root of P(active), from which even groups are made at the end
_FEWEST_GROUPS = 20  # fewer customers say nothing about chance between them
_UNEVEN = 0.1  # bins of the PIT off by more than this part, in the mean, are worth a word
_SIGNS = {"log_score": 1.0, "crps": -1.0}
# by what differences are counted in, and whether there is an interval
_LEADS = {
    ("log_score", True): mark(
        "{difference:.3g} nats per customer ({level:.0%} interval {lower:.3g} to {upper:.3g}), that is, it gave what "
        "each did {times:.3g} times the probability"
    ),
    ("log_score", False): mark("{difference:.3g} nats per customer, from too few customers for an interval"),
    ("crps", True): mark("{difference:.3g} purchases per customer ({level:.0%} interval {lower:.3g} to {upper:.3g})"),
    ("crps", False): mark("{difference:.3g} purchases per customer, from too few customers for an interval"),
}


class Score(NamedTuple):
    """What is kept of a forecast once it is scored; sums, so that origins can be pooled."""

    groups: Array  # by group: customers, log score, CRPS, PIT bins
    figures: dict[str, float]
    active: Array  # by fine bin: customers, sum of P(active), buyers
    gains: Array
    parameters: int
    converged: bool


class Leaderboard(NamedTuple):
    """What :class:`clvlib.clv.backtest.Backtest` shows, and the models that nothing clearly beats, simplest first."""

    table: pd.DataFrame
    origins: pd.DataFrame
    calibration: pd.DataFrame
    active: pd.DataFrame
    gains: pd.DataFrame
    reference: str
    unbeaten: list[str]


class Standing(NamedTuple):
    """Names, the best first; those that nothing clearly beats, simplest first; scores; and their bootstrap draws."""

    order: list[str]
    unbeaten: list[str]
    score: pd.Series
    drawn: Array


def standing(
    groups: Mapping[str, Array],
    parameters: Mapping[str, int],
    level: float,
    draws: int,
    seed: int | np.random.Generator,
) -> Standing:
    """Compare each model to the best, from customers and the sum of their scores (higher is better) by group."""
    score = pd.Series({name: each[:, 1].sum() / each[:, 0].sum() for name, each in groups.items()}, dtype=float)
    score.index.name = "model"
    drawn = _resampled(list(groups.values()), draws, seed)
    order = [str(name) for name in score.sort_values(ascending=False, kind="stable").index]
    behind = _differences(score, drawn, order[0], level)["verdict"]
    unbeaten = [name for name in order if behind[name] != "worse"]
    return Standing(order, sorted(unbeaten, key=lambda name: parameters[name]), score, drawn)


def leaderboard(
    scores: Mapping[tuple[dt.date, str], Score],
    baselines: set[str],
    by: str,
    level: float,
    draws: int,
    seed: int | np.random.Generator,
) -> Leaderboard:
    """Pool origins, compare each model to the best baseline and to the leader, and sort."""
    pooled: dict[str, list[Score]] = {}
    for (_, name), score in scores.items():
        pooled.setdefault(name, []).append(score)
    names, sign = list(pooled), _SIGNS[by]
    rows = {key: _row([score]) for key, score in scores.items()}
    origins = pd.DataFrame(rows.values(), index=pd.MultiIndex.from_tuples(list(rows), names=["origin", "model"]))
    origins["converged"] = [score.converged for score in scores.values()]

    plain = pd.DataFrame([_row(group) for group in pooled.values()], index=pd.Index(names, name="model"))
    column = 1 if by == "log_score" else 2
    groups = {name: np.sum([score.groups for score in group], axis=0) for name, group in pooled.items()}
    parameters = {name: group[0].parameters for name, group in pooled.items()}
    signed = {name: np.stack([each[:, 0], sign * each[:, column]], axis=1) for name, each in groups.items()}
    found = standing(signed, parameters, level, draws, seed)
    of_baselines = found.score[[name in baselines for name in names]]
    reference = str(of_baselines.index[int(of_baselines.argmax())])
    better = _differences(found.score, found.drawn, reference, level)
    ahead = {name: np.array([sign * row[by] for (_, own), row in rows.items() if own == name]) for name in names}
    better["won"] = [int((ahead[name] > ahead[reference]).sum()) for name in names]
    kind = pd.DataFrame({"baseline": [name in baselines for name in names]}, index=plain.index)
    kind["parameters"] = list(parameters.values())
    table = pd.concat([kind, plain.iloc[:, :2], better, plain.iloc[:, 2:]], axis=1)
    order = found.order
    return Leaderboard(
        table=table.loc[order],
        origins=origins,
        calibration=pd.concat({name: _pit_frame(pooled[name]) for name in order}, names=["model"]),
        active=_active_frame({name: pooled[name] for name in order}, level),
        gains=pd.concat({name: _gains_frame(pooled[name]) for name in order}, names=["model"]),
        reference=reference,
        unbeaten=found.unbeaten,
    )


def _row(scores: Sequence[Score]) -> dict[str, float]:
    """Pool origins."""
    total: dict[str, float] = {}
    for score in scores:
        for name, value in score.figures.items():
            total[name] = total.get(name, 0.0) + value
    groups = np.sum([score.groups for score in scores], axis=0)
    sums = groups.sum(axis=0)
    n, actual = sums[0], total["actual"]
    active = np.sum([score.active for score in scores], axis=0)
    parts = _brier(active)
    row = {
        "log_score": sums[1] / n,
        "crps": sums[2] / n,
        "customers": n,
        "forecast": total["forecast"],
        "actual": actual,
        "bias": total["forecast"] / actual - 1 if actual else np.nan,
        "mae": total["absolute"] / n,
        "rmse": np.sqrt(total["squared"] / n),
        "wape": total["absolute"] / actual if actual else np.nan,
        "pit_gap": np.abs(sums[3:] / n * PIT_BINS - 1).mean(),
        "pit_p": pit_test(groups[:, 3:], groups[:, 0]),
        "brier": total["brier"] / n,
        "reliability": parts.reliability,
        "resolution": parts.resolution,
        "gini": _mean(np.array([score.figures["gini"] for score in scores])),
        "top_share": _mean(np.array([score.gains[10] for score in scores])),
    }
    row["top_lift"] = row["top_share"] / 0.1
    if "money_actual" in total:
        money = total["money_actual"]
        row["money_forecast"], row["money_actual"] = total["money_forecast"], money
        row["money_bias"] = total["money_forecast"] / money - 1 if money else np.nan
        row["money_mae"] = total["money_absolute"] / n
    return {name: float(value) for name, value in row.items()}


def _mean(values: Array) -> float:
    """Return the mean of the origins that have a figure."""
    told = values[np.isfinite(values)]
    return float(told.mean()) if len(told) else float("nan")


def _resampled(groups: Sequence[Array], draws: int, seed: int | np.random.Generator) -> Array:
    """Return bootstrap draws of each model's mean score, shape (draws, models); NaN where customers are too few."""
    there = groups[0][:, 0] > 0
    count = int(there.sum())
    if count < _FEWEST_GROUPS:
        return np.full((draws, len(groups)), np.nan)
    weight = (_weights if isinstance(seed, int) else _weights.__wrapped__)(count, draws, seed)
    sums = np.stack([model[there, 1] for model in groups], axis=1)
    return np.asarray((weight @ sums) / (weight @ groups[0][there, 0])[:, None])


@lru_cache(maxsize=1)
def _weights(count: int, draws: int, seed: int | np.random.Generator) -> Array:
    """Return how often each group is drawn; a ranking and the leaderboard after it ask for the same."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws).astype(float)


def _differences(score: pd.Series, drawn: Array, to: str, level: float) -> pd.DataFrame:
    """Return how much better than one of them each model scored, with its interval and what to call it."""
    at = list(score.index).index(to)
    frame = pd.DataFrame({"difference": score - score.iloc[at], "lower": np.nan, "upper": np.nan})
    if np.isfinite(drawn).all():
        limits = interval_of_draws(drawn - drawn[:, at][:, None], level)
        frame["lower"], frame["upper"] = limits["lower"].to_numpy(), limits["upper"].to_numpy()
    frame["verdict"] = np.select(
        [frame["lower"] > 0, frame["upper"] < 0], [mark("better"), mark("worse")], mark("no clear difference")
    )
    frame.loc[to, ["difference", "lower", "upper"]] = 0.0
    frame.loc[to, "verdict"] = mark("reference")
    return frame


# ---- the frames behind the figures


def _pit_frame(scores: Sequence[Score]) -> pd.DataFrame:
    sums = np.sum([score.groups.sum(axis=0) for score in scores], axis=0)
    edges = np.linspace(0, 1, PIT_BINS + 1)
    index = pd.RangeIndex(1, PIT_BINS + 1, name="bin")
    return pd.DataFrame({"left": edges[:-1], "right": edges[1:], "share": sums[3:] / sums[0]}, index=index)


def _even(customers: Array, groups: int = 10) -> NDArray[np.intp]:
    """Merge fine bins into groups of about as many customers each."""
    middle = np.cumsum(customers) - customers / 2
    return np.asarray(np.minimum((middle / customers.sum() * groups).astype(np.intp), groups - 1))


def _brier(active: Array) -> BrierParts:
    told = active[:, 0] > 0
    n, expected, bought = active[told].T
    return brier_parts(expected / n, bought / n, _even(n), n)


def _active_frame(pooled: Mapping[str, Sequence[Score]], level: float) -> pd.DataFrame:
    parts, keys = [], []
    for name, scores in pooled.items():
        active = np.sum([score.active for score in scores], axis=0)
        active = active[active[:, 0] > 0]
        sums = np.stack([np.bincount(_even(active[:, 0]), column) for column in active.T], axis=1)
        parts.append(sums[sums[:, 0] > 0])
        keys += [(name, group + 1) for group in range(len(parts[-1]))]
    index = pd.MultiIndex.from_tuples(keys, names=["model", "group"])
    frame = pd.DataFrame(np.concatenate(parts), index, ["customers", "expected", "actual"])
    limits = proportion_interval(frame["actual"], frame["customers"], level)
    return frame.assign(
        lower=limits["lower"],
        upper=limits["upper"],
        expected=frame["expected"] / frame["customers"],
        actual=frame["actual"] / frame["customers"],
    )


def _gains_frame(scores: Sequence[Score]) -> pd.DataFrame:
    curves = np.stack([score.gains for score in scores])
    told = curves[np.isfinite(curves).all(axis=1)]
    index = pd.Index(np.linspace(0, 1, curves.shape[1]).round(10), name="customers")
    return pd.DataFrame({"value": told.mean(axis=0) if len(told) else np.full(len(index), np.nan)}, index=index)


# ---- in words


def sentence(board: Leaderboard, by: str, span: str, level: float) -> str:
    """Say which model to use and why."""
    row = board.table.to_dict("index")[board.unbeaten[0]]
    said = [tr("{text}.", text=tr("; ").join(_reasons(board, by, span, level)))]
    off = row["bias"]
    if abs(off) < 0.005:
        said.append(tr("Its total was right."))
    elif np.isfinite(off):
        text = mark("Its total was {off:.0%} too high.") if off > 0 else mark("Its total was {off:.0%} too low.")
        said.append(tr(text, off=abs(off)))
    if row["pit_gap"] > _UNEVEN and row["pit_p"] < 0.01:
        said.append(tr("Its distributions are not calibrated, so distrust its intervals for single customers."))
    return reduce(lambda text, more: tr("{text} {more}", text=text, more=more), said)


def _reasons(board: Leaderboard, by: str, span: str, level: float) -> list[str]:
    """Return what speaks for the choice, a clause each."""
    rows, ties, origins = (
        board.table.to_dict("index"),
        board.unbeaten,
        board.origins.index.get_level_values(0).nunique(),
    )
    choice, leader = ties[0], str(board.table.index[0])
    basis = trn("over {n} forecast of {span}", "over {n} forecasts of {span}", origins, span=span)

    def lead(name: str) -> str:
        row = rows[name]
        figures = {key: row[key] for key in ("difference", "lower", "upper")}
        times = float(np.exp(row["difference"]))  # in the geometric mean, where the difference is one of log scores
        return tr(_LEADS[by, bool(np.isfinite(row["lower"]))], level=level, times=times, **figures)

    names = {"choice": in_words(choice), "leader": in_words(leader), "reference": in_words(board.reference)}
    if rows[choice]["baseline"]:
        said = [tr("Use {choice}: {basis} no model clearly beats this simple rule", **names, basis=basis)]
        if leader != choice:
            text = mark("{leader} scores best, ahead of {reference} by {lead}")
            said.append(tr(text, **names, lead=lead(leader)))
        return said
    text = mark("Use {choice}: {basis} it beats the best simple rule, {reference}, by {lead}")
    said = [tr(text, **names, basis=basis, lead=lead(choice))]
    if leader != choice:
        said.append(tr("{leader} scores a little better, within chance, with more parameters", **names))
    others = [in_words(name) for name in ties if name not in {choice, leader}]
    if others:
        said.append(tr("{names} cannot be told apart from the best", names=tr(", ").join(others)))
    return said
