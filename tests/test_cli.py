"""The command line: what it prints, and the exit status that a scheduler acts on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from clvlib.cli import main
from clvlib.report import runner
from clvlib.report.chapter import KPI
from clvlib.report.weekly import Report

from .report.books import kpi, notebook, published, shop_folder


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(shop_folder(tmp_path / "shop"))


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for the project's notebooks."""
    folder = tmp_path / "books"
    for name in ("01_a", "02_b"):
        notebook(folder, name, ["print(level)"], parameters='week: str = ""\nlevel: float = 0.9')
    real = runner.run_weeks
    monkeypatch.setattr(runner, "run_weeks", lambda *args, **options: real(*args, folder=folder, **options))
    return folder


def test_report(source: str, books: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "reports"
    assert main(["report", "--source", source, "--out", str(out), "-p", "level=0.5", "--notebooks", "01"]) == 0
    told = capsys.readouterr()
    assert told.out.strip().endswith("reports/2026-W28/index.html")
    assert "01_a: done" in told.err
    assert "0.5" in (out / "2026-W28" / "01_a.ipynb").read_text(encoding="utf-8")
    assert not (out / "2026-W28" / "02_b.ipynb").exists()


def test_report_with_failures(source: str, books: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    notebook(books, "02_b", ["1/0"], parameters='week: str = ""')
    out = str(tmp_path / "reports")
    assert main(["report", "--source", source, "--out", out]) == 1
    assert "clvlib: 02_b failed: ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert main(["report", "--source", source, "--out", out, "--notebooks", "02"]) == 2
    told = capsys.readouterr()
    assert "no chapter succeeded; nothing was published" in told.err
    assert told.out == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-p", "levle=1"], "no notebook of this run has a parameter 'levle'; did you mean level?"),
        (["-p", "level=high"], "parameter level: 'high' is no float"),
        (["--week", "2026-W99"], "the year 2026 has weeks 01 to 53, not 99"),
        (["--week", "2031-W01"], "lies outside the data"),
        (["--weeks", "2026-W28..soon"], "is no week and no span of weeks"),
        (["--weeks", "2026-W28..2026-W20"], "ends before it begins"),
        (["--source", "/nowhere"], "/nowhere: there is no such folder or file"),
    ],
)
def test_bad_input_is_one_line_and_2(
    source: str, books: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
):
    out = ["--out", str(tmp_path / "reports")]
    assert main(["report", "--source", source, *out, *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[-1].startswith("clvlib: ")
    assert says in told.err
    assert "Traceback" not in told.err
    assert not list((tmp_path / "reports").glob("2*"))


@pytest.mark.parametrize("arguments", [["report", "--jobs", "x"], ["report", "-p", "x"], ["nothing"], []])
def test_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "usage: clvlib" in capsys.readouterr().err


def test_several_weeks_and_the_worst_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    asked: list[Any] = []

    def run_weeks(source: str, weeks: list[str], out: str, **options: Any) -> Any:
        asked.extend(weeks)
        for week, code in zip(["2026-W52", "2026-W53", "2027-W01"], [0, 1, 0], strict=True):
            table = pd.DataFrame({"chapter": ["01_a"], "status": ["failed" if code else "ok"], "error": ["why"]})
            yield Report(table=table, week=week, folder=Path(out) / week, exit_code=code)

    monkeypatch.setattr(runner, "run_weeks", run_weeks)
    assert main(["report", "--weeks", "2026-W52..2027-W01"]) == 1
    assert asked == ["2026-W52..2027-W01"]
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_check(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", source]) == 1  # one amount is no number
    told = capsys.readouterr().out
    assert "orders: amount" in told
    assert "first at row 127 of orders.csv ('n/a')" in told
    assert "The contract is broken" in told
    clean = tmp_path / "clean"
    clean.mkdir()
    rows = Path(source, "orders.csv").read_text(encoding="utf-8").splitlines()[:-1]
    (clean / "orders.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert main(["check", str(clean)]) == 0
    assert "The contract is kept." in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert main(["check", str(tmp_path / "empty")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("clvlib.clv.rfm")
    out = tmp_path / "scored.parquet"
    assert main(["score", "cdnow", "--out", str(out), "--horizon", "39"]) == 0
    frame = pd.read_parquet(out).set_index("customer_id")
    assert len(frame) == 23_570  # known_answers.md: customers of CDNOW
    assert frame["probability_alive"].between(0, 1).all()
    for name in ("clv", "expected_purchases"):
        assert (frame[f"{name}_lower"] <= frame[name]).all()
        assert (frame[name] <= frame[f"{name}_upper"]).all()
        assert frame[name].notna().all()
    assert frame["clv"].is_monotonic_decreasing
    assert frame["segment"].notna().all()
    assert out.stat().st_mode & 0o077 == 0
    assert main(["score", "cdnow", "--out", str(tmp_path / "scored.xlsx")]) == 2
    assert "must end in .csv or .parquet" in capsys.readouterr().err


def test_score_without_anyone_who_came_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("clvlib.clv.rfm")
    (tmp_path / "orders.csv").write_text(
        "customer_id,ordered_at,amount\na,2026-01-05,5\nb,2026-01-06,7\n", encoding="utf-8"
    )
    assert main(["score", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.splitlines()[-1].startswith("clvlib: ")
    assert "Traceback" not in told


def test_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = str(tmp_path / "sample")
    assert main(["sample", folder, "--customers", "60", "--weeks", "8", "--seed", "3"]) == 0
    assert main(["check", folder]) in {0, 1}
    assert main(["sample", folder, "--customers", "-1"]) == 2


def test_diff(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "reports"
    for week, sold in [("2026-W45", 5.0), ("2026-W46", 7.0)]:
        published(out, week, [(KPI, kpi("sold", sold))])
    assert main(["diff", "2026-W45", "2026-W46", "--out", str(out)]) == 0
    assert re.search(r"^Sold +5 +7 +\+2 +— +\+2$", capsys.readouterr().out, re.MULTILINE)
    assert main(["diff", "2026-W45", "2026-W47", "--out", str(out)]) == 2
    assert "there are no reports for both" in capsys.readouterr().err
    assert main(["diff", "2026-W45", "2026-W46", "--out", str(tmp_path / "none")]) == 2


def test_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out, file = tmp_path / "reports", tmp_path / "safe.duckdb"
    published(out, "2026-W45", [(KPI, kpi("sold", 5.0))])
    for action, says in [("backup", "is backed up in"), ("restore", "was restored from")]:
        assert main(["ledger", action, str(file), "--out", str(out)]) == 0
        assert says in capsys.readouterr().out
    assert main(["ledger", "restore", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_chinese_name_on_an_ascii_log(tmp_path: Path):
    source = shop_folder(tmp_path / "shop", toml='name = "直播间"')
    command = [sys.executable, "-m", "clvlib.cli", "check", str(source)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stdout.startswith("\\u76f4\\u64ad\\u95f4: orders from")


def test_a_reader_that_has_seen_enough(source: str):
    command = f"{sys.executable} -m clvlib.cli check {source} | true"
    done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_schedulers_stop_leaves_nothing_behind(source: str, tmp_path: Path, number: signal.Signals):
    """A signal while a kernel works, and again in haste: exit 130, one line, no copy of the shop, no kernel."""
    (aside := tmp_path / "aside").mkdir()
    notebook(tmp_path / "books", "01_a", ["import time, os\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(300)"])
    code = (
        "import sys, pathlib, functools\n"
        "from clvlib import cli\nfrom clvlib.report import runner\n"
        f"runner.run_weeks = functools.partial(runner.run_weeks, folder=pathlib.Path({str(tmp_path / 'books')!r}))\n"
        f"sys.exit(cli.main(['report', '--source', {source!r}, '--out', {str(tmp_path / 'reports')!r}]))"
    )
    environment = {**os.environ, "TMPDIR": str(aside)}
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment)
    pid = tmp_path / "books" / "pid"
    for _ in range(300):
        if pid.exists() and pid.read_text(encoding="utf-8"):
            break
        time.sleep(0.1)
    kernel = int(pid.read_text(encoding="utf-8"))
    process.send_signal(number)
    time.sleep(0.1)
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "clvlib: stopped; what was published before stands"
    assert "Traceback" not in told
    assert not list((tmp_path / "reports").glob(".staging*"))
    assert not list(aside.iterdir())
    end = time.monotonic() + 20
    while _exists(kernel):  # dead at once; the system takes its time to clear it away
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_stop_in_the_middle_of_a_query(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """DuckDB, interrupted, raises a RuntimeError."""

    def asks(*_: object, **__: object) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None

    monkeypatch.setattr("clvlib.report.runner.run_weeks", asks)
    assert main(["report"]) == 130
    assert capsys.readouterr().err == "clvlib: stopped; what was published before stands\n"


def test_a_closed_terminal_is_no_stop_under_nohup(monkeypatch: pytest.MonkeyPatch):
    def hangs_up(*_: object, **__: object) -> list[Report]:
        signal.raise_signal(signal.SIGHUP)
        return []

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr("clvlib.report.runner.run_weeks", hangs_up)
        assert main(["report"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_log_that_nobody_reads_costs_no_report(source: str, tmp_path: Path):
    notebook(tmp_path / "books", "01_a", ["1"])
    code = (
        "import sys, pathlib, functools\n"
        "from clvlib import cli\nfrom clvlib.report import runner\n"
        f"runner.run_weeks = functools.partial(runner.run_weeks, folder=pathlib.Path({str(tmp_path / 'books')!r}))\n"
        f"sys.exit(cli.main(['report', '--source', {source!r}, '--out', {str(tmp_path / 'reports')!r}]))"
    )
    (tmp_path / "run.py").write_text(code, encoding="utf-8")
    command = f"{{ {sys.executable} {tmp_path / 'run.py'}; echo $? > {tmp_path / 'status'}; }} 2>&1 | true"
    subprocess.run(["bash", "-c", command], check=True)
    assert (tmp_path / "status").read_text(encoding="utf-8") == "0\n"
    assert list((tmp_path / "reports").glob("2026-W*/index.html"))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_score_of_a_day_that_the_data_do_not_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "orders.csv").write_text(
        "customer_id,ordered_at,amount\na,2026-01-05,5\na,2026-01-06,7\n", encoding="utf-8"
    )
    assert main(["score", str(tmp_path), "--as-of", "2026-01-07"]) == 2
    assert capsys.readouterr().err == "clvlib: 2026-01-07 lies beyond the data, which end on 2026-01-06\n"


def test_a_fault_of_ours_is_not_taken_for_a_failed_chapter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("severities")

    monkeypatch.setattr("clvlib.report.runner.run_weeks", broken)
    assert main(["report"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told  # for whoever reports it
    assert told.splitlines()[-1] == "clvlib: KeyError: 'severities'; this is a fault of clvlib"
