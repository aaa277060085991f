"""Some customers against all others, like for like, in several measures at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from clvlib.audience.platforms import like_for_like
from clvlib.stats.multiplicity import adjust

__all__ = ["compare_alike"]

_COLUMNS = ["people", "mean", "other_people", "other_mean", "difference", "lower", "upper", "p_value", "covered"]


def compare_alike(
    people: pd.DataFrame,
    chosen: pd.Series,
    segment: pd.Series,
    measures: Sequence[str],
    fewest: int = 5,
    level: float = 0.95,
) -> tuple[pd.DataFrame, float]:
    """Compare the means of chosen customers with those of all others in the same segments.

    Parameters
    ----------
    people : pandas.DataFrame
        A row per customer; ``measures`` are columns. Who lacks a measure is left out of it.
    chosen : pandas.Series of bool
        Whom it is about, a value per row.
    segment : pandas.Series
        Who is like whom, a value per row.
    measures : sequence of str
        What to compare.
    fewest, level
        As for :func:`clvlib.audience.platforms.like_for_like`.

    Returns
    -------
    pandas.DataFrame
        By ``measure``: ``people`` and ``mean`` of the chosen, ``other_people`` and ``other_mean``, both means with the
        mix of segments that all have together; ``difference`` with ``lower``, ``upper`` and ``p_value`` (Holm, over the
        measures). Missing where no segment has enough of both.
    float
        Share of all customers in segments that have enough of both, the least of the measures.

    Notes
    -----
    With 46 chosen in five segments, 350 others and amounts as skewed as a gamma of shape 0.5, 95% intervals covered in
    92% and 93% of 400 simulations; of two measures without a difference, one or both seemed to differ in 10%, not 5%.

    Examples
    --------
    >>> frame = pd.DataFrame({"week": [1] * 6 + [2] * 6, "referred": [True, True, False] * 4, "spend": [9.0, 7, 5] * 4})
    >>> table, _ = compare_alike(frame, frame["referred"], frame["week"], ["spend"], fewest=2)
    >>> table.loc["spend", ["mean", "other_mean", "difference"]].tolist()
    [8.0, 5.0, 3.0]
    """
    rows = {}
    side, like = np.where(chosen, "chosen", "others"), segment.to_numpy()
    for measure in measures:
        y = people[measure].to_numpy(dtype=float)
        known = ~np.isnan(y)
        units = pd.DataFrame({"platform": side[known], "segment": like[known], "y": y[known], "x": 1.0})
        rows[measure] = _row(units.assign(customer_id=units.index), level, fewest)
    table = pd.DataFrame(rows, index=_COLUMNS).T.rename_axis("measure")
    tested = table["p_value"].notna()
    table.loc[tested, "p_value"] = adjust(table.loc[tested, "p_value"], "holm")
    covered = table.pop("covered")
    return table, float(covered.min()) if len(covered) else 0.0


def _row(units: pd.DataFrame, level: float, fewest: int) -> list[float]:
    if units["platform"].nunique() < 2:
        return [np.nan] * (len(_COLUMNS) - 1) + [0.0]
    found, covered = like_for_like(units, level, fewest)
    people, mean = found["people"].tolist(), found["standardised"].tolist()
    apart = found.iloc[0][["difference", "difference_lower", "difference_upper", "p_value"]].tolist()
    return [people[0], mean[0], people[1], mean[1], *apart, covered if np.isfinite(apart[0]) else 0.0]
