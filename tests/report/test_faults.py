"""Notebooks that say far too much, clocks that jump, and pages that cannot be written."""

from __future__ import annotations

import ast
import datetime as dt
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from clvlib.report import weekly
from clvlib.report.kernelapp import LONGEST
from clvlib.report.ledger import current
from clvlib.report.page import LIMIT
from clvlib.report.runner import run
from tests.conftest import ROOT

from .books import FIGURES, OPEN, notebook, shop_folder

PEAK = """import os, re, sys
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()"""
PRINT = """for i in range(1_000):
    print("x" * 1_000_000)
sys.stderr.write("y" * 10_000_000)
open(output + "-peak", "w").write(str(peak() - before))"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_notebook_that_prints_a_gigabyte(tmp_path: Path):
    shop_folder(tmp_path / "shop")
    shows = "from IPython.display import display\nfor i in range(3000): display({'text/plain': 'z' * 1000}, raw=True)"
    notebook(tmp_path / "books", "01_a", [OPEN, "## Much", PEAK.replace("{", "{{").replace("}", "}}"), PRINT])
    notebook(tmp_path / "books", "02_b", [OPEN, "## Many", shows.replace("{", "{{").replace("}", "}}"), "## End"])
    notebook(tmp_path / "books", "03_c", [OPEN, "## Long", "raise ValueError('e' * 5_000_000)"])
    notebook(tmp_path / "books", "04_d", [OPEN, "## Good", "chapter.say('what matters')"])
    report = run(tmp_path / "shop", out=tmp_path / "reports", folder=tmp_path / "books")
    assert report.table["status"].tolist() == ["ok", "ok", "failed", "ok"], report.table["error"].tolist()[:2]
    page = (report.folder / "index.html").read_text(encoding="utf-8")
    assert len(page.encode()) < LIMIT
    assert "pieces, is left out to keep this page small" in page
    assert "what matters" in page
    assert (report.folder / "02_b.ipynb").read_text(encoding="utf-8").count("z" * 1000) == 3000  # none was lost
    assert (report.folder / "01_a.ipynb").stat().st_size < 3 * LONGEST
    assert (report.folder / "03_c.ipynb").stat().st_size < LONGEST
    assert "what was printed after 1,000,000 letters is left out" in (report.folder / "01_a.ipynb").read_text("utf-8")
    assert int((report.folder / "tables-peak").read_text(encoding="utf-8")) < 50_000  # kB by which the kernel grew
    assert len(report.table["error"][2]) < 600


def jumping(year: int) -> type[dt.datetime]:
    """A clock that was put to a day after the last order: that of its year, or far beyond."""

    class Jumping(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Jumping:
            return cls(year, 7, 14, 23, 59, tzinfo=tz)

    return Jumping


@pytest.mark.parametrize(("year", "days"), [(2026, -130), (2041, 5_350)])
def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, year: int, days: int):
    """Durations, order and the last word do not depend on what the wall clock says."""
    shop_folder(tmp_path / "shop")

    def made(value: int) -> Any:
        notebook(tmp_path / "books", "01_a", [OPEN, f"chapter.kpi('sold', {value})"])
        return run(tmp_path / "shop", out=tmp_path / "reports", folder=tmp_path / "books", timeout=60)

    first = made(1)
    monkeypatch.setattr(weekly.dt, "datetime", jumping(year))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + days * 86_400)
    second = made(2)
    assert second.exit_code == 0
    assert 0 < second.table["seconds"][0] < 60
    assert second.week == first.week
    assert f"{year}-07-14" in (second.folder / "status.json").read_text(encoding="utf-8")
    rows = current(tmp_path / "reports", print).rows("kpis", "Mini <shop>")
    assert [(row["value"], row["revision"]) for row in rows] == [(2.0, 2)]


def test_an_archive_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path):
    shop_folder(tmp_path / "shop")
    notebook(tmp_path / "books", "01_a", ["1"])
    (tmp_path / "reports" / "index.html").mkdir(parents=True)
    lines: list[str] = []
    report = run(tmp_path / "shop", out=tmp_path / "reports", folder=tmp_path / "books", tell=lines.append)
    assert report.exit_code == 0
    assert any(line.startswith("the page over all weeks is not up to date: ") for line in lines)


# refuses what leaves this machine, in each Python that finds it on its path; sockets of the file system stay
_WALL = """import sys
def refuse(event, arguments):
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        raise PermissionError(f"the network: {event} {arguments}")
    if event in {"socket.connect", "socket.bind", "socket.sendto"} and arguments[0].family != 1:
        raise PermissionError(f"the network: {event} {arguments[1]}")
sys.addaudithook(refuse)
"""
_RUN = """import sys
from pathlib import Path
from clvlib.report.runner import run
report = run(sys.argv[1], out=sys.argv[2], folder=Path(sys.argv[3]))
print(report.table["error"].tolist())"""


@pytest.mark.parametrize("how", ["a wall in each process", "a system without a network"])
def test_no_network_is_used(tmp_path: Path, how: str):
    """Neither by the run, nor by kernels, nor by what is not Python; a notebook that tries shows the wall."""
    alone = ["unshare", "--map-root-user", "--net"] if how == "a system without a network" else []
    if alone and (not sys.platform.startswith("linux") or subprocess.run([*alone, "true"], check=False).returncode):
        pytest.skip("this system lets nobody take the network away")
    shop_folder(tmp_path / "shop")
    notebook(tmp_path / "books", "01_a", [OPEN, FIGURES])
    reach = "import socket\nsocket.create_connection(('192.0.2.1', 80), timeout=5)"  # of RFC 5737: nobody's
    notebook(tmp_path / "books", "02_b", [OPEN, reach])
    (tmp_path / "wall").mkdir()
    (tmp_path / "wall" / "sitecustomize.py").write_text(_WALL if not alone else "", encoding="utf-8")
    env = os.environ | {"PYTHONPATH": f"{tmp_path / 'wall'}{os.pathsep}{ROOT}"}
    paths = [str(tmp_path / name) for name in ("shop", "reports", "books")]
    done = subprocess.run(
        [*alone, sys.executable, "-c", _RUN, *paths], env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    fine, tried = ast.literal_eval(done.stdout.splitlines()[-1])
    assert fine == ""
    assert ("the network: " in tried) if not alone else ("unreachable" in tried), tried
