"""What all tests share: where the real data sets lie, and what takes seconds and is made once for all of them."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import hypothesis
import pytest

import clvlib as clv
from clvlib.data.connect import Shop
from clvlib.report import forkserver
from clvlib.words import price_in

# how long one example takes says more about who else uses the machine than about the code
hypothesis.settings.register_profile("clvlib", deadline=None)
hypothesis.settings.load_profile("clvlib")

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "sample"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put first what starts processes and waits for them, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.path.parent not in {ROOT / "tests", ROOT / "tests" / "report"})


def pytest_collection_finish() -> None:
    """Keep what hundreds of modules have brought with them out of all later searches for garbage.

    Of these there are many: ``statsmodels`` makes one in each ``multipletests``.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Leave nothing aside when the interpreter ends, which compiled modules would report as a leak."""
    gc.unfreeze()


def shared_data(name: str) -> Path:
    """Folder of a real data set, outside the project; the test skips, visibly, where it is absent."""
    folder = Path(os.environ.get("CLVLIB_SHARED_DATA", ROOT.parent / "shared" / "data")) / name
    if not folder.is_dir():
        pytest.skip(f"the real data set {name} is not on this machine (CLVLIB_SHARED_DATA says where)")
    return folder


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a folder by its name once, for all processes among which the tests are dealt out; they only read it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one who failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session", autouse=True)
def one_fork_server() -> Iterator[None]:
    """All reports that are made in this process get their kernels from one server, whose imports take seconds.

    A server of its own is what a report has in test_kernel.py, in ``ran`` of test_runner.py, and in other processes.
    """
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        own, servers = forkserver.started, []

        @contextmanager
        def shared(_: Path | None = None) -> Iterator[forkserver.Server | None]:  # one scratch folder for all
            if not servers:
                servers.append(stack.enter_context(own()))
            yield servers[0]

        patch.setattr(forkserver, "started", shared)
        yield


@pytest.fixture(autouse=True)
def no_currency() -> Iterator[None]:
    """Sentences have no currency sign but where a test, or its chapter, names one."""
    yield
    price_in("")


@pytest.fixture
def sample() -> Path:
    """The sample shop that ships with the project."""
    return SAMPLE


@pytest.fixture(scope="session")
def sample_store(once: Once) -> Path:
    """Its tables, checked."""
    folder = once("sample_store", lambda folder: clv.connect(SAMPLE, store=folder / "shop.duckdb").close())
    return folder / "shop.duckdb"


@pytest.fixture(scope="session")
def sample_shop(sample_store: Path) -> Iterator[Shop]:
    """The shop itself, which can only be read."""
    shop = clv.connect(sample_store)
    yield shop
    shop.close()


@pytest.fixture(scope="session")
def sample_reports(once: Once) -> Path:
    """Its reports of two weeks; the last has alerts, forecasts that were due, and a Chinese edition."""
    from clvlib.report.runner import NOTEBOOKS, run

    def make(folder: Path) -> None:
        before = {path: path.read_bytes() for path in NOTEBOOKS.glob("*.ipynb")}
        for week, languages in (("2026-W45", ["en"]), ("", ["en", "zh"])):
            report = run(SAMPLE, week, folder, languages=languages)
            assert report.exit_code == 0, report.table
        assert {path: path.read_bytes() for path in NOTEBOOKS.glob("*.ipynb")} == before

    return once("sample_reports", make)
