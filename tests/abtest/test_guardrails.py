"""What must not get worse: refunds and complaints, which are better when they fall; and how a report reads it all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.abtest.experiment import Experiment
from clvlib.errors import MissingColumnError, MissingTableError, ParameterError
from clvlib.stats.proportions import proportion_difference
from tests.abtest.test_experiment import LATER, START, bought, cells, first, people

BUYERS = first("A", 200) + first("B", 264)


def complaints(a: int, b: int, after: str = "2D") -> pd.DataFrame:
    return pd.DataFrame({"customer_id": first("A", a) + first("B", b), "opened_at": START + pd.Timedelta(after)})


@pytest.mark.parametrize(
    ("rises", "margin", "guardrail", "verdict", "said"),
    [
        (22, 0.02, "holds", "ship", "complaint rate holds"),
        (40, 0.012, "not shown", "do not ship", "complaint rate is not shown to rise by less than 1.20 points"),
        (120, 0.02, "broken", "do not ship", "complaint rate rises by more than 2.00 points"),
    ],
)
def test_complaints_must_not_rise(rises: int, margin: float, guardrail: str, verdict: str, said: str) -> None:
    experiment = Experiment("script", guardrails={"complaint rate": margin})
    result = experiment.analyse(people(A=2000, B=2000), bought(BUYERS), as_of=LATER, complaints=complaints(20, rises))
    row = result.effects("complaint rate").iloc[0]
    theirs = proportion_difference(rises, 2000, 20, 2000, null=margin)
    assert row[["lower", "upper", "p_value"]].tolist() == pytest.approx([theirs.lower, theirs.upper, theirs.p_value])
    assert (row["verdict"], result.verdict) == (guardrail, verdict)
    assert said in result.sentence
    assert (row["verdict"] == "holds") == (row["upper"] < margin)
    assert f"{100 * margin:.2f} points worse would be borne" in result.finding("complaint rate")


def test_a_person_complains_once_and_within_the_window() -> None:
    said = pd.concat([complaints(3, 0), complaints(3, 0), complaints(9, 9, "-1h"), complaints(9, 9, "8D")])
    experiment = Experiment("script", guardrails={"complaint rate": 0.02})
    result = experiment.analyse(people(A=2000, B=2000), bought(BUYERS), as_of=LATER, complaints=said)
    assert result.rows("complaint rate")["total"].tolist() == [3, 0]


def test_the_refund_share_is_that_of_money() -> None:
    """A pays back 400 of 10,000, B 2,000 of 13,200; what was paid back is no revenue."""
    orders = bought(BUYERS).assign(net_amount=50.0)
    orders.loc[:9, "net_amount"] = 10.0
    orders.loc[200:239, "net_amount"] = 0.0
    experiment = Experiment("script", guardrails={"refund share": 0.05})
    result = experiment.analyse(people(A=2000, B=2000), orders, as_of=LATER)
    rows = result.rows("refund share")
    assert rows["value"].tolist() == pytest.approx([400 / 10_000, 2000 / 13_200])
    assert result.rows("revenue")["total"].tolist() == pytest.approx([9600, 11_200])
    # all orders are of one size, so that shares of money are shares of orders: 8 of 200 and 40 of 264
    theirs = proportion_difference(40, 264, 8, 200, null=0.05)
    row = result.effects("refund share").iloc[0]
    assert row[["lower", "upper", "p_value"]].tolist() == pytest.approx([theirs.lower, theirs.upper, theirs.p_value])
    assert rows["error"].iloc[1] == pytest.approx((5 / 33 * 28 / 33 / 264) ** 0.5)
    assert rows["verdict"].iloc[1] in {"broken", "not shown"}
    assert result.verdict == "do not ship"


def test_what_a_metric_needs_must_be_there() -> None:
    guarded = Experiment("script", guardrails={"complaint rate": 0.01})
    with pytest.raises(MissingTableError, match="complaint rate needs the table complaints"):
        guarded.analyse(people(A=2000, B=2000), bought(BUYERS), as_of=LATER)
    with pytest.raises(MissingColumnError, match="net_amount"):
        Experiment("script", guardrails={"refund share": 0.01}).analyse(
            people(A=2000, B=2000), bought(BUYERS), as_of=LATER
        )
    with pytest.raises(ParameterError, match="is to fall, so it can be a guardrail"):
        Experiment("script", metric="complaint rate", guardrails={"complaint rate": 0.01})


def test_every_metric_of_a_unit_is_in_one_table() -> None:
    experiment = Experiment("script", guardrails={"complaint rate": 0.02})
    spend = np.r_[np.full(199, 40.0), 9000.0, np.full(264, 50.0)]
    result = experiment.analyse(people(A=2000, B=2000), bought(BUYERS, spend), as_of=LATER, complaints=complaints(9, 9))
    shares = result.overview("share")
    assert shares["metric"].tolist() == ["conversion"] * 2 + ["complaint rate"] * 2
    assert shares["relative"].iloc[1] == pytest.approx(0.32)
    money = result.overview("money").set_index(["metric", "arm"])
    assert money.index.get_level_values(0).unique().tolist() == [
        "revenue",
        "revenue, largest 1% cut",
        "revenue, largest 0.1% cut",
        "adjusted revenue",
    ]
    assert money.loc[("revenue", "B"), "verdict"] == "not told apart"
    cut = money.loc[("revenue, largest 1% cut", "B")]
    assert cut["verdict"] == "better"  # one order of 9,000 hid it
    raw = result.effects("revenue").iloc[0]
    assert cut[["difference", "lower", "upper"]].tolist() == raw[["difference_p99", "lower_p99", "upper_p99"]].tolist()
    assert result.overview("number").empty


def test_when_there_will_be_enough() -> None:
    """50 people an arm come each day; a thousand are there after 20 days, and their windows over a week later."""
    assigned = people(A=500, B=500)
    assigned["assigned_at"] = START + pd.to_timedelta(np.tile(np.linspace(0, 10, 500), 2), unit="D")
    experiment = Experiment("script", min_per_arm=1000)
    orders = pd.concat([bought(first("A", 9)), bought(["elsewhere"], after="10D")])
    result = experiment.analyse(assigned, orders, as_of=START + pd.Timedelta("10D"))
    assert result.verdict == "keep running"
    day = START + pd.Timedelta("27D")
    assert f"which the pace so far gives on {day:%Y-%m-%d}." in result.sentence
    # nobody comes for two weeks: they count, and the day lies ahead of what is known; later there is no such day
    assert experiment.analyse(assigned, orders, as_of="2026-12-01").verdict == "do not ship"
    result = experiment.analyse(assigned, orders, as_of=START + pd.Timedelta("24D"))
    last = START + pd.Timedelta("17D")  # when the last window ended
    until = last.normalize() + pd.Timedelta(days=7 - last.weekday())  # the end of its week
    day = START + 2 * (until - START) + pd.Timedelta("7D")
    assert f"which the pace so far gives on {day:%Y-%m-%d}." in result.sentence


def test_an_arm_that_is_better_by_less_than_is_worth_having_is_not_shipped() -> None:
    """10.5% against 10% of 100,000 each is surely better, and surely by less than the 3.2 points asked for."""
    groups = cells({"A": (100_000, 10_000), "B": (100_000, 10_500)})
    assert Experiment("script").judge(groups).verdict == "ship"
    assert Experiment("script", minimum_effect=0.005).judge(groups).verdict == "ship"  # which it may have
    result = Experiment("script", minimum_effect=0.032).judge(groups)
    assert (result.verdict, result.arm) == ("do not ship", "")
    assert result.sentence.startswith("Do not ship B: B's conversion is 0.50 points above A's")
    assert result.sentence.endswith("less than the 3.20 points worth having.")


def test_what_is_told_of_the_arm_to_ship_is_its_own() -> None:
    """C does best but its refunds are not shown to hold; B is shipped, so the gain is B's and not C's."""
    ids = {arm: first(arm, 2500) for arm in "ABC"}
    assigned = people(A=2500, B=2500, C=2500)
    orders = pd.concat([bought(ids[arm][:n], 100.0) for arm, n in (("A", 250), ("B", 400), ("C", 500))])
    back = [*ids["A"][:2], *ids["B"][:2], *ids["C"][:250]]
    orders["net_amount"] = np.where(orders["customer_id"].isin(back), 0.0, orders["amount"])
    result = Experiment("script", guardrails={"refund share": 0.05}).analyse(assigned, orders, as_of=LATER)
    assert (result.verdict, result.arm) == ("ship", "B")
    assert result.best["arm"] == "B"
    gain = result.gain(0.5)
    assert gain["gain"] == pytest.approx(0.5 * 2500 * (400 - 250) * 100 / 2500)
    revenue = result.effects("adjusted revenue").set_index("arm").loc["B"]
    assert (gain["people"], gain["level"]) == (2500, revenue["level"])
