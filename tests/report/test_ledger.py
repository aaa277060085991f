"""The ledger: append-only, the same however often it is brought up to date, and whole whatever interrupts it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from clvlib.errors import ClvError, ReportError
from clvlib.report import ledger as module
from clvlib.report.chapter import ACTION, ALERT, FORECAST, KPI
from clvlib.report.ledger import DURATIONS, NAME, _identity, backup, current, restore
from clvlib.report.publish import locked
from tests.conftest import ROOT

from .books import forecast, kpi, published

W1, W2 = "2026-W45", "2026-W46"
SOLD = (KPI, kpi("sold", 5.0, lower=4.0, upper=6.0))
ALARM = (ALERT, {"rule": "click to cart", "text": "it fell", "segment": "douyin", "severity": "high"})


def quiet(line: str) -> None:
    raise AssertionError(line)


def rows(out: Path, query: str = "SELECT week, kind, name, revision, content FROM entries ORDER BY ALL") -> list[Any]:
    with duckdb.connect(out / NAME, read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_what_is_published_is_remembered_once(tmp_path: Path):
    published(tmp_path, W1, [SOLD, ALARM, ALARM, (FORECAST, forecast("sold", 7.0, 5.0, weeks=4))])
    (tmp_path / "2026-W44.failed").mkdir()
    for _ in range(3):
        current(tmp_path, quiet)
    assert [row[:4] for row in rows(tmp_path)] == [
        (W1, "alert", "click to cart · douyin", 1), (W1, "alert", "click to cart · douyin (2)", 1),
        (W1, "forecast", "sold 4w", 1), (W1, "kpi", "sold", 1),
    ]  # fmt: skip
    assert rows(tmp_path, "SELECT week, name, value, lower, upper, unit, better FROM kpis") == [
        (W1, "sold", 5.0, 4.0, 6.0, "count", "higher")
    ]
    assert rows(tmp_path, "SELECT name, weeks, mean, actual FROM forecasts") == [("sold", 4.0, 7.0, 5.0)]
    assert rows(tmp_path, "SELECT severity, text FROM alerts") == [("high", "it fell")] * 2
    assert rows(tmp_path, "SELECT count(*) FROM runs") == [(1,)]
    assert (tmp_path / NAME).stat().st_mode & 0o222 == 0
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [".ledger.lock", NAME]


def test_revisions_are_added_and_the_last_is_read(tmp_path: Path):
    def told(*said: Any, **more: Any) -> list[Any]:
        published(tmp_path, W1, said, **more)
        current(tmp_path, quiet)
        return rows(tmp_path, "SELECT value FROM kpis ORDER BY name")

    again = (KPI, kpi("sold", 6.0))
    assert told(SOLD, (KPI, kpi("new", 1.0))) == [(1.0,), (5.0,)]
    assert told(SOLD, (KPI, kpi("new", 1.0)), versions={"clvlib_code": "b"}) == [(1.0,), (5.0,)]  # a run, no revision
    assert len(rows(tmp_path)) == 2
    assert told(again, (KPI, kpi("new", 1.0))) == [(1.0,), (6.0,)]
    assert told(again, status="failed") == [(1.0,), (6.0,)]  # it did not come as far as the other figure
    assert told(again) == [(6.0,)]  # it came to its end, and no longer says it
    assert told(SOLD, (KPI, kpi("new", 1.0))) == [(1.0,), (5.0,)]
    revisions = rows(tmp_path, "SELECT name, revision, content IS NULL, run FROM entries ORDER BY ALL")
    assert revisions == [
        ("new", 1, False, 1), ("new", 2, True, 5), ("new", 3, False, 6),
        ("sold", 1, False, 1), ("sold", 2, False, 3), ("sold", 3, False, 6),
    ]  # fmt: skip


def test_shops_do_not_mix(tmp_path: Path):
    published(tmp_path, W1, [SOLD], shop="A")
    current(tmp_path, quiet)
    published(tmp_path, W1, [(KPI, kpi("sold", 50.0))], shop="B")
    ledger = current(tmp_path, quiet)
    assert [[row["value"] for row in ledger.rows("kpis", shop)] for shop in ("A", "B", "C")] == [[5.0], [50.0], []]
    assert list(ledger.manifests("B")) == [W1]


def test_a_report_that_cannot_be_read(tmp_path: Path):
    published(tmp_path, W1, [SOLD])
    (published(tmp_path, W2, [SOLD]) / "01_a.ipynb").write_text("{", encoding="utf-8")
    published(tmp_path, "2026-W43", [(KPI, {"value": 5})])
    published(tmp_path, "2026-W44", [SOLD])
    (tmp_path / "2026-W44" / "manifest.json").write_text("[]", encoding="utf-8")
    lines: list[str] = []
    current(tmp_path, lines.append)
    assert [row[0] for row in rows(tmp_path)] == [W1]
    assert len(lines) == 3
    assert all("cannot be read" in line for line in lines)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _zeroed(content: bytes) -> bytes:
    return content[:4096] + bytes(len(content) - 4096)


def _noise(content: bytes) -> bytes:
    return np.random.default_rng(1).bytes(len(content))


def _flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    for place in np.random.default_rng(2).choice(len(content), 50, replace=False):
        changed[place] ^= 255
    return bytes(changed)


@pytest.mark.parametrize("spoil", [_cut, _zeroed, _noise, _flipped, lambda _: b"", lambda _: b"SQLite format 3\x00"])
def test_a_broken_ledger_is_set_aside_and_made_anew(tmp_path: Path, spoil: Any):
    for week in (W1, W2):
        published(tmp_path, week, [SOLD, ALARM])
    current(tmp_path, quiet)
    before, broken = rows(tmp_path), spoil((tmp_path / NAME).read_bytes())
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).write_bytes(broken)
    lines: list[str] = []
    current(tmp_path, lines.append)
    assert rows(tmp_path) == before
    assert (tmp_path / "ledger.broken.duckdb").read_bytes() == broken
    assert len(lines) == 1
    assert "set aside as ledger.broken.duckdb" in lines[0]
    (tmp_path / NAME).unlink()
    (tmp_path / NAME).write_bytes(broken)
    current(tmp_path, lines.append)
    assert (tmp_path / "ledger.broken-2.duckdb").exists()


LOOP = """
import sys
from pathlib import Path
from clvlib.data.calendar import Week
from clvlib.report.chapter import KPI
from clvlib.report.ledger import current
from tests.report.books import kpi, published
out, week = Path(sys.argv[1]), Week(sys.argv[2])
for i in range(int(sys.argv[3])):
    staged = published(out / f".staging-{week}", week.label, [(KPI, kpi(f"k{j}", float(i))) for j in range(8)])
    staged.rename(out / week.label)
    current(out, print)
    print(week, flush=True)
    week = week.next
"""


def loop(out: Path, first: str, weeks: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOOP, str(out), first, str(weeks)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_killed_at_any_moment(tmp_path: Path):
    """Whatever instant it dies in, the ledger can be read, and the next look completes it."""
    moments, week = np.random.default_rng(3), "2020-W01"
    for _ in range(6):
        process = loop(tmp_path, week, 500)
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        time.sleep(moments.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        whole = rows(tmp_path, "SELECT DISTINCT n FROM (SELECT count(*) AS n FROM kpis GROUP BY week)")
        assert whole == [(8,)]
        current(tmp_path, quiet)
        weeks = sorted(p.name for p in tmp_path.glob("2*"))
        assert rows(tmp_path, "SELECT week, count(*) FROM kpis GROUP BY week ORDER BY week") == [(w, 8) for w in weeks]
        assert rows(tmp_path, "SELECT max(revision) FROM entries") == [(1,)]
        assert not list(tmp_path.glob(f".{NAME}*"))
        week = f"{int(week[:4]) + 10}-W01"
    assert len(weeks) >= 18


def test_two_schedulers_at_once(tmp_path: Path):
    both = [loop(tmp_path, first, 12) for first in ("2024-W01", "2025-W01")]
    assert [len(process.communicate(timeout=120)[0].split()) for process in both] == [12, 12]
    assert rows(tmp_path, "SELECT count(*), count(DISTINCT week), max(revision) FROM entries") == [(24 * 8, 24, 1)]


def test_who_waits_too_long_is_told_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_WAIT", 0.2)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom clvlib.report.publish import locked\n"
        "with locked(Path(sys.argv[1]), 'ledger'):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(ReportError, match=rf"another run \(process {other.pid}\) is writing the ledger in"):
            current(tmp_path, quiet)
        other.kill()
    current(tmp_path, quiet)


def test_readers_are_not_in_the_way_and_writers_are_named(tmp_path: Path):
    published(tmp_path, W1, [SOLD])
    current(tmp_path, quiet)
    code = (
        "import duckdb, sys\nc = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == 'r')\n"
        "print('open', flush=True)\nsys.stdin.read()"
    )
    for how, week in (("r", W2), ("w", "2026-W47")):
        (tmp_path / NAME).chmod(0o644)
        command = [sys.executable, "-c", code, str(tmp_path / NAME), how]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            other.stdout.readline()
            published(tmp_path, week, [SOLD])
            if how == "r":
                current(tmp_path, quiet)
            else:
                with pytest.raises(ReportError, match=r"another program has .* open for writing"):
                    current(tmp_path, quiet)
            other.stdin.close()
    assert [row[0] for row in rows(tmp_path)] == [W1, W2]
    assert not list(tmp_path.glob("*broken*"))


def test_a_full_disk_leaves_the_old_ledger(tmp_path: Path):
    published(tmp_path, W1, [SOLD])
    current(tmp_path, quiet)
    before = (tmp_path / NAME).read_bytes()
    published(tmp_path, W2, [SOLD])
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom clvlib.report.ledger import current\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from clvlib.errors import ReportError\n"
        "try:\n    current(Path(sys.argv[1]), print)\nexcept ReportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, capture_output=True, text=True)
    assert done.stdout.startswith(f"cannot write {tmp_path / NAME}: "), done.stderr
    assert done.stdout.endswith("; is the disk full?\n")
    assert (tmp_path / NAME).read_bytes() == before
    assert not list(tmp_path.glob(f".{NAME}*"))


def test_back_up_and_restore(tmp_path: Path):
    out, safe = tmp_path / "reports", tmp_path / "safe" / "ledger.duckdb"
    with pytest.raises(ReportError, match="neither a ledger nor reports"):
        backup(out, safe, quiet)
    published(out, W1, [SOLD])
    current(out, quiet)
    published(out, W1, [(KPI, kpi("sold", 6.0))])
    backup(out, safe, quiet)
    history = rows(out)
    assert [row[3] for row in history] == [1, 2]
    (out / NAME).unlink()
    current(out, quiet)
    assert [row[3] for row in rows(out)] == [1]  # the folders know the last state alone
    lines: list[str] = []
    published(out, W2, [SOLD])
    restore(out, safe, lines.append)
    assert [row for row in rows(out) if row[0] == W1] == history
    assert {row[0] for row in rows(out)} == {W1, W2}  # what was published since is there too
    assert lines == ["the ledger that was there is kept as ledger.replaced.duckdb"]
    backup(out, safe, quiet)  # over the old one
    safe.chmod(0o644)
    safe.write_bytes(b"x" * 100)
    with pytest.raises(ReportError, match="is no ledger that can be read"):
        restore(out, safe, quiet)
    with pytest.raises(ClvError, match="no such file"):
        restore(out, tmp_path / "nowhere", quiet)
    assert {row[0] for row in rows(out)} == {W1, W2}


def test_a_ledger_of_a_later_version_is_left_alone(tmp_path: Path):
    """Its further columns would be lost with the next report."""
    published(tmp_path, W1, [SOLD])
    current(tmp_path, quiet)
    (tmp_path / NAME).chmod(0o644)
    with duckdb.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE later AS SELECT *, 'here' AS host FROM runs")
        for (view,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
            connection.execute(f"DROP VIEW {view}")
        connection.execute("DROP TABLE runs; ALTER TABLE later RENAME TO runs")
    before = (tmp_path / NAME).read_bytes()
    published(tmp_path, W2, [SOLD])
    for touch in (lambda: current(tmp_path, quiet), lambda: restore(tmp_path, tmp_path / NAME, quiet)):
        with pytest.raises(ReportError, match="written by a later version of clvlib: runs has host, which"):
            touch()
    assert (tmp_path / NAME).read_bytes() == before


def test_a_lock_is_free_again(tmp_path: Path):
    with locked(tmp_path, "ledger"):
        assert (tmp_path / ".ledger.lock").read_text(encoding="utf-8") == str(os.getpid())
    current(tmp_path, quiet)


def test_alerts_that_the_report_made_of_verdicts_are_kept(tmp_path: Path):
    folder = published(tmp_path, W1, [SOLD, ALARM])
    (chapter,) = (path.stem for path in folder.glob("*.ipynb"))
    moved = {
        "chapter": chapter,
        "rule": "beyond normal variation",
        "text": "Sold fell",
        "segment": "",
        "severity": "high",
    }
    own = {"chapter": chapter, **ALARM[1]}
    (folder / module.ALERTS).write_text(json.dumps({"alerts": [moved, own]}), encoding="utf-8")
    current(tmp_path, quiet)
    assert rows(tmp_path, "SELECT rule, text, severity FROM alerts ORDER BY ALL") == [
        ("beyond normal variation", "Sold fell", "high"), ("click to cart", "it fell", "high")
    ]  # fmt: skip


def test_actions_are_kept_with_what_they_should_bring(tmp_path: Path):
    made = {"name": "coupon", "label": "Send it", "value": 120.5, "lower": 80.0, "upper": 160.0, "level": 0.9}
    published(
        tmp_path, W1, [(ACTION, made | {"people": 12, "cost": 6.0, "basis": "assumed", "list": "", "currency": "CNY"})]
    )
    current(tmp_path, quiet)
    assert rows(tmp_path, "SELECT name, value, lower, upper, people, basis FROM actions") == [
        ("coupon", 120.5, 80.0, 160.0, 12.0, "assumed")
    ]


def test_a_manifest_of_earlier_versions_has_the_identity_that_it_had():
    """It was the hash of the file, which had no durations; with another, each old report would be recorded again."""
    manifest = {"shop": "直播间", "week": "2026-W45", "tables": {"orders": {"rows": 3}}, "versions": {"numpy": "2.4"}}
    text = json.dumps(manifest, indent=2, ensure_ascii=False, default=str) + "\n"  # as reports are written
    assert _identity(json.loads(text)) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert _identity(manifest | {DURATIONS: {"01_a": 1.5}}) == _identity(manifest)
    assert _identity(manifest | {"week": "2026-W46"}) != _identity(manifest)
