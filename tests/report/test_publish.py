"""A reader sees the old report or the new one, whatever happens in between; one writer at a time."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from clvlib.errors import ReportError
from clvlib.report import publish as module
from clvlib.report.chapter import KPI
from clvlib.report.ledger import NAME, current
from clvlib.report.publish import exchange, locked, publish, staging

from .books import kpi, published

WEEK = "2026-W46"


def _report(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text(text, encoding="utf-8")
    (folder / "index.html").write_text(text, encoding="utf-8")
    return folder


def _content(folder: Path) -> set[str]:
    return {file.read_text(encoding="utf-8") for file in folder.iterdir()}


def test_first_and_second_report(tmp_path: Path):
    for text in ("one", "two"):
        with locked(tmp_path, WEEK), staging(tmp_path, WEEK) as staged:
            publish(_report(staged, text), tmp_path / WEEK)
        assert _content(tmp_path / WEEK) == {text}
    assert sorted(p.name for p in tmp_path.iterdir()) == [".2026-W46.lock", "2026-W46"]


@pytest.mark.parametrize("swaps", [True, False])
def test_both_ways_of_replacing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool):
    if not swaps:
        monkeypatch.setattr(module, "exchange", lambda *_: False)
    _report(tmp_path / WEEK, "old")
    publish(_report(tmp_path / "staged", "new"), tmp_path / WEEK)
    assert _content(tmp_path / WEEK) == {"new"}
    assert not list(tmp_path.glob(".old-*"))


def test_readers_never_see_nothing(tmp_path: Path):
    one, two = _report(tmp_path / WEEK, "1"), _report(tmp_path / "other", "2")
    if not exchange(one, two):
        pytest.skip("this system cannot swap two folders in one step")
    stop, misses, reads = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            try:
                reads.append((one / "index.html").read_text(encoding="utf-8"))
            except FileNotFoundError:
                misses.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(300):
        publish(two, one)
    stop.set()
    reader.join()
    assert reads
    assert not misses


def test_what_is_no_report_is_not_replaced(tmp_path: Path):
    (tmp_path / WEEK).mkdir()
    (tmp_path / WEEK / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ReportError, match="is no report of ours"):
        publish(_report(tmp_path / "staged", "new"), tmp_path / WEEK)
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ReportError, match="is no report of ours"):
        publish(_report(tmp_path / "staged", "new"), tmp_path / "file")
    assert (tmp_path / WEEK / "thesis.txt").exists()


def _hold(out: Path, ready: object, how: str) -> None:
    with locked(out, WEEK), staging(out, WEEK) as staged:
        (staged / "half").write_text("x", encoding="utf-8")
        ready.set()  # type: ignore[attr-defined]
        time.sleep(60 if how == "killed" else 1.5)


def test_two_runs_at_once_and_a_killed_one(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=_hold, args=(tmp_path, ready, "killed"))
    other.start()
    assert ready.wait(30)
    with pytest.raises(ReportError, match=rf"another run \(process {other.pid}\) is writing the report of 2026-W46"):
        locked(tmp_path, WEEK).__enter__()
    with locked(tmp_path, "2026-W45"):
        pass  # another week is free
    os.kill(other.pid or 0, signal.SIGKILL)
    other.join()
    assert len(list(tmp_path.glob(".staging-*"))) == 1
    with locked(tmp_path, WEEK), staging(tmp_path, WEEK) as staged:
        assert list(tmp_path.glob(".staging-*")) == [staged]
    assert not list(tmp_path.glob(".staging-*"))


def test_killed_between_the_two_renames(tmp_path: Path):
    _report(tmp_path / f".old-{WEEK}-123", "old")
    with locked(tmp_path, WEEK), staging(tmp_path, WEEK):
        assert _content(tmp_path / WEEK) == {"old"}


def test_nothing_stays_of_a_failed_run(tmp_path: Path):
    _report(tmp_path / WEEK, "old")
    with pytest.raises(ZeroDivisionError), locked(tmp_path, WEEK), staging(tmp_path, WEEK) as staged:
        _report(staged, str(1 / 0))
    assert _content(tmp_path / WEEK) == {"old"}
    assert not list(tmp_path.glob(".staging-*"))


def test_folders_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ReportError, match=r"cannot write into the folder .*file: File exists"):
        locked(tmp_path / "file", WEEK).__enter__()
    with pytest.raises(ReportError, match="cannot write into the folder"):
        locked(tmp_path / "file" / "below", WEEK).__enter__()

    def read_only(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(module.Path, "mkdir", read_only)
    with pytest.raises(ReportError, match="Read-only file system"):
        staging(tmp_path, WEEK).__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(ReportError, match="Permission denied"):
        locked(tmp_path, WEEK).__enter__()
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o077, 0o700)])
def test_who_may_read_a_report_is_for_the_umask_to_say(tmp_path: Path, mask: int, mode: int):
    before = os.umask(mask)
    try:
        with locked(tmp_path, WEEK), staging(tmp_path, WEEK) as staged:
            assert staged.stat().st_mode & 0o777 == mode
        published(tmp_path, WEEK, [(KPI, kpi("sold", 5.0))])
        current(tmp_path, print)
    finally:
        os.umask(before)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == mode & 0o444
