"""The plan: what it says, that its lock cannot be changed unseen, and what departs from it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.plan import Lock, Plan
from clvlib.errors import DataError, ParameterError
from clvlib.stats.sequential import anytime_alpha
from tests.abtest.test_experiment import LATER, START, bought, cells, first, people

TEXT = """
experiment: script
hypothesis: A professional review converts better than a flash sale.
primary: conversion
smallest_effect: 0.032
people_per_arm: 2000
guardrails: {revenue: 5}
baseline: 0.10
"""
BEFORE = START - pd.Timedelta("1D")


def departures(plan: Plan, lock: Lock, experiment: Experiment, n: int = 2000) -> pd.DataFrame:
    orders = bought(first("A", n // 10) + first("B", n // 8))
    return plan.departures(lock, experiment, experiment.analyse(people(A=n, B=n), orders, as_of=LATER))


def test_sample_sizes_are_rs() -> None:
    assert Plan.parse(TEXT).people_needed == pytest.approx(1570.804, abs=5e-4)  # power.prop.test(.10, .132, power .8)
    three = dataclasses.replace(Plan.parse(TEXT), shares={"A": 1.0, "B": 1.0, "C": 1.0})
    assert three.people_needed > 1.15 * Plan.parse(TEXT).people_needed
    money = dataclasses.replace(Plan.parse(TEXT), primary="revenue", guardrails={}, baseline=None, deviation=10.0)
    assert dataclasses.replace(money, smallest_effect=1.0).people_needed == pytest.approx(
        1569.8, abs=0.1
    )  # 2 (2.8016)²


@pytest.mark.parametrize(
    ("shares", "control", "looks", "n"),
    [
        # power.prop.test's formula with arms of two sizes: (z √(p̄ q̄ (1 + 1/k)) + z' √(p₁q₁ + p₂q₂/k))² / d² by hand
        ({"A": 1.0, "B": 2.0}, "A", "once", 1196.3),
        ({"A": 2.0, "B": 1.0}, "A", "once", 1158.7),
        ({"A": 1.0, "B": 1.0}, "A", "weekly", 1634.3),  # 1.0404 times, by 200,000 simulated walks
        ({"A": 1.0, "B": 1.0}, "A", "any", 2779.3),  # 1.7693 times, likewise
    ],
)
def test_arms_of_other_sizes_and_more_looks_need_more_people(
    shares: dict[str, float], control: str, looks: str, n: float
) -> None:
    plan = dataclasses.replace(Plan.parse(TEXT), shares=shares, control=control, looks=looks)
    assert plan.people_needed == pytest.approx(n, abs=0.1)


def test_people_needed_find_the_smallest_effect() -> None:
    """Simulated: so many people, three to one and with 12 looks at any time, find the effect in four of five tests."""
    chance, runs, p1, p2 = np.random.default_rng(8), 20_000, 0.1, 0.132
    plan = dataclasses.replace(Plan.parse(TEXT), shares={"A": 3.0, "B": 1.0}, guardrails={})
    n = round(plan.people_needed)
    found = _power(chance.binomial(3 * n, p1, runs), 3 * n, chance.binomial(n, p2, runs), n)
    assert found.mean() == pytest.approx(0.8, abs=0.015)
    often = dataclasses.replace(plan, shares={"A": 1.0, "B": 1.0}, looks="any")
    part = round(often.people_needed / 12)
    a, b = (np.cumsum(chance.binomial(part, p, (runs, 12)), axis=1) for p in (p1, p2))
    sizes = part * np.arange(1, 13)
    limits = [special.ndtri(1 - anytime_alpha(0.05, 2 * size, 24 * part) / 2) for size in sizes]
    assert (np.abs(_z(a, sizes, b, sizes)) > limits).any(axis=1).mean() == pytest.approx(0.8, abs=0.015)


def _z(a: np.ndarray, n: np.ndarray | int, b: np.ndarray, m: np.ndarray | int) -> np.ndarray:
    pooled = (a + b) / (np.asarray(n) + m)
    return (b / m - a / n) / np.sqrt(pooled * (1 - pooled) * (1 / np.asarray(n) + 1 / np.asarray(m)))


def _power(a: np.ndarray, n: int, b: np.ndarray, m: int) -> np.ndarray:
    return np.abs(_z(a, n, b, m)) > special.ndtri(0.975)


def test_people_of_clusters_need_more(tmp_path: Path) -> None:
    """Two of a kind in each cluster: the design effect is 2, and 2,000 an arm are fewer than 2 × 1,571."""
    plan = dataclasses.replace(Plan.parse(TEXT), guardrails={})
    lock = plan.lock(tmp_path / "plan.lock", BEFORE)
    assigned = people(A=2000, B=2000)
    number = assigned["unit_id"].str[1:].astype(int)
    assigned["cluster_id"] = assigned["variant"] + (number // 2).astype(str)
    result = plan.build().analyse(assigned, bought(first("A", 200) + first("B", 264)), as_of=LATER)
    (row,) = plan.departures(lock, plan.build(), result).to_dict("records")
    assert row["what"] == "people needed"
    assert row["planned"] == "3,144, as people of one cluster are alike (design effect 2)"  # 2 × 1000 / 999 of them


def test_a_plan_that_is_kept(tmp_path: Path) -> None:
    plan = Plan.parse(TEXT)
    lock = plan.lock(tmp_path / "plan.lock", BEFORE)
    found = departures(plan, lock, plan.build())
    assert found.empty
    assert lock.sentence(found).startswith("The plan locked on 2026-09-30 20:00 (SHA-256 ")
    assert lock.sentence(found).endswith("was kept. It said: A professional review converts better than a flash sale.")


def test_the_digest_is_that_of_what_is_said() -> None:
    lines = TEXT.strip().splitlines()
    again = "# agreed in September\n" + "\n".join(reversed(lines)).replace("0.10", "0.1").replace("2000", "2000.0")
    assert Plan.parse(again).digest == Plan.parse(TEXT).digest
    assert Plan.parse(TEXT + "alpha: 0.1").digest != Plan.parse(TEXT).digest
    assert len(Plan.parse(TEXT).digest) == 64


def test_a_lock_is_written_once(tmp_path: Path) -> None:
    file = tmp_path / "plan.lock"
    lock = Plan.parse(TEXT).lock(file, BEFORE)
    text = file.read_text(encoding="utf-8")
    changed = Plan.parse(TEXT.replace("0.032", "0.01").replace("conversion", "adjusted revenue"))
    assert changed.lock(file, START + pd.Timedelta("9D")) == lock
    assert file.read_text(encoding="utf-8") == text
    found = departures(changed, lock, changed.build()).set_index("what")
    assert found.loc["plan: what decides"].tolist() == ["conversion", "adjusted revenue"]
    assert found.loc["analysis: what decides"].tolist() == ["conversion", "adjusted revenue"]
    assert found.loc["plan: smallest effect worth having"].tolist() == ["0.032", "0.01"]
    assert "was not kept in 4 respects" in lock.sentence(found.reset_index())


def test_a_lock_that_was_edited_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plan.lock"
    plan = Plan.parse(TEXT)
    plan.lock(file, BEFORE)
    said = json.loads(file.read_text(encoding="utf-8"))
    said["plan"]["smallest_effect"] = 0.01
    file.write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(DataError, match="the locked plan was edited"):
        plan.lock(file, START)
    for text in ("", "[]", "{}", '{"plan": {"what": 1}, "digest": "", "locked_at": ""}'):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match="this is no lock of a plan"):
            Lock.read(file)


def test_what_departs_from_the_plan(tmp_path: Path) -> None:
    plan = Plan.parse(TEXT)
    lock = plan.lock(tmp_path / "plan.lock", BEFORE)
    other = dataclasses.replace(plan.build(), looks="any", window="5D", guardrails=None)
    assert departures(plan, lock, other)["what"].tolist() == [
        "analysis: window",
        "analysis: looks",
        "analysis: may get worse at most",
    ]
    assert departures(plan, lock, plan.build(), n=2500)["what"].tolist() == ["people per arm"]  # it went on and on
    late = plan.lock(tmp_path / "late.lock", START + pd.Timedelta("1h"))
    assert departures(plan, late, plan.build())["what"].tolist() == ["locked before the start"]
    small = dataclasses.replace(plan, people_per_arm=1500)
    rows = departures(small, small.lock(tmp_path / "small.lock", BEFORE), small.build(), n=1500)
    assert rows["what"].tolist() == ["people needed"]
    assert rows["planned"].iloc[0] == "1,571 per arm find the smallest effect with a chance of 80%"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a plan has a line"),
        ("- a\n- b", "a plan has a line"),
        ("experiment: [", "this is no YAML"),
        (TEXT + "colour: red", "unknown: colour"),
        (TEXT.replace("hypothesis", "because"), "unknown: because"),
        ("experiment: script", "missing: hypothesis, primary, smallest_effect, people_per_arm"),
        (TEXT + "alpha: 0.1\nalpha: 0.2", "there twice: alpha"),
        (TEXT + "alpha: 5e-2", "alpha: a number such as 0.05 is needed; found '5e-2'"),
        (TEXT + "alpha: 5", "level: a share"),
        (TEXT + "control: C", "shares: two arms are needed, one of them C"),
        (TEXT + "shares: {A: 1}", "shares: two arms are needed"),
        (TEXT.replace("0.10", "0.98"), "baseline: a share above 0 is needed that stays below 1 with 0.032 more"),
        (TEXT.replace("baseline: 0.10", "deviation: -1"), "deviation: a positive number"),
        (TEXT + "control: no", "control: text is needed; found False"),
        (TEXT + "window: 7", "window: text is needed"),
        (TEXT + "shares: {A: 1, B: yes}", "shares.B: a number"),
        (TEXT + "shares: [A, B]", "shares: names with numbers"),
        (TEXT.replace("2000", "2000.5"), "people_per_arm: a whole number"),
        (TEXT.replace("conversion", "clicks"), "metric: 'clicks'"),
        (TEXT.replace("revenue", "clicks"), "guardrails: 'clicks'"),
        (TEXT + "hypothesis: !!python/object/apply:os.system [ls]", "this is no YAML"),
    ],
)
def test_what_a_plan_cannot_say(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Plan.parse(text)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no plan can be read here"):
        Plan.read(tmp_path / "plan.yaml")
    (tmp_path / "plan.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParameterError, match="no plan can be read here"):
        Plan.read(tmp_path / "plan.yaml")
    (tmp_path / "plan.yaml").write_text(TEXT, encoding="utf-8")
    assert Plan.read(tmp_path / "plan.yaml") == Plan.parse(TEXT)


def test_a_test_that_may_end_early_is_planned_for_its_full_size() -> None:
    """Of 2,000 planned, 600 an arm with a large effect are enough for Lan and DeMets at the second weekly look."""
    plan = Plan.parse(TEXT.replace("guardrails: {revenue: 5}\n", "") + "looks: weekly\nleast_per_arm: 500")
    experiment = plan.build()
    assert (experiment.min_per_arm, experiment.planned_per_arm) == (500, 2000)
    weeks = [cells({"A": (300, 30), "B": (300, x)}, look=START + pd.Timedelta(f"{d}D")) for x, d in ((75, 7), (90, 14))]
    both = pd.concat(weeks)
    still = both.assign(status="open", people=50, look=pd.NaT)
    found = experiment.judge(pd.concat([both, still]))
    assert (found.verdict, found.best["n"]) == ("ship", 600)
    waits = dataclasses.replace(experiment, min_per_arm=2000).judge(pd.concat([both, still]))
    assert waits.verdict == "keep running"
    with pytest.raises(ParameterError, match="planned_per_arm: at least min_per_arm"):
        Plan.parse(TEXT + "least_per_arm: 3000")
    with pytest.raises(ParameterError, match="least_per_arm: a whole number"):
        Plan.parse(TEXT + "least_per_arm: 10.5")
