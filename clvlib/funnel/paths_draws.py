"""Journeys drawn anew for intervals: people are what repeats, since one person's journeys resemble each other (F5)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from clvlib.data.engine import Table

__all__ = ["KINDS_SQL", "Drawn", "drawn_anew", "kinds_of"]

Floats = NDArray[np.float64]
_ROW, _FIELD = "\x1e", "\x1f"  # the separators of ASCII: no name has them
KINDS_SQL = f"""
    SELECT person_id, SUM(won * n) AS conversions,
           string_agg(path || '{_FIELD}' || won || '{_FIELD}' || n, '{_ROW}' ORDER BY path, won) AS kind
    FROM (SELECT person_id, path, won, COUNT(*) AS n FROM {{t}} AS w WHERE path IS NOT NULL GROUP BY 1, 2, 3) AS each
    GROUP BY person_id"""


def kinds_of(written: Table) -> pd.Series:
    """Count the people who made the same journeys: a row per kind, most frequent first."""
    found = written.query(
        f"SELECT kind, COUNT(*) AS people FROM ({KINDS_SQL}) AS k GROUP BY kind ORDER BY people DESC, kind"
    )
    return found.set_index("kind")["people"].astype(float)


class Drawn:
    """People drawn anew, and the journeys that they made.

    Attributes
    ----------
    people : ndarray, shape (draws, kinds)
        How many of each kind; only draws in which anybody converted.
    won, lost : ndarray, shape (draws, paths)
        Their journeys by path that convert and do not.
    shares : csr_array, shape (kinds, paths)
        How a kind's conversions are spread over the paths; empty rows where there are none.
    """

    def __init__(self, people: Floats, won: csr_array, lost: csr_array) -> None:
        converted = (won.T @ people.T).T
        some = converted.any(axis=1)
        self.people: Floats = people[some]
        self.won: Floats = converted[some]
        self.lost: Floats = (lost.T @ self.people.T).T
        each = np.asarray(won.sum(axis=1), dtype=float)
        self.shares = csr_array(won.multiply(1 / np.where(each > 0, each, 1)[:, None]))


def drawn_anew(paths: pd.DataFrame, kinds: pd.Series | None, draws: int, seed: int) -> Drawn:
    """Draw as many people as there are, with replacement.

    Parameters
    ----------
    paths : pandas.DataFrame
        ``path``, ``journeys``, ``conversions``.
    kinds : pandas.Series or None
        As of :func:`kinds_of`; without, each journey counts as a person of its own.
    draws, seed : int
        How many times, and of what.
    """
    won = paths["conversions"].to_numpy(dtype=float)
    if kinds is None:
        counts, n = np.concatenate([won, paths["journeys"].to_numpy(dtype=float) - won]), len(won)
        one = csr_array(eye_array(2 * n))
        first, second = csr_array(one[:, :n]), csr_array(one[:, n:])
    else:
        counts = kinds.to_numpy(dtype=float)
        first, second = _journeys(kinds.index, pd.Index(paths["path"]))
    total = int(counts.sum())
    people = np.random.default_rng(seed).multinomial(total, counts / counts.sum(), size=draws).astype(float)
    return Drawn(people, first, second)


def _journeys(kinds: pd.Index, paths: pd.Index) -> tuple[csr_array, csr_array]:
    """Read how many journeys of each path a person of each kind made, those that convert and the others."""
    rows = [(k, *each.split(_FIELD)) for k, kind in enumerate(kinds) for each in str(kind).split(_ROW)]
    kind, path, won, n = zip(*rows, strict=True)
    place, at = paths.get_indexer(pd.Index(path)), np.array(kind)
    flag, count = np.array(won).astype(int) == 1, np.array(n).astype(float)
    shape = (len(kinds), len(paths))
    first, second = (csr_array((count[side], (at[side], place[side])), shape) for side in (flag, ~flag))
    return first, second
