"""Weekly series and where they go: a level that wanders or returns, seen through chance of a known size."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["SEASONS", "YEAR", "Drift", "arrivals_drift", "lone", "season", "shared_drift"]

Array = NDArray[np.float64]

YEAR = 365.25 / 7  # in weeks
SEASONS = 2 * 52  # weeks from which a yearly season is learnt
_WINDOW = 26  # weeks that count; all of them once a season can be learnt
_HARMONICS = 6
_NEAR = 8  # weeks whose median a lone week is held against
_DAMPED = 0.97  # of a trend goes on from a coming week to the next
# how steep a trend may begin, how much it changes in a week, and how likely it is: none, a steady one, others
_TRENDS = ((0.0, 0.0, 0.4), (0.3, 0.0, 0.3), (0.3, 0.03, 0.2), (0.3, 0.1, 0.1))


class Drift(NamedTuple):
    """What is known of a weekly series at its end, over a grid of parameters.

    The state is a level and its slope, the series the level plus noise. ``weight`` says how likely each of G points of
    the grid is, given the series; ``moves`` (G, 2, 2) leads from a week's state to the next, to which come shocks of
    deviation ``shock`` (G, 2); ``mean`` (G, 2) and ``spread`` (G, 2, 2) are those of the state in the last week;
    ``noise`` (G,) is the deviation of a week by itself, ``coming`` the season of the weeks to come, ``residuals`` how
    far off each past week was, in deviations, at the likeliest point.
    """

    weight: Array
    moves: Array
    shock: Array
    mean: Array
    spread: Array
    noise: Array
    coming: Array
    residuals: Array

    def expected(self) -> Array:
        """Return the expected level of the coming weeks."""
        states, found = self.mean, []
        for _ in self.coming:
            states = np.einsum("gij,gj->gi", self.moves, states)
            found.append(self.weight @ states[:, 0])
        return np.asarray(found) + self.coming

    def paths(self, first: Array, rng: np.random.Generator) -> Array:
        """Draw the coming weeks; ``first``, of shape (draws, weeks), moves the weeks themselves.

        A week's own shock is that of its noise where there is some, else that of the level.
        """
        point = rng.choice(len(self.weight), len(first), p=self.weight)
        root = np.linalg.cholesky(self.spread + 1e-12 * np.eye(2))[point]
        state = self.mean[point] + np.einsum("nij,nj->ni", root, rng.standard_normal((len(first), 2)))
        moves, shock, noise = self.moves[point], self.shock[point], self.noise[point]
        noisy = bool(self.noise.any())
        weeks = []
        for own in first.T:
            other = rng.standard_normal((len(first), 2))
            level = other[:, 0] if noisy else own
            state = np.einsum("nij,nj->ni", moves, state) + shock * np.column_stack([level, other[:, 1]])
            weeks.append(state[:, 0] + noise * own)
        return np.stack(weeks, axis=1) + self.coming

    def level_error(self, weeks: int) -> float:
        """Return the deviation of the mean level of so many weeks: estimates made in them are off by as much."""
        memory, size = self.moves[:, 0, 0], self.shock[:, 0]
        lags = np.arange(1, max(weeks, 1))
        near = 1 + 2 * (np.power(memory[:, None], lags) * (1 - lags / max(weeks, 1))).sum(axis=1)
        return float(np.sqrt(self.weight @ (size**2 / (1 - memory**2) * near) / max(weeks, 1)))


def shared_drift(ratio: Array, chance: Array, weeks: int) -> Drift:
    """Learn how what all customers share in a week goes on: log(actual / expected), which returns to zero.

    A first-order autoregression seen through the chance of counts, whose variance is known: without that, chance would
    pass for a lack of memory. Its memory and the size of its shocks are averaged over what the series leaves open.

    Parameters
    ----------
    ratio : array
        Past weeks, the last last.
    chance : array
        Variance of each by chance.
    weeks : int
        How many are to come.
    """
    kept = slice(None) if len(ratio) >= SEASONS else slice(-_WINDOW, None)
    ratio, chance = ratio[kept], chance[kept]
    past, coming = season(ratio, weeks)
    level = float(np.log(np.exp(past).mean())) if len(past) else 0.0  # busy weeks and quiet ones make up the mean
    past, coming = past - level, coming - level
    memory, size = (each.ravel() for each in np.meshgrid(np.arange(0, 0.96, 0.05), 0.4 * np.linspace(0, 1, 21) ** 2))
    zero = np.zeros_like(memory)
    moves = np.stack([np.stack([memory, zero], -1), np.stack([zero, zero], -1)], -2)
    start = np.minimum(size**2 / (1 - memory**2), 1.0)
    prior = -0.5 * (size / 0.2) ** 2
    return _learnt(ratio - past, chance[None, :] + zero[:, None], moves, np.column_stack([size, zero]),
                   np.zeros((len(memory), 2)), start[:, None] * [1.0, 0.0], zero, coming, prior)  # fmt: skip


def arrivals_drift(values: Array, weeks: int) -> Drift:
    """Learn how the number of new customers goes on, on the scale 2 √(n + 3/8) on which chance has variance 1.

    A level that wanders, with a trend that fades (Gardner & McKenzie 1985); how fast either moves, and how much a week
    varies beyond chance, are averaged over what the last half-year leaves open: the rush of an opening years ago says
    nothing of that, only of the season.
    """
    values = values if len(values) >= SEASONS else values[-_WINDOW:]
    past, coming = season(values, weeks)
    grid = np.meshgrid([0, 0.5, 1, 2, 4], [0, 0.1, 0.3, 0.6, 1.2], np.arange(len(_TRENDS)))
    extra, level, kind = (each.ravel() for each in grid)
    begins, slope, likely = np.array(_TRENDS).T[:, kind.astype(np.int64)]
    one, zero = np.ones_like(extra), np.zeros_like(extra)
    noise = np.sqrt(1 + extra**2)
    rest = (values - past)[-_WINDOW:]
    start = np.column_stack([np.median(rest[:_NEAR]) * one, zero])
    prior = np.log(likely) - 0.5 * ((extra / 2) ** 2 + (level / 0.6) ** 2)
    found = _learnt(rest, (noise**2)[:, None] + np.zeros(len(rest)), _trending(one, one),
                    np.column_stack([level, slope]), start, np.column_stack([9 * one, begins**2]), noise, coming,
                    prior)  # fmt: skip
    return found._replace(moves=_trending(one, _DAMPED * one))


def _trending(one: Array, goes_on: Array) -> Array:
    """Return what leads from a level and its slope to those of the next week."""
    return np.stack([np.stack([one, one], -1), np.stack([0 * one, goes_on], -1)], -2)


def _learnt(
    values: Array, variance: Array, moves: Array, shock: Array, start: Array, wide: Array, noise: Array, coming: Array,
    prior: Array,
) -> Drift:  # fmt: skip
    """Follow a series at each point of the grid (Kalman 1960), and weigh the points by how likely they make it.

    Lone weeks tell nothing of where the level is.
    """
    mean, spread, score = start, wide[:, :, None] * np.eye(2), prior.astype(float)
    residuals = []
    for week, (value, alone) in enumerate(zip(values, lone(values, variance.min(axis=0)), strict=True)):
        mean = np.einsum("gij,gj->gi", moves, mean)
        spread = moves @ spread @ np.swapaxes(moves, 1, 2) + shock[:, :, None] ** 2 * np.eye(2)
        total = spread[:, 0, 0] + variance[:, week]
        off = value - mean[:, 0]
        residuals.append(off / np.sqrt(total))
        if alone:
            continue
        score -= 0.5 * (np.log(total) + off**2 / total)
        gain = spread[:, :, 0] / total[:, None]
        mean = mean + gain * off[:, None]
        spread = spread - gain[:, :, None] * spread[:, None, 0, :]
    weight = np.exp(score - score.max())
    weight /= weight.sum()
    found = np.asarray(residuals).T[weight.argmax()] if len(values) else np.zeros(0)
    # lone weeks did not move the level, but such weeks happen
    wider = np.sqrt(max(float((found**2).mean()), 1.0)) if len(found) else 1.0
    if noise.any():
        return Drift(weight, moves, shock, mean, spread, noise * wider, coming, found)
    return Drift(weight, moves, shock * [wider, 1.0], mean, spread, noise, coming, found)


def lone(values: Array, chance: ArrayLike = 0.0) -> NDArray[np.bool_]:
    """Return which weeks stand alone, far from those before them: a festival, or a week that was shut.

    Far is more than three robust deviations from the median of the eight weeks before (Hampel 1974), the deviation
    being that of all weeks from theirs, and no less than the variance ``chance`` has it; and the week after is not as
    far on the same side: then it is a change that lasts.

    >>> lone(np.array([9.0, 8, 9, 10, 9, 8, 9, 10, 8, 10, 9, 9, 30, 9, 8, 20, 21])).nonzero()[0].tolist()
    [12]
    """
    far = np.zeros(len(values))
    if len(values) > _NEAR:
        before = np.median(np.lib.stride_tricks.sliding_window_view(values, _NEAR)[:-1], axis=1)
        off = values[_NEAR:] - before
        usual = np.maximum(1.4826 * np.median(np.abs(off)), np.sqrt(np.broadcast_to(chance, values.shape)[_NEAR:]))
        far[_NEAR:] = np.sign(off) * (np.abs(off) > 3 * usual)
    return np.asarray((far != 0) & (far != np.append(far[1:], 0.0)) & (far != np.append(0.0, far[:-1])))


def season(values: Array, weeks: int) -> tuple[Array, Array]:
    """Return the yearly season of a weekly series and of the ``weeks`` after it; nothing below two years.

    Waves of a year and of its fractions, by least squares beside a straight line; how many, the corrected AIC decides
    (Hurvich & Tsai 1989), none among them.

    >>> season(np.ones(60), 4)[1].tolist()
    [0.0, 0.0, 0.0, 0.0]
    """
    n = len(values)
    if n < SEASONS:
        return np.zeros(n), np.zeros(weeks)
    best = (np.inf, np.zeros(n + weeks))
    time = np.arange(n + weeks)
    for count in range(_HARMONICS + 1):
        angle = 2 * np.pi * time[:, None] * np.arange(1, count + 1) / YEAR
        waves = np.hstack([np.sin(angle), np.cos(angle)])
        design = np.column_stack([np.ones(n + weeks), time / n, waves])
        weight = np.linalg.lstsq(design[:n], values, rcond=None)[0]
        k = design.shape[1] + 1
        error = max(float(((values - design[:n] @ weight) ** 2).mean()), 1e-12)
        score = n * np.log(error) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        best = min(best, (score, waves @ weight[2:]), key=lambda found: found[0])
    return best[1][:n], best[1][n:]
