"""Warm kernels: forks of one process, and yet as separate and as mortal as kernels that were started one by one."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clvlib.report.execute import Execution, execute
from clvlib.report.forkserver import started
from clvlib.report.kernel import Kernel, forks_of
from clvlib.report.parameters import read_notebook
from clvlib.report.runner import run
from tests.conftest import ROOT

from .books import FIGURES, OPEN, notebook, shop_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="this system has no descriptors of processes")
FIGURE = """import os, warnings
import matplotlib.pyplot as plt
warnings.warn("noise")
plt.plot([1, 2])
print(os.getcwd(), __name__, "seaborn" in globals())"""
PLACE = "import os, numpy as np\nprint(os.getpid(), os.getppid(), np.random.rand())\nseen = 1"


@pytest.fixture(scope="module")
def warm() -> Iterator[type[Kernel]]:
    with started() as server:
        yield forks_of(server)


def ran(folder: Path, kernel: type[Kernel], *cells: str, timeout: float = 60) -> Execution:
    return execute(read_notebook(notebook(folder, "01_a", cells)), {}, timeout, kernel=kernel)


def printed(run: Execution) -> list[str]:
    assert not run.error, run.traceback
    return [o.text for cell in run.node.cells for o in cell.get("outputs", []) if o.output_type == "stream"]


def test_they_show_what_cold_ones_show(tmp_path: Path, warm: type[Kernel]):
    cold, ours = (ran(tmp_path, kernel, FIGURE) for kernel in (Kernel, warm))
    assert "image/png" in str(ours.node)  # shown without asking, as in every notebook
    assert [cell.get("outputs") for cell in ours.node.cells] == [cell.get("outputs") for cell in cold.node.cells]
    assert printed(ours) == [f"{tmp_path} __main__ False\n"]


def test_each_is_a_process_of_its_own(tmp_path: Path, warm: type[Kernel]):
    one, two = (printed(ran(tmp_path, warm, PLACE, "print(seen)"))[0].split() for _ in range(2))
    assert one[0] != two[0]
    assert one[2] != two[2]  # random numbers are not those of the process that both were forked from
    assert one[1] == two[1]
    assert "forkserver" in Path(f"/proc/{one[1]}/cmdline").read_text(encoding="utf-8")
    assert len(list(Path(f"/proc/{one[1]}/task").iterdir())) == 1  # a fork is safe where there is no other thread


def test_threads_work_after_the_fork(tmp_path: Path, warm: type[Kernel]):
    code = """import duckdb, numpy as np, pyarrow as pa, pyarrow.compute as pc
from concurrent.futures import ThreadPoolExecutor
a = np.eye(300)
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(lambda i: (a @ a).sum(), range(8))))
print(duckdb.sql("SELECT sum(i) FROM range(2000000) x(i)").fetchall(), pc.sum(pa.chunked_array([[1], [2]])))"""
    assert "".join(printed(ran(tmp_path, warm, code))) == "2400.0\n[(1999999000000,)] 3\n"  # in one piece or two


def test_killed_and_endless_ones(tmp_path: Path, warm: type[Kernel]):
    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    assert ran(tmp_path, warm, kill).error == "its kernel died (out of memory, or killed from outside)"
    started = time.monotonic()
    child = "import os, subprocess\nprint(os.getpid(), subprocess.Popen(['sleep', '300']).pid)"
    run = ran(tmp_path, warm, child, "import time\ntime.sleep(300)", timeout=2)
    assert run.error == "it was stopped after 2 seconds"
    shown = run.node.cells[-2].outputs[0].text
    assert time.monotonic() - started < 30
    until(lambda: not any(map(alive, shown.split())))  # and what it had started
    assert not Kernel.live


def test_without_a_server_they_start_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with started() as server:
        assert server is not None
        server._process.kill()
        assert printed(ran(tmp_path, forks_of(server), "print(1)")) == ["1\n"]
    monkeypatch.delattr(os, "pidfd_open")
    with started() as server:
        assert server is None
    assert forks_of(server).server is None


def test_nothing_that_takes_long_is_left_to_import():
    """Each of the large libraries that a function of the analyses imports lies behind the server already."""
    wanted = set()
    for package in ("stats", "data", "audience", "funnel", "clv", "abtest"):
        for file in (ROOT / "clvlib" / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
                wanted |= {
                    name for name in names if name.split(".")[0] in {"scipy", "sklearn", "statsmodels", "seaborn"}
                }
    assert {"statsmodels.tsa.seasonal", "seaborn"} <= wanted
    code = "import sys; from clvlib.report import forkserver; forkserver._preload(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert not wanted - set(done.stdout.split())
    assert "debugpy" not in done.stdout.split()


RUN = """import sys
from pathlib import Path
from clvlib.report.runner import run
at = Path(sys.argv[1])
run(at / "shop", out=at / "reports", folder=at / "books")"""


def test_nothing_outlives_a_killed_run(tmp_path: Path):
    """No process; and its copy of the customers goes with the next run, but never while somebody needs it."""
    shop_folder(tmp_path / "shop")
    place = f"import os, time\nopen({str(tmp_path / 'pids')!r}, 'w').write(f'{{{{os.getpid()}}}} {{{{os.getppid()}}}}')"
    notebook(tmp_path / "books", "01_a", [place, "time.sleep(300)"])
    (aside := tmp_path / "tmp").mkdir()
    environ = {**os.environ, "TMPDIR": str(aside)}
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], cwd=ROOT, env=environ) as process:
        until((tmp_path / "pids").exists, 60)
        time.sleep(0.2)
        (kept,) = aside.iterdir()
        assert (kept / "shop.duckdb").exists()
        again = [sys.executable, "-c", "from clvlib.data.scratch import Scratch\nScratch().close()"]
        subprocess.run(again, check=True, cwd=ROOT, env=environ)
        assert (kept / "shop.duckdb").exists()
        process.send_signal(signal.SIGKILL)
    pids = (tmp_path / "pids").read_text(encoding="utf-8").split()
    assert len(pids) == 2
    until(lambda: not any(map(alive, pids)))
    assert kept.exists()
    subprocess.run(again, check=True, cwd=ROOT, env=environ)
    assert not list(aside.iterdir())


def test_a_run_without_a_home_leaves_nothing(tmp_path: Path):
    """Matplotlib then puts its cache among the temporary files, and counts on a process that ends by itself."""
    shop_folder(tmp_path / "shop")
    notebook(tmp_path / "books", "01_a", [OPEN, FIGURES])
    (aside := tmp_path / "tmp").mkdir()
    kept = {name: value for name, value in os.environ.items() if name not in {"MPLCONFIGDIR", "XDG_CACHE_HOME"}}
    environ = kept | {"HOME": "/dev/null", "XDG_CONFIG_HOME": "/dev/null", "TMPDIR": str(aside)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(tmp_path)], cwd=ROOT, env=environ, check=True, capture_output=True, text=True
    )
    assert "temporary cache directory at" in done.stderr
    assert not list(aside.iterdir())


@pytest.mark.parametrize("name", ["t", "t" * 90])
def test_what_kernels_put_aside_goes_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    """They are killed, and cannot clean up: a query that spilled to disk would leave customers there."""
    (aside := tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    shop_folder(tmp_path / "shop")
    spill = "import pathlib, tempfile\n(pathlib.Path(tempfile.mkdtemp()) / 'spill').write_text('C1')"
    said = "import clvlib\nshop = clvlib.connect(source)\nprint(tempfile.gettempdir())"
    notebook(tmp_path / "books", "01_a", [spill, said])
    report = run(tmp_path / "shop", out=tmp_path / "reports", folder=tmp_path / "books")
    assert report.exit_code == 0, report.table["error"].tolist()
    assert str(aside) in (report.folder / "01_a.ipynb").read_text(encoding="utf-8")
    assert not list(aside.iterdir())


def alive(pid: Any) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


def until(done: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
