"""An experiment from a table with a row per person, by metrics of its columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.metrics import Adjusted, Mean, Proportion, Ratio
from clvlib.data.engine import DuckDBEngine, Table
from clvlib.errors import ClvError, DataError, MissingColumnError, ParameterError, ThinDataWarning
from tests.abtest.test_clusters import matrices

METRICS = (
    Proportion("conversion", "orders > 0"),
    Mean("spend", "spend"),
    Adjusted("adjusted spend", "spend", covariate="expected"),
    Ratio("basket", "spend", denominator="orders"),
)


def people(n: int = 600, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    expected, arm = rng.gamma(2, 10, n), rng.integers(0, 2, n)
    orders = rng.poisson(1.2, n)
    spend = orders * (expected + rng.gamma(2, 5, n) + 2 * arm)
    return pd.DataFrame({"variant": np.where(arm, "B", "A"), "orders": orders, "spend": spend, "expected": expected})


def test_a_ratio_is_compared_by_its_linearised_values() -> None:
    frame = people()
    result = Experiment("x", metric="basket", metrics=METRICS, min_per_arm=1).analyse_people(frame, as_of="2026-11-01")
    row = result.primary.iloc[0]
    groups = []
    for arm in "BA":
        y, x = frame.loc[frame["variant"] == arm, ["spend", "orders"]].to_numpy(dtype=float).T
        ratio = y.sum() / x.sum()
        groups.append(ratio + (y - ratio * x) / x.mean())
    theirs = stats.ttest_ind(*groups, equal_var=False)
    assert row["difference"] == pytest.approx(groups[0].mean() - groups[1].mean())
    assert row["p_value"] == pytest.approx(theirs.pvalue, rel=0.05)  # arms of 298 and 302: the guard is near to nothing
    assert row["p_value"] >= theirs.pvalue * (1 - 1e-9)
    assert row["total"] == pytest.approx(frame.loc[frame["variant"] == "B", "spend"].sum())
    assert (row["unit"], row["role"]) == ("money", "primary")


def test_what_a_model_expects_serves_to_adjust() -> None:
    frame = people(2000)
    result = Experiment("x", metrics=METRICS, min_per_arm=1).analyse_people(frame, as_of="2026-11-01")
    within = frame.groupby("variant")[["spend", "expected"]].transform(lambda v: v - v.mean())
    found = result.effects("adjusted spend").iloc[0]
    assert found["reduction"] == pytest.approx(within["spend"].corr(within["expected"]) ** 2, rel=1e-9)
    assert set(result.gate["check"]) == {"sample ratio", "people per arm", "open windows"}
    assert list(result.table["metric"].unique()) == ["conversion", "spend", "adjusted spend", "basket"]


def test_ratios_of_clusters() -> None:
    """Arithmetic of the delta method on cluster totals: var(sum(S - R M)) / sum(M)**2, with the factors of clusters."""
    frame = people(800, seed=2)
    frame["cluster_id"] = frame["variant"] + (np.arange(800) % 37).astype(str)
    experiment = Experiment("x", metric="basket", metrics=METRICS, min_per_arm=1, permutations=500)
    result = experiment.analyse_people(frame, as_of="2026-11-01")
    row = result.primary.iloc[0]
    errors, freedom, ratios = [], [], []
    for arm in "BA":
        clusters = frame[frame["variant"] == arm].groupby("cluster_id")
        sums = clusters[["spend", "orders"]].sum()
        ratios.append(sums["spend"].sum() / sums["orders"].sum())
        factors, df = matrices(clusters.size().to_numpy())
        rest = sums["spend"] - ratios[-1] * sums["orders"]
        errors.append((factors * rest**2).sum() / sums["orders"].sum() ** 2)
        freedom.append(df)
    df = sum(errors) ** 2 / sum(e * e / f for e, f in zip(errors, freedom, strict=True))
    half = stats.t.isf((1 - row["level"]) / 2, df) * sum(errors) ** 0.5
    assert row["difference"] == pytest.approx(ratios[0] - ratios[1])
    assert half * (1 - 1e-9) <= (row["upper"] - row["lower"]) / 2 < 1.05 * half  # the guard only widens
    assert row["p_permutation"] == pytest.approx(row["p_value"], abs=0.06)


def test_a_parquet_file_gives_what_a_frame_gives(tmp_path: Path) -> None:
    frame = people()
    frame.to_parquet(tmp_path / "people.parquet")
    table = Table(DuckDBEngine(), "people", f"'{tmp_path / 'people.parquet'}'", tuple(frame.columns))
    experiment = Experiment("x", metrics=METRICS, min_per_arm=1)
    both = [experiment.analyse_people(data, as_of="2026-11-01").table for data in (frame, table)]
    pd.testing.assert_frame_equal(*both)


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["spend", "expected"])
def test_what_is_missing_or_infinite_is_refused(column: str, value: float | None) -> None:
    frame = people().astype({column: object if value is None else float})
    frame.loc[3, column] = value
    with pytest.raises(ClvError, match=r"missing or infinite|[Oo]ut of range"):
        Experiment("x", metrics=METRICS).analyse_people(frame, as_of="2026-11-01")


def test_bad_input() -> None:
    experiment = Experiment("x", metrics=METRICS, min_per_arm=1)
    with pytest.raises(MissingColumnError, match="people: column variant"):
        experiment.analyse_people(people().drop(columns="variant"), as_of="2026-11-01")
    with pytest.raises(DataError, match="one arm, A"):
        experiment.analyse_people(people().assign(variant="A"), as_of="2026-11-01")
    frame = people()
    frame.loc[frame["variant"] == "A", ["orders", "spend"]] = 0
    with pytest.warns(ThinDataWarning, match="basket: no interval"):
        row = experiment.analyse_people(frame, as_of="2026-11-01").effects("basket").iloc[0]
    assert (row["p_value"], row["verdict"]) == (1, "not told apart")
    with pytest.raises(ParameterError, match="metric: 'revenue' is none of conversion, spend"):
        Experiment("x", metric="revenue", metrics=METRICS)
