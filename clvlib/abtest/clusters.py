"""People who were assigned together: what an error is worth that comes from the totals of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Clusters", "Columns", "covariance"]

Columns = Mapping[str, NDArray[np.float64]]  # of several groups that do not overlap; `cluster` where groups are of one
NAN = float("nan")


def covariance(rows: Columns, within: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Sample covariance of two columns over the union of groups, such that ``/ people`` gives that of their means.

    Parameters
    ----------
    rows : mapping of str to array
        ``people`` of each group; and ``cluster``, the number of the cluster that a group is part of, or -1 for people
        who were assigned one by one. With it, the covariance of the means is that of ratios of cluster totals by the
        delta method (Liang & Zeger 1986), each cluster's square enlarged for what it pulled the mean towards itself, as
        :class:`Clusters` says.
    within : array
        Sample covariance within each group.
    a, b : array
        Distances of each group's means from those of the union.
    """
    n = rows["people"]
    squares = (n - 1) * np.where(n > 1, within, 0.0) + n * a * b
    total = float(n.sum())
    if "cluster" not in rows:
        return float(squares.sum()) / (total - 1) if total > 1 else NAN
    clusters = Clusters.of(rows)
    if clusters.number <= 1:
        return NAN
    together = rows["cluster"] >= 0
    codes = rows["cluster"][together].astype(int)
    sums = [np.bincount(codes, (n * distance)[together], len(clusters.share)) for distance in (a, b)]
    alone = float(squares[~together].sum() / clusters.spread(np.array(1 / total)))
    return (alone + float((sums[0] * sums[1] / clusters.spread(clusters.share)).sum())) / total


@dataclass(frozen=True)
class Clusters:
    """The clusters of an arm, and what their number is worth.

    A large cluster pulls the arm's mean towards itself, so that its own distance from it is too small, and a few large
    ones know less than as many of one size. Both are put right as Bell & McCaffrey (2002) do, for clusters whose people
    resemble one another: the worst case, and of clusters of one size what G / (G - 1) and G - 1 degrees of freedom are.

    Attributes
    ----------
    share : array
        Share of the arm's people that each cluster has.
    alone, people : float
        People who belong to no cluster, each one of his own; and all.
    """

    share: NDArray[np.float64]
    alone: float
    people: float

    @classmethod
    def of(cls, rows: Columns) -> Clusters:
        """Read them from groups; see :func:`covariance`."""
        n, together = rows["people"], rows["cluster"] >= 0
        people = float(n.sum())
        sizes = np.bincount(rows["cluster"][together].astype(int), n[together])
        return cls(sizes / people, float(n[~together].sum()), people)

    @property
    def number(self) -> float:
        """Of clusters, and people who belong to none."""
        return float((self.share > 0).sum()) + self.alone

    def _sum(self, power: int) -> float:
        return float((self.share**power).sum()) + self.alone / self.people**power

    def spread(self, share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of the distance of a cluster's mean from the arm's, where cluster means have variance 1."""
        return 1 - 2 * share + self._sum(2)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the arm's squared error, after Satterthwaite; missing for a single cluster."""
        if self.number <= 1:
            return NAN
        q = self._sum(2)
        share = np.append(self.share, 1 / self.people)
        count = np.append(np.ones(len(self.share)), self.alone)
        weight = share**2 / self.spread(share)
        s0, s1, s2 = (float((count * weight * share**k).sum()) for k in range(3))
        own = float((count * weight**2 * (1 + 2 * q - 4 * share)).sum())
        spread = q * q * s0 * s0 + 2 * s0 * s2 - 4 * q * s0 * s1 + 2 * s1 * s1 + own
        return max(1.0, float(q * q / spread))  # at least 1, but for rounding
