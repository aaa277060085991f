"""Comments of a week, and the sample of them that people read and label by hand (V10)."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from clvlib.clv.voice_masking import LONGEST, mask, shown
from clvlib.data.calendar import Week
from clvlib.data.engine import Table, literal
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.words import mark, tr

__all__ = ["LABELS", "comments_of", "labelled_of", "weekly_sample"]

NEGATIVE, NEUTRAL, POSITIVE = mark("negative"), mark("neutral"), mark("positive")
LABELS = (NEGATIVE, NEUTRAL, POSITIVE)
_MEANT = {"neg": NEGATIVE, "负面": NEGATIVE, "差评": NEGATIVE, "消极": NEGATIVE, "中性": NEUTRAL, "中评": NEUTRAL}
_MEANT |= {"pos": POSITIVE, "正面": POSITIVE, "好评": POSITIVE, "积极": POSITIVE} | {name: name for name in LABELS}

_NEW, _RETURNING, _NO_CUSTOMER = mark("new"), mark("returning"), mark("no customer yet")
_LOW, _MIDDLE, _HIGH, _UNRATED = mark("rated 1 or 2"), mark("rated 3"), mark("rated 4 or 5"), mark("not rated")


def comments_of(
    feedback: Table | pd.DataFrame, week: Week, weeks: int = 1, orders: Table | pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return the comments of some weeks, masked, in an order that does not depend on that of the rows.

    Parameters
    ----------
    feedback : Table or pandas.DataFrame
        ``customer_id``, ``created_at``, ``comment``; and ``rating``, ``topic``, ``label``.
    week : Week
        The last one.
    weeks : int
        How many, counted backwards.
    orders : Table or pandas.DataFrame, optional
        ``customer_id`` and ``ordered_at``: new are those whose first order fell into these weeks.

    Returns
    -------
    pandas.DataFrame
        ``customer_id``, ``created_at``, ``rating`` (blank where it is not from 1 to 5), ``topic``, ``label``
        (positive, neutral, negative, or blank), ``comment``, ``customers`` (new, returning, no customer yet) where
        there are orders, and ``key``, which orders comments. ``attrs["out_of_range"]`` counts ratings set aside.

    Raises
    ------
    EmptyDataError
        Nobody wrote in these weeks.
    """
    if weeks < 1:
        raise ParameterError(f"at least one week is looked at; found weeks={weeks}")
    tables = together(feedback=feedback, orders=orders)
    said = tables["feedback"].require("customer_id", "created_at", "comment")
    start = week.shift(1 - weeks).start
    rows = _read(
        said, f"CAST(created_at AS DATE) >= {literal(start)} AND CAST(created_at AS DATE) < {literal(week.end)}"
    )
    if rows.empty:
        raise EmptyDataError(tr("nobody wrote a comment up to week {week}", week=week.label))
    if "orders" in tables:
        rows["customers"] = _kinds(tables["orders"], start, week).reindex(rows["customer_id"]).to_numpy()
        rows["customers"] = rows["customers"].fillna(_NO_CUSTOMER)
    return rows


def labelled_of(feedback: Table | pd.DataFrame, week: Week, most: int = 5000) -> pd.DataFrame:
    """Return the comments that have a label, masked: the last ones up to the end of a week.

    Parameters
    ----------
    feedback, week
        As in :func:`comments_of`.
    most : int
        How many at most.

    Returns
    -------
    pandas.DataFrame
        As that of :func:`comments_of`; without a row where nothing is labelled.
    """
    said = together(feedback=feedback)["feedback"].require("customer_id", "created_at", "comment")
    if "label" not in said.columns:
        return _read(said, "1 = 0")
    until = f"CAST(created_at AS DATE) < {literal(week.end)} AND LENGTH(TRIM(CAST(label AS VARCHAR))) > 0"
    last = said.query(f"SELECT created_at FROM {{t}} AS t WHERE {until} ORDER BY created_at DESC LIMIT {int(most)}")
    if len(last) == most:
        until += f" AND created_at >= {literal(last['created_at'].iloc[-1])}"
    rows = _read(said, until)
    return rows[rows["label"].notna()].reset_index(drop=True)


def _read(said: Table, where: str) -> pd.DataFrame:
    """Return the comments for which a condition holds, masked, with their keys and in the order of these."""
    wanted = ["customer_id", "created_at", *(c for c in ("rating", "topic", "label") if c in said.columns)]
    rows = said.query(
        f"SELECT {', '.join(wanted)}, SUBSTR(CAST(comment AS VARCHAR), 1, {LONGEST + 1}) AS comment FROM {{t}} AS t "
        f"WHERE LENGTH(TRIM(CAST(comment AS VARCHAR))) > 0 AND {where}"
    ).reindex(columns=["customer_id", "created_at", "rating", "topic", "label", "comment"])
    rating = pd.to_numeric(rows["rating"], errors="coerce")
    fits = rating.between(1, 5)
    written = rows["label"].astype("string").str.strip().str.lower()
    rows = rows.assign(rating=rating.where(fits), label=written.map(_MEANT).astype(object), key=_keys(rows))
    rows = rows.sort_values(["key", "label"], kind="stable", ignore_index=True)
    rows["comment"] = mask(rows["comment"])
    rows.attrs["out_of_range"] = int((rating.notna() & ~fits).sum())
    return rows


def weekly_sample(comments: pd.DataFrame, size: int = 200, seed: int = 0) -> pd.DataFrame:
    """Draw comments to be read and labelled, in proportion to strata, at least one of each.

    Strata are the band of the rating and, where it is known, whether the customer is new, otherwise the topic. The draw
    depends on the comments and the seed alone: the same again tomorrow, whatever the order of the rows.

    Parameters
    ----------
    comments : pandas.DataFrame
        From :func:`comments_of`.
    size : int
        How many, at most.
    seed : int
        Another one draws others.

    Returns
    -------
    pandas.DataFrame
        A sheet to be filled in: ``customer_id``, ``created_at``, ``rated``, ``customers``, ``weight`` (comments that
        the row stands for: they add up to all), ``rating``, ``topic``, ``comment`` and ``label``, empty where there is
        none.

    Raises
    ------
    ParameterError
        ``size`` is less than 1.

    Examples
    --------
    >>> said = pd.DataFrame({"customer_id": ["a", "b"], "created_at": pd.Timestamp("2026-11-10"),
    ...                      "comment": ["很好", "Bad!"], "rating": [5, 1]})
    >>> weekly_sample(comments_of(said, Week("2026-W46")))[["rated", "weight"]].values.tolist()
    [['rated 1 or 2', 1.0], ['rated 4 or 5', 1.0]]
    """
    if size < 1:
        raise ParameterError(f"a sample has at least one comment; found size={size}")
    band = np.select(
        [comments["rating"].isna(), comments["rating"] < 2.5, comments["rating"] < 3.5],
        [_UNRATED, _LOW, _MIDDLE],
        _HIGH,
    )
    strata = ["rated", "customers" if "customers" in comments else "topic"]
    draw = [_digest(f"{seed}|{key}") for key in comments["key"]]
    drawn = comments.assign(rated=band, draw=draw).sort_values([*strata, "draw"], kind="stable")
    groups = drawn.groupby(strata, sort=True, dropna=False)
    sizes = groups.size().to_numpy()
    shares = _allocated(sizes, size)
    stratum = groups.ngroup().to_numpy()
    taken = groups.cumcount().to_numpy() < shares[stratum]
    drawn = drawn.assign(weight=(sizes / np.maximum(shares, 1))[stratum])[taken]
    drawn = drawn.assign(comment=shown(drawn["comment"]))
    columns = (
        "customer_id",
        "created_at",
        "rated",
        "customers",
        "weight",
        "rating",
        "topic",
        "comment",
        "suggested",
        "label",
    )
    return drawn[[name for name in columns if name in drawn]].reset_index(drop=True)


def _allocated(sizes: np.ndarray, total: int) -> np.ndarray:
    """Share a number among strata in proportion to their sizes, one each first, the largest ones first."""
    total = min(total, int(sizes.sum()))
    shares = np.zeros(len(sizes), dtype=np.int64)
    shares[np.argsort(-sizes, kind="stable")[:total]] = 1
    while (left := total - int(shares.sum())) > 0:
        ideal = sizes * total / sizes.sum()
        need = np.where(shares < sizes, np.maximum(ideal - shares, 1e-9 * sizes), 0)
        whole = np.minimum(np.floor(need * min(1.0, left / need.sum())).astype(np.int64), sizes - shares)
        if whole.sum():
            shares += whole
        else:
            shares[np.argmax(need)] += 1
    return shares


def _keys(rows: pd.DataFrame) -> list[str]:
    """Return for each comment a key that its content alone decides, and no label that is given later."""
    parts = rows[["customer_id", "created_at", "rating", "topic", "comment"]].astype("string").fillna("")
    return [_digest("\x1f".join(row)) for row in parts.itertuples(index=False)]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=10).hexdigest()


def _kinds(orders: Table, start: object, week: Week) -> pd.Series:
    """Return who had bought by the end of the week: new since the start, or returning."""
    orders.require("customer_id", "ordered_at")
    bought = " AND is_purchase" if "is_purchase" in orders.columns else ""
    found = orders.query(
        f"SELECT customer_id, CASE WHEN MIN(CAST(ordered_at AS DATE)) >= {literal(start)} THEN '{_NEW}' ELSE "
        f"'{_RETURNING}' END AS kind FROM {{t}} AS t WHERE CAST(ordered_at AS DATE) < {literal(week.end)}{bought} "
        "GROUP BY customer_id"
    )
    kinds: pd.Series = found.set_index("customer_id")["kind"]
    return kinds
