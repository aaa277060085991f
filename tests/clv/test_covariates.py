"""Static covariates: against the models underneath, mpmath, simulation by hand, and the contract of all models."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvlib as clv
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.beta_geo_cnbd_k import BetaGeoCNBDkModel
from clvlib.clv.models.covariates import CovariateModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.data.covariates import add_covariates
from clvlib.errors import ConvergenceWarning, DataError, MissingColumnError, ParameterError
from tests.clv import conftest, oracles
from tests.clv import test_contract as contract
from tests.conftest import shared_data

BG = {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5}
PARETO = {"r": 0.8, "alpha": 6.0, "s": 0.9, "beta": 15.0}
NBD = {"r": 0.6, "alpha": 8.0}
LETTERS = {BetaGeoModel: BG, ModifiedBetaGeoModel: BG, ParetoNBDModel: PARETO, NBDModel: NBD}
OF_DROPOUT = {BetaGeoModel: "b", ModifiedBetaGeoModel: "b", ParetoNBDModel: "beta"}
LEVELS = {"city": ["big", "middle", "small"], "age": [40.0, 10.0]}
EFFECTS = {
    "purchase:city=middle": 1.6,
    "purchase:city=small": 0.5,
    "purchase:age": 1.3,
    "dropout:city=middle": 0.6,
    "dropout:city=small": 1.4,
}


def people(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    city = rng.choice(["big", "middle", "small"], n, p=[0.5, 0.3, 0.2])
    return pd.DataFrame({"city": city, "age": 40 + 10 * rng.normal(size=n)})


def customers(n: int, seed: int = 0) -> pd.DataFrame:
    """Histories of any kind, with covariates that take as many values as there are customers."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, n)
    T = rng.uniform(5, 60, n)
    return people(n, seed).assign(frequency=x, recency=np.where(x > 0, T * rng.uniform(0.3, 1, n), 0.0), T=T)


def model_of(base, effects=EFFECTS, **arguments) -> CovariateModel:
    dropout = ["city"] if base is not NBDModel else []
    kept = {name: value for name, value in effects.items() if dropout or not name.startswith("dropout")}
    chosen = {"purchase": ["city", "age"], "dropout": dropout, "encoding": LEVELS} | arguments
    return CovariateModel.with_parameters(LETTERS[base] | kept, "W", model=base(), **chosen)


def multipliers(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What purchasing and dropout of each customer are multiplied by, written out by hand."""
    purchase = frame["city"].map({"big": 1.0, "middle": 1.6, "small": 0.5}) * 1.3 ** ((frame["age"] - 40) / 10)
    return purchase.to_numpy(), frame["city"].map({"big": 1.0, "middle": 0.6, "small": 1.4}).to_numpy()


def of_each(base, frame: pd.DataFrame) -> list:
    """The model underneath, with each customer's own parameters."""
    models = []
    for purchase, dropout in zip(*multipliers(frame), strict=True):
        own = LETTERS[base] | {"alpha": LETTERS[base]["alpha"] / purchase}
        if base in OF_DROPOUT:
            own[OF_DROPOUT[base]] /= dropout
        models.append(base.with_parameters(own))
    return models


@pytest.mark.parametrize("base", LETTERS)
def test_every_form_is_that_of_the_customers_own_parameters(base):
    frame = customers(40)
    model, each = model_of(base), of_each(base, frame)
    rows = [frame.iloc[[i]] for i in range(len(frame))]
    for form in (
        lambda m, f: m.log_likelihood(f),
        lambda m, f: m.probability_alive(f),
        lambda m, f: m.expected_purchases(f, 26.0),
        lambda m, f: m.count_probability(f, 26.0, 3),
        lambda m, f: m.discounted_expected_purchases(f, 0.003, 52.0),
        lambda m, f: m.discounted_expected_purchases(f, 0.003),
        lambda m, f: m.expected_purchases(f, 26.0, 0.9, "customer")["upper"],
    ):
        truth = np.concatenate([form(own, row) for own, row in zip(each, rows, strict=True)])
        np.testing.assert_allclose(form(model, frame), truth, rtol=1e-8)


def test_log_likelihood_agrees_with_mpmath():
    frame = customers(12, seed=3)
    history = frame[["frequency", "recency", "T"]].to_numpy()
    purchase, dropout = multipliers(frame)
    for base, at_start in ((BetaGeoModel, 0), (ModifiedBetaGeoModel, 1)):
        truth = [
            float(oracles.bg_log_likelihood(0.6, 5.0 / m, 0.9, 2.5 / h, *row, at_start))
            for m, h, row in zip(purchase, dropout, history, strict=True)
        ]
        np.testing.assert_allclose(model_of(base).log_likelihood(frame), truth, rtol=1e-9)
    truth = [
        float(oracles.pareto_log_likelihood(0.8, 6.0 / m, 0.9, 15.0 / h, *row))
        for m, h, row in zip(purchase, dropout, history, strict=True)
    ]
    np.testing.assert_allclose(model_of(ParetoNBDModel).log_likelihood(frame), truth, rtol=1e-9)


@pytest.mark.parametrize("base", LETTERS)
def test_without_effects_it_is_the_model_underneath(base):
    frame = customers(60, seed=4)
    model, plain = model_of(base, dict.fromkeys(EFFECTS, 1.0)), base.with_parameters(LETTERS[base], "W")
    pd.testing.assert_series_equal(model.log_likelihood(frame), plain.log_likelihood(frame), rtol=1e-12)
    pd.testing.assert_series_equal(model.expected_purchases(frame, 9), plain.expected_purchases(frame, 9), rtol=1e-10)
    assert model.expected_purchases_new(26.0) == pytest.approx(plain.expected_purchases_new(26.0))
    assert model.count_probability_new(26.0, 2) == pytest.approx(plain.count_probability_new(26.0, 2))


@pytest.mark.parametrize("base", LETTERS)
@pytest.mark.parametrize("count", [60, 10])  # a number with many values, one with few
def test_derivatives(base, count):
    frame = customers(count, seed=5)
    model = model_of(base)
    cells, at = model._read(frame), model._p() * 1.05
    value, gradient, hessian = model._derivatives(at, cells)
    assert value == pytest.approx(model._log_likelihood(at, cells).sum(), rel=1e-12)
    for i in range(len(at)):
        step = np.zeros_like(at)
        step[i] = 1e-5 * at[i]
        up, down = model._derivatives(at + step, cells), model._derivatives(at - step, cells)
        assert (up[0] - down[0]) / (2 * step[i]) == pytest.approx(gradient[i], rel=1e-6, abs=1e-4), model._names[i]
        np.testing.assert_allclose((up[1] - down[1]) / (2 * step[i]), hessian[i], rtol=1e-6, atol=1e-4)


def bought(who: pd.DataFrame, T: np.ndarray, seed: int) -> pd.DataFrame:
    """BG/NBD customers one at a time, purchase by purchase, from the definition."""
    rng = np.random.default_rng(seed)
    purchase, dropout = multipliers(who)
    rate = rng.gamma(BG["r"], purchase / BG["alpha"])
    chance = rng.beta(BG["a"], BG["b"] / dropout)
    rows = []
    for speed, leave, end in zip(rate, chance, T, strict=True):
        x, last, t = 0, 0.0, rng.exponential(1 / max(speed, 1e-300))
        while t <= end:
            x, last = x + 1, t
            if rng.random() < leave:
                break
            t += rng.exponential(1 / speed)
        rows.append((x, last, end))
    return who.assign(**pd.DataFrame(rows, columns=["frequency", "recency", "T"], index=who.index))


def errors(model: CovariateModel, truth: dict[str, float]) -> np.ndarray:
    names = list(model.params_.index)
    return (np.log(model.params_) - np.log([truth[n] for n in names])) / np.sqrt(np.diag(model._log_covariance))


@pytest.mark.slow
def test_coefficients_are_recovered_from_customers_simulated_by_hand():
    who = customers(12_000, seed=6)[["city", "age"]]
    frame = bought(who, np.random.default_rng(7).uniform(10, 60, len(who)), seed=8)
    model = CovariateModel(BetaGeoModel, ["city", "age"], ["city"], LEVELS).fit(frame)
    assert model.converged_
    assert np.abs(errors(model, BG | EFFECTS)).max() < 3.3, errors(model, BG | EFFECTS)
    free = CovariateModel(BetaGeoModel, ["city", "age"], ["city"]).fit(frame)
    assert free.encoding_["city"] == ["big", "middle", "small"]  # by how frequent they are
    assert free.encoding_["age"] == pytest.approx([who["age"].mean(), who["age"].std(ddof=0)])
    assert free.log_likelihood_ == pytest.approx(model.log_likelihood_, abs=1e-5)
    # per standard deviation in place of per ten years
    per = model.params_["purchase:age"] ** (free.encoding_["age"][1] / 10)
    assert free.params_["purchase:age"] == pytest.approx(per, rel=1e-4)


@pytest.mark.slow
def test_intervals_cover_and_tests_keep_their_size():
    """Of 100 shops with 1,000 customers: 90% Wald intervals, and the likelihood-ratio test of a column of noise."""
    rng = np.random.default_rng(9)
    truth = BG | {"purchase:vip": 1.5, "dropout:vip": 0.6}
    inside, p_values = [], []
    for _ in range(100):
        who = pd.DataFrame({"vip": rng.random(1000) < 0.4, "noise": rng.random(1000) < 0.5})
        model = CovariateModel.with_parameters(truth, model="BetaGeoModel", purchase=["vip"], dropout=["vip"])
        frame = model.simulate(1000, rng.uniform(20, 60, 1000), rng, who[["vip"]])
        frame["noise"] = who["noise"].to_numpy()
        fit = CovariateModel(BetaGeoModel, ["vip"], ["vip"]).fit(frame)
        table = fit.summary(0.9).loc[["purchase:vip", "dropout:vip"]]
        inside.append((table["lower"] < [1.5, 0.6]) & (table["upper"] > [1.5, 0.6]))
        more = CovariateModel(BetaGeoModel, ["vip", "noise"], ["vip"]).fit(frame)
        p_values.append(stats.chi2.sf(2 * (more.log_likelihood_ - fit.log_likelihood_), 1))
    share = pd.concat(inside, axis=1).mean(axis=1)
    assert share.between(0.81, 0.99).all(), share  # 3 standard errors of 100 trials are 0.09
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


# ---- the contract of all models


class _Standing(CovariateModel):
    """A model with covariates that needs no arguments and draws its own customers, as the battery asks."""

    _names = ("r", "alpha", "a", "b", "purchase:city=middle", "purchase:city=small", "purchase:vip", "dropout:vip")
    _columns = ("frequency", "recency", "T", "city", "vip")
    BASE = "BetaGeoModel"

    def __init__(self, purchase=("city", "vip"), dropout=("vip",)):
        super().__init__(self.BASE, purchase, dropout, {"city": ["big", "middle", "small"]})

    def simulate(self, n, T, seed, covariates=None):  # noqa: ARG002 - draws its own
        who = people(n, seed).assign(vip=np.random.default_rng(seed).random(n) < 0.4)
        return super().simulate(n, T, seed, who[["city", "vip"]])

    @classmethod
    def with_parameters(cls, params, unit="", **arguments):  # noqa: ARG003 - has none
        model = CovariateModel.with_parameters(
            params, unit, model=cls.BASE, purchase=["city", "vip"], dropout=["vip"], encoding={"city": LEVELS["city"]}
        )
        own = cls()
        own.params_, own.unit_, own.encoding_, own._log_covariance = model.params_, unit, model.encoding_, None
        return own


class _StandingPareto(_Standing):
    _names = ("r", "alpha", "s", "beta", "purchase:city=middle", "purchase:city=small", "purchase:vip", "dropout:vip")
    BASE = "ParetoNBDModel"


MORE = {"purchase:city=middle": 1.6, "purchase:city=small": 0.5, "purchase:vip": 1.4, "dropout:vip": 0.6}


@pytest.fixture(scope="module", params=[_Standing, _StandingPareto], ids=["BG", "Pareto"])
def case(request):
    truths = {_Standing: BG | MORE, _StandingPareto: PARETO | MORE}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contract, "TRUTH", contract.TRUTH | truths)
        frame = contract.customers(request.param)
        yield request.param, frame, request.param().fit(frame)


@pytest.mark.parametrize(
    "promise",
    [
        contract.test_learned_attributes,
        contract.test_log_likelihood_is_that_of_the_customers,
        contract.test_derivatives_are_those_of_the_log_likelihood,
        contract.test_row_order_does_not_matter,
        contract.test_weeks_and_days_give_the_same_predictions,
        contract.test_weights_equal_repeated_rows,
        contract.test_refit_forgets_the_old_data,
        contract.test_scikit_learns_habits,
        contract.test_bad_input_is_refused,
        contract.test_parameters_are_recovered,
        contract.test_a_million_rows_of_few_histories_cost_little,
    ],
    ids=lambda test: test.__name__,
)
def test_the_contract_of_fits(case, promise):
    promise(case)


@pytest.mark.parametrize(
    "promise",
    [
        contract.test_identities_of_counts,
        contract.test_monotone_in_time_and_bounded,
        contract.test_intervals_of_parts_lie_inside_the_whole,
    ],
    ids=lambda test: test.__name__,
)
def test_the_contract_of_predictions(case, promise):
    cls, frame, _ = case
    promise((cls.with_parameters(contract.TRUTH[cls], "W"), frame.head(300)))


@pytest.mark.parametrize("base", [BetaGeoModel, ParetoNBDModel])
def test_json_round_trip(base, tmp_path):
    frame = customers(400, seed=10).assign(age=40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # these histories are no model's
        model = CovariateModel(base(), ["city"], ["city"]).fit(frame)
    model.to_json(tmp_path / "model.json")
    other = clv.load(tmp_path / "model.json")
    assert isinstance(other, clv.CovariateModel)
    pd.testing.assert_frame_equal(other.summary(), model.summary())
    pd.testing.assert_frame_equal(other.expected_purchases(frame, 26, 0.9), model.expected_purchases(frame, 26, 0.9))
    assert other.encoding_ == model.encoding_


def test_later_purchases_follow_the_covariates():
    model = model_of(BetaGeoModel)
    who = customers(30_000, seed=11)[["city", "age"]]
    drawn = model.simulate(len(who), 30.0, 1, who)
    later = model.simulate_future(drawn, 30.0, seed=4)
    error = later - model.expected_purchases(drawn, 30.0)
    assert (drawn["recency"] <= 30).all()
    for level in LEVELS["city"]:
        for old in (True, False):
            part = error[(drawn["city"] == level) & ((drawn["age"] > 40) == old)]
            assert abs(part.mean()) < 3.5 * part.std() / np.sqrt(len(part))
    assert len(model.simulate(5, 30.0, 1)) == 5  # reference customers


# ---- where it stands among the others


def test_lifetime_value_takes_it():
    frame = customers(200, seed=12).assign(monetary_value=lambda f: 20.0 * (f["frequency"] > 0))
    frame.attrs["clvlib"] = {"unit": "W"}
    spend = GammaGammaModel.with_parameters({"p": 6.0, "q": 4.0, "gamma": 15.0})
    value = clv.LifetimeValue(model_of(BetaGeoModel), spend, margin=0.3, annual_rate=0.1)
    table = value.predict(frame, 52, 0.9, "customer")
    rate = np.log(1.1) / (365.25 / 7)
    often = value.purchases.discounted_expected_purchases(frame, rate, 52)
    np.testing.assert_allclose(table["mean"], 0.3 * often * spend.expected_spend(frame))
    assert value.total(frame, 52, by=frame["city"], uncertainty="customer")["mean"].sum() == pytest.approx(
        table["mean"].sum()
    )


def apparel() -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = shared_data("apparel")
    orders = pd.read_csv(folder / "clvtools_apparelTrans.csv", dtype={"Id": str}, parse_dates=["Date"])
    orders = orders.set_axis(["customer_id", "date", "amount"], axis=1)
    known = pd.read_csv(folder / "clvtools_apparelStaticCov.csv", dtype={"Id": str})
    return orders.groupby(["customer_id", "date"], as_index=False)["amount"].sum(), known.rename(
        columns={"Id": "customer_id"}
    )


@pytest.mark.parametrize("base", [BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel])
def test_apparel(base):
    orders, known = apparel()
    split = dt.date(2006, 12, 31)  # 104 weeks after the first order
    frame = conftest.customer_summary(orders, pd.Timestamp(split))
    frame = add_covariates(frame, known, ["Gender", "Channel"])
    weeks = (orders["date"].max() - pd.Timestamp(split)).days / 7
    actual = int((orders["date"] > pd.Timestamp(split)).sum())
    assert (len(frame), actual) == (600, 1317)
    plain = base().fit(frame)
    model = CovariateModel(base(), ["Gender", "Channel"], ["Gender", "Channel"]).fit(frame)
    assert model.converged_
    ratio = 2 * (model.log_likelihood_ - plain.log_likelihood_)
    assert stats.chi2.sf(ratio, 4) < 1e-6
    # an independent optimiser from another start finds no better place
    cells = model._read(frame)
    found = optimum_without_derivatives(model, cells)
    assert model.log_likelihood_ >= found - 1e-6
    assert found == pytest.approx(model.log_likelihood_, abs=1e-2)
    # both forecasts of four years lie within 15% of what came
    for forecast in (plain, model):
        assert forecast.expected_purchases(frame, weeks).sum() == pytest.approx(actual, rel=0.15)
    assert (model.summary().loc["purchase:Channel", "lower"]) > 1


def optimum_without_derivatives(model: CovariateModel, cells) -> float:
    from scipy.optimize import minimize

    start = np.zeros(len(model._names))
    start[1] = 3.0
    found = minimize(lambda t: -cells.weight @ model._log_likelihood(np.exp(t), cells), start, method="L-BFGS-B")
    return -float(found.fun)


def test_a_backtest_asks_the_shop_for_what_models_want():
    orders, known = apparel()
    orders = orders.rename(columns={"date": "ordered_at"})
    known = known.rename(columns={"Gender": "gender", "Channel": "channel"}).astype(str)
    shop = clv.connect({"orders": orders, "customers": known})
    seasons = pd.DataFrame({"start": pd.date_range("2005-01-01", "2011-01-01", freq="QS")})
    seasons["holiday"] = (seasons["start"].dt.quarter == 4).astype(int)
    models = {
        "plain": ModifiedBetaGeoModel(),
        "known": CovariateModel("ModifiedBetaGeoModel", ["channel"], ["gender"]),
        "season": clv.DynamicCovariateModel("ModifiedBetaGeoModel", seasons),
        "regular": clv.ModifiedBetaGeoCNBDkModel(k=2),
    }
    split = "2006-12-31"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # thin data are said in words
        result = clv.backtest(shop, models, [split], 52, draws=200)
    assert result.table["parameters"][["known", "season"]].to_list() == [6, 5]
    assert result.table.loc["known", "log_score"] > result.table.loc["NBDModel", "log_score"]
    summary = shop.customer_summary(split, litt=True, covariates=["gender", "channel"])
    fits = result.fits[dt.date(2006, 12, 31)]
    for name, model in models.items():
        extra = [shop.table("orders")] if name == "season" else []
        again = type(model)(**model.get_params()).fit(summary, *extra)
        pd.testing.assert_series_equal(fits[name].params_, again.params_, rtol=1e-9)
        assert fits[name].log_likelihood_ == pytest.approx(again.log_likelihood_, abs=1e-6)
        assert result.table.loc[name, "forecast"] == pytest.approx(again.expected_purchases(summary, 52).sum())
    with pytest.raises(ParameterError, match="compressed"):
        shop.customer_summary(split, compressed=True, covariates=["gender"])


# ---- what is refused


def test_what_cannot_be_is_refused():
    frame = customers(50, seed=13)
    with pytest.raises(MissingColumnError, match="region"):
        CovariateModel(BetaGeoModel, ["region"]).fit(frame)
    with pytest.raises(DataError, match="3 of 50 rows are missing"):
        CovariateModel(BetaGeoModel, ["age"]).fit(frame.assign(age=frame["age"].where(frame.index > 2)))
    with pytest.raises(DataError, match="missing"):
        CovariateModel(BetaGeoModel, ["city"]).fit(frame.assign(city=frame["city"].where(frame.index > 2)))
    with pytest.raises(DataError, match="all rows have the value 'big'; leave"):
        CovariateModel(BetaGeoModel, ["city"]).fit(frame.assign(city="big"))
    with pytest.raises(ParameterError, match="at least one"):
        CovariateModel(BetaGeoModel).fit(frame)
    with pytest.raises(ParameterError, match="list of different columns"):
        CovariateModel(BetaGeoModel, "city").fit(frame)
    with pytest.raises(ParameterError, match="no dropout"):
        CovariateModel(NBDModel, [], ["city"]).fit(frame)
    with pytest.raises(ParameterError, match="BetaGeoCNBDkModel"):
        CovariateModel(BetaGeoCNBDkModel(), ["city"]).fit(frame)
    with pytest.raises(ParameterError, match="3 customers"):
        model_of(BetaGeoModel).simulate(5, 10.0, 1, frame[["city", "age"]].head(3))
    with pytest.raises(DataError, match=r"none of the levels.*'village'"):
        model_of(BetaGeoModel).probability_alive(frame.assign(city="village"))
    with pytest.raises(DataError, match="is text"):
        model_of(BetaGeoModel).probability_alive(frame.assign(age="old"))
    many = customers(10_500, seed=14)
    with pytest.raises(ParameterError, match="bin the columns"):
        CovariateModel(ParetoNBDModel, ["age"]).fit(many)


def test_a_level_without_repeat_purchases_is_named():
    frame = model_of(BetaGeoModel, dict.fromkeys(EFFECTS, 1.0)).simulate(600, 40.0, 1, people(600))
    none = frame["city"] == "small"
    frame.loc[none, ["frequency", "recency"]] = 0
    with pytest.warns(ConvergenceWarning, match="hardly any of them buys again where city=small"):
        model = CovariateModel(BetaGeoModel, ["city"]).fit(frame)
    assert not model.converged_
    assert np.isfinite(model.summary().to_numpy()).all()
    assert np.isfinite(model.expected_purchases(frame, 26, 0.9).to_numpy()).all()


def test_columns_that_say_the_same_are_named():
    frame = model_of(BetaGeoModel).simulate(600, 40.0, 1, people(600)).assign(again=lambda f: f["city"])
    with pytest.warns(ConvergenceWarning, match="do not hold purchase:city"):
        CovariateModel(BetaGeoModel, ["city", "again"]).fit(frame)


def test_customers_are_joined():
    summary = pd.DataFrame({"frequency": 1}, index=pd.Index(["b", "a", "c"], name="customer_id"))
    summary.attrs["clvlib"] = {"unit": "W"}
    known = pd.DataFrame({"customer_id": ["a", "b"], "gender": ["f", None], "age": [30.0, 50.0]})
    joined = add_covariates(summary, known, ["gender", "age"])
    assert joined["gender"].tolist() == ["unknown", "f", "unknown"]
    assert joined["age"].tolist()[:2] == [50.0, 30.0]
    assert np.isnan(joined["age"].iloc[2])
    assert joined.attrs == summary.attrs
    assert "gender" not in summary
    with pytest.raises(DataError, match="several rows"):
        add_covariates(summary, pd.concat([known, known]), ["gender"])
    with pytest.raises(MissingColumnError):
        add_covariates(summary, known, ["region"])
