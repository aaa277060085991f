"""What the runner saves beside papermill's command line on the same notebooks, start of Python and all.

Told are wall time and the CPU seconds of all processes; of those the two sides differ by less, since the runner takes
two cores where papermill takes one at a time.

``CLVLIB_BENCHMARK_NOTEBOOKS=real pytest tests/benchmarks/test_report_runner.py -s`` takes the four notebooks on the
sample shop, and holds the whole report against its cells' own time as well: that of all their code in one process that
has the imports behind it, on tables that were prepared before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clvlib.report.runner import NOTEBOOKS
from tests.conftest import ROOT
from tests.report.books import OPEN, notebook, shop_folder

pytestmark = pytest.mark.slow
REAL = os.environ.get("CLVLIB_BENCHMARK_NOTEBOOKS") == "real"
FIGURE = """import matplotlib.pyplot as plt, pandas as pd, seaborn as sns, statsmodels.api as sm
ax = sns.lineplot(x=[1, 2], y=[1, 2])
chapter.figure("line", ax, alt="A line")"""

COMMAND = """import sys
from pathlib import Path
from clvlib.report.runner import run
sys.exit(run(sys.argv[1], out=sys.argv[2], folder=Path(sys.argv[3])).exit_code)"""
# kernels that lose their parent come to this process, which waits for them too
SPENT = """import ctypes, json, os, resource, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
started = time.monotonic()
for command in json.loads(sys.argv[1]):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
wall = time.monotonic() - started
try:
    while True:
        os.wait()
except ChildProcessError:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([wall, used.ru_utime + used.ru_stime]))"""
CELLS = """import sys, time, nbformat
from clvlib.report import forkserver
forkserver._preload()
spent = 0.0
for path in sys.argv[2:]:
    space = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            started = time.monotonic()
            exec(cell.source, space)
            spent += time.monotonic() - started
            if "parameters" in cell.metadata.get("tags", []):
                space["source"] = sys.argv[1]
print()
print(spent)"""


def _spent(*commands: list[str]) -> tuple[float, float]:
    """Return what some programs take, one after another: wall time, and CPU seconds with all that they started."""
    given = [sys.executable, "-c", SPENT, json.dumps(commands)]
    done = subprocess.run(given, check=True, capture_output=True, text=True)
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu


def _papermill(books: Path, source: Path, into: Path) -> tuple[float, float]:
    def command(book: Path) -> list[str]:
        given = ["-p", "source", str(source), "--cwd", str(books)]
        return [sys.executable, "-m", "papermill", "--no-progress-bar", str(book), str(into / book.name), *given]

    return _spent(*map(command, sorted(books.glob("*.ipynb"))))


def _report(books: Path, source: Path, out: Path) -> tuple[float, float]:
    return _spent([sys.executable, "-c", COMMAND, str(source), str(out), str(books)])


def test_runner_beside_papermill(tmp_path: Path):
    """Stubs, of which nearly all is what comes around their cells: start, imports, reading, shutdown."""
    source, books = ROOT / "data" / "sample", NOTEBOOKS
    if not REAL:
        source, books = shop_folder(tmp_path / "shop"), tmp_path / "books"
        for i in range(4):
            notebook(books, f"0{i}_a", [OPEN, FIGURE])
    (ours, our_cpu), (theirs, their_cpu) = (
        _report(books, source, tmp_path / "reports"),
        _papermill(books, source, tmp_path),
    )
    print(  # noqa: T201 - the measurement
        f"\n4 notebooks: papermill {theirs:.1f} s (CPU {their_cpu:.1f} s), report {ours:.1f} s (CPU {our_cpu:.1f} s): "
        f"{theirs / ours:.1f} times faster, {their_cpu / our_cpu:.1f} times less CPU"
    )
    assert theirs / ours > 1.7  # half of what was measured: test machines are shared


@pytest.mark.skipif(not REAL, reason="CLVLIB_BENCHMARK_NOTEBOOKS=real measures the notebooks of the report")
def test_report_beside_its_cells(tmp_path: Path):
    import clvlib as clv

    store = tmp_path / "shop.duckdb"
    clv.connect(ROOT / "data" / "sample", store=store).close()
    command = [sys.executable, "-c", CELLS, str(store), *map(str, sorted(NOTEBOOKS.glob("*.ipynb")))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=NOTEBOOKS)
    own = float(done.stdout.splitlines()[-1])
    ours, _ = _report(NOTEBOOKS, ROOT / "data" / "sample", tmp_path / "reports")
    print(f"\nwhole report {ours:.1f} s, its cells' own time {own:.1f} s, {ours / own:.2f} times")  # noqa: T201 - the measurement
    assert ours < 2 * own
