"""People assigned by the broadcast, the store, the household: whole clusters count as one draw."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.api import OLS, add_constant
from statsmodels.stats.oneway import anova_generic

from clvlib.abtest.clusters import Clusters
from clvlib.abtest.experiment import Experiment
from clvlib.abtest.metrics import METRICS
from clvlib.abtest.query import merged
from clvlib.errors import ParameterError, ThinDataWarning
from clvlib.stats.resample import permutation_p_value
from tests.abtest.test_experiment import with_covariate
from tests.conftest import shared_data

START = pd.Timestamp("2026-10-01 20:00")
CLUSTERED = {name: metric.clustered() for name, metric in METRICS.items()}


def assigned(arm: np.ndarray, cluster: np.ndarray) -> pd.DataFrame:
    ids = np.char.add("p", np.arange(len(arm)).astype(str))
    return pd.DataFrame(
        {"experiment": "script", "variant": arm, "unit_id": ids, "assigned_at": START, "cluster_id": cluster}
    )


def bought(ids: pd.Series, amount: np.ndarray | float = 1.0, after: str = "1h") -> pd.DataFrame:
    return pd.DataFrame({"customer_id": ids, "ordered_at": START + pd.Timedelta(after), "amount": amount})


def drawn(rng: np.random.Generator, clusters: int, size: int, effect: float = 0.0) -> tuple[pd.DataFrame, ...]:
    """People of clusters of uneven size whose spending before and after is alike within a cluster; orders; both."""
    cluster = np.repeat(np.arange(clusters), rng.integers(1, 2 * size, clusters))
    arm = np.where(rng.permutation(clusters) < clusters // 2, "A", "B")[cluster]
    before = rng.gamma(2, 10, len(cluster)) + rng.gamma(2, 5, clusters)[cluster]
    after = 0.8 * before + rng.gamma(2, 8, clusters)[cluster] + rng.gamma(2, 5, len(cluster)) + effect * (arm == "B")
    after = after * (rng.random(len(after)) < 0.9)
    people = assigned(arm, np.char.add("s", cluster.astype(str)))
    orders = pd.concat(
        [bought(people["unit_id"], before, "-5D"), bought(people["unit_id"][after > 0], after[after > 0])]
    )
    return people, orders, pd.DataFrame({"y": after, "x": before, "b": arm == "B", "cluster": cluster})


def cells(clusters: np.ndarray, arm: np.ndarray, x: np.ndarray, n: np.ndarray) -> pd.DataFrame:
    """Aggregates of clusters as the query gives them, of people who order for 1 or not at all."""
    share = x / n
    variance = share * (1 - share) * n / np.maximum(n - 1, 1)
    frame = pd.DataFrame({"variant": arm, "cluster_id": clusters, "people": n, "conversion_total": x})
    frame = frame.assign(revenue_mean=share, revenue_variance=variance, status="mature", look=START)
    frame = frame.assign(extra_rows=0, bought_before=0, bad_amounts=0, last_assigned=START)
    return with_covariate(frame)


def matrices(sizes: np.ndarray) -> tuple[np.ndarray, float]:
    """Bell and McCaffrey's factor of each cluster's square and degrees of freedom, by their definition in matrices."""
    w = sizes / sizes.sum()
    distances = np.eye(len(w)) - w  # of cluster means from the arm's
    factors = 1 / np.diag(distances @ distances.T)
    form = distances.T @ np.diag(factors * w**2) @ distances
    return factors, np.trace(form) ** 2 / np.trace(form @ form)


# --- known answers ----------------------------------------------------------------------------------------------------


def test_social_pressure_as_published() -> None:
    """Gerber, Green & Larimer 2008: people of one household got the same letter."""
    data = pd.read_csv(shared_data("social_pressure") / "social_pressure_ggl2008.csv.gz")
    arm = data["treatment"].str.strip()
    people = assigned(arm.to_numpy(), data["hh_id"].to_numpy())
    orders = bought(people.loc[(data["voted"] == "Yes").to_numpy(), "unit_id"])
    experiment = Experiment("script", control="Control", shares=arm.value_counts().to_dict())
    result = experiment.analyse(people, orders, as_of="2026-12-01")
    rows = result.primary.set_index("arm")
    error = (rows["upper"] - rows["lower"]) / 2 / stats.norm.isf((1 - rows["level"]) / 2)
    published = {
        "Neighbors": (0.08131, 0.00337), "Self": (0.04851, 0.00330), "Hawthorne": (0.02574, 0.00326),
        "Civic Duty": (0.01790, 0.00324),
    }  # fmt: skip
    for name, figures in published.items():
        assert (rows.loc[name, "difference"], error[name]) == pytest.approx(figures, abs=5.1e-6)
    assert rows["clusters"].to_dict() == data.groupby(arm)["hh_id"].nunique().drop("Control").to_dict()
    assert (result.verdict, result.arm) == ("ship", "Neighbors")


def test_against_statsmodels_cluster_robust_regression() -> None:
    people, orders, frame = drawn(np.random.default_rng(1), 60, 20, effect=4.0)
    result = Experiment("script", min_per_arm=1).analyse(people, orders, as_of="2026-10-31")
    row = result.effects("revenue").iloc[0]
    model = OLS(frame["y"], add_constant(frame["b"].astype(float)))
    robust = model.fit(cov_type="cluster", cov_kwds={"groups": frame["cluster"], "use_correction": False})
    assert row["difference"] == pytest.approx(robust.params["b"], rel=1e-9)
    errors, plain, freedom = [], [], []
    for b in (True, False):
        people_of = frame[frame["b"] == b]
        clusters = (people_of["y"] - people_of["y"].mean()).groupby(people_of["cluster"])
        factors, df = matrices(clusters.size().to_numpy())
        plain.append((clusters.sum() ** 2).sum() / len(people_of) ** 2)
        errors.append((factors * clusters.sum() ** 2).sum() / len(people_of) ** 2)
        freedom.append(df)
    assert sum(plain) == pytest.approx(robust.bse["b"] ** 2, rel=1e-9)
    df = sum(errors) ** 2 / sum(e * e / f for e, f in zip(errors, freedom, strict=True))
    half = stats.t.isf((1 - row["level"]) / 2, df) * sum(errors) ** 0.5
    assert (row["upper"] - row["lower"]) / 2 >= half * (1 - 1e-9)  # the guard only widens
    assert (row["upper"] - row["lower"]) / 2 == pytest.approx(half, rel=0.05)
    assert (row["clusters"], row["control_clusters"]) == (30, 30)
    naive = frame.loc[frame["b"], "y"].var() / frame["b"].sum()
    assert row["design_effect"] == pytest.approx(errors[0] / naive, rel=1e-9)
    assert "in 30 and 30 clusters" in result.sentence


def test_adjusted_revenue_of_clusters() -> None:
    people, orders, frame = drawn(np.random.default_rng(2), 200, 10, effect=2.0)
    result = Experiment("script", min_per_arm=1).analyse(people, orders, as_of="2026-10-31")
    raw, row = result.effects("revenue").iloc[0], result.effects("adjusted revenue").iloc[0]
    model = OLS(frame["y"], add_constant(frame[["b", "x"]].astype(float)))
    robust = model.fit(cov_type="cluster", cov_kwds={"groups": frame["cluster"]})
    half = (row["upper"] - row["lower"]) / 2
    assert half <= 1.05 * stats.t.isf((1 - row["level"]) / 2, 198) * robust.bse["b"]  # the slope suits clusters
    assert half < 0.9 * (raw["upper"] - raw["lower"]) / 2
    assert row["difference"] == pytest.approx(robust.params["b"], abs=robust.bse["b"])


def test_clusters_of_one_are_people() -> None:
    people, orders, _ = drawn(np.random.default_rng(3), 80, 1)
    alone = people.assign(cluster_id=people["unit_id"])
    results = [
        Experiment("script", min_per_arm=1).analyse(frame, orders, as_of="2026-10-31").effects("revenue")
        for frame in (alone, people.drop(columns="cluster_id"), people.assign(cluster_id=None))
    ]
    mixed = people.assign(cluster_id=np.where(people.index % 2, None, people["unit_id"]))
    results.append(Experiment("script", min_per_arm=1).analyse(mixed, orders, as_of="2026-10-31").effects("revenue"))
    for other in results[1:]:
        for column in ("difference", "lower", "upper", "p_value", "relative_lower"):
            assert other[column].iloc[0] == pytest.approx(results[0][column].iloc[0], rel=1e-9)


def test_a_cluster_seen_in_two_weeks_is_one_cluster() -> None:
    codes, arm = np.repeat(np.arange(20), 2), np.repeat(["A", "B"], 20)
    x, n = np.arange(40) % 5, np.full(40, 6)
    split = cells(codes, arm, x, n).assign(look=[START, START + pd.Timedelta("7D")] * 20)
    whole = cells(codes[::2], arm[::2], x[::2] + x[1::2], n[::2] + n[1::2])
    columns = ["people", "clusters", "freedom", "conversion_mean", "conversion_variance"]
    joined, direct = (merged(frame, ["variant"], [CLUSTERED["conversion"]])[columns] for frame in (split, whole))
    pd.testing.assert_frame_equal(joined, direct, rtol=1e-12)


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_clusters_and_not_people_are_held_against_the_shares() -> None:
    n = np.r_[np.full(40, 10), np.full(40, 30)]  # B's streams have more viewers: no broken split
    frame = cells(np.arange(80), np.repeat(["A", "B"], 40), n // 2 - np.arange(80) % 3, n)
    gate = Experiment("script", min_per_arm=1).judge(frame).gate.set_index("check")
    assert gate.loc["sample ratio", "status"] == "pass"
    assert "A 40, B 40 clusters" in gate.loc["sample ratio", "found"]
    assert gate.loc["clusters per arm", "status"] == "pass"
    few = frame.iloc[np.r_[0:29, 40:69]]
    assert (
        Experiment("script", min_per_arm=1).judge(few).gate.set_index("check")["status"]["clusters per arm"] == "warn"
    )


def test_balance_before_is_that_of_clusters() -> None:
    rng = np.random.default_rng(5)
    n = rng.integers(5, 40, 90)
    frame = cells(np.arange(90), np.repeat(["A", "B", "C"], 30), n // 2, n)
    frame["bought_before"] = rng.binomial(n, np.repeat(rng.beta(1, 1, 30), 3))
    gate = Experiment("script", min_per_arm=1).judge(frame).gate.set_index("check")
    arms = frame.groupby("variant")
    share = arms["bought_before"].sum() / arms["people"].sum()
    rest = frame["bought_before"] - frame["variant"].map(share) * frame["people"]
    scaled = [matrices(sizes.to_numpy()) for _, sizes in arms["people"]]
    squares = np.concatenate([factors for factors, _ in scaled]) * rest**2
    error = squares.groupby(frame["variant"]).sum() / arms["people"].sum() ** 2
    worth = np.array([df + 1 for _, df in scaled])
    theirs = anova_generic(share, error * worth, worth, use_var="unequal", welch_correction=True)
    assert f"p = {theirs.pvalue:.4g}" in gate.loc["balance before the test", "found"]


def test_clusters_split_over_arms_are_named() -> None:
    frame = cells(np.arange(80) % 70, np.repeat(["A", "B"], 40), np.arange(80) % 7, np.full(80, 10))
    gate = Experiment("script", min_per_arm=1).judge(frame).gate.set_index("check")
    assert gate.loc["one arm per cluster", "status"] == "warn"
    assert "10 clusters have people in several arms" in gate.loc["one arm per cluster", "found"]


# --- permutations -----------------------------------------------------------------------------------------------------


def test_permutations_against_scipy() -> None:
    """With clusters of one size the statistic is Welch's, whose permutation test SciPy has."""
    rng = np.random.default_rng(6)
    a, b = rng.normal(0, 1, 6), rng.normal(1.2, 2, 5)
    ours = permutation_p_value((a, np.ones(6)), (b, np.ones(5)))  # all 462
    theirs = stats.permutation_test(
        (a, b), lambda x, y: abs(stats.ttest_ind(x, y, equal_var=False).statistic), alternative="greater"
    )
    assert ours == pytest.approx(theirs.pvalue)
    groups = (rng.normal(0, 1, 8), rng.integers(1, 9, 8)), (rng.normal(1, 1, 8), rng.integers(1, 9, 8))
    every, some = (permutation_p_value(*groups, draws=draws) for draws in (12_870, 12_000))  # 16 over 8
    assert some == pytest.approx(every, abs=3 * (every * (1 - every) / 12_000) ** 0.5)


def test_permutations_on_request() -> None:
    people, orders, _ = drawn(np.random.default_rng(7), 40, 10, effect=8.0)
    experiment = Experiment("script", min_per_arm=1, permutations=2000)
    result = experiment.analyse(people, orders, as_of="2026-10-31")
    rows = result.table[result.table["arm"] == "B"].set_index("metric")
    for metric in ("revenue", "adjusted revenue"):
        p = rows.loc[metric, "p_value"]
        assert rows.loc[metric, "p_permutation"] == pytest.approx(p, abs=4 * (p / 2000) ** 0.5 + 0.005)
    with pytest.raises(ParameterError, match="these assignments name none"):
        experiment.analyse(people.drop(columns="cluster_id"), orders, as_of="2026-10-31")
    people.loc[3, "cluster_id"] = None
    with pytest.raises(ParameterError, match="belong to none"):
        experiment.analyse(people, orders, as_of="2026-10-31")
    with pytest.raises(ParameterError, match="at least 100"):
        Experiment("script", permutations=5)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((([1.0], [1]), ([1, 2], [1, 1])), "two clusters a group"),
        ((([1.0, np.nan], [1, 1]), ([1, 2], [1, 1])), "finite total"),
        ((([1.0, 2], [1, 0]), ([1, 2], [1, 1])), "positive size"),
    ],
)
def test_permutations_of_bad_input(groups: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        permutation_p_value(*groups)


# --- by simulation ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [6, 40])
@pytest.mark.parametrize("uneven", [False, True])
def test_no_effect_under_strong_correlation_is_found_in_at_most_one_of_twenty_runs(clusters: int, uneven: bool) -> None:
    """Rates from 0.02 to 0.5; sizes from 50 to 150, or lognormal, where plain robust errors reject in 7% to 11%."""
    rng, runs, metric = np.random.default_rng(8), 600, CLUSTERED["conversion"]
    told = naive = 0
    for run in range(runs):
        rows = []
        for _arm in range(2):
            n = np.ceil(rng.lognormal(4, 1, clusters)) if uneven else rng.integers(50, 150, clusters).astype(float)
            x = rng.binomial(n.astype(int), rng.beta(2, 8, clusters)).astype(float)
            columns = {"people": n, "conversion_total": x, "cluster": np.arange(clusters, dtype=float)}
            freedom = Clusters.of(columns).freedom
            rows.append({"people": n.sum(), "clusters": clusters, "freedom": freedom} | metric.merge(columns))
        told += metric.difference(*rows, 0.95).significant
        naive += run < 100 and METRICS["conversion"].difference(*rows, 0.95).significant
    error = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert 0.01 <= told / runs <= 0.05 + error
    assert naive > 35  # taken for independent


# --- bad input --------------------------------------------------------------------------------------------------------


def test_one_cluster_an_arm_or_no_event_gives_no_interval() -> None:
    one = cells(np.array([0, 1]), np.array(["A", "B"]), np.array([300, 200]), np.array([2000, 2000]))
    none = cells(np.arange(80), np.repeat(["A", "B"], 40), np.zeros(80, dtype=int), np.full(80, 100))
    for frame in (one, none):
        with pytest.warns(ThinDataWarning, match="nothing varies"):
            result = Experiment("script").judge(frame)
        row = result.primary.iloc[0]
        assert np.isnan(row["lower"])
        assert (row["p_value"], result.verdict) == (1, "do not ship")


def test_one_cluster_an_arm_is_not_said_to_vary_in_nothing() -> None:
    """A converts 10 of 100 and B 30 of 100: what is missing is a second cluster, not variation."""
    arm = np.repeat(["A", "B"], 100)
    people = assigned(arm, arm)
    buyers = people["unit_id"][[*range(10), *range(100, 130)]]
    with pytest.warns(ThinDataWarning):
        found = Experiment("script", min_per_arm=50).analyse(people, bought(buyers), as_of="2026-10-10")
    assert found.verdict == "do not ship"
    assert "+20.00 points (an arm of one cluster does not show how much clusters differ: no interval)" in found.sentence


def test_moments_are_those_of_clusters() -> None:
    """Arithmetic: totals 2, 4 of sizes 4, 4 against 1, 1 of 4, 4; G / (G - 1) = 2."""
    metric = CLUSTERED["conversion"]
    rows = [
        {"people": 8, "clusters": 2, "freedom": 1.0}
        | metric.merge({"people": np.full(2, 4.0), "conversion_total": np.array(x), "cluster": np.arange(2.0)})
        for x in ([2.0, 4.0], [1.0, 1.0])
    ]
    assert rows[0]["conversion_variance"] / 8 == pytest.approx(2 * (1 + 1) / 64)
    assert metric.difference(*rows, 0.95).estimate == pytest.approx(4 / 8)
    assert metric.varies(*rows)


def test_clusters_are_worth_what_the_matrices_say() -> None:
    sizes = np.array([3.0, 10, 1, 1, 25, 7])
    columns = {"people": np.r_[sizes, 4.0], "cluster": np.r_[np.arange(6.0), -1]}  # and four people alone
    clusters = Clusters.of(columns)
    factors, freedom = matrices(np.r_[sizes, np.ones(4)])
    assert clusters.number == 10
    assert clusters.freedom == pytest.approx(freedom)
    assert 1 / clusters.spread(clusters.share) == pytest.approx(factors[:6])
    even = Clusters.of({"people": np.full(7, 9.0), "cluster": np.arange(7.0)})
    assert even.freedom == pytest.approx(6)
    assert np.isnan(Clusters.of({"people": np.array([9.0]), "cluster": np.array([0.0])}).freedom)
