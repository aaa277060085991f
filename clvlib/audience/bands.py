"""Bands of age: whole years, the last year of a period less the year of birth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from clvlib.data.engine import literal
from clvlib.errors import ParameterError
from clvlib.words import mark

__all__ = ["BANDS", "band_names", "band_sql", "edges_of"]

BANDS = (18, 26, 36, 46, 56)
_ENDS = {18: mark("under 18"), 56: mark("56 and over")}  # of the bands above, so that they are in the catalogue


def edges_of(bands: Sequence[int]) -> list[int]:
    """Return the ages at which bands begin, checked.

    Raises
    ------
    ParameterError
        They do not rise.
    """
    edges = [int(edge) for edge in bands]
    if not edges or edges != sorted(set(edges)):
        raise ParameterError(f"bands: {list(bands)} are not ages in rising order, such as (18, 26, 36)")
    return edges


def band_names(edges: list[int]) -> list[str]:
    """Name the bands.

    >>> band_names([18, 26, 36])
    ['under 18', '18–25', '26–35', '36 and over']
    """
    inner = [f"{low}–{high - 1}" for low, high in pairwise(edges)]
    first, last = edges[0], edges[-1]
    lowest = _ENDS[18] if first == 18 else f"under {first}"
    return [lowest, *inner, _ENDS[56] if last == 56 else f"{last} and over"]


def band_sql(edges: list[int], year: int) -> str:
    """Return the SQL that turns ``birth_year`` into the name of a band in a given year; NULL where it is not known."""
    names = band_names(edges)
    pairs = zip(edges, names[:-1], strict=True)
    cases = " ".join(f"WHEN {year} - birth_year < {edge} THEN {literal(name)}" for edge, name in pairs)
    return f"CASE WHEN birth_year IS NULL THEN NULL {cases} ELSE {literal(names[-1])} END"
