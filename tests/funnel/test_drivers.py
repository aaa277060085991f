from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from clvlib.errors import ConvergenceWarning, EmptyDataError, ParameterError, ThinDataWarning
from clvlib.funnel.drivers import drivers
from clvlib.funnel.plots import drivers_data, plot_drivers

MONDAY = pd.Timestamp("2026-11-02 09:00")


def log(cells, columns=("place",), at=MONDAY):
    """Views and orders from {levels: (people, of whom ordered)}."""
    parts = []
    for k, (levels, (people, ordered)) in enumerate(cells.items()):
        ids = [f"{k}-{i}" for i in range(people)]
        seen = pd.DataFrame({"person_id": ids, "event": "view", "occurred_at": at})
        seen = seen.assign(**dict(zip(columns, levels if isinstance(levels, tuple) else (levels,), strict=True)))
        parts += [seen, seen.head(ordered).assign(event="order", occurred_at=at + pd.Timedelta(hours=1))]
    return pd.concat(parts, ignore_index=True)


def simulated(rng, people, effects, base=-0.5):
    """People with a platform, a category and a time of day, whose log odds of an order are a sum of effects.

    Half of them come again, somewhere else, before they order or not.
    """
    frame = pd.DataFrame({
        "person_id": [f"p{i}" for i in range(people)],
        "platform": rng.choice(["douyin", "kuaishou", "taobao"], people, p=[0.5, 0.3, 0.2]),
        "category": rng.choice(["beauty", "food", "home", "toys"], people, p=[0.4, 0.3, 0.2, 0.1]),
        "occurred_at": pd.Timestamp("2026-11-02") + pd.to_timedelta(rng.integers(0, 14 * 86_400, people), unit="s"),
        "event": "view",
    })  # fmt: skip
    odds = base + sum(frame[column].map(lambda v: effects.get(v, 0.0)) for column in ("platform", "category"))
    ordered = rng.random(people) < 1 / (1 + np.exp(-odds))
    later = frame[ordered].assign(event="order", occurred_at=lambda f: f["occurred_at"] + pd.Timedelta(hours=2))
    again = frame.iloc[::2].assign(
        platform=lambda f: rng.permutation(f["platform"]),
        occurred_at=lambda f: f["occurred_at"] + pd.Timedelta(hours=1),
    )
    return frame, ordered, pd.concat([frame, again, later])


def test_one_feature_is_the_cross_product_and_woolfs_interval():
    """60 of 200 against 90 of 180: (60 × 90) / (140 × 90) = 0.4286, standard error √(1/60 + 1/140 + 1/90 + 1/90)."""
    found = drivers(log({"x": (200, 60), "y": (180, 90)}), ["view", "order"], "order", "place")
    row = found.table.iloc[0]
    assert row[["feature", "level"]].tolist() == ["place", "y"]
    assert row["odds_ratio"] == pytest.approx(140 / 60, rel=1e-6)
    error = np.sqrt(1 / 60 + 1 / 140 + 2 / 90)
    expected = np.log(140 / 60) + np.array([-1, 1]) * 1.959964 * error
    assert np.log(row[["lower", "upper"]].astype(float)).tolist() == pytest.approx(expected, rel=1e-5)
    assert row["p_value"] == pytest.approx(2 * stats.norm.sf(np.log(140 / 60) / error), rel=1e-5)
    assert (found.people, found.went_on, found.left_out) == (380, 150, 0)
    assert (
        found.sentence == "The odds of order after view are 2.33 (1.53 to 3.55) times as high at place y as elsewhere."
    )


def test_agrees_with_statsmodels_on_people():
    """Counts here, people there: Newton's method on one row each."""
    from statsmodels.discrete.discrete_model import Logit

    people, ordered, events = simulated(np.random.default_rng(3), 4000, {"kuaishou": -0.6, "toys": 0.5})
    found = drivers(events, ["view", "order"], "order", ["platform", "category"]).table.set_index("level")
    frame = people.assign(
        hours=people["occurred_at"].dt.hour // 6, weekend=people["occurred_at"].dt.day_of_week.ge(5)
    ).astype({"hours": str, "weekend": str})  # fmt: skip
    design = pd.get_dummies(frame[["platform", "category", "hours", "weekend"]], drop_first=True, dtype=float)
    fit = Logit(ordered.astype(float), design.assign(constant=1.0)).fit(disp=0)
    for feature in ("platform", "category"):
        share = frame[feature].value_counts(normalize=True)
        for level in share.index:
            against = (-share / (1 - share[level])).where(share.index != level, 1.0)
            contrast = [against.get(name.removeprefix(f"{feature}_"), 0.0) for name in fit.params.index]
            test = fit.t_test(contrast)
            assert np.log(found.loc[level, "odds_ratio"]) == pytest.approx(test.effect.item(), abs=1e-6)
            assert found.loc[level, "z"] == pytest.approx(test.tvalue.item(), abs=1e-4)
    assert len(found) == 3 + 4 + 4 + 1


def test_adjusts_for_the_other_features():
    """Within each category the platforms convert alike; that y sells more toys is all that sets it apart."""
    cells = {("x", "toys"): (100, 80), ("y", "toys"): (400, 320), ("x", "food"): (400, 80), ("y", "food"): (100, 20)}
    found = drivers(log(cells, ["place", "category"]), ["view", "order"], "order", ["place", "category"]).table
    by = found.set_index("feature")
    assert by.loc["place", "odds_ratio"] == pytest.approx(1, abs=1e-6)
    assert abs(np.log(by.loc["category", "odds_ratio"])) == pytest.approx(np.log(16), rel=1e-6)


@pytest.mark.slow
def test_finds_what_is_there_and_nothing_else():
    """All rows together are wrong once in twenty at most; the planted effect lies in its interval."""
    rng = np.random.default_rng(11)
    false_alarms, covered = [], []
    for _ in range(150):
        effects = {"kuaishou": -0.8}
        found = drivers(simulated(rng, 1500, effects)[2], ["view", "order"], "order", ["platform", "category"])
        table = found.table.set_index("level")
        covered.append(table.loc["kuaishou", "lower"] <= np.exp(-0.8) <= table.loc["kuaishou", "upper"])
        others = table.drop(index=["kuaishou", "douyin", "taobao"])  # that one is worse makes the others better
        false_alarms.append(bool((others["p_value"] <= 0.05).any()))
        assert ((table["lower"] > 1) | (table["upper"] < 1)).eq(table["p_value"] <= 0.05).all()
    assert np.mean(covered) > 0.93
    assert stats.binomtest(sum(false_alarms), 150, 0.05, alternative="greater").pvalue > 0.01


def test_rare_levels_are_taken_together_or_left_out():
    cells = {"x": (100, 50), "y": (100, 40), "p": (12, 6), "q": (12, 6)}
    pooled = drivers(log(cells), ["view", "order"], "order", "place")
    assert sorted(pooled.table["level"]) == ["other", "x", "y"]
    assert pooled.table.set_index("level").loc["other", ["people", "rate"]].tolist() == [24, 0.5]
    left = drivers(log({**cells, "q": (12, 0)}), ["view", "order"], "order", "place")
    assert (len(left.table), left.left_out) == (1, 24)


def test_the_features_are_those_at_the_step_before():
    """Viewed on x, carted on y: whether the order follows is asked of where they carted."""
    frame = log({"x": (100, 0)})
    carts = frame.assign(event="cart", place=["y"] * 50 + ["x"] * 50, occurred_at=MONDAY + pd.Timedelta("1h"))
    orders = pd.concat([carts.head(40), carts.tail(10)]).assign(event="order", occurred_at=MONDAY + pd.Timedelta("2h"))
    found = drivers(pd.concat([frame, carts, orders]), ["view", "cart", "order"], "order", "place").table
    assert found["odds_ratio"].tolist() == pytest.approx([16 if found["level"].iloc[0] == "y" else 1 / 16])


def test_what_says_the_same_is_left_out_and_what_foretells_is_told():
    cells = {("x", "a"): (100, 50), ("y", "b"): (100, 30)}
    with pytest.warns(ThinDataWarning, match="'host' says the same as the features before it"):
        found = drivers(log(cells, ["place", "host"]), ["view", "order"], "order", ["place", "host"])
    assert found.table["feature"].tolist() == ["place"]
    cells = {("x", "a"): (40, 40), ("x", "b"): (60, 30), ("y", "a"): (60, 30), ("y", "b"): (40, 0)}
    with pytest.warns(ConvergenceWarning, match="have no end"):
        drivers(log(cells, ["place", "host"]), ["view", "order"], "order", ["place", "host"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"step": "view"}, "not a required step"),
        ({"step": "order", "optional": "order"}, "not a required step"),
        ({"by": []}, "columns are needed"),
        ({"by": ["place", "place"]}, "each once"),
        ({"by": "day"}, "called like what is added"),
        ({"level": 1}, "no share"),
        ({"least": 0}, "cannot be compared"),
    ],
)
def test_wrong_arguments(arguments, says):
    events = log({"x": (20, 10)}).assign(day="x")
    with pytest.raises(ParameterError, match=says):
        drivers(events, ["view", "order"], **{"step": "order", "by": "place", **arguments})


def test_nothing_to_compare():
    with pytest.raises(EmptyDataError, match="no feature has two levels"):
        drivers(log({"x": (20, 10)}), ["view", "order"], "order", "place")
    with pytest.raises(EmptyDataError, match="nobody made the step before"):
        drivers(log({"x": (20, 10)}), ["view", "order"], "order", "place", as_of="2026-11-03")


def test_figure():
    found = drivers(log({"x": (200, 60), "y": (180, 90), "z": (90, 28)}), ["view", "order"], "order", "place")
    ax = plot_drivers(found)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["place: y (180)", "place: x (200)", "place: z (90)"]
    assert len(drivers_data(found, 1)) == 1
    assert ax.get_title(loc="left").replace("\n", " ").startswith("The odds of order after view are 2.3")
    none = drivers(log({"x": (200, 60), "y": (180, 55)}), ["view", "order"], "order", "place")
    assert none.sentence == "Nothing among place goes with leaving before order by more than chance explains."
