"""How the forecasts of earlier reports turned out: each is graded in the week in which its time has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from clvlib.data.calendar import Week
from clvlib.report.form import show
from clvlib.report.harvest import Harvest
from clvlib.report.ledger import Ledger
from clvlib.result import Result
from clvlib.stats.proportions import proportion_interval
from clvlib.words import tr, trn

__all__ = ["Grades", "grades"]

_KEY = ["chapter", "name", "weeks"]
_COLUMNS = [*_KEY, "week", "due", "label", "mean", "lower", "upper", "level", "actual", "happened", "unit", "currency"]


@dataclass(frozen=True)
class Grades(Result):
    """Forecasts and what came of them; ``table`` has a row per forecast whose time has come.

    ``table`` columns: chapter, name, label, weeks (ahead), week (in which it was made), due, mean, lower, upper, level,
    naive (as many as in the weeks before), actual (missing where the report of the week due does not say), inside,
    unit, currency.

    Attributes
    ----------
    week : str
        Up to which forecasts are graded.
    record : pandas.DataFrame
        By figure and horizon: graded; inside, coverage with its Wilson interval, in which forecasts that share weeks
        count as one; level asked for; bias, the sum of the forecasts over that of what happened, less one;
        mean_error, the mean absolute error; naive_error, that of the naive forecast, over the forecasts that have one;
        gain, the share of the naive error that the forecast saves.
    ahead : pandas.DataFrame
        What this report forecasts, with ``due``.
    """

    week: str
    record: pd.DataFrame = field(repr=False)
    ahead: pd.DataFrame = field(repr=False)

    @property
    def sentence(self) -> str:
        """How many were due, and how many fell inside their intervals."""
        known = self.table[self.table["actual"].notna()]
        now = known[known["due"] == self.week]
        said = [_counted(now, tr("this week"))] if len(now) else []
        open_ = int((self.table["actual"].isna()).sum())
        if open_:
            said.append(
                trn(
                    "{n} forecast that was due is open: no report says what came.",
                    "{n} forecasts that were due are open: no report says what came.",
                    open_,
                )
            )
        if len(known) > len(now):
            said.append(_counted(known, tr("since {week}", week=known["due"].min())))
        if not said:
            said = [
                tr("No forecast was due yet; the first is due in {week}.", week=self.ahead["due"].min())
                if len(self.ahead)
                else tr("No forecast was due yet.")
            ]
        return tr(" ").join(said)


def _counted(due: pd.DataFrame, when: str) -> str:
    levels = sorted(due["level"].unique())
    inside = int(due["inside"].sum())
    return trn(
        "Of {n} forecast due {when}, {inside} fell inside its {levels} interval{share}.",
        "Of {n} forecasts due {when}, {inside} fell inside their {levels} intervals{share}.",
        len(due),
        when=when,
        inside=inside,
        levels=tr(" and ").join(f"{100 * level:g}%" for level in levels),
        share=f" ({show(inside / len(due), 'share')})" if len(due) >= 10 else "",
    )


def grades(past: Ledger, shop: str, week: Week, harvests: Mapping[str, Harvest]) -> Grades:
    """Grade every forecast that was due by a week.

    Parameters
    ----------
    past : Ledger
        What earlier reports said.
    shop : str
        Whose.
    week : Week
        Of this report.
    harvests : mapping
        What the chapters of this report say.

    Returns
    -------
    Grades
    """
    now = [
        {
            **made,
            "chapter": name,
            "week": week.label,
            "due": week.shift(made["weeks"]).label,
            "happened": made["actual"],
        }
        for name, said in harvests.items()
        for made in said.forecasts
    ]
    told = pd.DataFrame([*past.rows("forecasts", shop, week.label), *now], columns=_COLUMNS)
    told = told.astype(dict.fromkeys(("mean", "lower", "upper", "level", "actual", "happened"), float))
    told = told.astype({"weeks": int}).astype({"week": str, "due": str})
    stated = told[told["mean"].notna() & told["lower"].notna() & told["upper"].notna()]
    happened = told[[*_KEY, "week", "happened"]].set_axis([*_KEY, "due", "actual"], axis=1)
    due = stated[stated["due"] <= week.label].drop(columns="happened").rename(columns={"actual": "naive"})
    due = due.merge(happened, "left", [*_KEY, "due"]).sort_values([*_KEY, "due"], ignore_index=True)
    due["inside"] = due["actual"].between(due["lower"], due["upper"])
    ahead = stated[stated["week"] == week.label]
    return Grades(table=due, week=week.label, record=_record(due[due["actual"].notna()]), ahead=ahead)


def _record(graded: pd.DataFrame) -> pd.DataFrame:
    rows = [{**dict(zip(_KEY, key, strict=True)), **_row(group)} for key, group in graded.groupby(_KEY, sort=False)]
    return pd.DataFrame(rows)


def _row(group: pd.DataFrame) -> dict[str, Any]:
    last = group.iloc[-1]
    n, inside, together = len(group), int(group["inside"].sum()), min(int(last["weeks"]), len(group))
    covered = proportion_interval(inside / together, n / together, level=0.95).iloc[0]
    error, rival = (group["mean"] - group["actual"]).abs(), (group["naive"] - group["actual"]).abs()
    held = rival.notna()
    naive = float(rival[held].mean()) if held.any() else None
    total = float(group["actual"].sum())
    return {
        "label": last["label"],
        "unit": last["unit"],
        "currency": last["currency"],
        "graded": n,
        "inside": inside,
        "coverage": inside / n,
        "coverage_lower": covered["lower"],
        "coverage_upper": covered["upper"],
        "level": last["level"],
        "bias": float(group["mean"].sum()) / total - 1 if total else None,
        "mean_error": float(error.mean()),
        "naive_error": naive,
        "gain": 1 - float(error[held].mean()) / naive if naive else None,
    }
