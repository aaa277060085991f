"""One customer's P(alive) by day: each row is the history of that day, and the last one is the summary's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.clv import plots
from clvlib.clv.history import alive_history
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.pareto_ggg import ParetoGGGModel
from clvlib.errors import EmptyDataError, ParameterError, UnitMismatchError


@pytest.fixture(scope="module")
def model() -> BetaGeoModel:
    # Fader, Hardie & Lee 2005
    return BetaGeoModel.with_parameters({"r": 0.242595, "alpha": 4.413602, "a": 0.792920, "b": 2.425888}, unit="W")


@pytest.fixture(scope="module")
def purchases(orders) -> pd.DataFrame:
    return orders.rename(columns={"date": "day"})


def test_customer_1516(model, purchases, cdnow):
    table = alive_history(model, purchases, "1997-09-30", "1516")
    assert table["probability_alive"].iloc[-1] == pytest.approx(0.9688523, abs=5e-6)  # known_answers.md
    assert table.iloc[-1][["frequency", "recency", "T"]].tolist() == pytest.approx(
        cdnow.loc["1516", ["frequency", "recency", "T"]].tolist()
    )
    bought = purchases.loc[purchases["customer_id"] == "1516", "day"]
    assert table.index[table["purchase"]].tolist() == sorted(bought[bought <= "1997-09-30"])
    assert table.index[0] == bought.min()
    assert len(table) == (pd.Timestamp("1997-09-30") - bought.min()).days + 1
    pd.testing.assert_frame_equal(
        table, alive_history(model, list(bought.sample(frac=1, random_state=1)), "1997-09-30")
    )
    silent = ~table["purchase"] & (table["frequency"] > 0)
    assert (table["probability_alive"].diff()[silent] < 0).all()
    ax = plots.alive_history_plot(table)
    ax.figure.canvas.draw()


def test_every_day_knows_what_was_known_by_then(model, purchases):
    table = alive_history(model, purchases, "1998-06-30", "0001")
    for day in table.index[::40]:
        assert alive_history(model, purchases, day, "0001")["probability_alive"].iloc[-1] == pytest.approx(
            table.loc[day, "probability_alive"]
        )


def test_regular_buyers_times_between_purchases_count():
    params = {"r": 1.0, "alpha": 4.0, "s": 0.6, "beta": 12.0, "t": 20.0, "gamma": 5.0}
    clockwork = ParetoGGGModel.with_parameters(params, unit="W")
    days = pd.to_datetime("2026-01-01") + pd.to_timedelta([0, 14, 28, 42, 56], "D")
    table = alive_history(clockwork, days, "2026-04-30")
    assert table["litt"].iloc[-1] == pytest.approx(4 * np.log(2))
    at = pd.DataFrame({"frequency": [4], "recency": [8.0], "T": [17.0], "litt": [4 * np.log(2)]})
    assert table["probability_alive"].iloc[-1] == pytest.approx(clockwork.probability_alive(at)[0])


def test_what_cannot_be_shown(model, purchases):
    with pytest.raises(EmptyDataError, match="nobody"):
        alive_history(model, purchases, "1998-06-30", "nobody")
    with pytest.raises(EmptyDataError, match="the customer"):
        alive_history(model, ["2026-05-01"], "2026-04-30")
    with pytest.raises(ParameterError, match="several"):
        alive_history(model, purchases, "1998-06-30")
    with pytest.raises(UnitMismatchError):
        alive_history(model, ["2026-04-01"], "2026-04-30", unit="D")
    marked = purchases.assign(is_purchase=purchases["day"] < "1998-01-01")
    assert alive_history(model, marked, "1998-06-30", "1516").index[-1] == pd.Timestamp("1998-06-30")
    assert not alive_history(model, marked, "1998-06-30", "1516").loc["1998-01-01":, "purchase"].any()
