"""What is still to be paid back: told of the last week alone, and only where more than chance is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.audience.refunds_to_come import refunds_to_come
from clvlib.data.calendar import Week
from clvlib.errors import ParameterError

NOW = Week("2026-W46")


def sold(week: Week, n: int, refunded: int, name: str = "c", back: float = 100.0) -> pd.DataFrame:
    """Orders of 100 by ``n`` customers of a week, of which some are paid back."""
    ids = [f"{name}{week}{i}" for i in range(n)]
    at = pd.Timestamp(week.start) + pd.Timedelta("10h")
    net = 100.0 - back * (np.arange(n) < refunded)
    return pd.DataFrame({"customer_id": ids, "ordered_at": at, "amount": 100.0, "net_amount": net})


def test_what_is_missing_of_the_last_week() -> None:
    """10% of 800 orders were paid back in the end, none of this week's 200 yet: 20,000 will be 18,000."""
    orders = pd.concat([*(sold(NOW.shift(-ago), 100, 10) for ago in range(4, 12)), sold(NOW, 200, 0)])
    found = refunds_to_come(orders, NOW)
    assert found.table["sold"].tolist() == [20_000, 80_000]
    assert found.table["share"].tolist() == [0, pytest.approx(0.1)]
    # of 0 and 1 the delta method is the mean's: sqrt(.1 x .9 / 799) = .010613, t(799) = 1.96294
    assert found.table.loc["settled", "lower"] == pytest.approx(0.1 - 1.96294 * 0.010613, abs=1e-6)
    assert found.net == pytest.approx(18_000)
    assert found.note == "about 18,000 when all refunds are in"
    assert found.sentence.endswith("If it comes to the same, 18,000 of them remains.")
    between = pd.concat([orders, sold(NOW.shift(-2), 100, 90)])  # a week whose refunds are not in says nothing
    assert refunds_to_come(between, NOW).table["share"].tolist() == found.table["share"].tolist()


def test_what_is_not_said() -> None:
    weeks = [sold(NOW.shift(-ago), 100, 10) for ago in range(4, 12)]
    assert refunds_to_come(pd.concat([*weeks, sold(NOW, 200, 19)]), NOW).note == ""  # as usual
    old = pd.concat([*weeks, sold(NOW, 200, 0), sold(NOW.shift(4), 5, 0)])  # its refunds are in: there were none
    assert refunds_to_come(old, NOW).note == ""
    for orders in (
        sold(NOW, 200, 0),  # no past
        pd.concat(weeks),  # nobody bought
        pd.concat([*(week.assign(net_amount=100.0) for week in weeks), sold(NOW, 200, 0)]),  # no refund ever
        pd.concat([*weeks, sold(NOW, 200, 0)]).drop(columns="net_amount"),
    ):
        found = refunds_to_come(orders, NOW)
        assert (found.note, len(found.table)) == ("", 0)
        assert found.sentence.startswith("Nothing is known of refunds in earlier weeks")
    with pytest.raises(ParameterError, match="at least 1"):
        refunds_to_come(old, NOW, weeks=0)


def test_chance_is_no_shortfall() -> None:
    """Weeks in which as much is refunded as in others are said to wait for refunds in 2.5% of cases."""
    chance, said, runs = np.random.default_rng(2), 0, 300
    past = [sold(NOW.shift(-ago), 100, 10) for ago in range(4, 12)]
    for _ in range(runs):
        orders = pd.concat([*past, sold(NOW, 150, int(chance.binomial(150, 0.1)))])
        said += refunds_to_come(orders, NOW).short
    assert said / runs < 0.05


def test_the_sample_s_last_week_waits_for_its_refunds(sample_shop) -> None:
    """Its parcels have hardly arrived; what is returned is so within weeks (truth.json: after_order)."""
    orders = sample_shop.table("orders")
    found = refunds_to_come(orders, NOW)
    assert found.short
    raw = orders.query("SELECT SUM(amount) AS a, SUM(net_amount) AS n FROM {t} AS t WHERE ordered_at >= '2026-11-09'")
    assert found.net < raw["n"].iloc[0] < raw["a"].iloc[0] == pytest.approx(found.table.loc["week", "sold"])
    assert not refunds_to_come(orders, Week("2026-W40")).short
