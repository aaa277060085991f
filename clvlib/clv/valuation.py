"""The chapter on customer value, as one object: the base valued, and the forecast that it rests on checked."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from clvlib.clv.backtest import Backtest, graded, ranking, trials
from clvlib.clv.bridge import Bridge, bridge
from clvlib.clv.engine import DROPOUT, DROPOUT_PRIOR, Engine, fit, unfitted
from clvlib.clv.holdout import Validation, tracking, validate, week_effect
from clvlib.clv.independence import Independence, independence
from clvlib.clv.misses import USUAL, Misses, misses
from clvlib.clv.models.base import Estimator, normal_quantile
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.dependent_gamma_gamma import DependentGammaGammaModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.models.purchases import PurchaseModel, combine
from clvlib.clv.rfm import RFM, rfm
from clvlib.clv.trials import Trial
from clvlib.clv.value import LifetimeValue, Parts
from clvlib.data.calendar import as_date
from clvlib.data.together import a_shop
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.words import mark, tr

__all__ = ["AUTO", "MODELS", "SPEND_MODELS", "CustomerValue", "ForecastCheck", "Valuation"]

AUTO = "auto"

Model = TypeVar("Model", bound=Estimator)

_FEWEST_WEEKS = 8  # a calibration shorter than this is no test of anything
SPEND_MODELS = {model.__name__: model for model in (GammaGammaModel, DependentGammaGammaModel)}
_TRIED = ("tried", 0, "")
MODELS = {model.__name__: model for model in (BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel, NBDModel)}


@dataclass(frozen=True)
class Valuation(Result):
    """What a customer base is worth; ``table`` has a row per customer, the most valuable first.

    ``table`` columns: frequency, recency, T, monetary_value, segment (RFM), probability_alive, expected_purchases,
    expected_spend, value with lower and upper, and loss: what is lost in expectation because the customer may already
    have left, value × (1 − P(alive)) / P(alive).

    Attributes
    ----------
    customers : int
        All who ever bought.
    value, lower, upper : float
        Value of the base over the horizon, with its interval.
    repeat_buyers : int
        Customers with more than one purchase.
    active, active_lower, active_upper : float
        Customers expected to be alive.
    interval : float
        Level of all intervals.
    horizon : float
        Weeks that count.
    purchases, spend : fitted models
    segments : pandas.DataFrame
        Value by RFM segment: customers, mean, lower, upper, share of value.
    scores : RFM
        Scores per customer.
    misses : Misses or None
        What forecasts from past days missed; None where there was no backtest.
    model_error : float
        Relative deviation by which the models err beyond chance and estimation: what the misses tell, or what is usual
        where there are none. The intervals of the base's value and of segments hold it.
    """

    customers: int
    value: float
    lower: float
    upper: float
    repeat_buyers: int
    active: float
    active_lower: float
    active_upper: float
    interval: float
    horizon: float
    purchases: PurchaseModel = field(repr=False)
    spend: GammaGammaModel = field(repr=False)
    segments: pd.DataFrame = field(repr=False)
    scores: RFM = field(repr=False)
    misses: Misses | None = field(repr=False)
    model_error: float = field(repr=False)

    def top(self, share: float = 0.1) -> float:
        """Return the share of all value that the most valuable share of customers holds."""
        held = self.table["value"].to_numpy()
        whole = float(held.sum())
        return float(held[: max(1, round(share * len(held)))].sum()) / whole if whole > 0 else 0.0

    def at_risk(self, below: float = 0.5, above: float = 0.1) -> pd.DataFrame:
        """Return repeat buyers whose P(alive) has fallen, but not to nothing, the greatest expected loss first.

        The column ``risk`` is what P(alive) lacks of one.
        """
        alive = self.table["probability_alive"]
        table = self.table.assign(risk=1 - alive)
        chosen = table[(table["frequency"] > 0) & (alive < below) & (alive >= above)]
        return chosen.sort_values("loss", ascending=False, kind="stable")

    def parameters(self) -> pd.DataFrame:
        """Return both models' parameters with standard errors and 95% intervals."""
        models = {type(model).__name__: model.summary() for model in (self.purchases, self.spend)}
        return pd.concat(models, names=["model"]).reset_index()


@dataclass(frozen=True)
class ForecastCheck(Result):
    """How a model fitted on the past forecast what came then; ``table`` has one row of figures.

    Attributes
    ----------
    split : datetime.date
        Last day that the model saw.
    validation : Validation
        Errors, the total and its interval, expected against actual by frequency.
    tracking : pandas.DataFrame
        Expected and actual repeat purchases by week.
    purchases : PurchaseModel
        The model fitted up to the split.
    inside : bool
        Whether the actual total lies in the forecast's interval.
    """

    split: dt.date
    validation: Validation = field(repr=False)
    tracking: pd.DataFrame = field(repr=False)
    purchases: PurchaseModel = field(repr=False)
    inside: bool


@dataclass
class CustomerValue:
    """The settings of a valuation; ``of`` values a shop's base, ``check`` grades the model on weeks held out.

    Parameters
    ----------
    horizon : float
        Weeks ahead that count.
    margin : float
        Share of spend that is kept.
    annual_rate : float
        Effective annual discount rate.
    interval : float
        Level of all intervals.
    engine : {"clvlib", "lifetimes"}
        Who estimates the parameters.
    model : str
        Which purchase model: "BetaGeoModel", "ModifiedBetaGeoModel", "ParetoNBDModel", "NBDModel"; or "auto": of those
        in which customers leave, the one that the backtest chooses on what was known by then, BG/NBD where time is too
        short for a backtest.
    spend : str
        Which spend model: "GammaGammaModel", or "DependentGammaGammaModel" where spend depends on frequency.
    dropout_prior : float or None
        Standard deviation of a weak normal prior of the logs of the dropout parameters (a and b; in Pareto/NBD s)
        around 0: with a = b = 1 all chances to leave are equally likely. It holds what a young shop does not tell, and
        fades as customers come. None: maximum likelihood, as where another ``engine`` fits.

    Raises
    ------
    ParameterError
        When a model is none of these.
    """

    horizon: float = 52
    margin: float = 0.3
    annual_rate: float = 0.15
    interval: float = 0.9
    engine: Engine = "clvlib"
    model: str = AUTO
    spend: str = "GammaGammaModel"
    dropout_prior: float | None = DROPOUT_PRIOR
    _kept: dict[tuple[str, int, str], Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.model not in {AUTO, *MODELS}:
            raise ParameterError(f"model is {AUTO!r} or one of {', '.join(MODELS)}; found {self.model!r}")
        if self.spend not in SPEND_MODELS:
            raise ParameterError(f"spend is one of {', '.join(SPEND_MODELS)}; found {self.spend!r}")
        if not (self.dropout_prior is None or 0 < self.dropout_prior < np.inf):
            raise ParameterError(f"dropout_prior is a standard deviation or None; found {self.dropout_prior!r}")

    def of(self, shop: Any, as_of: str | dt.date) -> Valuation:
        """Value every customer of a shop as of a day.

        Raises
        ------
        EmptyDataError
            When nobody bought yet, or nobody bought twice.
        """
        a_shop(shop)
        key = ("of", id(shop), str(as_of))
        if key not in self._kept:
            base = shop.customer_summary(as_of=as_of, unit="W", collapse="D")
            model, past = self._chosen(shop, as_of)
            self._kept[key] = self._value(base, self._lifetime(base, model), past)
        result: Valuation = self._kept[key]
        return result

    def lifetime(self, shop: Any, as_of: str | dt.date) -> LifetimeValue:
        """Return the chosen models, fitted on what was known on a day."""
        base = shop.customer_summary(as_of=as_of, unit="W", collapse="D")
        return self._lifetime(base, self._chosen(shop, as_of)[0])

    def fitted(self, summary: pd.DataFrame, model: type[PurchaseModel]) -> LifetimeValue:
        """Return a purchase model and the spend model, fitted to histories in weeks.

        Raises
        ------
        EmptyDataError
            When nobody bought twice.
        """
        return self._lifetime(summary, model)

    def choose(self, shop: Any, as_of: str | dt.date, weeks: int = 13) -> Backtest:
        """Backtest the models on what was known on a day, with forecasts of at most ``weeks`` weeks.

        Raises
        ------
        EmptyDataError
            When the shop's time is too short to learn from one part of it and forecast another.
        """
        held, tried = self._tried(shop, as_of, weeks)
        key = ("choose", id(shop), f"{as_date(as_of)} {held}")
        if key not in self._kept:
            self._kept[key] = graded(tried, held, "W")
        result: Backtest = self._kept[key]
        return result

    def _tried(self, shop: Any, as_of: str | dt.date, weeks: int = 13) -> tuple[int, list[Trial]]:
        """Return how many weeks ahead the models were tried on past days, and the trials; those of one day are kept."""
        end = as_date(as_of)
        held = (end - self._split(shop, end, weeks)).days // 7
        asked = id(shop), end, held
        kept, tried = self._kept.get(_TRIED, (None, []))
        if kept != asked:
            near = tried[-1] if tried and kept[0] == id(shop) else None
            models, spend = [self._unfitted(each) for each in MODELS.values()], SPEND_MODELS[self.spend]()
            tried = trials(shop, models, 4, held, spend, unit="W", collapse="D", as_of=end, near=near)
            self._kept[_TRIED] = asked, tried
        return held, tried

    def bridge(self, shop: Any, as_of: str | dt.date, weeks: int = 1, reported: float | None = None) -> Bridge:
        """Say why the value of the base moved within the last weeks; see :func:`clvlib.clv.bridge.bridge`.

        Both days are valued by the model of the later one, each with its own estimates.

        Raises
        ------
        EmptyDataError
            When nobody had bought twice by the earlier day.
        """
        day = as_date(as_of)
        now = self.of(shop, day)
        earlier, later = (
            shop.customer_summary(as_of=each, unit="W", collapse="D") for each in (day - dt.timedelta(weeks=weeks), day)
        )
        before = self._lifetime(earlier, type(now.purchases))
        after = LifetimeValue(now.purchases, now.spend, self.margin, self.annual_rate, unit="W")
        return bridge(before, after, earlier, later, self.horizon, reported=reported, interval=self.interval)

    def independence(self, shop: Any, as_of: str | dt.date) -> Independence:
        """Say whether spend depends on frequency; see :func:`clvlib.clv.independence.independence`."""
        base = self.of(shop, as_of)
        return independence(base.table, base.table["expected_purchases"])

    def outlook(self, shop: Any, as_of: str | dt.date, weeks: int) -> pd.DataFrame:
        """Forecast what those who bought by a day will buy in the weeks after it.

        The interval holds what the models do not know, the chance of single purchases, and that weeks differ as they
        did in the last half-year (:func:`clvlib.clv.holdout.week_effect`), each on its own.

        Returns
        -------
        pandas.DataFrame
            By figure (``repeat_purchases``, counted once a day per customer; ``repeat_buyers``, the customers who make
            any; ``repeat_spend``): mean, and lower and upper of a prediction interval; and ``actual``, what the same
            figure came to in as many weeks up to the day, for those who had bought before them. It is left out where
            the shop is younger than that.

        Raises
        ------
        EmptyDataError
            When nobody bought yet, or nobody bought twice.
        """
        day, base = as_date(as_of), self.of(shop, as_of)
        money = LifetimeValue(base.purchases, base.spend, margin=1.0, annual_rate=0.0, unit="W")
        rows = {
            "repeat_purchases": base.purchases.total_purchases(base.table, weeks, self.interval),
            "repeat_buyers": base.purchases.total_buyers(base.table, weeks, self.interval),
            "repeat_spend": money.total(base.table, weeks, self.interval).loc["all", ["mean", "lower", "upper"]],
        }
        table = pd.DataFrame(rows).T.astype(float)
        table.index.name = "figure"
        apart = week_effect(tracking(base.purchases, shop.table("orders"), day)) / np.sqrt(weeks)
        mean, limits = table["mean"].to_numpy(), (table["lower"].to_numpy(), table["upper"].to_numpy())
        factor = np.exp(normal_quantile(self.interval) * apart)
        table["lower"], table["upper"] = combine(mean, limits, (mean / factor, mean * factor))
        try:
            _, later = shop.calibration_holdout(day - dt.timedelta(weeks=weeks), day, unit="W", collapse="D")
        except EmptyDataError:
            return table
        bought = later["frequency_holdout"]
        return table.assign(actual=[bought.sum(), (bought > 0).sum(), (bought * later["monetary_value_holdout"]).sum()])

    def _chosen(self, shop: Any, as_of: str | dt.date) -> tuple[type[PurchaseModel], Misses | None]:
        """Return the model that values the base on a day, and what its past forecasts missed, where it was chosen."""
        if self.model != AUTO:
            return MODELS[self.model], None
        if self.engine != "clvlib":
            return BetaGeoModel, None
        key = ("model", id(shop), str(as_date(as_of)))
        if key not in self._kept:
            try:
                held, tried = self._tried(shop, as_of)
            except EmptyDataError:
                self._kept[key] = BetaGeoModel, None
            else:
                # where a simple rule or NBD does as well, the best of these stands in: within a year customers leave
                best = next(name for name in ranking(tried) if name in DROPOUT)
                self._kept[key] = MODELS[best], misses(tried, best, 7 * held)
        chosen: tuple[type[PurchaseModel], Misses | None] = self._kept[key]
        return chosen

    def _unfitted(self, model: type[PurchaseModel]) -> PurchaseModel:
        return unfitted(model, self.dropout_prior if self.engine == "clvlib" else None)

    def _fit(self, model: Model, summary: pd.DataFrame) -> Model:
        """Fit to a day of the shop, beginning where the fit to another day ended."""
        key = ("near", 0, type(model).__name__)
        found: Model = fit(model, summary, self.engine, self._kept.get(key))
        self._kept[key] = found
        return found

    def _lifetime(self, summary: pd.DataFrame, model: type[PurchaseModel]) -> LifetimeValue:
        if not (summary["frequency"] > 0).any():
            raise EmptyDataError(tr("no customer has bought twice yet, so there is nothing to learn repurchase from"))
        purchases, spend = self._fit(self._unfitted(model), summary), self._fit(SPEND_MODELS[self.spend](), summary)
        return LifetimeValue(purchases, spend, self.margin, self.annual_rate, unit="W")

    def _value(self, summary: pd.DataFrame, lifetime: LifetimeValue, past: Misses | None) -> Valuation:
        purchases, spend = lifetime.purchases, lifetime.spend
        scores = rfm(summary)
        parts = lifetime.parts(summary, self.horizon)
        error = USUAL if past is None else past.error
        total = lifetime.sums(parts, self.interval, model_error=error).iloc[0].astype(float).to_dict()
        active = purchases.total_alive(summary, self.interval)
        table = self._table(summary, lifetime, parts, scores)
        segments = lifetime.sums(parts, self.interval, by=scores.table["segment"], model_error=error)
        segments["share"] = segments["mean"] / segments["mean"].sum()
        return Valuation(
            customers=len(summary),
            value=total["mean"],
            lower=total["lower"],
            upper=total["upper"],
            repeat_buyers=int((summary["frequency"] > 0).sum()),
            active=float(active["mean"]),
            active_lower=float(active["lower"]),
            active_upper=min(float(active["upper"]), float(len(summary))),
            interval=self.interval,
            horizon=self.horizon,
            purchases=purchases,
            spend=spend,
            segments=segments.sort_values("mean", ascending=False),
            scores=scores,
            misses=past,
            model_error=error,
            table=table,
        )

    def _table(self, summary: pd.DataFrame, lifetime: LifetimeValue, parts: Parts, scores: RFM) -> pd.DataFrame:
        table = summary[["frequency", "recency", "T", "monetary_value"]].copy()
        table["segment"] = scores.table["segment"]
        alive = np.asarray(lifetime.purchases.probability_alive(summary))
        table["probability_alive"] = alive
        table["expected_purchases"] = parts.cells.expand(parts.purchases)
        table["expected_spend"] = parts.spend
        worth = pd.DataFrame(lifetime.each(parts, self.interval))
        table[["value", "lower", "upper"]] = worth[["mean", "lower", "upper"]]
        possible = alive > 1e-12
        table["loss"] = np.where(possible, table["value"] * (1 - alive) / np.where(possible, alive, 1.0), 0.0)
        return table.sort_values("value", ascending=False, kind="stable")

    def check(self, shop: Any, as_of: str | dt.date, weeks: int = 13, split: str | dt.date = "") -> ForecastCheck:
        """Fit on the past of a shop, forecast the weeks that followed, and compare.

        Parameters
        ----------
        shop : Shop
            With orders.
        as_of : date
            Last day of the holdout.
        weeks : int
            Length of the holdout; at most a third of the shop's time is taken.
        split : date or str
            Last day of the calibration, in place of ``weeks``.

        Raises
        ------
        EmptyDataError
            When the shop's time is too short to hold out any of it.
        """
        end = as_date(as_of)
        last = as_date(split, "split") if split else self._split(shop, end, weeks)
        key = ("check", id(shop), f"{last} {end}")
        if key not in self._kept:
            self._kept[key] = self._checked(shop, last, end)
        result: ForecastCheck = self._kept[key]
        return result

    @staticmethod
    def _split(shop: Any, end: dt.date, weeks: int) -> dt.date:
        if weeks < 1:
            raise ParameterError(f"a holdout has at least one week; found {weeks}")
        seen = ((end - shop.date_range[0]).days + 1) // 7
        held = min(weeks, seen // 3)
        if seen - held < _FEWEST_WEEKS or held < 1:
            text = mark("{n} weeks of orders are too few to hold some out and still learn from the rest")
            raise EmptyDataError(tr(text, n=seen))
        return end - dt.timedelta(weeks=held)

    def _checked(self, shop: Any, last: dt.date, end: dt.date) -> ForecastCheck:
        known, later = shop.calibration_holdout(last, end, unit="W", collapse="D")
        if not (known["frequency"] > 0).any():
            text = mark("no customer had bought twice by {day}, so there was nothing to learn from")
            raise EmptyDataError(tr(text, day=last))
        purchases = fit(self._unfitted(self._chosen(shop, end)[0]), known, self.engine)
        validation = validate(purchases, known, later, self.interval)
        weekly = tracking(purchases, shop.table("orders"), end, last, interval=self.interval)
        figures = {
            "weeks": validation.duration,
            "customers": validation.customers,
            "expected": validation.expected,
            "lower": validation.lower,
            "upper": validation.upper,
            "actual": validation.actual,
            "mean_absolute_error": validation.mae,
            "buyers_expected": validation.active_expected,
            "buyers": validation.active_actual,
        }
        return ForecastCheck(
            split=last,
            validation=validation,
            tracking=weekly,
            purchases=purchases,
            inside=validation.lower <= validation.actual <= validation.upper,
            table=pd.DataFrame([figures]),
        )
