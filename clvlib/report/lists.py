"""What a report expects of single customers: kept under pseudonyms until its time has come, and graded then.

A chapter states chances of an event within some weeks, and perhaps whom a list named. They lie beside the report's
tables, readable by their owner alone, under pseudonyms; the ledger knows of them only how many, and what was expected
of all together. The report of the week in which the time has come asks its own data who had the event, makes the same
pseudonyms, and grades what was kept. So nothing is computed again, and what is graded is what was said.

What cannot be graded, and is said: lists of a shop that encrypts its lists, of which nothing is kept in the clear;
those whose pseudonyms were made with another key; those whose file was removed or broken. A customer who is no longer
in the data (forgotten, or known under another id) is left out and counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.data.engine import literal
from clvlib.data.privacy import Pseudonyms, names_for
from clvlib.errors import ParameterError
from clvlib.report.record import exact
from clvlib.report.tables import write_table
from clvlib.stats.chances import calibration_p_value, count_interval
from clvlib.words import mark

if TYPE_CHECKING:
    from clvlib.report.ledger import Ledger

__all__ = ["ENCRYPTED", "EVENTS", "RIGHT", "grade", "graded", "keep", "kept_file"]

# event -> what its customers do
EVENTS: Final = {"purchase": mark("buy"), "no purchase": mark("buy nothing")}
RIGHT, MORE, FEWER, UNEVEN, UNTOLD = (
    *(mark("as expected"), mark("more than expected"), mark("fewer than expected"), mark("not by these chances")),
    mark("no chances stated"),
)
ENCRYPTED = mark("lists of this shop are encrypted, and nothing of them is kept in the clear")
_OTHER_KEY = mark("its pseudonyms were made with another key")
_GONE = mark("its file is no longer there")
_BROKEN = mark("its file cannot be read")
_FEW = mark("it is about fewer people than may be shown")
_OF_THE_LEDGER = {"shop", "week", "revision", "run"}
_ALPHA, _LEVEL = 0.05, 0.95
_EDGES: Final = (0.2, 0.4, 0.6, 0.8)


def kept_file(folder: Path, name: str) -> Path:
    """Return where the chances of a list lie in a chapter's folder of tables."""
    return folder / f"{name}.chances.parquet"


def keep(
    chances: pd.Series | None, listed: Iterable[Any] | None, names: Pseudonyms, folder: Path | None, name: str
) -> dict[str, Any]:
    """Write chances under pseudonyms, for their owner alone; return what the ledger may know of them.

    Parameters
    ----------
    chances : pandas.Series, optional
        By customer_id.
    listed : iterable, optional
        Ids on the list; without chances, all there is.
    names : Pseudonyms
        Of the shop.
    folder : pathlib.Path, optional
        Of the chapter's tables; None: nothing is written.
    name : str
        Of the list.

    Raises
    ------
    ParameterError
        There is neither, a chance is none, or a customer comes twice.
    ReportError
        The file could not be written.
    """
    ids = pd.Index([] if listed is None else list(listed))
    if chances is None:
        if listed is None:
            raise ParameterError(f"chances {name}: there are neither chances nor a list to keep")
        chances = pd.Series(np.nan, index=ids, dtype=float)
    elif not chances.between(0, 1).all():
        raise ParameterError(f"chances {name}: every chance lies between 0 and 1; found one that is missing or outside")
    if chances.index.has_duplicates or len(ids.difference(chances.index)):
        raise ParameterError(f"chances {name}: each customer has one chance, and those on the list have one too")
    table = pd.DataFrame(
        {
            "customer": names.of(chances.index),
            "chance": chances.to_numpy(dtype=float),
            "listed": chances.index.isin(ids),
        }
    )
    if folder is not None:
        write_table(table.sort_values("customer", ignore_index=True), kept_file(folder, name), mode=0o600)
    stated = table["chance"].notna().all() and len(table) > 0
    return {
        "customers": len(table),
        "expected": exact(table["chance"].sum()) if stated else None,
        "listed": int(table["listed"].sum()) if listed is not None else None,
        "key": names.fingerprint,
    }


def graded(past: Ledger, out: Path, shop: Any, week: Week) -> list[dict[str, Any]]:
    """Grade the lists whose time has come by a week, and that no report of an earlier week has graded.

    A list that was made again after it was graded keeps its grade: it knew better by then.

    Parameters
    ----------
    past : Ledger
        What earlier reports said.
    out : pathlib.Path
        Folder of the reports.
    shop : Shop
        The data of this report.
    week : Week
        Of this report.

    Returns
    -------
    list of dict
        As ``grades.json`` and the view ``grades`` of the ledger have them, see :func:`grade`; of those that cannot be
        graded, with ``why``.
    """
    found = []
    before = {(row["made"], row["chapter"], row["name"]): row for row in past.rows("grades", shop.name)}
    for said in past.rows("chances", shop.name, week.label):
        made, old = Week(said["week"]), before.get((said["week"], said["chapter"], said["name"]))
        due = made.shift(int(said["weeks"]))
        if due > week or shop.data_until < due.as_of or (old and old["week"] < week.label):
            continue
        record = {field: said[field] for field in ("chapter", "name", "label", "event", "weeks")}
        record |= {"made": made.label, "due": due.label}
        if old and old["week"] == week.label and said["run"] > old["run"]:
            found.append(record | {field: value for field, value in old.items() if field not in _OF_THE_LEDGER})
        else:
            found.append(record | _graded(said, out, shop, made, due))
    return found


def _graded(said: Mapping[str, Any], out: Path, shop: Any, made: Week, due: Week) -> dict[str, Any]:
    names = names_for(shop)
    file = kept_file(out / made.label / "tables" / said["chapter"], said["name"])
    if not file.exists():
        return {"why": said["why"] or _GONE}
    if names.fingerprint != said["key"]:
        return {"why": _OTHER_KEY}
    try:
        table = pd.read_parquet(file)[["customer", "chance", "listed"]]
    except (OSError, ValueError, KeyError):  # one broken file must not cost a report
        return {"why": _BROKEN}
    came = _purchases(shop, made, due)
    came.index = names.of(came.index)
    bought = table["customer"].map(came)
    known = bought.notna()
    if known.sum() < shop.config.smallest_group:
        return {"why": _FEW}
    event = bought[known].astype(bool) == (said["event"] == "purchase")
    result = grade(table.loc[known, "chance"], event, table.loc[known, "listed"], shop.config.smallest_group)
    return result | {"gone": int((~known).sum())}


def _purchases(shop: Any, made: Week, due: Week) -> pd.Series:
    """Say by customer whether they bought after one week, up to the end of another."""
    orders = shop.table("orders")
    conditions = [f"CAST(day AS DATE) > {literal(made.as_of)}", f"CAST(day AS DATE) <= {literal(due.as_of)}"]
    conditions += ["amount > 0"] + (["paid_at IS NOT NULL"] if "paid_at" in orders.columns else [])
    sql = f"SELECT customer_id, bool_or({' AND '.join(conditions)}) AS came FROM {{t}} GROUP BY customer_id"
    bought: pd.Series = orders.query(sql).set_index("customer_id")["came"].fillna(value=False).astype(bool)
    return bought


def grade(chances: pd.Series, came: pd.Series, listed: pd.Series, smallest: int = 10) -> dict[str, Any]:
    """Grade chances by what came.

    Parameters
    ----------
    chances, came, listed : pandas.Series
        By customer: the chance of the event (all missing where none was stated), whether it came, whether the list
        named him.
    smallest : int
        Customers that a band has at least.

    Returns
    -------
    dict
        ``customers`` and ``observed`` (how many had the event); where chances were stated ``expected`` with ``lower``
        and ``upper`` of a 95% prediction interval for the number, ``brier``, ``brier_same`` (the score of the same
        chance for everybody, if it had been known), ``p_value`` (that such chances hold, customers taken as
        independent) and ``bands`` (JSON: lowest, highest, customers, expected, observed); ``listed`` and ``hits``
        (of those on the list, how many had the event); ``verdict`` and ``why``.

    Examples
    --------
    >>> one = pd.Series([0.75, 0.75, 0.25, 0.25])
    >>> made = grade(one, pd.Series([True, True, False, True]), one > 0.5, smallest=1)
    >>> made["expected"], made["observed"], made["brier"], made["brier_same"], made["hits"]
    (2, 3, 0.1875, 0.1875, 2)
    """
    y, p, named = came.to_numpy(dtype=float), chances.to_numpy(dtype=float), listed.to_numpy(dtype=bool)
    found: dict[str, Any] = {"customers": len(y), "observed": int(y.sum()), "why": ""}
    found |= {"listed": int(named.sum()), "hits": int(y[named].sum()), "verdict": UNTOLD}
    if not len(y) or np.isnan(p).any():
        return found
    lower, upper = count_interval(p, _LEVEL)
    p_value = calibration_p_value(p, y)
    verdict = RIGHT
    if p_value <= _ALPHA:
        verdict = MORE if y.sum() > upper else FEWER if y.sum() < lower else UNEVEN
    return found | {
        "expected": exact(p.sum()), "lower": lower, "upper": upper, "brier": exact(((p - y) ** 2).mean()),
        "brier_same": exact(y.mean() * (1 - y.mean())), "p_value": exact(p_value), "verdict": verdict,
        "bands": json.dumps(_bands(p, y, smallest)),
    }  # fmt: skip


def _bands(p: Any, y: Any, smallest: int) -> list[dict[str, Any]]:
    """Return what came by bands of chances; a band of too few customers goes with its neighbour."""
    place = np.searchsorted(_EDGES, p, "right")
    counts = np.bincount(place, minlength=len(_EDGES) + 1)
    groups: list[list[int]] = []
    for band in np.flatnonzero(counts):
        if groups and counts[groups[-1]].sum() < smallest:
            groups[-1].append(int(band))
        else:
            groups.append([int(band)])
    if len(groups) > 1 and counts[groups[-1]].sum() < smallest:
        groups[-2:] = [groups[-2] + groups[-1]]
    ends = (0.0, *_EDGES, 1.0)
    rows = []
    for group in groups:
        here = np.isin(place, group)
        rows.append({
            "lowest": ends[group[0]], "highest": ends[group[-1] + 1], "customers": int(here.sum()),
            "expected": exact(p[here].mean()), "observed": int(y[here].sum()),
        })  # fmt: skip
    return rows
