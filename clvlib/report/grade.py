"""How the forecasts of earlier reports turned out: each is graded in the week in which its time has come."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from clvlib.data.calendar import Week
from clvlib.report.form import show
from clvlib.report.harvest import Harvest
from clvlib.report.ledger import Ledger
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust
from clvlib.stats.proportions import proportion_interval
from clvlib.stats.quantiles import Calibration, calibration, quantile_score
from clvlib.words import mark, paragraph, tr, trn

__all__ = ["FEWEST", "Grades", "grades", "middle"]

FEWEST: Final = 8  # forecasts that share no week, from which on calibration can be told
_ALPHA: Final = 0.05
_KEY = ["chapter", "name", "weeks"]
_COLUMNS = [*_KEY, "week", "due", "label", "mean", "lower", "upper", "level", "actual", "happened", "unit", "currency"]
_COLUMNS += ["quantiles"]


@dataclass(frozen=True)
class Grades(Result):
    """Forecasts and what came of them; ``table`` has a row per forecast whose time has come.

    ``table`` columns: chapter, name, label, weeks (ahead), week (in which it was made), due, mean, lower, upper, level,
    naive (as many as in the weeks before), actual (missing where the report of the week due does not say), inside,
    unit, currency, quantiles (level -> value; empty where the forecast told its interval alone).

    Attributes
    ----------
    week : str
        Up to which forecasts are graded.
    record : pandas.DataFrame
        By figure and horizon: graded; inside, coverage with its Wilson interval, in which forecasts that share weeks
        count as one; level asked for; bias, the sum of the forecasts over that of what happened, less one;
        mean_error, the mean absolute error; naive_error, that of the naive forecast, over the forecasts that have one;
        gain, the share of the naive error that the forecast saves.
    spread : pandas.DataFrame
        Of the forecasts that told their quantiles, by figure and horizon: graded; middle, a mapping of the share that
        the interval between two quantiles should hold to how many it held; crps, the mean score
        (:func:`clvlib.stats.quantiles.quantile_score`); naive_error and gain as above, over the same forecasts; place
        and spread of what came in the distributions (:func:`clvlib.stats.quantiles.calibration`), over those that
        share no week; verdict, which holds for all rows together (Holm).
    ahead : pandas.DataFrame
        What this report forecasts, with ``due``.
    """

    week: str
    record: pd.DataFrame = field(repr=False)
    spread: pd.DataFrame = field(repr=False)
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
        said += _faults(self.spread)
        if not said:
            said = [
                tr("No forecast was due yet; the first is due in {week}.", week=self.ahead["due"].min())
                if len(self.ahead)
                else tr("No forecast was due yet.")
            ]
        return paragraph(*said)


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
        share=tr(" ({share})", share=show(inside / len(due), "share")) if len(due) >= 10 else "",
    )


def _faults(spread: pd.DataFrame) -> list[str]:
    """Say which distributions were not what they said, or that none was found out."""
    judged = spread[spread["verdict"] != _EARLY] if len(spread) else spread
    if not len(judged):
        return []
    wrong = judged[judged["verdict"] != _RIGHT]
    if not len(wrong):
        return [
            trn(
                "What came is spread over the one distribution that can be judged as it should be.",
                "What came is spread over the distributions as it should be: no fault shows in the {n} that can be "
                "judged.",
                len(judged),
            )
        ]
    named = (
        tr(
            "{figure}, {ahead}: {verdict}",
            figure=tr(row["label"]),
            ahead=trn("{n}\u00a0week", "{n}\u00a0weeks", row["weeks"]),
            verdict=tr(row["verdict"]),
        )
        for row in wrong.to_dict("records")
    )
    return [tr("Distributions to mend: {listed}.", listed=tr("; ").join(named))]


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
    told["quantiles"] = told["quantiles"].astype(object).map(_mapping)
    stated = told[told["mean"].notna() & told["lower"].notna() & told["upper"].notna()]
    happened = told[[*_KEY, "week", "happened"]].set_axis([*_KEY, "due", "actual"], axis=1)
    due = stated[stated["due"] <= week.label].drop(columns="happened").rename(columns={"actual": "naive"})
    due = due.merge(happened, "left", [*_KEY, "due"]).sort_values([*_KEY, "due"], ignore_index=True)
    due["inside"] = due["actual"].between(due["lower"], due["upper"])
    ahead = stated[stated["week"] == week.label]
    known = due[due["actual"].notna()]
    whole = known[known["quantiles"].astype(bool)]
    return Grades(table=due, week=week.label, record=_record(known, _row), spread=_judged(whole), ahead=ahead)


def _mapping(value: Any) -> dict[float, float]:
    """Return level -> quantile, of a row of the ledger or of a chapter."""
    pairs = json.loads(value) if isinstance(value, str) else value
    return {float(level): float(quantile) for level, quantile in pairs} if isinstance(pairs, list) else {}


def _record(graded: pd.DataFrame, row: Any) -> pd.DataFrame:
    rows = [{**dict(zip(_KEY, key, strict=True)), **row(group)} for key, group in graded.groupby(_KEY, sort=False)]
    return pd.DataFrame(rows)


_EARLY, _RIGHT = mark("too early to say"), mark("no fault shows")
_WRONG: Final = {
    ("place", True): mark("forecasts too low"),
    ("place", False): mark("forecasts too high"),
    ("spread", True): mark("intervals too narrow"),
    ("spread", False): mark("intervals too wide"),
}


def _judged(graded: pd.DataFrame) -> pd.DataFrame:
    """Grade the forecasts that told their quantiles, and judge them together."""
    table = _record(graded, _whole)
    if not len(table):
        return table
    tests = [(i, kind) for i, found in enumerate(table["tested"]) if found.n >= FEWEST for kind in ("place", "spread")]
    raw = [getattr(table["tested"][i], f"p_{kind}") for i, kind in tests]
    verdicts = [_EARLY if found.n < FEWEST else _RIGHT for found in table["tested"]]
    for (i, kind), p in zip(tests, adjust(raw) if tests else [], strict=True):
        found = table["tested"][i]
        if p <= _ALPHA and verdicts[i] == _RIGHT:
            verdicts[i] = _WRONG[kind, getattr(found, kind) > (0.5 if kind == "place" else 1.0)]
    return table.assign(verdict=verdicts).drop(columns="tested")


def middle(quantiles: Mapping[float, float]) -> dict[float, tuple[float, float]]:
    """Return the intervals between quantiles of opposite levels, by the share that each should hold.

    >>> middle({0.1: 3.0, 0.5: 5.0, 0.9: 9.0, 0.95: 11.0})
    {0.8: (3.0, 9.0)}
    """
    opposite = {level: round(1 - level, 8) for level in sorted(quantiles, reverse=True) if level < 0.5}
    return {
        round(1 - 2 * low, 8): (quantiles[low], quantiles[high]) for low, high in opposite.items() if high in quantiles
    }


def _whole(group: pd.DataFrame) -> dict[str, Any]:
    last, rows = group.iloc[-1], group.to_dict("records")
    tested = _tested(rows)
    scores = np.array([quantile_score(row["actual"], row["quantiles"]) for row in rows])
    held = group["naive"].notna().to_numpy()
    naive = float((group["naive"] - group["actual"]).abs()[held].mean()) if held.any() else None
    inside: dict[float, list[bool]] = {}
    for row in rows:
        for share, (lower, upper) in middle(row["quantiles"]).items():
            inside.setdefault(share, []).append(lower <= row["actual"] <= upper)
    return {
        "label": last["label"],
        "unit": last["unit"],
        "currency": last["currency"],
        "graded": len(rows),
        "middle": {share: (sum(hits), len(hits)) for share, hits in sorted(inside.items())},
        "crps": float(scores.mean()),
        "naive_error": naive,
        "gain": 1 - float(scores[held].mean()) / naive if naive else None,
        "tested": tested,
        "place": tested.place,
        "spread": tested.spread,
    }


def _tested(rows: Sequence[Mapping[Any, Any]]) -> Calibration:
    """Test the calibration over forecasts that share no week, the last ones first."""
    apart: list[Mapping[Any, Any]] = []
    for row in reversed(rows):
        if not apart or Week(row["due"]) <= Week(apart[-1]["due"]).shift(-int(row["weeks"])):
            apart.append(row)
    return calibration((row["actual"], row["quantiles"]) for row in apart)


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
