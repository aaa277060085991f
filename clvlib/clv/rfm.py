"""RFM: scores from 1 to 5 by stated quantile rules, and the segments that everybody knows by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clvlib.clv.cells import Cells
from clvlib.errors import ParameterError
from clvlib.result import Result
from clvlib.words import mark, paragraph, tr

__all__ = ["RFM", "SEGMENTS", "rfm"]

Array = NDArray[np.float64]

# (recency score, frequency score) -> name: the grid that tools for e-mail and shops share
SEGMENTS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    mark("champions"): ((5,), (4, 5)),
    mark("loyal"): ((3, 4), (4, 5)),
    mark("potential loyalists"): ((4, 5), (2, 3)),
    mark("new customers"): ((5,), (1,)),
    mark("promising"): ((4,), (1,)),
    mark("need attention"): ((3,), (3,)),
    mark("about to sleep"): ((3,), (1, 2)),
    mark("cannot lose them"): ((1, 2), (5,)),
    mark("at risk"): ((1, 2), (3, 4)),
    mark("hibernating"): ((1, 2), (1, 2)),
}


@dataclass(frozen=True)
class RFM(Result):
    """RFM of a customer base; ``table`` has a row per customer.

    ``table`` columns: ``silence`` (time since the last purchase), ``purchases`` (repeat purchases + 1), ``money``
    (spent so far), scores ``R``, ``F``, ``M`` from 1 (worst) to 5 (best), ``score`` (the three as text, "543") and
    ``segment``.

    Attributes
    ----------
    unit : str
        Unit of ``silence``.
    first_counts : bool
        Whether ``money`` holds first purchases, as the standard has it, or repeat purchases alone.
    segments : pandas.DataFrame
        A row per segment, best first: customers, share, mean silence, purchases and money, share of all money.
    """

    unit: str
    first_counts: bool
    segments: pd.DataFrame

    @property
    def sentence(self) -> str:
        """Which segment spends most, and what the money leaves out."""
        largest = str(self.segments["share_of_money"].idxmax())
        row = self.segments.loc[largest]
        text = mark("{segment}: {share:.0%} of the customers, {money:.0%} of the money.")
        said = tr(text, segment=tr(largest), share=row["share"], money=row["share_of_money"])
        if self.first_counts:
            return said
        text = mark(
            "Money is that of repeat purchases alone, so that all who bought once stand at 0: the summary has no "
            "column spend, which customer_summary() gives."
        )
        return paragraph(said, tr(text))


def rfm(summary: pd.DataFrame) -> RFM:
    """Score customers by recency, frequency and money, and name their segments.

    A score is 1 + the whole number of fifths of the customers who stand strictly worse; customers with the same value
    always share a score. So where 60% never bought again, they score 1 for frequency and the next better score 4.

    Parameters
    ----------
    summary : pandas.DataFrame
        frequency, recency, T, monetary_value and ``spend``, the money of all purchases, by customer_id: what
        ``shop.customer_summary()`` gives. Without ``spend`` the money is frequency × monetary_value, which leaves out
        the first purchase, so that all who bought once share the lowest score; ``sentence`` says so.

    Returns
    -------
    RFM
        Scores per customer in ``table``, groups in ``segments``.

    Raises
    ------
    MissingColumnError, EmptyDataError, DataError
        When the summary cannot be used.

    Examples
    --------
    >>> base = pd.DataFrame({"frequency": [9, 0, 0, 1, 0], "recency": [30.0, 0, 0, 2.0, 0], "monetary_value":
    ...                      [50.0, 0, 0, 30.0, 0], "T": [30.5, 30.0, 1.0, 20.0, 9.0]}, index=list("abcde"))
    >>> rfm(base).table["segment"].to_dict()
    {'a': 'champions', 'b': 'hibernating', 'c': 'promising', 'd': 'at risk', 'e': 'about to sleep'}
    """
    if isinstance(summary, pd.DataFrame) and "n" in summary:
        raise ParameterError("rfm scores customers; this summary is compressed (it has a column n)")
    first_counts = isinstance(summary, pd.DataFrame) and "spend" in summary
    cells = Cells.read(summary, ("frequency", "recency", "T", "spend" if first_counts else "monetary_value"))
    values = {name: cells.expand(column) for name, column in cells.columns.items()}
    money = values["spend"] if first_counts else values["frequency"] * values["monetary_value"]
    table = pd.DataFrame(
        {"silence": values["T"] - values["recency"], "purchases": values["frequency"] + 1, "money": money},
        index=summary.index,
    )
    table["R"] = _score(-table["silence"])
    table["F"] = _score(table["purchases"])
    table["M"] = _score(table["money"])
    table["score"] = table["R"].astype(str) + table["F"].astype(str) + table["M"].astype(str)
    table["segment"] = _names(table["R"].to_numpy(), table["F"].to_numpy())
    unit = str(summary.attrs.get("clvlib", {}).get("unit", ""))
    return RFM(unit=unit, first_counts=first_counts, segments=_segments(table), table=table)


def _score(values: pd.Series) -> pd.Series:
    """Return 1 + the fifths of customers who are strictly worse, at most 5."""
    worse = values.round(9).rank(method="min") - 1  # weeks are sevenths: equal silences may differ in the last bit
    return pd.Series(np.minimum(1 + np.floor(5 * worse.to_numpy() / len(values)), 5).astype(int), index=values.index)


def _names(R: NDArray[np.int64], F: NDArray[np.int64]) -> NDArray[np.object_]:
    grid = np.empty((6, 6), dtype=object)
    for name, (recency, frequency) in SEGMENTS.items():
        grid[np.ix_(recency, frequency)] = name
    return np.asarray(grid[R, F])


def _segments(table: pd.DataFrame) -> pd.DataFrame:
    groups = table.groupby("segment")
    frame = groups[["silence", "purchases", "money"]].mean()
    frame.insert(0, "customers", groups.size())
    frame.insert(1, "share", frame["customers"] / len(table))
    total = float(table["money"].sum())
    frame["share_of_money"] = groups["money"].sum() / total if total > 0 else 0.0
    return frame.reindex([name for name in SEGMENTS if name in frame.index])
