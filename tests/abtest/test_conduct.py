"""An experiment is analysed by its plan, departures show, and looks stay on record."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from clvlib.abtest.conduct import conduct
from clvlib.abtest.looklog import LookLog
from clvlib.data.connect import Shop, connect
from clvlib.errors import DataError, ParameterError
from clvlib.words import speaking
from tests.abtest.test_experiment import START, bought, first, people

NOW = pd.Timestamp("2026-11-20 09:00")
AS_OF = "2026-11-15"
PLAN = """
experiment: script
hypothesis: B sells better.
primary: conversion
smallest_effect: 0.04
people_per_arm: 1000
baseline: 0.05
"""


def shop(folder: Path, converted: int = 150, store: Path | None = None) -> Shop:
    """A shop on disk, with a plan if ``folder`` has one already."""
    people(A=1000, B=1000).to_csv(folder / "assignments.csv", index=False)
    bought(first("A", 100) + first("B", converted)).to_csv(folder / "orders.csv", index=False)
    return connect(folder, as_of=AS_OF, store=store)


def test_the_plan_says_how_it_is_analysed(tmp_path: Path) -> None:
    (tmp_path / "script.plan.yaml").write_text(PLAN, encoding="utf-8")
    held = conduct(shop(tmp_path), "script", as_of=AS_OF, metric="", looks="", level=0.0)
    assert (held.experiment.min_per_arm, held.experiment.minimum_effect) == (1000, 0.04)
    assert [metric.name for metric in held.experiment.metrics] == ["conversion", "revenue", "adjusted revenue"]
    review = held.review()
    assert not review.kept
    assert "was never locked" in review.sentence
    assert held.plan is not None
    held.plan.lock(tmp_path / "script.plan.lock", START - pd.Timedelta("1D"))
    review = conduct(shop(tmp_path), "script", as_of=AS_OF).review()
    assert review.kept
    assert "is unchanged and was kept. It said: B sells better." in review.sentence
    rows = review.table.set_index("item")["planned"]
    # (1.96 √(2 × .07 × .93) + .8416 √(.05 × .95 + .09 × .91))² / .04² = 637.5
    assert rows["people needed"] == "638 per arm find the smallest effect with a chance of 80%"
    assert rows["what decides"] == "conversion within 7 days"


def test_the_locked_plan_rules_whatever_the_file_says_later(tmp_path: Path) -> None:
    """B is better by 5 points of 1,000 people: no edit of the file afterwards lets it be decided in another way."""
    file = tmp_path / "script.plan.yaml"
    file.write_text(PLAN, encoding="utf-8")
    held = conduct(shop(tmp_path), "script", as_of=AS_OF)
    assert held.plan is not None
    held.plan.lock(tmp_path / "script.plan.lock", START - pd.Timedelta("1D"))
    kept = conduct(shop(tmp_path), "script", as_of=AS_OF)
    edited = PLAN.replace("conversion", "revenue").replace("0.04", "1") + "people_per_arm: 100\n"
    file.write_text(edited.replace("people_per_arm: 1000\n", "").replace("baseline: 0.05\n", ""), encoding="utf-8")
    held = conduct(shop(tmp_path), "script", as_of=AS_OF)
    assert (held.experiment.metric, held.experiment.min_per_arm) == ("conversion", 1000)
    assert held.result.sentence == kept.result.sentence
    review = held.review()
    assert not review.kept
    assert set(review.departures["what"]) >= {"plan: what decides", "plan: people per arm"}
    assert not review.departures["what"].str.startswith("analysis").any()
    assert "the analysis is held to what was locked" in review.sentence
    assert review.table.set_index("item").loc["people per arm", "planned"] == "1,000"
    file.unlink()  # a plan that is gone is the locked one still
    held = conduct(shop(tmp_path), "script", as_of=AS_OF)
    assert (held.experiment.minimum_effect, held.review().kept) == (0.04, True)


def test_guardrails_stand_in_the_order_of_the_plan(tmp_path: Path) -> None:
    guarded = PLAN + "guardrails: {revenue: 5, adjusted revenue: 5}\n"
    (tmp_path / "script.plan.yaml").write_text(guarded, encoding="utf-8")
    held = conduct(shop(tmp_path), "script", as_of=AS_OF)
    assert held.plan is not None
    held.plan.lock(tmp_path / "script.plan.lock", START - pd.Timedelta("1D"))  # whose keys are sorted
    assert list(conduct(shop(tmp_path), "script", as_of=AS_OF).experiment.guardrails or {}) == [
        "revenue",
        "adjusted revenue",
    ]


def test_the_plan_stands_before_anybody_s_days_are_over(tmp_path: Path) -> None:
    (tmp_path / "script.plan.yaml").write_text(PLAN, encoding="utf-8")
    early = str((START + pd.Timedelta("2D")).date())
    held = conduct(shop(tmp_path), "script", as_of=early)
    assert held.plan is not None
    held.plan.lock(tmp_path / "script.plan.lock", START - pd.Timedelta("1D"))
    review = conduct(shop(tmp_path), "script", as_of=early).review()
    assert review.kept
    assert "is unchanged, and nobody's days are over yet. It says: B sells better." in review.sentence
    assert len(review.table)


def test_what_is_asked_for_rules_and_shows(tmp_path: Path) -> None:
    (tmp_path / "script.plan.yaml").write_text(PLAN, encoding="utf-8")
    held = conduct(shop(tmp_path), "script", as_of=AS_OF)
    assert held.plan is not None
    held.plan.lock(tmp_path / "script.plan.lock", START - pd.Timedelta("1D"))
    asked = conduct(shop(tmp_path), "script", as_of=AS_OF, metric="revenue", window="5D")
    review = asked.review()
    assert asked.result.metric == "revenue"
    assert review.departures["what"].tolist() == ["analysis: what decides", "analysis: window"]
    assert "was not kept in 2 respects" in review.sentence


def test_without_a_plan_the_report_says_so(tmp_path: Path) -> None:
    held = conduct(shop(tmp_path), "script", as_of=AS_OF, min_per_arm=500)
    assert held.experiment.min_per_arm == 500
    review = held.review()
    assert not review.kept
    assert review.table.empty
    assert "has no plan: write one before the next starts, as script.plan.yaml" in review.sentence


def test_a_store_of_checked_tables_still_finds_the_plan(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "script.plan.yaml").write_text(PLAN, encoding="utf-8")
    shop(folder, store=tmp_path / "elsewhere.duckdb").close()
    again = connect(tmp_path / "elsewhere.duckdb")
    assert again.folder == folder.resolve()
    assert conduct(again, "script").plan is not None


def test_a_named_plan_must_be_there_and_of_this_experiment(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(PLAN.replace("script", "cover"), encoding="utf-8")
    there = shop(tmp_path)
    with pytest.raises(ParameterError, match="no plan can be read here"):
        conduct(there, "script", "nowhere.yaml")
    with pytest.raises(ParameterError, match="of experiment 'cover', not of 'script'"):
        conduct(there, "script", "other.yaml")


def test_a_look_is_recorded_once_in_any_language_and_never_taken_back(tmp_path: Path) -> None:
    record = tmp_path / "reports" / "lasting" / "shop-script.looks"
    folder = tmp_path / "shop"
    folder.mkdir()
    held = conduct(shop(folder), "script", as_of=AS_OF, min_per_arm=500)
    first_time = held.look(record, NOW)
    before = record.read_bytes()
    with speaking("zh"):
        assert len(conduct(shop(folder), "script", as_of=AS_OF, min_per_arm=500).look(record, NOW).table) == 1
    assert record.read_bytes() == before
    assert first_time.table["verdict"].tolist() == ["ship"]
    late = conduct(shop(folder, converted=110), "script", as_of=AS_OF, min_per_arm=500).look(record, NOW)
    assert late.table["verdict"].tolist() == ["ship", "do not ship"]
    assert "that of 2026-11-15 was the first to decide: ship, B against A" in late.sentence
    earlier = conduct(shop(folder), "script", as_of="2026-10-12", min_per_arm=500).look(record, NOW)
    assert earlier.table["look"].tolist() == [pd.Timestamp("2026-10-12")]  # what came later is not its to tell
    assert len(LookLog(record).table) == 3
    record.write_bytes(record.read_bytes().replace(b"do not ship", b"ship"))
    with pytest.raises(DataError, match="was edited"):
        held.look(record, NOW)


def test_where_nothing_is_written_nothing_is_recorded(tmp_path: Path) -> None:
    looks = conduct(shop(tmp_path), "script", as_of=AS_OF, min_per_arm=500).look(None, NOW)
    assert looks.table.empty
    assert "by reports alone" in looks.sentence


def test_refunds_and_complaints_are_measured_where_the_shop_has_them(
    sample_shop: Shop, sample: Path, tmp_path: Path
) -> None:
    names = [metric.name for metric in conduct(sample_shop, "cover_image", control="control").experiment.metrics]
    assert names == ["conversion", "revenue", "adjusted revenue", "refund share", "complaint rate"]
    for file in sample.glob("*"):
        if not file.name.startswith("complaints"):
            shutil.copy(file, tmp_path / file.name)
    held = conduct(connect(tmp_path), "script")
    with pytest.raises(DataError, match="no table 'complaints'"):  # the plan guards what cannot be seen
        _ = held.result
