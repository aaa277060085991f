from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clvlib as clv
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.after_plots import plot_stages, stages_data
from clvlib.funnel.fulfilment import STAGES, fulfilment
from clvlib.stats.survival import kaplan_meier, share_by
from tests.conftest import shared_data

START = pd.Timestamp("2026-10-01")
PERIOD = ("2026-10-01", "2026-11-01")


def orders(rows: list[tuple[float, float | None, float | None, float | None]]) -> pd.DataFrame:
    """Rows of (day ordered, hours to dispatch, days to receipt, days to return); all is known up to 1 November."""
    frame = pd.DataFrame(rows, columns=["day", "ship", "receive", "back"], dtype=float)
    at = START + pd.to_timedelta(frame["day"], unit="D")
    end = pd.Timestamp(PERIOD[1])
    times = {
        "shipped_at": at + pd.to_timedelta(frame["ship"], unit="h"),
        "received_at": at + pd.to_timedelta(frame["receive"], unit="D"),
        "returned_at": at + pd.to_timedelta(frame["back"], unit="D"),
    }
    known = {name: column.where(column < end) for name, column in times.items()}
    return pd.DataFrame({"customer_id": range(len(frame)), "ordered_at": at, "amount": 10.0, "paid_at": at, **known})


ROWS = st.lists(
    st.tuples(
        st.integers(0, 30),
        st.one_of(st.none(), st.integers(1, 400)),
        st.one_of(st.none(), st.integers(17, 30)),
        st.one_of(st.none(), st.integers(31, 40)),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=15)
@given(ROWS, st.integers(1, 200))
def test_equals_kaplan_meier_on_the_rows(rows, promise):
    frame = orders(rows)
    found = fulfilment(frame, PERIOD, promises={"shipped": promise})
    assert sum(found.counts.values()) == found.orders == len(rows)
    waited = (frame["shipped_at"].fillna(pd.Timestamp(PERIOD[1])) - frame["paid_at"]).dt.total_seconds() / 3600
    impossible = frame["received_at"] < frame["shipped_at"]
    use = ~impossible
    assert found.counts.get("impossible", 0) == impossible.sum()
    row = found.table.loc["shipped"]
    assert row["orders"] == use.sum()
    if use.any():
        curve = kaplan_meier(waited[use], frame["shipped_at"].notna()[use])
        expected = share_by(curve, promise)
        np.testing.assert_allclose(row["within"], expected["estimate"], atol=1e-9)
        np.testing.assert_allclose(row["lower"], expected["lower"], atol=1e-9)
    if not found.stages.empty:
        assert list(found.stages) == list(STAGES)
        assert found.stages.to_numpy().min() >= 0
        assert found.stages.iloc[0].tolist() == [1, 0, 0, 0, 0]


def test_open_orders_are_neither_kept_nor_broken():
    """Ten old orders sent in time; ten of this evening, not sent: the share within 48 hours stays one."""
    old = orders([(0, 10, None, None)] * 10)
    young = orders([(30.9, None, None, None)] * 10)
    found = fulfilment(pd.concat([old, young]), PERIOD)
    row = found.table.loc["shipped"]
    assert (row["done"], row["still_open"], row["within"]) == (10, 10, 1.0)
    assert "10 paid orders wait to be sent" in found.left_out
    alone = fulfilment(young, PERIOD)
    assert np.isnan(alone.table.loc["shipped", "within"])
    assert alone.sentence == "No order placed from 2026-10-01 to 2026-10-31 is old enough to judge a promise."
    paid = fulfilment(young.drop(columns=["shipped_at", "received_at"]), PERIOD)
    assert paid.sentence == "Of 10 orders, 100.0% are paid within 24 hours (72.2% to 100.0%)."


def test_stages_by_hand():
    """Five parcels, all received on day 2: one back on day 4, one on day 22 (too late), others kept on day 17."""
    frame = orders([(0, 24, 2, back) for back in (4, 22, None, None, None)])
    found = fulfilment(frame, PERIOD)
    stages = found.stages
    assert stages.loc[1].tolist() == [0, 1, 0, 0, 0]
    assert stages.loc[4].tolist() == pytest.approx([0, 0, 0.8, 0.2, 0])
    assert stages.loc[17].tolist() == pytest.approx([0, 0, 0, 0.2, 0.8])
    assert found.late_returns == 1
    assert "1 parcels came back more than 15 days" in found.left_out
    assert found.stages_sentence == "Half of the paid orders have arrived by day 2; in the end 20.0% come back"
    ax = plot_stages(found)
    assert ax.get_xlim()[1] == stages_data(found).index[-1]


def test_states_are_told_apart():
    frame = orders([(0, 24, 2, None), (0, 24, 1, None), (0, None, None, None), (0, 5, None, 3), (0, 5, None, None)])
    frame["received_at"] = frame["received_at"].where(frame.index != 1, frame["paid_at"] + pd.Timedelta(hours=1))
    frame["refunded_amount"] = [0.0, 0, 10, 10, 0]
    unpaid = frame.iloc[[4]].assign(paid_at=pd.NaT, shipped_at=pd.NaT)
    found = fulfilment(pd.concat([frame, unpaid]), PERIOD)
    assert found.counts == {"cancelled": 1, "impossible": 1, "received": 1, "returned": 1, "shipped": 1, "unpaid": 1}
    assert found.table.loc["paid", ["orders", "done"]].tolist() == [5, 4]
    assert found.table.loc["received", "orders"] == 2  # one refused does not wait to be received


def test_truth_of_the_sample(sample_shop, sample):
    """A late parcel leaves two to five days late; of the others, lognormal(17 h, .45), 1.05% take over 48 hours."""
    truth = json.loads((sample / "truth.json").read_text())
    late = truth["parameters"]["after_order"]["late_share"]
    cause = truth["realised"]["left"]["late delivery"] / truth["realised"]["orders"]
    share = late * (1 - cause) + cause
    found = fulfilment(sample_shop.table("orders"), ("2026-02-09", "2026-11-16"))
    row = found.table.loc["shipped"]
    assert row["lower"] <= 1 - (share + (1 - share) * 0.0105) <= row["upper"]
    assert found.counts.get("impossible", 0) == 0
    # some 9.5% are later than all others, so that half of all are .5 / .905 of these: z = .13
    assert row["median_lower"] <= 17 * np.exp(0.45 * 0.13) <= row["median_upper"]
    assert found.stages.iloc[-1]["waiting"] == 0
    shuffled = sample_shop.table("orders").query("SELECT * FROM {t} AS t").sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(fulfilment(shuffled, ("2026-02-09", "2026-11-16")).table, found.table)


def test_tmall_orders():
    """28,010 orders, 3,923 of them never paid (known_answers.md); they say nothing of parcels."""
    shop = clv.connect(shared_data("tmall_orders") / "tmall_order_report.csv", mapping="tmall_orders")
    found = fulfilment(shop.table("orders"), ("2020-02-01", "2020-03-02"))
    assert found.table.index.tolist() == ["paid"]
    assert found.table.loc["paid", ["orders", "still_open"]].tolist() == [28_010, 3_923]
    assert found.counts["unpaid"] == 3_923
    assert "wait to be sent" not in found.left_out
    with pytest.raises(EmptyDataError, match="not recorded"):
        plot_stages(found)


def test_bad_input():
    frame = orders([(0, 10, 2, None)])
    with pytest.raises(MissingColumnError, match="none of paid_at, shipped_at and received_at"):
        fulfilment(frame[["customer_id", "ordered_at", "amount"]], PERIOD)
    with pytest.raises(EmptyDataError, match="no order from 2020-01-01 to 2020-01-06"):
        fulfilment(frame, ("2020-01-01", "2020-01-07"))
    for name, value in {"return_days": 0, "level": 1, "promises": {"sent": 3}}.items():
        with pytest.raises(ParameterError, match=name):
            fulfilment(frame, PERIOD, **{name: value})
    with pytest.raises(ParameterError, match="holds no day"):
        fulfilment(frame, ("2026-11-01", "2026-10-01"))
