"""How columns of text and numbers become covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.errors import DataError, MissingColumnError, ParameterError

__all__ = ["Encoding", "encode", "learn_encoding", "list_of"]

Array = NDArray[np.float64]
Encoding = dict[str, list[Any]]


def learn_encoding(
    frame: pd.DataFrame, columns: Sequence[str], weight: Array, given: Mapping[str, Sequence[Any]]
) -> Encoding:
    """Return how columns become numbers: the levels of text, the most frequent first; centre and scale of numbers.

    Numbers that are only 0 and 1 stay as they are. What is given is taken as it is.
    """
    encoding: Encoding = {}
    for column in columns:
        values = _values(frame, column)
        if column in given:
            encoding[column] = list(given[column])
        elif values.dtype == object:
            levels, code = np.unique(values.astype(str), return_inverse=True)
            mass = np.bincount(code, weights=weight)
            encoding[column] = [str(levels[i]) for i in np.argsort(-mass, kind="stable")]
        elif np.isin(values, (0.0, 1.0)).all():
            encoding[column] = [0.0, 1.0]
        else:
            centre = float(weight @ values / weight.sum())
            encoding[column] = [centre, float(np.sqrt(weight @ (values - centre) ** 2 / weight.sum()))]
        if len(pd.unique(values)) < 2:
            raise DataError(f"covariate {column}: all rows have the value {values[0]!r}; leave the column out")
    return encoding


def encode(frame: pd.DataFrame, encoding: Encoding) -> dict[str, Array]:
    """Return each column as numbers: the position of the level, or the distance from the centre in units of the scale.

    Raises
    ------
    MissingColumnError, DataError
        A column is absent, a value is missing, or a level was not there when the encoding was made.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ParameterError(f"covariates are columns of a DataFrame; found {type(frame).__name__}")
    result = {}
    for column, known in encoding.items():
        values = _values(frame, column)
        if isinstance(known[0], str):
            code = np.asarray(pd.Index(known).get_indexer(pd.Index(values.astype(str))), dtype=float)
            _refuse(code < 0, values, column, frame.index, f"are none of the levels that are known ({list_of(known)})")
            result[column] = code
        elif values.dtype == object:
            raise DataError(f"covariate {column} is text, but the model knows it as a number")
        else:
            result[column] = (values - known[0]) / known[1]
    return result


def _values(frame: pd.DataFrame, column: str) -> NDArray[Any]:
    """Return a column as floats, or as objects where it holds text; nothing may be missing."""
    if column not in frame:
        raise MissingColumnError(
            f"the covariate {column} is not among the columns {list_of(frame.columns)}; shop.customer_summary("
            f"covariates=[{column!r}]) joins it from the table customers"
        )
    series = frame[column]
    number = pd.api.types.is_numeric_dtype(series)  # truth values are numbers too
    values = series.to_numpy(dtype=float, na_value=np.nan) if number else series.to_numpy(dtype=object)
    missing = ~np.isfinite(values) if number else np.asarray(pd.isna(values))
    _refuse(missing, values, column, frame.index, "are missing; give them a level of their own, or leave them out")
    return values


def _refuse(bad: NDArray[np.bool_], values: NDArray[Any], column: str, index: pd.Index, why: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise DataError(
            f"covariate {column}: {int(bad.sum()):,} of {len(bad):,} rows {why}; first {values[at]!r} at {index[at]!r}"
        )


def list_of(names: Any) -> str:
    """Return names for a message."""
    return ", ".join(map(str, names))
