"""The effect on what a person is worth: seen, expected, and both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.value import members, value_check, value_effect
from clvlib.errors import DataError, EmptyDataError, MissingColumnError, ParameterError
from tests.abtest import test_experiment as made


def people(seed: int = 1, n: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    observed = rng.gamma(0.5, 20, 2 * n)
    arm = np.repeat(["A", "B"], n)
    return pd.DataFrame({"variant": arm, "observed": observed, "projected": 2 * observed + rng.gamma(1, 5, 2 * n)})


def test_without_a_model_error_it_is_welchs_test_of_the_sum() -> None:
    frame = people()
    table = value_effect(frame, {"A": 0.0, "B": 0.0}).table.set_index("part")
    total = frame["observed"] + frame["projected"]
    theirs = stats.ttest_ind(total[frame["variant"] == "B"], total[frame["variant"] == "A"], equal_var=False)
    interval = theirs.confidence_interval()
    assert table.loc["total", ["lower", "upper"]].tolist() == pytest.approx([interval.low, interval.high])
    assert table["from_model"].tolist() == [0, 0, 0]
    assert table.loc["total", "difference"] == pytest.approx(table.loc[["observed", "projected"], "difference"].sum())


def test_the_models_errors_add_to_the_projection_and_not_to_what_was_seen() -> None:
    frame = people()
    without, found = (value_effect(frame, dict.fromkeys("AB", e)).table.set_index("part") for e in (0.0, 3.0))
    half = (found["upper"] - found["lower"]) / 2
    before = (without["upper"] - without["lower"]) / 2
    assert half["observed"] == before["observed"]
    t = stats.t.isf(0.025, 790)
    for part in ("projected", "total"):
        values = frame["projected"] + (frame["observed"] if part == "total" else 0)
        error = ((values.groupby(frame["variant"]).sem() + 3.0) ** 2).sum() ** 0.5  # of each arm both, then of two arms
        assert half[part] == pytest.approx(t * error, rel=1e-3)
        assert found.loc[part, "from_model"] == pytest.approx(1 - (before[part] / half[part]) ** 2, rel=1e-9)


def test_in_words() -> None:
    frame = people()
    frame.loc[frame["variant"] == "B", ["observed", "projected"]] += [10.0, 20.0]
    said = value_effect(frame, {"A": 0.1, "B": 0.1}).sentence
    assert said.startswith("A person of B is worth +")
    assert "seen so far" in said
    assert "cannot be told" not in said
    assert "cannot be told from nothing" in value_effect(people(), {"A": 9.0, "B": 9.0}).sentence


@pytest.mark.slow
def test_coverage_with_parameters_that_come_from_the_same_people() -> None:
    """Poisson rates from a gamma distribution of unknown shape; 4 weeks seen, 26 to come."""
    rng, runs, holds, rate, seen, coming, n = np.random.default_rng(2), 1000, 0, 8.0, 4.0, 26.0, 500
    truth = (2.4 - 2.0) / rate * (seen + coming)
    for _ in range(runs):
        arms, errors = [], {}
        for arm, shape in (("A", 2.0), ("B", 2.4)):
            x = rng.poisson(rng.gamma(shape, 1 / rate, n) * seen).astype(float)
            r = rate * x.mean() / seen
            projected = (r + x) / (rate + seen) * coming
            arms.append(pd.DataFrame({"variant": arm, "observed": x, "projected": projected}))
            errors[arm] = coming / (rate + seen) * rate / seen * x.std(ddof=1) / n**0.5
        row = value_effect(pd.concat(arms), errors).table.iloc[2]
        holds += row["lower"] <= truth <= row["upper"]
    assert holds / runs == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / runs) ** 0.5)


@pytest.mark.parametrize(
    ("frame", "errors", "error", "message"),
    [
        (people().drop(columns="projected"), {"A": 0, "B": 0}, MissingColumnError, "column projected"),
        (people().assign(observed=np.nan), {"A": 0, "B": 0}, DataError, "800 values are missing"),
        (people().assign(variant="A"), {"A": 0, "B": 0}, DataError, "two arms"),
        (people().assign(variant="C"), {"C": 0}, ParameterError, "'A' is none of the arms C"),
        (people(), {"A": 0}, ParameterError, "of arm B is needed"),
        (people(), {"A": 0, "B": -1}, ParameterError, "of arm B is needed"),
        (people().assign(observed=1.0), {"A": 0, "B": 0}, DataError, "nobody differs"),
    ],
)
def test_bad_input(frame: pd.DataFrame, errors: dict[str, float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        value_effect(frame, errors)


def test_a_level_out_of_range() -> None:
    with pytest.raises(ParameterError, match="level: a share"):
        value_effect(people(), {"A": 0, "B": 0}, level=95)


def test_members_bring_what_they_bring_after_their_assignment() -> None:
    """A person of both arms is nobody's; what was bought before the assignment, or after the end, is not there."""
    assigned = pd.concat([made.people(A=3, B=3), made.people(C=1).assign(unit_id="A2")])
    assigned = pd.concat([assigned, made.people(A=5).iloc[4:].assign(assigned_at=made.START + pd.Timedelta("9D"))])
    orders = pd.concat([
        made.bought(["A0", "A0", "B1"], np.array([10.0, 5.0, 7.0])), made.bought(["A0"], 100.0, "-1h"),
        made.bought(["B1", "A1"], 20.0, "3D"), made.bought(["B1"], 40.0, "30D"),
    ])  # fmt: skip
    day = (made.START + pd.Timedelta("1D")).date()
    found = members(Experiment("script"), assigned, orders, as_of=day, until=day + pd.Timedelta("6D"))
    assert found.index.tolist() == ["A0", "A1", "B0", "B1", "B2"]
    assert found["observed"].tolist() == [15, 0, 0, 7, 0]
    assert found["came"].tolist() == [0, 20, 0, 20, 0]
    assert members(Experiment("script"), assigned, orders, as_of=day)["came"].tolist() == [0] * 5
    with pytest.raises(EmptyDataError, match="nobody was assigned by"):
        members(Experiment("script"), assigned, orders, as_of="2020-01-01")
    with pytest.raises(DataError, match="clusters were assigned"):
        members(Experiment("script"), assigned.assign(cluster_id="c"), orders, as_of=day)


def foreseen(rng: np.random.Generator, shift: float = 0.0, n: int = 400) -> tuple[pd.DataFrame, dict[str, float]]:
    """Poisson buyers of two arms seen for 4 weeks, a gamma prior's forecast of 2 more, and what these bring."""
    rate, seen, coming, arms, errors = 8.0, 4.0, 2.0, [], {}
    for arm, shape in (("A", 2.0), ("B", 2.4)):
        often = rng.gamma(shape, 1 / rate, n)
        x = rng.poisson(often * seen).astype(float)
        projected = (rate * x.mean() / seen + x) / (rate + seen) * coming + shift * (arm == "B")
        came = rng.poisson(often * coming).astype(float)
        arms.append(pd.DataFrame({"variant": arm, "projected": projected, "came": came}))
        errors[arm] = coming / (rate + seen) * rate / seen * x.std(ddof=1) / n**0.5
    return pd.concat(arms), errors


@pytest.mark.slow
def test_a_right_forecast_fits_in_19_of_20_cases_and_a_wrong_one_is_found() -> None:
    rng, runs = np.random.default_rng(7), 1000
    fits = sum(value_check(*foreseen(rng)).fits for _ in range(runs)) / runs
    assert fits == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / runs) ** 0.5)
    wrong = [value_check(*foreseen(rng, shift=0.3)) for _ in range(50)]
    assert sum(found.fits for found in wrong) < 5
    assert "does not fit" in next(found.sentence for found in wrong if not found.fits)


def test_a_check_by_hand() -> None:
    """What came less what was expected: A 0 and 2, B 4 and 6; so 4 with an error of the root of 2 x 2 / 2."""
    frame = pd.DataFrame({"variant": list("AABB"), "projected": [1.0, 1, 2, 2], "came": [1.0, 3, 6, 8]})
    row = value_check(frame, {"A": 0.0, "B": 0.0}).table.iloc[0]
    half = stats.t.isf(0.025, 2) * 2**0.5
    figures = ["expected", "came", "surprise", "lower", "upper"]
    assert row[figures].tolist() == pytest.approx([1, 5, 4, 4 - half, 4 + half])
    with pytest.raises(MissingColumnError, match="column came"):
        value_check(frame.drop(columns="came"), {"A": 0.0, "B": 0.0})
