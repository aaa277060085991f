"""What the runner saves beside papermill's command line, in wall time on the same notebooks, start of Python and all.

``CLVLIB_BENCHMARK_NOTEBOOKS=real pytest tests/benchmarks/test_report_runner.py -s`` takes the four notebooks on the
sample shop, and holds the whole report against its cells' own time as well: that of all their code in one process that
has the imports behind it, on tables that were prepared before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
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


def _papermill(books: Path, source: Path, into: Path) -> float:
    started = time.monotonic()
    for book in sorted(books.glob("*.ipynb")):
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(book), str(into / book.name)]
        command += ["-p", "source", str(source), "--cwd", str(books)]
        subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started


def _report(books: Path, source: Path, out: Path) -> float:
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", COMMAND, str(source), str(out), str(books)], check=True, capture_output=True)
    return time.monotonic() - started


def test_runner_beside_papermill(tmp_path: Path):
    """Stubs, of which nearly all is what comes around their cells: start, imports, reading, shutdown."""
    source, books = ROOT / "data" / "sample", NOTEBOOKS
    if not REAL:
        source, books = shop_folder(tmp_path / "shop"), tmp_path / "books"
        for i in range(4):
            notebook(books, f"0{i}_a", [OPEN, FIGURE])
    ours, theirs = _report(books, source, tmp_path / "reports"), _papermill(books, source, tmp_path)
    print(f"\n4 notebooks: papermill {theirs:.1f} s, runner {ours:.1f} s, {theirs / ours:.1f} times faster")  # noqa: T201 - the measurement
    assert theirs / ours > 1.7  # half of what was measured: test machines are shared


@pytest.mark.skipif(not REAL, reason="CLVLIB_BENCHMARK_NOTEBOOKS=real measures the notebooks of the report")
def test_report_beside_its_cells(tmp_path: Path):
    import clvlib as clv

    store = tmp_path / "shop.duckdb"
    clv.connect(ROOT / "data" / "sample", store=store).close()
    command = [sys.executable, "-c", CELLS, str(store), *map(str, sorted(NOTEBOOKS.glob("*.ipynb")))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=NOTEBOOKS)
    own, ours = float(done.stdout.splitlines()[-1]), _report(NOTEBOOKS, ROOT / "data" / "sample", tmp_path / "reports")
    print(f"\nwhole report {ours:.1f} s, its cells' own time {own:.1f} s, {ours / own:.2f} times")  # noqa: T201 - the measurement
    assert ours < 2 * own
