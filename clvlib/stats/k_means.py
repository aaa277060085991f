"""Groups of points around means, for many samples at once, and how far two groupings of the same points agree."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["adjusted_rand_index", "k_means", "nearest"]

Floats = NDArray[np.float64]
_TOLERANCE, _STEPS = 1e-4, 300  # of Lloyd's algorithm: how little centres move, in variances, when it is done
_AT_ONCE = 2000  # points of the samples that are worked on together, so that they stay in the processor's cache


def k_means(samples: Floats, number: int, starts: int = 5, seed: int = 0) -> Floats:
    """Find the centres of groups by k-means, for each of several samples of the same size.

    Lloyd's algorithm (IEEE Transactions on Information Theory 28, 1982) from seeds of greedy k-means++ (Arthur and
    Vassilvitskii, SODA 2007), with scikit-learn's draws and rule for stopping: the centres are those of
    ``sklearn.cluster.KMeans(number, n_init=starts, random_state=seed)``, without what a single fit costs there beside
    the arithmetic, which is most of it where points are few.

    Parameters
    ----------
    samples : numpy.ndarray, shape (samples, points, features)
        Coordinates; each sample has ``number`` different points or more.
    number : int
        Of groups.
    starts : int
        Seeds that are tried; the best result is kept.
    seed : int
        Of the draws.

    Returns
    -------
    numpy.ndarray, shape (samples, number, features)
        Centres.

    Examples
    --------
    >>> k_means(np.array([[[0.0], [1.0], [9.0], [11.0]]]), 2).tolist()
    [[[10.0], [0.5]]]
    """
    together = max(1, _AT_ONCE // samples.shape[1])
    blocks = [samples[i : i + together] for i in range(0, len(samples), together)]
    return np.concatenate([_best(block, number, starts, seed) for block in blocks])


def nearest(points: Floats, centers: Floats) -> NDArray[np.intp]:
    """Return the number of the centre that is nearest to each point.

    Parameters
    ----------
    points : numpy.ndarray, shape (points, features)
        Coordinates.
    centers : numpy.ndarray, shape (…, number, features)
        One set of centres, or several.

    Returns
    -------
    numpy.ndarray of int, shape (…, points)

    Examples
    --------
    >>> nearest(np.array([[0.0], [9.0]]), np.array([[10.0], [0.5]])).tolist()
    [1, 0]
    """
    return np.asarray(_scores(centers, _across(points)).argmin(axis=-2))


def adjusted_rand_index(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Tell how far two groupings of the same points agree beyond chance (Hubert and Arabie 1985, equation 5).

    Parameters
    ----------
    first, second : numpy.ndarray of int
        The group of each point, from 0 on.

    Returns
    -------
    float
        1 where they are the same, about 0 where they have no more in common than by chance.

    Examples
    --------
    >>> adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 2])).__round__(3)
    0.571
    """
    width = int(second.max()) + 1
    counts = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width).reshape(-1, width)
    both, one, other, pairs = (
        float((n * (n - 1)).sum()) for n in (counts, counts.sum(axis=1), counts.sum(axis=0), counts.sum())
    )
    chance = one * other / pairs if pairs else 0.0
    most = (one + other) / 2
    return (both - chance) / (most - chance) if most > chance else 1.0


def _best(samples: Floats, number: int, starts: int, seed: int) -> Floats:
    mean = samples.mean(axis=1, keepdims=True)
    placed = samples - mean
    across = np.repeat(_across(placed), starts, axis=0)
    squares = (placed**2).sum(axis=(1, 2))
    enough = np.repeat(_TOLERANCE * samples.var(axis=1).mean(axis=1), starts)
    centers = _lloyd(across, _seeds(across, number, starts, seed), enough)
    inertia = _scores(centers, across).min(axis=1).sum(axis=1).reshape(-1, starts) + squares[:, None]
    # starts that lead to the same groups differ by rounding: the first of them counts
    first = (inertia <= inertia.min(axis=1, keepdims=True) + 1e-9 * squares[:, None]).argmax(axis=1)
    return np.asarray(centers.reshape(len(samples), starts, number, -1)[np.arange(len(samples)), first] + mean)


def _across(points: Floats) -> Floats:
    """Points as columns, with a row of ones below."""
    turned = np.swapaxes(points, -1, -2)
    return np.concatenate([turned, np.ones_like(turned[..., :1, :])], axis=-2)


def _scores(centers: Floats, across: Floats) -> Floats:
    """Squared distances of points (columns) from centres (rows), less the squared norms of the points."""
    return np.concatenate([-2 * centers, (centers**2).sum(axis=-1, keepdims=True)], axis=-1) @ across


def _seeds(across: Floats, number: int, starts: int, seed: int) -> Floats:
    """Draw the first centres of each run, far from one another; the draws are the same for all samples."""
    runs, points = np.arange(len(across)), across.shape[2]
    trials = 2 + int(np.log(number))
    # the old generator, since these are scikit-learn's draws
    drawn = np.random.RandomState(seed).random_sample((starts, 1 + (number - 1) * trials))
    drawn = np.tile(drawn, (len(across) // starts, 1))
    placed = across[:, :-1]
    norms = (placed**2).sum(axis=1)[:, None]
    centers = np.empty((len(across), number, placed.shape[1]))
    tried = np.searchsorted(np.cumsum(np.full(points, 1 / points)), drawn[:, :1], side="right")
    near = np.full((len(runs), points), np.inf)
    for j in range(number):
        candidates = placed[runs[:, None], :, np.minimum(tried, points - 1)]
        distances = np.minimum(np.maximum(_scores(candidates, across) + norms, 0), near[:, None])
        best = distances.sum(axis=-1).argmin(axis=1)
        near, centers[:, j] = distances[runs, best], candidates[runs, best]
        summed = np.cumsum(near, axis=1)
        wanted = drawn[:, 1 + j * trials : 1 + (j + 1) * trials] * summed[:, -1:]
        tried = (summed[:, None] < wanted[..., None]).sum(axis=-1)
    return centers


def _lloyd(across: Floats, centers: Floats, enough: Floats) -> Floats:
    """Move the centres of each run to the means of the points nearest to them, until they rest."""
    centers, moving = centers.copy(), np.arange(len(centers))
    for _ in range(_STEPS):
        scores = _scores(centers[moving], across)
        least = scores.min(axis=1, keepdims=True)
        own = scores == least
        if np.count_nonzero(own) > least.size:
            own &= own.cumsum(axis=1) == 1  # of centres equally near, the first
        sums = own.astype(float) @ np.swapaxes(across, 1, 2)
        means = sums[..., :-1] / np.maximum(sums[..., -1:], 1)
        for run in np.flatnonzero((sums[..., -1] == 0).any(axis=1)):
            empty = np.flatnonzero(sums[run, :, -1] == 0)
            farthest = np.argsort(-least[run, 0] - (across[run, :-1] ** 2).sum(axis=0), kind="stable")
            means[run, empty] = across[run, :-1, farthest[: len(empty)]]
        goes_on = ((means - centers[moving]) ** 2).sum(axis=(1, 2)) > enough[moving]
        centers[moving] = means
        if not goes_on.all():
            moving, across = moving[goes_on], across[goes_on]
        if not len(moving):
            break
    return centers
