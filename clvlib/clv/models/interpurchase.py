"""The times between purchases, of which models of regular buying need one sum: litt."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.errors import DataError

__all__ = ["read_litt"]

Array = NDArray[np.float64]


def read_litt(summary: pd.DataFrame) -> Array:
    """Return the column litt, checked: given their sum t_x, x times have the largest log-sum when they are equal."""
    try:
        litt = summary["litt"].to_numpy(dtype=float, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"summary.litt is not numeric: {error}") from error
    x, t_x = summary["frequency"].to_numpy(dtype=float), summary["recency"].to_numpy(dtype=float)
    some = (x > 0) & (t_x > 0)
    most = np.where(some, x * np.log(np.where(some, t_x, 1.0) / np.maximum(x, 1)), np.where(x > 0, np.inf, 0.0))
    bad = ~np.isfinite(litt) | (litt > most + 1e-6 * (1 + x)) | ((x == 0) & (litt != 0))
    if bad.any():
        at = int(np.argmax(bad))
        raise DataError(
            f"summary.litt: {int(bad.sum()):,} of {len(litt):,} rows cannot be sums of the logs of times between "
            f"purchases, first {litt[at]:g} for customer {summary.index[at]!r} with {x[at]:g} times that add up to "
            f"{t_x[at]:g}; compute it in the time unit of recency"
        )
    return litt
