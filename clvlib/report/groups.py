"""Tables of groups without those that are too small to be shown, and a line and a row that say what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan
from typing import Any, Final

import pandas as pd

from clvlib.data.privacy import withheld
from clvlib.report.tables import flattened
from clvlib.words import mark, tr, trn

__all__ = ["Guarded", "guarded"]

_WHOLES: Final = ("promise", "dimension", "feature", "by")  # columns whose values each divide the same people anew
_WHY = mark("fewer than {k}, or found by subtraction from those that are shown")


@dataclass(frozen=True)
class Guarded:
    """A table without its small groups.

    Attributes
    ----------
    shown : pandas.DataFrame
        For readers: the groups that may be shown.
    saved : pandas.DataFrame
        The same for the file, with a row for each whole of which groups are missing: how many, and, where that gives
        nobody away, with how many people together, so that sums are those of all.
    note : str
        Says so in words; empty where nothing is missing.
    """

    shown: pd.DataFrame
    saved: pd.DataFrame
    note: str


def guarded(frame: pd.DataFrame, people: str, k: int) -> Guarded:
    """Leave out the groups of fewer than ``k`` people, and those by which they could be found.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row per group. Groups are of one whole, or of several: one for each value of the first level of the index, and
        of the columns ``promise``, ``dimension``, ``feature`` and ``by``.
    people : str
        The column that says how many people a group has.
    k : int
        The smallest group that may be shown; see :func:`clvlib.data.privacy.withheld`.

    Examples
    --------
    >>> table = pd.DataFrame({"channel": ["a", "b", "c"], "people": [120, 7, 45]})
    >>> found = guarded(table, "people", 10)
    >>> found.shown["channel"].tolist(), found.saved["channel"].tolist(), found.saved["people"].tolist()
    (['a'], ['a', 'withheld (2 groups)'], [120.0, 52.0])
    >>> found.note
    'withheld: 2 groups of 52 in all (fewer than 10, or found by subtraction from those that are shown)'
    """
    levels: list[Any] = [frame.index.get_level_values(0)] if frame.index.nlevels > 1 else []
    keys = [*levels, *(frame[name].astype(str) for name in _WHOLES if name in frame)]
    wholes = list(zip(*keys, strict=True)) if keys else [()] * len(frame)
    hidden = withheld(frame[people], k, wholes)
    if not hidden.any():
        return Guarded(frame, frame, "")
    table = flattened(frame)
    names = [*table.columns[: len(levels)], *(name for name in _WHOLES if name in frame)]
    label = [name for name in table.columns if name not in {people, *names}][:1]
    rows: list[dict[str, Any]] = []
    for whole in dict.fromkeys(whole for whole, out in zip(wholes, hidden, strict=True) if out):
        own = table[[one == whole and out for one, out in zip(wholes, hidden, strict=True)]]
        total = float(own[people].sum())
        told = dict.fromkeys(label, f"withheld ({len(own)} group{'s' if len(own) > 1 else ''})")
        counted = total if len(own) > 1 and total >= k else nan
        rows.append({name: own[name].iloc[0] for name in names} | told | {people: counted})
    known = float(rows[0][people]) if len(rows) == 1 else nan
    saved = pd.concat([table[~hidden], pd.DataFrame(rows)], ignore_index=True).reindex(columns=table.columns)
    shown = frame[~hidden]
    if isinstance(frame.index, pd.RangeIndex) and frame.index.name is None:  # a running number, and no heading
        shown = shown.reset_index(drop=True)
    return Guarded(shown, saved, _told(int(hidden.sum()), known, k))


def _told(n: int, total: float, k: int) -> str:
    why = tr(_WHY, k=k)
    if isnan(total):
        return trn("withheld: {n} group ({why})", "withheld: {n} groups ({why})", n, why=why)
    return tr("withheld: {n} groups of {total:,.0f} in all ({why})", n=n, total=total, why=why)
