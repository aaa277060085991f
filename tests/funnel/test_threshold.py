from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.data.calendar import Week
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.funnel.change import change
from clvlib.funnel.context import with_context
from clvlib.funnel.kernel import FunnelResult, funnel
from clvlib.funnel.plots import (
    change_data,
    funnel_data,
    plot_change,
    plot_funnel,
    plot_segments,
    plot_trend,
    segments_data,
    trend_data,
)
from clvlib.funnel.threshold import step_counts, threshold
from clvlib.funnel.weekly import trend, week_funnels
from clvlib.stats.proportions import proportion_interval

MONDAY = pd.Timestamp("2026-11-09 10:00")


def clicks(cells, day=MONDAY):
    """A log in which of ``before`` people of a segment ``people`` add to the cart; ``cells``: segment to both."""
    rows = []
    for segment, (before, people) in cells.items():
        ids = [f"{segment}{i}" for i in range(before)]
        rows += [(i, "click", segment, day) for i in ids]
        rows += [(i, "cart", segment, day + pd.Timedelta(minutes=2)) for i in ids[:people]]
    return pd.DataFrame(rows, columns=["person_id", "event", "platform", "occurred_at"])


def result(cells, by="platform", **kw):
    return funnel(clicks(cells), ["click", "cart"], by=by, **kw)


# --- threshold --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("people", "verdict"), [(90, "fail"), (120, "undecided"), (110, "undecided"), (150, "pass")])
def test_verdict_is_where_the_interval_lies(people, verdict):
    """Wilson's formula, written out: 90 in 1000 is .0738 to .1093, 110 is .0921 to .1309, 150 is .1293 to .1735."""
    n, z = 1000, 1.959963984540054
    centre, half = (people + z * z / 2) / (n + z * z), z / (n + z * z) * np.sqrt(people * (n - people) / n + z * z / 4)
    found = threshold(result({"x": (n, people)}, by=()), "cart", 0.12)
    assert (found.lower, found.upper) == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert found.people_lost == pytest.approx(max(0.12 * n - people, 0))
    assert found.verdict == verdict


def test_segments_are_ranked_by_people_lost():
    found = threshold(result({"big": (1000, 80), "small": (100, 2), "good": (500, 100)}), "cart", 0.12)
    assert found.table["segment"].tolist() == ["big", "small", "good"]
    assert found.table["people_lost"].tolist() == pytest.approx([40, 10, 0])
    assert found.table["verdict"].tolist() == ["fail", "fail", "pass"]
    assert found.failing["segment"].tolist() == ["big", "small"]
    assert found.rate == 182 / 1600


def test_segments_are_judged_together():
    """Twenty segments at a rate of exactly the minimum: the intervals are those of level 1 - .05/20."""
    found = threshold(result({f"s{i:02}": (200, 24) for i in range(20)}), "cart", 0.12)
    limits = proportion_interval(24, 200, 1 - 0.05 / 20)
    assert found.table["lower"].to_numpy() == pytest.approx(limits["lower"].iloc[0])
    assert found.verdict == "undecided"


def test_several_dimensions():
    log = clicks({"x": (100, 5), "y": (100, 20)}).assign(channel=lambda f: np.where(f.index % 2, "odd", "even"))
    parts = [funnel(log, ["click", "cart"], by=b) for b in ("platform", ["platform", "channel"])]
    found = threshold(funnel(log, ["click", "cart"]), "cart", 0.12, parts)
    assert set(found.table["dimension"]) == {"platform", "platform × channel"}
    assert "x × odd" in found.table["segment"].tolist()
    assert len(found.table) == 6


@pytest.mark.parametrize(("step", "minimum"), [("click", 0.12), ("nothing", 0.12), ("cart", 0), ("cart", 1.2)])
def test_threshold_refuses(step, minimum):
    with pytest.raises(ParameterError):
        threshold(result({"x": (10, 1)}), step, minimum)


@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_threshold_without_anybody():
    empty = funnel(clicks({"x": (10, 1)}), ["click", "cart"], starts=("2030-01-01", None), by="platform")
    with pytest.raises(EmptyDataError, match="nobody made the step before 'cart'"):
        threshold(empty, "cart")


# --- change -----------------------------------------------------------------------------------------------------------


def change_from_counts(now, then):
    """A change from counts, without an event log behind them."""
    made = []
    for cells in (now, then):
        rows = [(s, step, n) for s, counts in cells.items() for step, n in zip(["click", "cart"], counts, strict=True)]
        table = pd.DataFrame(rows, columns=["platform", "step", "people"])
        total = table.groupby("step", sort=False, as_index=False)["people"].sum()
        made.append(
            FunnelResult(
                steps=("click", "cart"),
                window="7 days",
                unit="person",
                level=0.95,
                attribution="first",
                as_of="",
                open_units=0,
                unusable=0,
                by=("platform",),
                total=total,
                table=table,
            )
        )
    return change(*made, "cart")


CELLS = st.dictionaries(
    st.sampled_from("uvwxyz"),
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=1,
)


@given(then=CELLS, now=CELLS)
@settings(max_examples=60)
def test_the_split_is_exact(then, now):
    found = change_from_counts(now, then)
    total = sum(x for _, x in now.values()) / sum(n for n, _ in now.values())
    before = sum(x for _, x in then.values()) / sum(n for n, _ in then.values())
    assert found.difference == pytest.approx(total - before, abs=1e-12)
    assert found.table["rate_effect"].sum() + found.table["mix_effect"].sum() == pytest.approx(
        total - before, abs=1e-12
    )
    assert found.rate_effect + found.mix_effect == pytest.approx(found.difference, abs=1e-12)
    assert found.lower <= found.difference <= found.upper
    one_sided = found.table["before_then"].eq(0) | found.table["before_now"].eq(0)
    assert (found.table.loc[one_sided, "rate_effect"] == 0).all()


def test_kitagawa_by_hand():
    """Shares .5/.5 to .25/.75, rates .2, .4 to .1, .4: rates -.0375, mix -(-.25)(.15-.3125)+..., in all -.3 + .325."""
    then = result({"x": (1000, 200), "y": (1000, 400)})
    now = result({"x": (500, 50), "y": (1500, 600)})
    found = change(now, then, "cart").table.set_index("segment")
    mean = (0.3 + 0.325) / 2
    assert found.loc["x", ["rate_effect", "mix_effect"]].tolist() == pytest.approx(
        [0.375 * -0.1, -0.25 * (0.15 - mean)]
    )
    assert found.loc["y", ["rate_effect", "mix_effect"]].tolist() == pytest.approx([0, 0.25 * (0.4 - mean)])


def test_pure_mix_has_no_rate_effect_and_pure_rate_no_mix():
    mix = change(result({"x": (100, 10), "y": (900, 360)}), result({"x": (500, 50), "y": (500, 200)}), "cart")
    assert mix.rate_effect == pytest.approx(0, abs=1e-12)
    assert mix.segment == ""
    rate = change(result({"x": (500, 25), "y": (500, 200)}), result({"x": (500, 50), "y": (500, 200)}), "cart")
    assert rate.mix_effect == pytest.approx(0, abs=1e-12)


def test_a_planted_drop_is_named_and_nothing_when_all_fall_alike():
    then = {f"s{i}": (2000, 300) for i in range(8)}
    fell = change(result({**then, "s3": (2000, 80)}), result(then), "cart")
    assert (fell.segment, fell.dimension) == ("s3", "platform")
    assert fell.table["segment"].iloc[0] == "s3"
    alike = change(result(dict.fromkeys(then, (2000, 240))), result(then), "cart")
    assert alike.segment == ""
    assert alike.p_value < 1e-6


def test_false_alarms_are_held_at_the_level():
    """With no segment different from the others, at most about 5% of the weeks name one."""
    rng = np.random.default_rng(7)
    named = 0
    for _ in range(200):
        then, now = ({f"s{i}": (400, int(rng.binomial(400, 0.15))) for i in range(6)} for _ in range(2))
        named += bool(change_from_counts(now, then).segment)
    assert named <= 20  # binomial(200, .05): 20 or fewer with probability .999


def test_one_segment_alone_cannot_stand_out():
    found = change(result({"x": (900, 90)}), result({"x": (900, 300)}), "cart")
    assert found.segment == ""
    assert found.rate_effect == pytest.approx(found.difference)


def test_change_refuses():
    one = result({"x": (10, 1)})
    with pytest.raises(ParameterError, match="by the same columns"):
        change(one, result({"x": (10, 1)}, by=()), "cart")
    with pytest.raises(ParameterError, match="by the same columns"):
        change([], [], "cart")
    with pytest.warns(ThinDataWarning):
        empty = result({"x": (10, 1)}, starts=("2030-01-01", None))
    with pytest.raises(EmptyDataError, match="in one of the periods"):
        change(one, empty, "cart")


# --- weeks ------------------------------------------------------------------------------------------------------------


def weeks_log():
    parts = [clicks({"x": (100, 20 - k)}, MONDAY - pd.Timedelta(weeks=k)) for k in range(3)]
    return pd.concat([p.assign(person_id=f"w{k}" + p["person_id"]) for k, p in enumerate(parts)])


def test_trend_sees_each_week_at_its_own_end():
    rates = trend(weeks_log(), ["click", "cart"], "cart", Week("2026-W46"), 3)
    assert rates.index.tolist() == ["2026-W44", "2026-W45", "2026-W46"]
    assert rates["rate"].tolist() == [0.18, 0.19, 0.20]
    late = pd.concat([weeks_log(), pd.DataFrame([("w0x99", "cart", "x", MONDAY + pd.Timedelta(days=8))],
                      columns=["person_id", "event", "platform", "occurred_at"])])  # fmt: skip
    pd.testing.assert_frame_equal(trend(late, ["click", "cart"], "cart", Week("2026-W46"), 3), rates)


def test_trend_with_an_empty_week():
    with pytest.warns(ThinDataWarning, match="in 2 of 5 weeks nobody"):
        rates = trend(weeks_log(), ["click", "cart"], "cart", Week("2026-W46"), 5)
    assert rates["rate"].isna().tolist() == [True, True, False, False, False]


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 40), st.sampled_from(["click", "cart", "paid"])),
             min_size=1, max_size=60),
    st.sampled_from(["1h", "7D"]),
)  # fmt: skip
@settings(max_examples=25)
@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_trend_is_each_week_s_own_funnel(rows, window):
    """Events every half day over three weeks, from the Sunday before the first of them on."""
    log = pd.DataFrame(rows, columns=["person_id", "half", "event"])
    log["occurred_at"] = MONDAY - pd.Timedelta(weeks=2, days=1) + log["half"] * pd.Timedelta(hours=12)
    rates = trend(log, ["click", "cart", "paid"], "cart", Week("2026-W46"), 3, window)
    weeks = [week_funnels(log, ["click", "cart", "paid"], Week(label), window=window)[0] for label in rates.index]
    assert rates[["before", "people"]].values.tolist() == [r.table["people"].tolist()[:2] for r in weeks]


def test_week_funnels_by_several_columns():
    log = weeks_log().assign(channel="c")
    found = week_funnels(log, ["click", "cart"], Week("2026-W45"), ["platform", ["platform", "channel"]])
    assert [r.by for r in found] == [("platform",), ("platform", "channel")]
    assert [r.total["people"].tolist() for r in found] == [[100, 19]] * 2


# --- context ----------------------------------------------------------------------------------------------------------


def test_context_keeps_every_event_once():
    log = pd.DataFrame({"person_id": list("abcd"), "product_id": ["p1", "p2", None, "p9"],
                        "session_id": ["s1", None, "s2", "s1"], "event": "click", "occurred_at": MONDAY})  # fmt: skip
    orders = pd.DataFrame({"product_id": ["p1", "p1", "p1", "p2"], "category": ["beauty", "beauty", "food", None]})
    sessions = pd.DataFrame({"session_id": ["s1", "s2"], "host_id": ["h1", "h2"], "topic": ["t", None]})
    rich = with_context(log, orders, sessions)
    assert rich.columns[-3:] == ("category", "host_id", "topic")
    frame = rich.query("SELECT * FROM {t} ORDER BY person_id").astype(object)
    assert frame["category"].where(frame["category"].notna(), None).tolist() == ["beauty", None, None, None]
    assert frame["host_id"].where(frame["host_id"].notna(), None).tolist() == ["h1", None, "h2", "h1"]
    table = funnel(rich, ["click"], by="category").table
    assert dict(zip(table["category"], table["people"], strict=True)) == {"beauty": 1, "unknown": 3}


def test_context_adds_what_there_is():
    log = pd.DataFrame({"person_id": ["a"]})
    assert with_context(log).columns == ("person_id",)
    assert with_context(log, pd.DataFrame({"customer_id": ["a"]})).columns == ("person_id",)
    with pytest.raises(ParameterError, match="tables of one shop, or frames"):
        with_context(log, with_context(log))


# --- figures ----------------------------------------------------------------------------------------------------------


def test_figures_draw_what_their_twins_say():
    now = result({"x": (500, 50), "y": (1500, 300)})
    then = result({"x": (1000, 200), "y": (1000, 200)})
    ax = plot_funnel(now, title="Claim")
    assert ax.get_title(loc="left") == "Claim"
    assert [p.get_width() for p in ax.patches] == funnel_data(now)["from_first"].tolist() == [1, 0.175]
    verdict = threshold(now, "cart", 0.12)
    ax = plot_segments(verdict)
    assert len(segments_data(verdict)) == len(ax.get_yticks()) == 2
    moved = change(now, then, "cart")
    ax = plot_change(moved)
    widths = [p.get_width() / 100 for p in ax.patches]
    assert widths == pytest.approx([*change_data(moved)["rate_effect"], *change_data(moved)["mix_effect"]])
    rates = trend(weeks_log(), ["click", "cart"], "cart", Week("2026-W46"), 3)
    ax = plot_trend(rates, 0.3, title="t")
    assert ax.lines[0].get_ydata().tolist() == rates["rate"].tolist()
    assert trend_data(rates, 0.3)["below"].tolist() == [True, True, True]
    assert trend_data(rates, 0.2)["below"].tolist() == [False, False, False]


def test_step_counts_of_the_total():
    counts = step_counts(result({"x": (10, 1), "y": (20, 2)}), "cart", total=True)
    assert counts.to_dict("records") == [{"dimension": "all", "segment": "all", "before": 30, "people": 3}]
