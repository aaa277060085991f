"""Customer summaries, checked once and reduced to their distinct histories.

Every model works on :class:`Cells`: the distinct rows of the columns that it needs, how many customers share each, and
the way back to the customers. Cost then grows with the number of distinct histories, not of customers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.errors import DataError, EmptyDataError, MissingColumnError, ParameterError
from clvlib.words import mark, tr

__all__ = ["PERIODS_PER_YEAR", "Cells", "distinct_levels", "periods_per_year", "unit_of"]

Array = NDArray[np.float64]

PERIODS_PER_YEAR = {"h": 8766.0, "D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}

_COUNTS = {"frequency"}
_FEW = 50_000  # below, reducing to distinct histories costs nothing worth saving
_ROOM = 4  # whole numbers below so many times the rows are counted, not sorted
_GRAINS = (1, 7, 100)  # whole numbers, days in weeks, cents
_SOME = 1000  # values that show whether a grain is worth a try
_FINE = 0.2  # share of different values from which a column is taken for continuous
_DEGREES = 16  # Chebyshev nodes between two powers of 2: 4 × 4 in _moved
_SLACK = 1e-9  # recency may exceed T by rounding


def unit_of(summary: pd.DataFrame) -> str:
    """Return the time unit that a summary carries in ``attrs["clvlib"]["unit"]``; empty when it carries none."""
    return str(summary.attrs.get("clvlib", {}).get("unit", ""))


def periods_per_year(unit: str) -> float:
    """Return how many time units one year has.

    Raises
    ------
    ParameterError
        When the unit is unknown or empty.

    Examples
    --------
    >>> round(periods_per_year("W"), 2)
    52.18
    """
    if unit not in PERIODS_PER_YEAR:
        raise ParameterError(
            f"the time unit {unit!r} is not known; use one of {', '.join(PERIODS_PER_YEAR)}, in the summary's "
            "attrs['clvlib']['unit'] or as an argument"
        )
    return PERIODS_PER_YEAR[unit]


@dataclass(frozen=True)
class Cells:
    """Distinct histories.

    Attributes
    ----------
    columns : mapping of str to array
        The distinct values, one array per column, all of one length.
    weight : array
        How many customers share each history.
    index : pandas.Index
        The rows of the summary.
    inverse : array of int
        For each row of the summary, the position of its history.
    rows : array
        How many customers each row of the summary stands for (1 unless the summary has a column ``n``).
    """

    columns: Mapping[str, Array]
    weight: Array
    index: pd.Index
    inverse: NDArray[np.intp]
    rows: Array

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def customers(self) -> float:
        """Number of customers behind the histories."""
        return float(self.weight.sum())

    def mean(self, name: str) -> float:
        """Return a column's mean over customers, by a sum in one thread: BLAS would wake others, which spin on."""
        return float(np.einsum("i,i->", self.weight, self[name])) / self.customers

    def expand(self, values: Array) -> Array:
        """Return one value per row of the summary from one value per history."""
        return values[self.inverse]

    @cached_property
    def histogram(self) -> tuple[Array, NDArray[np.intp], Array]:
        """Distinct frequencies, the position of each history's among them, and how many customers have each.

        What depends on the frequency alone is worth computing once per frequency, not once per history.
        """
        levels, code = distinct_levels(self["frequency"])
        return levels, code, np.bincount(code, weights=self.weight).astype(float)

    def take(self, where: NDArray[np.intp] | slice) -> Cells:
        """Return some of the histories, without the way back to the customers."""
        chosen = {name: values[where] for name, values in self.columns.items()}
        weight = self.weight[where]
        return Cells(chosen, weight, pd.RangeIndex(len(weight)), np.arange(len(weight)), weight)

    def blocks(self, size: int = 1 << 13) -> Iterator[Cells]:
        """Yield the histories in blocks that fit the processor's cache.

        They are also short enough for BLAS to stay in one thread: threads that wait for each other over short vectors
        cost several times the work itself.
        """
        if len(self) <= size:
            yield self
            return
        for first in range(0, len(self), size):
            yield self.take(slice(first, first + size))

    def part(self, size: int) -> Cells:
        """Return about so many of the histories, evenly spaced."""
        return self.take(np.arange(0, len(self), max(len(self) // size, 1)))

    def pooled(self) -> Cells:
        """Return fewer histories over which a smooth likelihood has the same sum.

        Customers without a repeat purchase differ in T alone. Where their log-likelihood has its singularities at
        negative times (T = −α), it is a polynomial of degree 15 between two powers of 2, to 1e-12, so that its sum over
        very many of them is a weighted sum over 16 Chebyshev nodes (the weights may be negative). Histories of whole
        numbers, where time may be discrete, stay as they are.
        """
        T = self["T"] if set(self.columns) == {"frequency", "recency", "T"} else np.zeros(0)
        if len(T) < _FEW or (np.floor(T) == T).all():
            return self
        lone = np.flatnonzero((self["frequency"] == 0) & (T > 0))
        mantissa, exponent = np.frexp(T[lone])
        least = int(exponent.min(initial=0))
        many = np.bincount(exponent - least) > 4 * _DEGREES
        lasting = np.ones(len(self), dtype=bool)
        lasting[lone[many[exponent - least]]] = False
        kept = np.flatnonzero(lasting)
        x = self["frequency"][kept]
        short = x.astype(np.min_scalar_type(int(x.max(initial=0.0))))  # short integers are sorted by radix
        kept = kept[np.argsort(short, kind="stable")]  # blocks then have few x each
        node = np.cos(np.pi * (np.arange(_DEGREES) + 0.5) / _DEGREES)
        times, weights = [T[kept]], [self.weight[kept]]
        for number in np.flatnonzero(many) + least:
            rows = exponent == number
            times.append(np.ldexp((node + 3) / 4, number))
            weights.append(_moved(4 * mantissa[rows] - 3, self.weight[lone[rows]], node))
        weight = np.concatenate(weights)
        columns = {name: np.zeros(len(weight)) for name in self.columns} | {"T": np.concatenate(times)}
        for name in ("frequency", "recency"):
            columns[name][: len(kept)] = self[name][kept]
        return Cells(columns, weight, pd.RangeIndex(len(weight)), np.arange(len(weight)), weight)

    @classmethod
    def of(cls, **columns: float | Array | Sequence[float]) -> Cells:
        """Return histories from plain arrays or numbers, one customer each, unchecked."""
        arrays = np.broadcast_arrays(*[np.atleast_1d(np.asarray(values, dtype=float)) for values in columns.values()])
        ones = np.ones(len(arrays[0]))
        named = dict(zip(columns, arrays, strict=True))
        return cls(named, ones, pd.RangeIndex(len(ones)), np.arange(len(ones)), ones)

    @classmethod
    def read(cls, summary: pd.DataFrame, names: Sequence[str]) -> Cells:
        """Check a summary and reduce it to its distinct histories, in an order that its rows do not decide.

        A large summary whose times or amounts are continuous is left as it is: there is nothing to reduce.

        Parameters
        ----------
        summary : pandas.DataFrame
            Index customer_id; the columns ``names``, and optionally ``n``, the customers that a row stands for.
        names : sequence of str
            The columns that matter.

        Raises
        ------
        MissingColumnError, EmptyDataError, DataError
            When a column is absent, no customer is there, or a value cannot be (the message names the first).
        """
        _check_frame(summary, names)
        values = {name: _numbers(summary, name) for name in names}
        rows = _numbers(summary, "n") if "n" in summary else np.ones(len(summary))
        _check_values(values, summary.index)
        if not rows.sum() > 0:
            raise EmptyDataError(tr("the summary's column n adds up to no customer at all"))
        if _is_continuous(values):
            return cls(values, rows, summary.index, np.arange(len(rows)), rows)
        row, inverse = _distinct(list(values.values()))
        weight = np.bincount(inverse, weights=rows).astype(float)
        return cls({name: v[row] for name, v in values.items()}, weight, summary.index, inverse, rows)


def _moved(z: Array, weight: Array, node: Array) -> Array:
    """Return weights at Chebyshev nodes under which polynomials have the sum that they have under weights at z."""
    product = np.zeros((4, 4))  # of T_4i and T_j: T_4i+j = 2 T_4i T_j − T_4i−j
    for first in range(0, len(z), 1 << 13):
        part, w = z[first : first + (1 << 13)], weight[first : first + (1 << 13)]
        double = 2 * part * part - 1
        fourth = 2 * double * double - 1
        eighth = 2 * fourth * fourth - 1
        coarse = np.stack([np.ones_like(part), fourth, eighth, (2 * eighth - 1) * fourth])
        product += coarse @ (np.stack([np.ones_like(part), part, double, (2 * double - 1) * part]) * w).T
    moments = product.ravel()
    for degree in (5, 6, 7, 9, 10, 11, 13, 14, 15):
        moments[degree] = 2 * moments[degree] - moments[degree - 2 * (degree % 4)]
    moments[0] /= 2
    return np.cos(np.arccos(node)[:, None] * np.arange(len(node))) @ moments * (2 / len(node))


def _is_continuous(values: Mapping[str, Array]) -> bool:
    """Whether times or amounts are so fine that most histories are their own: reducing them would cost, not save."""
    measured = [column for name, column in values.items() if name not in _COUNTS and len(column) >= _FEW]
    return any(len(pd.unique(column[:: len(column) // _FEW])) > _FINE * _FEW for column in measured)


def _ranked(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the distinct values, none of them below 0, in order, and the position of each value among them."""
    top = values.max(initial=0)
    if values.dtype == np.intp and top < _ROOM * len(values):  # counting is ten times faster than sorting
        seen = np.zeros(top + 1, dtype=bool)
        seen[values] = True
        code, found = values, np.flatnonzero(seen)
        place = found
    else:
        code, found = pd.factorize(values)
        place = np.argsort(found)
        found = found[place]
    rank = np.empty(place.max(initial=-1) + 1, dtype=np.intp)
    rank[place] = np.arange(len(place))
    return found, rank[code]


def distinct_levels(values: Array) -> tuple[Array, NDArray[np.intp]]:
    """Return the distinct values of a column, in order, and the position of each value among them."""
    top, some = values.max(initial=0.0), values[:: max(len(values) // _SOME, 1)]
    for grain in _GRAINS:
        if top * grain < _ROOM * len(values) and (np.rint(some * grain) / grain == some).all():
            whole = np.rint(values * grain)
            if (whole / grain == values).all():
                found, code = _ranked(whole.astype(np.intp))
                return found / grain, code
    return _ranked(values)


def _distinct(columns: Sequence[Array]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return a row of each distinct combination, in sorted order, and the combination of every row."""
    found, codes = distinct_levels(columns[0])
    size = len(found)
    for values in columns[1:]:
        if size > _ROOM * len(codes):  # products of numbers of levels stay far below 2^63
            found, codes = _ranked(codes)
            size = len(found)
        levels, code = distinct_levels(values)
        codes *= len(levels)
        codes += code
        size *= len(levels)
    found, codes = _ranked(codes)
    row = np.empty(len(found), dtype=np.intp)
    row[codes] = np.arange(len(codes))
    return row, codes


def _check_frame(summary: pd.DataFrame, names: Sequence[str]) -> None:
    if not isinstance(summary, pd.DataFrame):
        raise ParameterError(f"a customer summary is a DataFrame; found {type(summary).__name__}")
    absent = [name for name in names if name not in summary]
    if absent:
        raise MissingColumnError(
            f"the summary lacks {', '.join(absent)}; it has {', '.join(map(str, summary.columns))}. "
            "shop.customer_summary() makes one that fits"
        )
    if repeated := [name for name in names if isinstance(summary[name], pd.DataFrame)]:
        raise DataError(f"the summary has more than one column of the name {', '.join(repeated)}")
    if not len(summary):
        raise EmptyDataError(tr("the summary has no customer; is as_of before the first order?"))


def _numbers(summary: pd.DataFrame, name: str) -> Array:
    column = summary[name]
    try:
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiu":  # no detour over missing values
            values = column.to_numpy().astype(float)
        else:
            values = column.to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"summary.{name} is not numeric: {error}") from error
    _refuse(~np.isfinite(values), values, name, summary.index, mark("not finite numbers"))
    _refuse(values < 0, values, name, summary.index, mark("below zero"))
    return values


def _check_values(values: dict[str, Array], index: pd.Index) -> None:
    for name in _COUNTS & values.keys():
        _refuse(values[name] != np.floor(values[name]), values[name], name, index, mark("not whole numbers"))
    if "recency" in values and "T" in values:
        recency, T = values["recency"], values["T"]
        late = recency > T * (1 + _SLACK) + _SLACK
        _refuse(late, recency, "recency", index, mark("later than T, the end of observation"))
        values["recency"] = np.minimum(recency, T)
    if "recency" in values and "frequency" in values:
        lone = (values["frequency"] == 0) & (values["recency"] > 0)
        why = mark("above 0 although there was no repeat purchase")
        _refuse(lone, values["recency"], "recency", index, why)


def _refuse(bad: NDArray[np.bool_], values: Array, name: str, index: pd.Index, why: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        text = mark(
            "summary.{name}: {n:,} of {total:,} rows are {why}, first {value:g} for customer {who!r}; set them aside "
            "or mend them before fitting"
        )
        figures = {"n": int(bad.sum()), "total": len(values), "value": values[at]}
        raise DataError(tr(text, name=name, why=tr(why), who=index[at], **figures))
