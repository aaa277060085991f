from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.after_plots import plot_service, service_data
from clvlib.funnel.complaints import service_levels
from clvlib.stats.survival import kaplan_meier, share_by

PERIOD = ("2026-11-09", "2026-11-16")
END = pd.Timestamp(PERIOD[1])


def log(rows):
    """Rows of minutes before the end when opened, minutes to the answer and to the solution (None: not yet)."""
    frame = pd.DataFrame(rows, columns=["ago", "answer", "solve"], dtype=float)
    opened = END - pd.to_timedelta(frame["ago"], unit="min")
    return pd.DataFrame(
        {
            "complaint_id": [f"k{i}" for i in range(len(frame))],
            "customer_id": [f"c{i}" for i in range(len(frame))],
            "opened_at": opened,
            "first_response_at": opened + pd.to_timedelta(frame["answer"], unit="min"),
            "resolved_at": opened + pd.to_timedelta(frame["solve"], unit="min"),
            "topic": "service",
            "severity": "low",
        }
    )


TIME = st.one_of(st.none(), st.integers(0, 300))


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 3000), TIME, TIME), min_size=1, max_size=20), st.integers(1, 200))
def test_equals_kaplan_meier_on_the_rows(rows, promise):
    frame = log(rows)
    known = frame["resolved_at"].where(frame["resolved_at"] < END)
    wrong = known < frame["first_response_at"].where(frame["first_response_at"] < END)
    if wrong.all():
        with pytest.raises(EmptyDataError):
            service_levels(frame, PERIOD)
        return
    found = service_levels(frame, PERIOD, solve_minutes=promise)
    assert (found.complaints, found.impossible) == (len(rows) - wrong.sum(), wrong.sum())
    rest, solved = frame[~wrong], known[~wrong]
    minutes = (solved.fillna(END) - rest["opened_at"]).dt.total_seconds() / 60
    expected = share_by(kaplan_meier(minutes, solved.notna()), promise)
    row = found.totals.loc["solved"]
    np.testing.assert_allclose(
        row[["share", "lower", "upper"]].astype(float),
        [expected[k] for k in ("estimate", "lower", "upper")],
        atol=1e-12,
    )
    late = rest[solved.isna() & (rest["opened_at"] <= END - pd.Timedelta(hours=3))]
    assert sorted(found.to_escalate["complaint_id"]) == sorted(late["complaint_id"])


def test_what_is_younger_than_the_promise_is_neither_kept_nor_broken():
    """Forty answered after 5 minutes; forty opened 10 minutes ago are open. As answered or lost they would be 50%."""
    found = service_levels(log([(2000, 5, 20)] * 40 + [(4, None, None)] * 40), PERIOD)
    row = found.totals.loc["answered"]
    assert (row["share"], row["verdict"], row["open"]) == (1.0, "pass", 40)
    young = service_levels(log([(4, None, None)] * 40), PERIOD)
    assert np.isnan(young.totals.loc["answered", "share"])
    assert young.sentence == "No complaint is old enough to judge a promise."
    with pytest.raises(EmptyDataError, match="old enough"):
        plot_service(young)


def test_verdicts():
    """39 of 50 in time against 80%: 64.8% to 87.2% (Wilson); 100 of 200 fail; 96 of 100 pass."""
    for kept, all_of, verdict in ((39, 50, "undecided"), (100, 200, "fail"), (96, 100, "pass")):
        rows = [(4000, 10, 20)] * kept + [(4000, 100, 200)] * (all_of - kept)
        found = service_levels(log(rows), PERIOD)
        assert found.totals.loc["answered", "verdict"] == verdict
        assert found.totals.loc["answered", "share"] == pytest.approx(kept / all_of)
    assert "as agreed" in found.sentence
    row = service_levels(log([(4000, 10, 20)] * 39 + [(4000, 100, 200)] * 11), PERIOD).totals.loc["answered"]
    assert (round(row["lower"], 3), round(row["upper"], 3)) == (0.648, 0.872)


def test_several_teams_have_more_time():
    frame = log([(4000, 10, 60)] * 60)
    frame["topic"] = ["delivery"] * 20 + ["service"] * 40
    totals = service_levels(frame, PERIOD).totals
    assert totals["complaints"].to_dict() == {"answered": 60, "solved": 40, "across": 20}
    assert totals["verdict"].to_dict() == {"answered": "pass", "solved": "fail", "across": "pass"}
    frame["severity"] = ["high"] * 5 + ["low"] * 55
    by_severity = service_levels(frame, PERIOD, across={"severity": ["high"]}).totals
    assert by_severity["complaints"].to_dict() == {"answered": 60, "solved": 55, "across": 5}
    assert "across" not in service_levels(frame, PERIOD, across={}).totals.index


def test_one_among_many_topics_does_not_fail_by_chance():
    """Sixteen topics at 85%, the target being 80%: none should fail, in 95% of weeks."""
    rng = np.random.default_rng(1)
    blamed = 0
    for _ in range(40):
        kept = rng.random(320) < 0.8
        frame = log([(4000, 10 if ok else 50, 60) for ok in kept]).assign(topic=[f"t{i % 16}" for i in range(320)])
        table = service_levels(frame, PERIOD, across={}).table
        topics = table[(table["dimension"] == "topic") & (table["promise"] == "answered")]
        blamed += (topics["verdict"] == "fail").any()
    assert blamed <= 5  # of 40, at most 5% each: more than 5 are a chance of 1%


def test_list_and_alerts():
    frame = log([(200, None, None), (30_000, 5, None), (400, 5, None), (170, None, None), (300, 9, 90)])
    frame["severity"] = ["low", "high", "high", "high", "low"]
    frame["topic"] = ["delivery", "price", "delivery", "price", "price"]
    found = service_levels(frame, PERIOD)
    assert found.to_escalate["complaint_id"].tolist() == ["k2", "k0", "k1"]  # the period's first, then severity, age
    assert found.to_escalate["answered"].tolist() == [True, False, True]
    assert found.to_escalate["hours_open"].iloc[0] == pytest.approx(400 / 60)
    assert found.older == 1
    alert = found.alerts("complaints_open")[0]
    assert alert["segment"] == "delivery"
    assert (
        alert["text"]
        == "2 opened since 2026-11-09 are to escalate, 2 of them about delivery; the list is complaints_open"
    )
    nameless = service_levels(frame.assign(customer_id=[None, "b", "c", "d", "e"]), PERIOD)
    assert len(nameless.listed) == 2
    assert "1 of them without a customer" in nameless.open_sentence


@pytest.fixture(scope="module")
def shop(sample_shop):
    return sample_shop


def test_truth_of_the_sample(shop, sample):
    """4% are never answered, and those that made a customer leave; 75% of the others within 15 minutes (lognormal)."""
    truth = json.loads((sample / "truth.json").read_text())
    found = service_levels(shop.table("complaints"), ("2026-02-09", "2026-11-16"))
    cause = truth["realised"]["left"]["unanswered complaint"]
    never = cause + truth["parameters"]["after_order"]["never_answered"] * (found.complaints - cause)
    assert found.never_lower <= never / found.complaints <= found.never_upper
    answered = found.totals.loc["answered"]
    assert answered["lower"] <= 0.752 * (1 - never / found.complaints) <= answered["upper"]  # Phi(ln(15 / 9) / .75)
    assert found.impossible == 0
    assert found.complaints == truth["rows"]["complaints"]
    ax = plot_service(found)
    assert len(ax.get_yticklabels()) == len(service_data(found))
    few = service_data(found, 100)
    topics = few[few["dimension"] == "topic"]
    assert 0 < len(topics) < (service_data(found)["dimension"] == "topic").sum()
    assert topics["complaints"].min() >= 100
    week = service_levels(shop.table("complaints"), PERIOD)
    assert len(week.to_escalate) == len(found.to_escalate)
    assert week.older > 0 == found.older


def test_bad_input(shop):
    frame = log([(4000, 10, 20)])
    with pytest.raises(EmptyDataError, match="no complaint was opened from 2020-01-06"):
        service_levels(frame, ("2020-01-06", "2020-01-13"))
    with pytest.raises(MissingColumnError, match="first_response_at"):
        service_levels(frame[["complaint_id", "opened_at"]], PERIOD)
    only = service_levels(frame[["complaint_id", "opened_at", "resolved_at"]], PERIOD)
    assert only.totals.index.tolist() == ["solved"]
    assert np.isnan(only.never)
    answers = service_levels(frame[["complaint_id", "opened_at", "first_response_at"]], PERIOD)
    assert answers.totals.index.tolist() == ["answered"]
    assert answers.to_escalate.empty
    for name, value in {"answer_minutes": 0, "escalate_hours": -1, "target": 1.2, "level": 0}.items():
        with pytest.raises(ParameterError, match=name.split("_")[0]):
            service_levels(frame, PERIOD, **{name: value})
    with pytest.raises(ParameterError, match="across: host"):
        service_levels(frame, PERIOD, across={"host": ["a"]})
