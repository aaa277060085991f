"""The effect by segment, and whether the split holds on every day."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from statsmodels.stats.meta_analysis import combine_effects

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.metrics import METRICS
from clvlib.abtest.segments import _interaction, segments
from clvlib.errors import EmptyDataError, MissingColumnError
from clvlib.stats.multiplicity import adjust
from clvlib.stats.proportions import proportion_difference
from tests.abtest.test_experiment import LATER, START, bought, first, people, status

SIZES = {"north": (600, 60, 600, 120), "south": (500, 60, 480, 55), "west": (300, 20, 310, 25)}


def shop() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Assignments, orders, and customers, of three regions."""
    assigned = people(A=1400, B=1390)
    regions, buyers = [], []
    for arm, place in (("A", 0), ("B", 2)):
        start = 0
        for region, sizes in SIZES.items():
            regions += [region] * sizes[place]
            buyers += [f"{arm}{i}" for i in range(start, start + sizes[place + 1])]
            start += sizes[place]
    return assigned, bought(buyers), pd.DataFrame({"customer_id": assigned["unit_id"], "region": regions})


def test_each_segment_is_compared_and_the_interaction_is_cochrans() -> None:
    found = segments(Experiment("script", min_per_arm=1), *shop(), "region", as_of=LATER)
    single = {name: proportion_difference(x2, n2, x1, n1) for name, (n1, x1, n2, x2) in SIZES.items()}
    rows = found.table.set_index("segment")
    assert rows["difference"].to_dict() == pytest.approx({name: e.estimate for name, e in single.items()})
    p_values = [single[name].p_value for name in rows.index]
    assert rows["p_adjusted"].tolist() == pytest.approx(adjust(p_values, "benjamini-hochberg").tolist())
    assert rows["verdict"].to_dict() == {"north": "better", "south": "not told apart", "west": "not told apart"}
    told = (rows["lower"] > 0) | (rows["upper"] < 0)
    assert told.tolist() == (rows["p_adjusted"] <= 0.05).tolist()
    rates = np.array([[x1 / n1, x2 / n2] for n1, x1, n2, x2 in SIZES.values()])
    sizes = np.array([[n1, n2] for n1, _, n2, _ in SIZES.values()])
    variance = (rates * (1 - rates) / sizes).sum(axis=1)
    theirs = combine_effects(rates[:, 1] - rates[:, 0], variance).test_homogeneity()
    row = found.interaction.iloc[0]
    assert (row["statistic"], row["p_value"]) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert found.sentence.startswith("B's effect on conversion differs by region (p = 0.0")
    assert found.sentence.endswith("from −0.54 points in south to +10.00 points in north.")


def test_people_without_a_segment_and_segments_without_an_arm() -> None:
    assigned, orders, customers = shop()
    customers.loc[customers["customer_id"].isin(first("A", 30) + first("B", 30)), "region"] = None
    customers.loc[customers["customer_id"] == "A99", "region"] = "moon"
    found = segments(Experiment("script", min_per_arm=1), assigned, orders, customers.iloc[:-5], "region", as_of=LATER)
    assert found.left_out == "moon"
    assert found.table.set_index("segment").loc["unknown", ["n", "control_n"]].tolist() == [35, 30]
    assert set(found.table["segment"]) == {"north", "south", "west", "unknown"}


@pytest.mark.slow
def test_no_interaction_is_found_in_one_of_twenty_runs() -> None:
    """An effect of two points everywhere, in four segments of other sizes and rates."""
    rng, runs, told, experiment = np.random.default_rng(2), 1000, 0, Experiment("script")
    metric = METRICS["conversion"]
    for _ in range(runs):
        groups = {
            str(i): {
                arm: {"people": n, "conversion_total": rng.binomial(n, rate)}
                for arm, rate in (("A", base), ("B", base + 0.02))
            }
            for i, (n, base) in enumerate([(400, 0.1), (800, 0.2), (1500, 0.08), (2500, 0.3)])
        }
        told += _interaction(metric, groups, experiment)["p_value"].iloc[0] < 0.05
    assert told / runs == pytest.approx(0.05, abs=3 * (0.05 * 0.95 / runs) ** 0.5)


def test_bad_input() -> None:
    assigned, orders, customers = shop()
    experiment = Experiment("script", min_per_arm=1)
    with pytest.raises(MissingColumnError, match="customers: column city"):
        segments(experiment, assigned, orders, customers, "city", as_of=LATER)
    few = assigned.iloc[np.r_[:30, 1400:1430]]
    alone = customers.assign(unit=customers["customer_id"])
    with pytest.raises(EmptyDataError, match="in no unit are there people of every arm"):
        segments(experiment, few, orders, alone, "unit", as_of=LATER)
    with pytest.raises(EmptyDataError, match="fewer than two segments by region have outcomes"):
        segments(experiment, assigned, bought(["elsewhere"]), customers, "region", as_of=LATER)


@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
@pytest.mark.parametrize(("moved", "verdict"), [("-400D", "invalid"), ("400D", "invalid"), ("0D", "ship")])
def test_orders_that_were_not_read_are_no_lack_of_buyers(moved: str, verdict: str) -> None:
    """The whole test lies before the first order in the data, after the last, or among them."""
    assigned, orders = people(A=2000, B=2000), bought(first("A", 200) + first("B", 264))
    assigned["assigned_at"] += pd.Timedelta(moved)
    result = Experiment("script").analyse(assigned, orders, as_of="2028-01-01")
    assert result.verdict == verdict
    assert status(result, "orders cover the windows") == ("pass" if verdict == "ship" else "fail")
    if verdict == "invalid":
        assert "of 4,000 people 4,000 have a window without any order in the data" in result.sentence
    assigned.loc[:9, "assigned_at"] -= pd.Timedelta("400D")  # ten of them: told, and borne
    if verdict == "ship":
        assert status(Experiment("script").analyse(assigned, orders, as_of=LATER), "orders cover the windows") == "warn"


def test_a_day_on_which_the_split_broke() -> None:
    """On one of ten days nine of ten people went to B, which the split of all hides."""
    rng = np.random.default_rng(3)
    day = np.repeat(np.arange(10), 400)
    arm = np.where(rng.random(4000) < np.where(day == 7, 0.75, 0.472), "B", "A")
    assigned = pd.DataFrame({"experiment": "script", "variant": arm, "unit_id": [f"p{i}" for i in range(4000)]})
    assigned["assigned_at"] = START + pd.to_timedelta(day, unit="D")
    result = Experiment("script", min_per_arm=1).analyse(assigned, bought(["p1", "p2", "p3"]), as_of="2026-11-30")
    assert status(result, "sample ratio") == "pass"
    assert status(result, "sample ratio by day") == "fail"
    assert (
        "10 days; the worst, 2026-10-08, has A " in result.gate.set_index("check").loc["sample ratio by day", "found"]
    )
    assert result.verdict == "invalid"


def test_a_segment_in_which_the_split_broke() -> None:
    """Of one of five browsers nine of ten people went to B; in whole and by day the split is as planned."""
    rng = np.random.default_rng(4)
    browser = np.arange(4000) % 5
    arm = np.where(rng.random(4000) < np.where(browser == 2, 0.75, 0.4375), "B", "A")
    ids = [f"p{i}" for i in range(4000)]
    assigned = pd.DataFrame({"experiment": "script", "variant": arm, "unit_id": ids, "assigned_at": START})
    customers = pd.DataFrame({"customer_id": ids, "browser": [f"browser {b}" for b in browser]})
    orders = bought(["p1", "p2", "p3"])
    experiment = Experiment("script", min_per_arm=1)
    result = experiment.analyse(assigned, orders, as_of=LATER, segments=(customers, "browser"))
    assert status(result, "sample ratio") == "pass"
    assert status(result, "sample ratio by segment") == "fail"
    found = result.gate.set_index("check").loc["sample ratio by segment", "found"]
    assert "5 segments; the worst, browser 2, has A " in found
    assert result.verdict == "invalid"
    few = experiment.analyse(assigned.iloc[:20], orders, as_of=LATER, segments=(customers, "browser"))
    assert "no segment has enough people to tell" in few.gate["found"].tolist()


def test_another_experiment_whose_arms_go_with_ours() -> None:
    """The same people, dealt anew, or by the same lot as here: then nobody knows whose effect it is."""
    rng, assigned = np.random.default_rng(6), people(A=2000, B=2000)
    orders = bought(first("A", 200) + first("B", 264))
    other = assigned.assign(experiment="cover")
    anew = other.assign(variant=rng.permutation(other["variant"].to_numpy()))
    apart = other.assign(unit_id="x" + other["unit_id"])
    for theirs, state in ((anew, "pass"), (other, "fail"), (apart, "pass")):
        result = Experiment("script").analyse(pd.concat([assigned, theirs]), orders, as_of=LATER)
        assert status(result, "other experiments") == state
        assert result.verdict == ("invalid" if state == "fail" else "ship")
    alone = Experiment("script").analyse(assigned, orders, as_of=LATER).gate.set_index("check")
    assert alone.loc["other experiments", "found"] == "none shares people enough to tell"
    counts = pd.crosstab(assigned["variant"].to_numpy(), anew["variant"].to_numpy())
    gate = Experiment("script").analyse(pd.concat([assigned, anew]), orders, as_of=LATER).gate.set_index("check")
    p_value = chi2_contingency(counts, correction=False).pvalue
    assert gate.loc["other experiments", "found"].endswith(f"p = {p_value:.4g}")
    later = Experiment("script").analyse(
        pd.concat([assigned, other.assign(assigned_at=pd.Timestamp("2027-01-01"))]), orders, as_of=LATER
    )
    assert status(later, "other experiments") == "pass"  # not yet known
