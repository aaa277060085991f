"""Quantiles of revenue in an experiment: whose they are, what is left out, and clusters that know less."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.quantiles import _counted, quantiles
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.stats.order_statistics import _joined
from clvlib.words import speaking
from tests.abtest.test_experiment import LATER, bought, first, people


def test_medians_of_buyers_and_of_everybody() -> None:
    """150 of 200 buy for 1 to 150: the median of buyers is 75.5, that of everybody the 100th value, 50.5."""
    orders = pd.concat([bought(first(arm, 150), np.arange(150.0) + 1 + shift) for arm, shift in (("A", 0), ("B", 40))])
    asked = [(0.5, "buyers"), (0.5, "people")]
    found = quantiles(Experiment("script"), people(A=200, B=200), orders, asked, as_of=LATER)
    table = found.table.set_index("whose")
    assert table.loc["buyers", ["control_value", "value", "n", "control_n"]].tolist() == [75.5, 115.5, 150, 150]
    assert table.loc["all people", ["control_value", "value", "n"]].tolist() == [50.5, 90.5, 200]
    assert table["verdict"].tolist() == ["better", "better"]
    assert found.sentence.startswith("B's 50% quantile of buyers is 40.00 above A's (+")
    with speaking("zh"):
        again = quantiles(Experiment("script"), people(A=200, B=200), orders, asked, as_of=LATER)
    assert "40.00" in again.sentence
    assert "quantile" not in again.sentence


def test_several_arms_are_corrected_and_intervals_agree() -> None:
    rng = np.random.default_rng(5)
    orders = pd.concat([bought(first(arm, 300), rng.lognormal(3 + 0.12 * (arm == "D"), 1, 300)) for arm in "ABCD"])
    table = quantiles(Experiment("script"), people(A=400, B=400, C=400, D=400), orders, as_of=LATER).table
    assert len(table) == 4 * 3
    told = (table["lower"] > 0) | (table["upper"] < 0)
    assert told.tolist() == (table["p_adjusted"] <= 0.05).tolist()
    assert (table["p_adjusted"] >= table["p_value"]).all()


def test_what_is_not_over_does_not_count_and_refunds_do() -> None:
    assigned = pd.concat([people(A=100, B=100), people(A=150, B=150).iloc[100:150].assign(assigned_at=LATER)])
    orders = bought(first("A", 100) + first("B", 100), 20.0).assign(net_amount=15.0)
    table = quantiles(Experiment("script"), assigned, orders, [(0.5, "buyers")], as_of=LATER).table
    assert table[["n", "control_n", "value", "difference", "p_value"]].values.tolist() == [[100, 100, 15, 0, 1]]
    assert table["verdict"].tolist() == ["not told apart"]


def test_clusters_are_worth_fewer() -> None:
    """Ten clusters of 30 who all spend alike are worth no more than ten people, however many they are."""
    assigned = people(A=300, B=300)
    assigned["cluster_id"] = assigned["unit_id"].str[0] + (np.arange(600) % 300 // 30).astype(str)
    spend = np.tile(np.repeat(np.arange(10.0) * 10 + 10, 30), 2) + np.repeat([0.0, 25.0], 300)
    orders = bought(assigned["unit_id"].to_list(), spend)
    asked = [(0.5, "people")]
    alone = quantiles(Experiment("script"), assigned.drop(columns="cluster_id"), orders, asked, as_of=LATER).table
    together = quantiles(Experiment("script"), assigned, orders, asked, as_of=LATER).table
    assert (alone["difference"] == together["difference"]).all()
    assert alone["verdict"].tolist() == ["better"]
    assert together["verdict"].tolist() == ["not told apart"]
    each = assigned.assign(cluster_id=assigned["unit_id"])  # everybody a cluster of one is everybody alone
    same = quantiles(Experiment("script"), each, orders, asked, as_of=LATER).table
    assert same[["lower", "upper"]].to_numpy() == pytest.approx(alone[["lower", "upper"]].to_numpy(), abs=10)


@pytest.mark.slow
def test_coverage_of_clusters() -> None:
    rng, runs, held, naive = np.random.default_rng(6), 500, 0, 0
    for _ in range(runs):
        samples, alone = [], []
        for _arm in "AB":
            shared = np.repeat(rng.normal(0, 0.7, 40), 10)
            rows = pd.DataFrame({"revenue": np.exp(3 + shared + rng.normal(0, 1, 400)), "people": 1})
            samples.append(_counted(rows.assign(cluster_id=np.arange(400) // 10), 0.5))
            alone.append(_counted(rows, 0.5))
        lower, upper = _joined(*samples, 0.5, 0.95)
        held += lower <= 0 <= upper
        lower, upper = _joined(*alone, 0.5, 0.95)
        naive += lower <= 0 <= upper
    assert held / runs > 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5
    assert naive / runs < 0.85


def test_bad_input() -> None:
    orders = bought(first("A", 10))
    with pytest.raises(ParameterError, match="of buyers or people"):
        quantiles(Experiment("script"), people(A=20, B=20), orders, [(1.0, "buyers")], as_of=LATER)
    with pytest.raises(ParameterError, match="of buyers or people"):
        quantiles(Experiment("script"), people(A=20, B=20), orders, [(0.5, "fans")], as_of=LATER)
    with pytest.raises(EmptyDataError, match="an arm has no buyers"):
        quantiles(Experiment("script"), people(A=20, B=20), orders, [(0.5, "buyers")], as_of=LATER)
    with pytest.raises(EmptyDataError, match="in two arms"):
        quantiles(Experiment("script"), people(A=20), orders, as_of=LATER)
