"""The effect on what a person is worth: seen, expected, and both."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.abtest.value import value_effect
from clvlib.errors import DataError, MissingColumnError, ParameterError


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
    assert "seen within the window" in said
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
