"""What was seen at each look stays where it was written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.looklog import LookLog
from clvlib.errors import DataError
from clvlib.words import speaking
from tests.abtest.test_experiment import START, cells

NOW = pd.Timestamp("2026-11-01 09:00")


def result(x: int, name: str = "script", waiting: bool = True):
    frame = cells({"A": (2000, 200), "B": (2000, x)})
    still = frame.assign(status="open", people=50, look=pd.NaT)
    return Experiment(name, looks="any").judge(pd.concat([frame, still]) if waiting else frame)


def test_looks_are_added_and_the_first_decision_stands(tmp_path: Path) -> None:
    log = LookLog(tmp_path / "script.looks")
    assert log.table.empty
    assert (log.digest, log.sentence) == ("", "No look is on record yet.")
    log.record(result(210), "2026-10-18", NOW)
    assert log.sentence.startswith("After 1 look on record nothing is decided (SHA-256 of the record ")
    log.record(result(300), "2026-10-25", NOW)
    table = log.record(result(205, waiting=False), "2026-11-01", NOW)
    assert table["verdict"].tolist() == ["keep running", "ship", "do not ship"]
    assert table["difference"].tolist() == pytest.approx([0.005, 0.05, 0.0025])
    assert table["n"].tolist() == [4000] * 3
    first = "ship, B against A: conversion +5.00 points (+1.8"  # 5 less 3.04 standard errors of 1.042
    assert log.sentence.startswith(f"Of 3 looks on record, that of 2026-10-25 was the first to decide: {first}")
    assert f"SHA-256 of the record: {log.digest[:12]}…" in log.sentence


def test_the_same_look_again_adds_nothing_and_late_data_add_a_line(tmp_path: Path) -> None:
    log = LookLog(tmp_path / "script.looks")
    log.record(result(210), "2026-10-18", NOW)
    before = log.path.read_bytes()
    log.record(result(210), pd.Timestamp("2026-10-18"), NOW + pd.Timedelta("1h"))
    with speaking("zh"):
        log.record(result(210), "2026-10-18", NOW + pd.Timedelta("1h"))
    assert log.path.read_bytes() == before
    table = log.record(result(212), "2026-10-18", NOW + pd.Timedelta("2h"))
    assert log.path.read_bytes().startswith(before)
    assert table["look"].tolist() == [pd.Timestamp("2026-10-18")] * 2
    assert "After 1 look on record" in log.sentence


def test_what_is_changed_taken_out_or_put_in_is_found(tmp_path: Path) -> None:
    log = LookLog(tmp_path / "script.looks")
    for week, x in enumerate((210, 220, 230)):
        log.record(result(x), START + pd.Timedelta(7 * week, "D"), NOW)
    first, second, third = log.path.read_text(encoding="utf-8").splitlines()
    for lines, number in (
        ((first.replace("keep running", "do not ship"), second, third), 1),
        ((second, third), 1),
        ((first, third), 2),
        ((first, second, second, third), 3),
    ):
        log.path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with pytest.raises(DataError, match=f"line {number} was edited, or one before it is gone"):
            log.record(result(240), "2026-11-01", NOW)
    for line in ("{", "[]", "{}", first[:40]):
        log.path.write_text(line + "\n", encoding="utf-8")
        with pytest.raises(DataError, match="line 1 is no look"):
            _ = log.table


def test_the_end_shows_in_the_digest(tmp_path: Path) -> None:
    log = LookLog(tmp_path / "script.looks")
    log.record(result(210), "2026-10-18", NOW)
    digest, text = log.digest, log.path.read_text(encoding="utf-8")
    other = LookLog(tmp_path / "elsewhere" / "script.looks")
    other.record(result(210), "2026-10-18", NOW + pd.Timedelta("3D"))
    assert other.digest == digest  # of what was seen, whenever that was
    log.record(result(300), "2026-10-25", NOW)
    assert log.digest != digest
    log.path.write_text(text, encoding="utf-8")
    assert log.digest == digest


def test_another_experiments_looks(tmp_path: Path) -> None:
    log = LookLog(tmp_path / "script.looks")
    log.record(result(210), "2026-10-18", NOW)
    with pytest.raises(DataError, match="these are looks at 'script', not at 'cover'"):
        log.record(result(210, name="cover"), "2026-10-18", NOW)


def test_a_look_too_early_for_an_interval(tmp_path: Path) -> None:
    early = Experiment("script", looks="weekly", planned_per_arm=10**6).judge(
        cells({"A": (2000, 200), "B": (2000, 210)})
    )
    assert early.best["upper"] == float("inf")
    table = LookLog(tmp_path / "script.looks").record(early, "2026-10-18", NOW)
    assert table["upper"].tolist() == [float("inf")]
