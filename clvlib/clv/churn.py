"""Churn early warning (V2): who is about to leave, why, what that would cost, and how well past warnings held."""

from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clvlib.clv.churn_causes import UNKNOWN, causes_of, reasons_by_hazard, reasons_by_model
from clvlib.clv.churn_features import Known, Records
from clvlib.clv.churn_hazard import Hazard, no_evidence
from clvlib.clv.churn_rounds import HAZARD, PURCHASE, Forecaster, known_days, rounds, staying_of, train
from clvlib.clv.churn_scores import RiskGrade, bands, graded, members, score_table
from clvlib.clv.engine import unfitted
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.data.calendar import as_date
from clvlib.data.engine import Table
from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.result import Result
from clvlib.words import mark, paragraph, tr, trn

__all__ = ["LEVELS", "ChurnRisk", "churn_risk"]

LEVELS = ("high", "medium", "low")
_FROM = (0.8, 0.5)  # risks from which the level is high, and medium
_SERIOUS = 0.1  # of the expected lapses


@dataclass(frozen=True)
class ChurnRisk(Result):
    """Who of the active customers will buy nothing for some time; ``table`` has a row per customer.

    ``table`` columns: ``risk`` (probability of no purchase within the horizon), ``level`` ("high", "medium", "low"),
    ``listed`` (whether on the list that can be worked on), ``reason`` (what adds most to the risk), ``cause`` (the most
    telling possible cause), ``purchases`` (days with one), ``silence_weeks``, ``probability_alive``, and where values
    were given ``value`` and ``value_at_risk`` (value × risk), by which the rows are ordered, else by risk.

    Attributes
    ----------
    as_of : str
        The last day that counts.
    horizon, active_weeks : int
        Weeks of which the risks speak; weeks within which an active customer has bought.
    method : str
        "hazard", or "purchase model" where the hazard was not shown to forecast better.
    customers, buyers : int
        Active customers, and all who ever bought.
    high, medium, low : int
        Customers by level.
    expected_lapses : float
        Sum of the risks.
    value_at_risk, value : float
        Sums over the active customers; NaN without values.
    list_size : int
        Customers who can be worked on.
    interval : float
        Level of all intervals.
    verdict : str
        Which method was chosen, and why.
    scores : pandas.DataFrame
        By method, on held-out weeks: see :func:`clvlib.clv.churn_scores.score_table`.
    calibration : pandas.DataFrame
        Predicted and observed by band of risk, on held-out weeks: see :func:`clvlib.clv.churn_scores.bands`.
    causes : pandas.DataFrame
        Share of the expected lapses by cause: see :func:`clvlib.clv.churn_causes.causes_of`.
    evidence : pandas.DataFrame
        What the data say of each feature: see :class:`clvlib.clv.churn_hazard.Hazard`; empty without a hazard.
    parts : pandas.DataFrame
        By customer_id: what each group of features adds to the logit of the risk, and ``base``; a row sums to it.
    earlier : RiskGrade
        The risks of ``horizon`` weeks ago, made from what was known then, against what happened.
    """

    as_of: str
    horizon: int
    active_weeks: int
    method: str
    customers: int
    buyers: int
    high: int
    medium: int
    low: int
    expected_lapses: float
    value_at_risk: float
    value: float
    list_size: int
    interval: float
    verdict: str = field(repr=False)
    scores: pd.DataFrame = field(repr=False)
    calibration: pd.DataFrame = field(repr=False)
    causes: pd.DataFrame = field(repr=False)
    evidence: pd.DataFrame = field(repr=False)
    parts: pd.DataFrame = field(repr=False)
    earlier: RiskGrade = field(repr=False)

    @property
    def sentence(self) -> str:
        """How many are at risk, and what that may cost."""
        said = trn(
            "{n:,} of {total:,} active customers is at high risk to buy nothing in the next {weeks} weeks; "
            "{expected:,.0f} are expected to.",
            "{n:,} of {total:,} active customers are at high risk to buy nothing in the next {weeks} weeks; "
            "{expected:,.0f} are expected to.",
            self.high,
            total=self.customers,
            weeks=self.horizon,
            expected=self.expected_lapses,
        )
        if not self.value > 0:
            return said
        share = self.value_at_risk / self.value
        text = mark(
            "With them may go {share:.0%} of what the active customers are worth, at most: whoever buys nothing for so "
            "long may still come back."
        )
        return paragraph(said, tr(text, share=share))

    @property
    def causes_sentence(self) -> str:
        """Which causes the data show."""
        shown = self.causes.drop(index=UNKNOWN)
        if shown.empty:
            return tr("The data show no cause of leaving.")
        named = tr("; ").join(
            tr(
                "{cause}, {share:.0%} of the expected churn ({lower:.0%} to {upper:.0%})",
                cause=row["words"],
                share=row["share"],
                lower=row["lower"],
                upper=row["upper"],
            )
            for _, row in shown.iterrows()
        )
        return tr("Causes that the data show: {causes}. They are associations, not proofs.", causes=named)

    def alerts(self) -> list[dict[str, str]]:
        """Return what to raise, for ``chapter.alert``: more leaving than before, a weighty cause, risks that were off.

        More is a mean risk above the interval of the share that lapsed of those active a horizon ago; weighty is a
        cause behind a tenth of the expected lapses, surely. Off is a mean risk further from the share that lapsed than
        by chance in both: it was calibrated on about as many customers of an earlier day, whose share is as uncertain.
        """
        found = []
        if self.expected_lapses / self.customers > self.earlier.upper:
            rule = tr("more customers leaving than before")
            text = tr(
                "{now:.0%} of the active customers are expected to buy nothing in the next {weeks} weeks; of those "
                "active on {made} it was {then:.0%} ({lower:.0%} to {upper:.0%}).",
                now=self.expected_lapses / self.customers,
                weeks=self.horizon,
                made=self.earlier.made,
                then=self.earlier.observed,
                lower=self.earlier.lower,
                upper=self.earlier.upper,
            )
            found.append({"rule": rule, "text": text, "segment": "", "severity": "high", "metric": "leaving"})
        for name, row in self.causes.iterrows():
            if name != UNKNOWN and row["lower"] >= _SERIOUS:
                text = tr(
                    "{share:.0%} of the expected churn goes with it ({lower:.0%} to {upper:.0%}); it concerns "
                    "{customers:,} active customers.",
                    share=row["share"],
                    lower=row["lower"],
                    upper=row["upper"],
                    customers=row["customers"],
                )
                rule = tr("a cause of leaving")
                alert = {"rule": rule, "text": text, "segment": str(row["words"]), "severity": "medium"}
                found.append({**alert, "metric": "leaving"})
        off = self.earlier.predicted - self.earlier.observed
        chance = (self.earlier.upper if off > 0 else self.earlier.lower) - self.earlier.observed
        if abs(off) > 2**0.5 * abs(chance):
            rule = tr("earlier risks were off")
            found.append({"rule": rule, "text": self.earlier.sentence, "segment": "", "severity": "medium"})
        return found


def churn_risk(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    events: Table | pd.DataFrame | None = None,
    complaints: Table | pd.DataFrame | None = None,
    feedback: Table | pd.DataFrame | None = None,
    refunds: Table | pd.DataFrame | None = None,
    *,
    value: pd.Series | pd.DataFrame | None = None,
    model: PurchaseModel | None = None,
    horizon: int = 8,
    active_weeks: int = 13,
    levels: tuple[float, float] = _FROM,
    list_size: int = 100,
    interval: float = 0.9,
    draws: int = 200,
    seed: int = 0,
) -> ChurnRisk:
    """Warn of customers who are about to leave.

    A customer is active when he has bought on two days or more, the last within ``active_weeks``. His risk is the
    probability that he buys nothing in the ``horizon`` weeks after ``as_of``. It comes from the hazard model
    (:mod:`clvlib.clv.churn_hazard`) where that forecast past weeks surely better than the purchase model alone, and
    from the purchase model otherwise; both, and the rule "longest silence first", are graded on several past days, each
    from what was known by then.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``day``; used where they are there: ``amount`` (purchases are above 0), ``paid_at`` (and paid),
        ``received_at``, ``returned_at``, ``discount``, ``coupon_id``.
    as_of : str or date
        The last day that counts.
    events : Table or pandas.DataFrame, optional
        ``person_id``, ``occurred_at``, under customers' ids (:func:`clvlib.data.identities.events_of`).
    complaints, feedback, refunds : Table or pandas.DataFrame, optional
        As in the data contract; ``refunds`` with ``customer_id`` and ``refunded_at``.
    value : pandas.Series or pandas.DataFrame, optional
        What each customer is worth, by customer_id; of a frame, the column ``value``. Others are worth 0.
    model : PurchaseModel, optional
        Whose class and settings are fitted on each day, such as the one that values the base; default BG/NBD with the
        weak prior of dropout that has. It works on frequency, recency and T in weeks.
    horizon, active_weeks : int
        As above.
    levels : pair of float
        Risks from which the level is high, and medium.
    list_size : int
        Customers who can be worked on before the next report.
    interval : float
        Level of all intervals.
    draws : int
        Bootstrap resamples.
    seed : int
        Of the bootstrap.

    Returns
    -------
    ChurnRisk

    Raises
    ------
    EmptyDataError
        The shop is too young, nobody is active, or all customers lapsed in the past, or none.
    MissingColumnError
        A table lacks a column.
    ParameterError
        A parameter or a value that cannot be.

    Notes
    -----
    Nothing later than a day enters what is known of it: orders of later days, answers, receipts and returns that came
    later; neither does whether an order was refunded in the end. ``refunded_amount`` has no date and is not looked at.
    """
    _check(horizon, active_weeks, levels, list_size, interval, draws)
    last = as_date(as_of)
    told = {"events": events, "complaints": complaints, "feedback": feedback, "refunds": refunds}
    model = unfitted(BetaGeoModel) if model is None else model
    _check_given(model, value)
    records = Records.read(last, horizon, active_weeks, model, orders=orders, **told)
    past = known_days(records)
    now = records.at(last, past[-1])
    size = _size(list_size, len(now.frame))
    tried = rounds(past, horizon)
    scores = score_table(tried, list_size, interval, draws, seed)
    learnt = train(past, last, horizon)
    method, verdict = _choice(learnt, scores, interval)
    risk = learnt.forecast(now)[method]
    hazard = learnt.hazard if method == HAZARD else None
    words, parts = _explained(learnt, hazard, now)
    table = _table(now, risk, words, levels, size, value)
    lost = table["value_at_risk"].to_numpy() if value is not None else None
    staying = None if hazard is None else staying_of(past, hazard)
    causes = causes_of(staying, now, risk.to_numpy(dtype=float), lost, interval, np.random.default_rng(seed), draws)
    order = table.sort_values("risk" if value is None else "value_at_risk", ascending=False, kind="stable")
    return ChurnRisk(
        as_of=str(last),
        horizon=horizon,
        active_weeks=active_weeks,
        method=method,
        buyers=now.buyers,
        **_counted(table),
        list_size=size,
        interval=interval,
        verdict=verdict,
        scores=scores,
        calibration=bands(tried[method], tried["lapsed"], interval, tried.index),
        causes=causes,
        evidence=no_evidence() if learnt.hazard is None else learnt.hazard.evidence,
        parts=parts.loc[order.index],
        earlier=_earlier(tried, method, horizon, list_size, interval),
        table=order,
    )


def _explained(learnt: Forecaster, hazard: Hazard | None, now: Known) -> tuple[pd.DataFrame, pd.DataFrame]:
    if hazard is not None:
        return reasons_by_hazard(hazard, now)
    return reasons_by_model(now, learnt.purchase.shift, learnt.purchase.slope)


def _counted(table: pd.DataFrame) -> dict[str, Any]:
    """Return the sums of a table that a result states."""
    sums = {name: float(table[name].sum()) if name in table else float("nan") for name in ("value_at_risk", "value")}
    levels = {name: int((table["level"] == name).sum()) for name in LEVELS}
    return {"customers": len(table), "expected_lapses": float(table["risk"].sum()), **levels, **sums}


def _check(
    horizon: int, active_weeks: int, levels: tuple[float, float], list_size: int, interval: float, draws: int
) -> None:
    if horizon < 1 or active_weeks < 1 or list_size < 1 or draws < 100:
        raise ParameterError(
            "horizon, active_weeks and list_size are at least 1, draws at least 100; found "
            f"{horizon}, {active_weeks}, {list_size} and {draws}"
        )
    if not 0 < levels[1] < levels[0] < 1 or not 0 < interval < 1:
        raise ParameterError(
            f"levels are two risks between 0 and 1, the high one first, and interval a share; found {levels} and "
            f"{interval}"
        )


def _check_given(model: object, value: object) -> None:
    if not isinstance(model, PurchaseModel):
        raise ParameterError(f"model is a PurchaseModel, such as BetaGeoModel(); found {model!r:.60}")
    if value is not None and not isinstance(value, pd.Series | pd.DataFrame):
        raise ParameterError(f"value is a Series, or a frame with a column value, by customer_id; found {value!r:.60}")


def _size(list_size: int, customers: int) -> int:
    if list_size < customers:
        return list_size
    text = tr(
        "a list of {size:,} holds all {customers:,} active customers, so that no order among them matters",
        size=list_size,
        customers=customers,
    )
    warnings.warn(text, ThinDataWarning, stacklevel=3)
    return customers


def _choice(learnt: Forecaster, scores: pd.DataFrame, interval: float) -> tuple[str, str]:
    """Return the method, and why: the hazard only where it forecast surely better than the purchase model."""
    rival = scores.loc[PURCHASE]
    if learnt.hazard is None or HAZARD not in scores.index:
        why = learnt.why or tr("no past day tells enough to test it")
        return PURCHASE, tr("Risks come from the purchase model alone: {why}.", why=why)
    row = scores.loc[HAZARD]
    figures = {
        "brier": row["brier"],
        "rival": rival["brier"],
        "difference": row["difference"],
        "lower": row["difference_lower"],
        "upper": row["difference_upper"],
        "interval": interval,
    }
    if row["difference_upper"] < 0:
        return HAZARD, tr(
            "On held-out weeks the shop's signs of leaving forecast better than purchases alone: Brier score "
            "{brier:.4f} against {rival:.4f} (difference {difference:.4f}, {interval:.0%} interval {lower:.4f} to "
            "{upper:.4f}).",
            **figures,
        )
    return PURCHASE, tr(
        "On held-out weeks the shop's signs of leaving did not surely forecast better than purchases alone: Brier "
        "score {brier:.4f} against {rival:.4f} (difference {difference:.4f}, {interval:.0%} interval {lower:.4f} to "
        "{upper:.4f}); risks come from the purchase model.",
        **figures,
    )


def _table(
    now: Known,
    risk: pd.Series,
    words: pd.DataFrame,
    levels: tuple[float, float],
    size: int,
    value: pd.Series | pd.DataFrame | None,
) -> pd.DataFrame:
    level = np.select([risk >= levels[0], risk >= levels[1]], LEVELS[:2], LEVELS[2])
    table = pd.DataFrame({"risk": risk, "level": level, "listed": False}).join(words)
    table = table.join(now.facts[["purchases", "silence_weeks", "probability_alive"]])
    table["listed"] = members(risk, size) >= 0.5
    if value is None:
        return table
    worth = value["value"] if isinstance(value, pd.DataFrame) else value
    if not worth.index.is_unique:
        raise ParameterError("value: a customer is named twice; a value per customer_id is asked for")
    worth = worth.reindex(table.index, fill_value=0).astype(float)
    if not np.isfinite(worth).all():
        raise ParameterError(
            f"value: {int((~np.isfinite(worth)).sum()):,} of {len(table):,} active customers have no finite value"
        )
    return table.assign(value=worth, value_at_risk=worth * risk)


def _earlier(tried: pd.DataFrame, method: str, horizon: int, size: int, interval: float) -> RiskGrade:
    """Return the grade of the risks that would have been stated on the last day whose outcome is known."""
    day = max(tried["day"])
    rows = tried[tried["day"] == day].rename(columns={method: "risk"})
    return graded(rows, day, day + dt.timedelta(weeks=horizon), horizon, horizon, size, interval)
