"""How lists of customers to contact did (V8): who then bought, of those contacted and of those held out."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from clvlib.clv.contact import ContactPlan
from clvlib.data.calendar import Week, as_date
from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import ParameterError
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.stats.proportions import proportion_effects, proportion_interval
from clvlib.words import mark, paragraph, tr, trn

__all__ = ["ContactReview", "contact_review"]

_MEASURED = ["bought", "bought_lower", "bought_upper", "bought_held", "difference", "lower", "upper", "p_adjusted"]


@dataclass(frozen=True)
class ContactReview(Result):
    """How a week's lists did; ``table`` has a row per action.

    ``table`` columns: ``listed`` and ``held_out`` (customers), ``contacted`` (of the listed) and ``contacted_held`` (of
    those held out), who by the table of contacts had the contact (both missing without that table), ``bought`` (share
    of the listed who bought: the list's precision) with ``bought_lower`` and ``bought_upper``, ``bought_held`` (of
    those held out), and ``difference`` with ``lower``, ``upper`` and ``p_adjusted`` (Holm, over all actions).

    Attributes
    ----------
    week : str
        The week of the lists.
    until : str
        The last day on which a purchase counts.
    level : float
    sentence : str
    """

    week: str
    until: str
    level: float
    sentence: str = field(repr=False)


def contact_review(
    plan: ContactPlan,
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    contacts: Table | pd.DataFrame | None = None,
    *,
    level: float = 0.9,
) -> ContactReview:
    """Say how the lists of an earlier week did.

    Parameters
    ----------
    plan : ContactPlan
        The lists, as they were then; the same data, parameters and key make the same again.
    orders : Table or pandas.DataFrame
        ``customer_id`` and ``ordered_at``; where there is a column ``is_purchase`` only its rows count.
    as_of : str or date
        The last day that is known, in the week of the lists or later.
    contacts : Table or pandas.DataFrame, optional
        ``customer_id``, ``sent_at`` and ``action``: says who was in fact contacted; rows with ``is_holdout`` were not.
    level : float
        Of the intervals; those of differences are corrected for the number of actions.

    Returns
    -------
    ContactReview

    Raises
    ------
    ParameterError
        The week of the lists has not begun, or a level that is no share.

    Notes
    -----
    All listed count, contacted or not, as all who were held out do: whoever leaves out some of one group alone compares
    different people. A list that nobody worked on shows a difference of nothing but chance, and one whose held-out
    customers were contacted all the same a smaller one than the contact makes.

    A purchase counts from each customer's ``earliest`` moment on.
    """
    last, begin = as_date(as_of), Week(plan.week).start
    if last < begin or not 0 < level < 1:
        raise ParameterError(f"lists of {plan.week} can be reviewed from {begin} on, at a level below 1; found {last}")
    rows = plan.actions.assign(bought=_after(plan.actions, orders, last, "ordered_at", "orders"))
    done = pd.Series(np.nan, index=rows.index)
    if contacts is not None:
        done = _after(plan.actions, contacts, min(last, Week(plan.week).as_of), "sent_at", "contacts").astype(float)
    table = _compared(rows.assign(contacted=done), list(plan.table.index), level)
    if contacts is None:
        table[["contacted", "contacted_held"]] = np.nan
    return ContactReview(
        week=plan.week, until=str(last), level=level, sentence=_sentence(plan.week, table), table=table
    )


def _after(rows: pd.DataFrame, data: Table | pd.DataFrame, last: dt.date, when: str, name: str) -> pd.Series:
    """Return for each customer whether there is a purchase (a contact by the action) after the earliest moment."""
    table = as_table(data, name, "customer_id", when)
    real = " AND is_purchase" if "is_purchase" in table.columns else ""
    if "is_holdout" in table.columns:
        real += " AND NOT COALESCE(CAST(is_holdout AS BOOLEAN), FALSE)"
    action = "action AS done" if name == "contacts" else "NULL AS done"
    if rows.empty:
        return pd.Series(dtype=bool, index=rows.index)
    start = rows["earliest"].min() if name == "orders" else rows["earliest"].min().normalize()
    events = table.query(
        f"SELECT customer_id, {when} AS moment, {action} FROM {{t}} AS t WHERE {when} >= "
        f"{literal(start.to_pydatetime())} AND CAST({when} AS DATE) <= {literal(last)}{real}"
    )
    joined = rows[["action", "earliest"]].join(events.set_index("customer_id"), how="inner")
    hit = joined["moment"] >= joined["earliest"] if name == "orders" else joined["action"] == joined["done"]
    return pd.Series(rows.index.isin(joined.index[hit]), index=rows.index)


def _compared(rows: pd.DataFrame, actions: list[str], level: float) -> pd.DataFrame:
    index = pd.Index(actions, name="action", dtype=object)
    held = rows["is_holdout"].to_numpy(dtype=bool)
    sides = {}
    for side, part in (("listed", rows[~held]), ("held_out", rows[held])):
        groups = part.groupby("action")[["bought", "contacted"]].agg("sum").astype(float)
        sides[side] = groups.reindex(index, fill_value=0.0).assign(n=part.groupby("action").size().reindex(index))
        sides[side]["n"] = sides[side]["n"].fillna(0)
    listed, out = sides["listed"], sides["held_out"]
    table = pd.DataFrame({"listed": listed["n"].astype(int), "held_out": out["n"].astype(int)}, index=index)
    table["contacted"], table["contacted_held"] = listed["contacted"], out["contacted"]
    table[_MEASURED] = np.nan
    some, both = index[listed["n"] > 0], index[(listed["n"] > 0) & (out["n"] > 0)]
    if len(some):
        share = proportion_interval(listed.loc[some, "bought"], listed.loc[some, "n"], level)
        table.loc[some, ["bought", "bought_lower", "bought_upper"]] = share.to_numpy()
    if len(both):
        counts = [listed.loc[both, "bought"], listed.loc[both, "n"], out.loc[both, "bought"], out.loc[both, "n"]]
        p_values = proportion_effects(*counts)["p_value"]
        levels = 1 - agreeing_alpha(p_values, 1 - level)
        table.loc[both, "p_adjusted"] = adjust(p_values)
        table.loc[both, "bought_held"] = out.loc[both, "bought"] / out.loc[both, "n"]
        for name in both:
            x1, n1, x2, n2 = (float(side[name]) for side in counts)
            found = proportion_effects(x1, n1, x2, n2, float(levels[name]))
            table.loc[name, ["difference", "lower", "upper"]] = found.iloc[0, :3].to_numpy()
    return table


def _sentence(week: str, table: pd.DataFrame) -> str:
    listed = int(table["listed"].sum())
    if not listed:
        return tr("The lists of {week} were empty.", week=week)
    share = float((table["bought"].fillna(0) * table["listed"]).sum()) / listed
    sentences = [
        trn(
            "Of {n:,} customer listed for {week}, {share:.1%} have bought since.",
            "Of {n:,} customers listed for {week}, {share:.1%} have bought since.",
            listed,
            week=week,
            share=share,
        )
    ]
    done, crossed = (int(table[name].sum()) for name in ("contacted", "contacted_held"))
    with_held = table[table["difference"].notna()]
    if len(with_held):
        same = float((with_held["bought_held"] * with_held["listed"]).sum() / with_held["listed"].sum())
        sentences.append(
            tr("Of those held out from the same actions, {share:.1%} have.", share=same)
            if crossed
            else tr("Of those held out from the same actions, {share:.1%} did so without a contact.", share=same)
        )
    if crossed:
        sentences.append(
            trn(
                "{n:,} of the {total:,} held out was contacted all the same, which hides a part of the effect.",
                "{n:,} of the {total:,} held out were contacted all the same, which hides a part of the effect.",
                crossed,
                total=int(table["held_out"].sum()),
            )
        )
    if table["contacted"].isna().all():
        return paragraph(*sentences)
    if not done:
        sentences.append(tr("None of the listed was in fact contacted, so a difference between the two is chance."))
    elif done < listed:
        text = mark(
            "{n:,} of the {total:,} listed were in fact contacted; all of them are compared with those held out."
        )
        sentences.append(tr(text, n=done, total=listed))
    return paragraph(*sentences)
