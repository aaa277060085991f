"""The bridge: it sums, each cause ends up in its own part, and its limits are those of the parameters."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import clvlib as clv
from clvlib.clv.bridge import bridge, bridge_plot
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.gamma_gamma import GammaGammaModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.value import LifetimeValue
from clvlib.data.datasets import cdnow as orders
from clvlib.errors import ParameterError, UnitMismatchError

SETTINGS = {"margin": 0.3, "annual_rate": 0.15}


def fitted(base: pd.DataFrame) -> LifetimeValue:
    return LifetimeValue(BetaGeoModel().fit(base), GammaGammaModel().fit(base), **SETTINGS)


@pytest.fixture(scope="module")
def bases() -> tuple[pd.DataFrame, pd.DataFrame]:
    """CDNOW while customers still arrive, a week apart."""
    shop = clv.connect({"orders": orders(sample=True)}, mapping="cdnow")
    first, second = (shop.customer_summary(as_of=day, unit="W") for day in ("1997-03-16", "1997-03-23"))
    return first, second


@pytest.fixture(scope="module")
def models(bases) -> tuple[LifetimeValue, LifetimeValue]:
    return fitted(bases[0]), fitted(bases[1])


def parts(result) -> pd.Series:
    return result.table.set_index("part")["change"]


def test_parts_are_what_the_public_predictions_say(bases, models):
    (earlier, later), (before, after) = bases, models
    result = bridge(before, after, earlier, later, 52)
    change = parts(result)
    old, now = before.predict(earlier, 52, None), before.predict(later, 52, None)
    new = ~later.index.isin(earlier.index)
    same = later.index[~new]
    again = later.loc[same, "frequency"] > earlier.loc[same, "frequency"]
    spent_before = before.spend.expected_spend(earlier)
    spent_now = before.spend.expected_spend(later)
    bought = now[same] / spent_now[same] * spent_before[same] - old[same]
    assert new.sum() == 28 + 31 + 28 + 21 + 19 + 24 + 24  # first purchases of 17 to 23 March, counted in the file
    assert change["new"] == pytest.approx(now[new].sum())
    assert change["returning"] == pytest.approx(bought[again].sum())
    assert change["lapsing"] == pytest.approx(bought[~again].sum())
    assert (bought[~again] <= 0).all()
    assert change["spend"] == pytest.approx((now[same] * (1 - spent_before[same] / spent_now[same])).sum())
    assert change["models"] == pytest.approx(after.predict(later, 52, None).sum() - now.sum())
    assert change["revised data"] == change["settings"] == 0
    assert result.start == pytest.approx(old.sum())
    assert result.end == pytest.approx(after.predict(later, 52, None).sum())
    counts = result.table.set_index("part")["customers"]
    assert counts["new"] + counts["returning"] + counts["lapsing"] == len(later)


def test_it_sums_whatever_the_order_of_rows(bases, models):
    (earlier, later), (before, after) = bases, models
    told = bridge(before, after, earlier, later, 52, reported=12_345.67)
    assert told.start == 12_345.67
    assert told.start + told.table["change"].sum() == pytest.approx(told.end, rel=1e-12)
    assert told.change == pytest.approx(told.end - told.start)
    mixed = bridge(before, after, earlier.sample(frac=1, random_state=1), later.sample(frac=1, random_state=2), 52)
    plain = bridge(before, after, earlier, later, 52)
    pd.testing.assert_frame_equal(mixed.table, plain.table, rtol=1e-9, atol=1e-9)
    infinite = bridge(before, after, earlier, later, None)
    assert infinite.start + infinite.table["change"].sum() == pytest.approx(infinite.end, rel=1e-12)


def test_each_cause_ends_up_in_its_own_part(bases, models):
    base, value = bases[0], models[0]
    still = bridge(value, value, base, base, 52)
    assert (parts(still) == 0).all()
    assert still.sentence == "the value of the base did not move"

    better = LifetimeValue(value.purchases, value.spend, margin=0.33, annual_rate=0.15)
    change = parts(bridge(value, better, base, base, 52))
    assert change.pop("settings") == pytest.approx(0.1 * still.start)
    np.testing.assert_allclose(change, 0, atol=1e-9)

    change = parts(bridge(value, value, base, base, 52, reported=still.start - 100))
    assert change["revised data"] == pytest.approx(100)

    missing = base.index[base["frequency"].argmax()]
    change = parts(bridge(value, value, base, base.drop(missing), 52))
    lost = value.predict(base, 52, None)[missing]
    assert change.pop("revised data") == pytest.approx(-lost)
    np.testing.assert_allclose(change, 0, atol=1e-9)


def test_limits_are_those_of_the_parameters(bases, models):
    """Against draws from the normal distribution of the log-estimates, which the bridge never makes."""
    (earlier, later), (before, after) = bases, models
    table = bridge(before, after, earlier, later, 52, interval=0.9).table.set_index("part")
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(80):
        models_drawn = []
        for model in (before.purchases, before.spend):
            log = rng.multivariate_normal(np.log(model.params_), model._log_covariance)
            models_drawn.append(
                type(model).with_parameters(dict(zip(model._names, np.exp(log), strict=True)), unit="W")
            )
        value = LifetimeValue(*models_drawn, **SETTINGS)
        drawn.append(parts(bridge(value, value, earlier, later, 52)))
    spread = pd.DataFrame(drawn).std()
    for part in ("new", "returning", "lapsing", "spend"):
        width = (table.loc[part, "upper"] - table.loc[part, "lower"]) / 2 / 1.6449
        assert width == pytest.approx(spread[part], rel=0.25), part
    for part in ("revised data", "models", "settings"):
        assert table.loc[part, ["lower", "upper"]].isna().all()  # nothing is known of their error, not that it is zero


def test_sentence_and_figure(bases, models):
    result = bridge(*models, *bases, 52)
    largest = parts(result).abs().nlargest(2).index
    assert all(name in result.sentence for name in largest)
    ax = bridge_plot(result)
    heights = [patch.get_height() for patch in ax.patches]
    assert heights[0] == pytest.approx(result.start)
    assert heights[-1] == pytest.approx(result.end)
    plt.close(ax.figure)


def test_what_cannot_be_bridged_is_refused(bases, models):
    (earlier, later), (before, after) = bases, models
    with pytest.raises(ParameterError, match="twice"):
        bridge(before, after, earlier, pd.concat([later, later.iloc[:1]]), 52)
    with pytest.raises(ParameterError, match="column n"):
        bridge(before, after, earlier.assign(n=2), later, 52)
    days = NBDModel.with_parameters({"r": 1.0, "alpha": 9.0}, unit="D")
    with pytest.raises(UnitMismatchError, match="'W'"):
        bridge(before, LifetimeValue(days, after.spend, **SETTINGS), earlier, later, 52)
