"""Whole runs on a small shop with small notebooks: what goes well, and everything that can go wrong."""

from __future__ import annotations

import datetime as dt
import errno
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from clvlib.data.calendar import Week
from clvlib.data.config import Config
from clvlib.errors import ClvError, ConfigError, ParameterError, ReportError
from clvlib.report import edition, forkserver, weekly
from clvlib.report.execute import execute
from clvlib.report.forkserver import started
from clvlib.report.grade import grades
from clvlib.report.kernel import Kernel
from clvlib.report.ledger import current
from clvlib.report.parameters import read_notebook
from clvlib.report.runner import run, run_weeks, select
from clvlib.report.weekly import Report
from tests.conftest import ROOT

from .books import FIGURES, OPEN, PARAMETERS, notebook, shop_folder

KILL = "import os, signal, time\nos.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(60)"


class Ran:
    """One run whose outcome several tests look at."""

    def __init__(self, folder: Path) -> None:
        self.source = shop_folder(folder / "shop")
        self.books = folder / "notebooks"
        notebook(self.books, "01_good", [OPEN, "## What <b>sold</b>?", FIGURES], title="Who buys")
        notebook(self.books, "02_bad", [OPEN, "## First", "chapter.say('so far')", "## Second", "1 / 0"])
        notebook(self.books, "03_killed", [OPEN, KILL])
        parameters = 'week: str = ""\nlabel: str = ""\nlevel: float = 0.9'
        notebook(self.books, "04_other", ["print(repr((week, label, level)))"], parameters=parameters)
        self.before = {path.name: path.read_bytes() for path in self.books.iterdir()}
        self.lines: list[str] = []
        given = {"label": "直播间 'A' \\n", "04.level": 0.1 + 0.2}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forkserver, "started", started)  # a server of its own, which ends with it
            self.report = run(
                self.source, out=folder / "reports", folder=self.books, parameters=given, tell=self.lines.append
            )
        self.folder = self.report.folder

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def node(self, name: str) -> Any:
        return nbformat.read(self.folder / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("run"))


def test_outcome(ran: Ran):
    table = ran.report.table.set_index("chapter")
    assert ran.report.exit_code == 1
    assert table["status"].to_dict() == {"01_good": "ok", "02_bad": "failed", "03_killed": "failed", "04_other": "ok"}
    assert table.loc["02_bad", "error"] == "ZeroDivisionError: division by zero"
    assert table.loc["03_killed", "error"] == "its kernel died (out of memory, or killed from outside)"
    assert table.loc["01_good", ["kpis", "alerts"]].tolist() == [2, 1]
    assert ran.folder.name == "2026-W28"


def test_status(ran: Ran):
    status = ran.json("status.json")
    assert (status["week"], status["status"], status["exit_code"]) == ("2026-W28", "partial", 1)
    assert [c["status"] for c in status["chapters"]] == ["ok", "failed", "failed", "ok"]
    assert status["seconds"] > 0
    assert status["sentence"].startswith("2 chapters failed and are missing here. Revenue ¥1.23M. There is no report")
    assert status["alerts"] == {"high": 1, "medium": 0, "low": 0}
    assert status["notices"] == []  # test_archive and test_page have some


def test_manifest(ran: Ran):
    manifest = ran.json("manifest.json")
    assert manifest["tables"]["orders"]["rows"] == 126  # 6 weeks, 7 days, 3 orders; one more is in quarantine
    assert re.fullmatch(r"[0-9a-f]{16}", manifest["tables"]["orders"]["hash"])
    assert manifest["notebooks"]["04_other"]["parameters"] == {
        "week": "2026-W28", "label": "直播间 'A' \\n", "level": 0.1 + 0.2,
    }  # fmt: skip
    assert manifest["sample"] is True
    assert manifest["versions"]["pandas"] == pd.__version__


def test_values_arrive_exactly(ran: Ran):
    output = next(c for c in ran.node("04_other").cells if c.get("outputs")).outputs[0]
    assert output.text == repr(("2026-W28", "直播间 'A' \\n", 0.1 + 0.2)) + "\n"
    injected = next(c for c in ran.node("04_other").cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "label: str = \"直播间 'A' " in injected.source


def test_sources_never_change(ran: Ran):
    assert {path.name: path.read_bytes() for path in ran.books.iterdir()} == ran.before


def test_everything_is_there_and_nothing_else(ran: Ran):
    found = sorted(str(p.relative_to(ran.folder)) for p in ran.folder.rglob("*") if p.is_file())
    assert found == [
        "01_good.ipynb", "02_bad.ipynb", "03_killed.ipynb", "04_other.ipynb", "alerts.json", "email.html", "email.txt",
        "grades.json", "index.html", "manifest.json", "status.json", "tables/01_good/best.csv",
        "tables/01_good/best.parquet",
    ]  # fmt: skip
    assert sorted(p.name for p in ran.folder.parent.iterdir()) == [
        ".2026-W28.lock", ".archive.lock", ".key", ".ledger.lock", "2026-W28", "index.html", "ledger.duckdb",
    ]  # fmt: skip


def test_published_notebooks_can_be_run_again_where_they_lie(ran: Ran):
    injected = next(c for c in ran.node("01_good").cells if "injected-parameters" in c.metadata.get("tags", []))
    space: dict[str, Any] = {}
    exec(injected.source, space)  # noqa: S102
    assert (ran.folder / space["source"]).resolve() == ran.source.resolve()
    assert space["output"] == "tables"
    text = (ran.folder / "01_good.ipynb").read_text(encoding="utf-8")
    assert "staging" not in text
    assert str(ran.source.parent) not in text


def test_page_has_the_good_and_a_red_card_for_the_bad(ran: Ran):
    page = (ran.folder / "index.html").read_text(encoding="utf-8")
    assert "This chapter failed:</strong> ZeroDivisionError: division by zero" in page
    assert "its kernel died" in page
    assert "so far" in page
    assert "¥1.23M" in page


def test_lines_for_a_log(ran: Ran):
    assert ran.lines[0].startswith("tables of Mini <shop> checked")
    assert any(line.startswith("  02_bad: ZeroDivisionError") for line in ran.lines)


def test_kernels_are_gone(ran: Ran):
    assert not Kernel.live


def _quick(folder: Path, *cells: str, **options: Any) -> Report:
    """A run of one notebook."""
    if not (folder / "shop").exists():
        shop_folder(folder / "shop")
    notebook(folder / "books", "01_a", [*cells], parameters=options.pop("cell", 'week: str = ""'))
    return run(folder / "shop", out=folder / "reports", folder=folder / "books", **options)


def test_same_inputs_same_bytes(tmp_path: Path):
    shop_folder(tmp_path / "shop")
    notebook(tmp_path / "books", "01_a", [OPEN, FIGURES])
    written = []
    for _ in range(2):
        folder = run(tmp_path / "shop", out=tmp_path / "reports", folder=tmp_path / "books").folder
        files = [
            p for p in folder.rglob("*") if p.is_file() and p.name != "status.json"
        ]  # which says when and how long
        written.append({p.name: re.sub(rb'clvlib.code"?:? "?[0-9a-f]{16}', b"", p.read_bytes()) for p in files})
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        assert manifest.pop("durations")["01_a"] > 0
        written[-1]["manifest.json"] = json.dumps(manifest | {"versions": ""}).encode()
    assert len(written[0]) == 9
    assert written[0] == written[1]
    ledger = current(tmp_path / "reports", print)
    assert len(ledger.rows("runs", "Mini <shop>")) == 1  # nor does the ledger take it for another report


def test_nothing_succeeded_and_the_old_report_stands(tmp_path: Path):
    good = _quick(tmp_path, "print('good')")
    assert good.exit_code == 0
    bad = _quick(tmp_path, "from clvlib.errors import EmptyDataError\nraise EmptyDataError('no customer bought twice')")
    assert bad.exit_code == 2
    assert bad.folder.name == "2026-W28.failed"
    assert bad.table["error"].tolist() == ["no customer bought twice"]
    assert json.loads((bad.folder / "status.json").read_text(encoding="utf-8"))["status"] == "failed"
    assert "good" in (good.folder / "01_a.ipynb").read_text(encoding="utf-8")
    assert _quick(tmp_path, "print('good again')").exit_code == 0
    assert not bad.folder.exists()  # nobody is to look for a fault that is mended


@pytest.mark.parametrize(
    ("toml", "key", "says"),
    [
        ('name = "a"\n[privacy]\nrecipients = ["age1x"]', "", "number 1 .age1x.* is no public key of age"),
        ('name = "a"', "short", "key of pseudonyms has 5 characters.*CLVLIB_KEY"),
    ],
)
def test_what_lists_need_is_asked_for_before_any_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toml: str, key: str, says: str
):
    monkeypatch.setenv("CLVLIB_KEY", key)
    monkeypatch.setattr("clvlib.report.weekly.execute", lambda *_, **__: pytest.fail("a kernel was started"))
    shop_folder(tmp_path / "shop", toml=toml)
    with pytest.raises(ConfigError, match=says):
        _quick(tmp_path, "print('never')")
    assert not list((tmp_path / "reports").glob("2026*"))


def test_what_the_shop_configures_arrives_in_the_notebook(tmp_path: Path):
    """One margin for all chapters: that of clvlib.toml, unless another is asked for."""
    toml = "[value]\nmargin = 0.45\n[thresholds]\nclick_to_cart = 0.2\n[targets]\nrevneue = 7\nfar = 1\n"
    shop_folder(tmp_path / "shop", toml=f'name = "a"\nsample = true\n{toml}')
    cell = 'source: str = ""\nweek: str = ""\nmargin: float = 0.3\nclick_to_cart_min: float = 0.12\nlevel: float = 0.95'
    says = "print(margin, click_to_cart_min, level)\nimport clvlib\n"
    kpi = 'clvlib.Chapter("01_a", clvlib.connect(source), week=week).kpi("revenue", 1.0)'
    lines: list[str] = []

    def printed(**given: Any) -> str:
        report = _quick(tmp_path, says + kpi, cell=cell, tell=lines.append, **given)
        assert report.exit_code == 0, report.table["error"].tolist()
        made = json.loads((report.folder / "manifest.json").read_text(encoding="utf-8"))["notebooks"]["01_a"]
        node = nbformat.read(report.folder / "01_a.ipynb", as_version=4)
        assert f"margin: float = {made['parameters']['margin']}" in node.cells[2].source
        return next(o.text for c in node.cells for o in c.get("outputs", []) if o.output_type == "stream")

    assert printed() == "0.45 0.2 0.95\n"
    assert "  [targets] revneue: no key figure has this name; did you mean revenue?" in lines
    assert not any("far" in line for line in lines)  # perhaps a figure of another chapter
    assert printed(parameters={"margin": 0.5}, resume=True) == "0.5 0.2 0.95\n"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):  # and where no report runs it, the notebook asks itself
        declared = read_notebook(path).parameters
        assert all(declared[name].default is None for name in Config().parameters if name in declared), path.name


def test_resume_sees_other_settings(tmp_path: Path):
    """Whoever begins to encrypt lists, or to withhold larger groups, does not keep those of the report before."""
    lines: list[str] = []
    notebook(tmp_path / "books", "01_a", ["1"])
    for toml in ("", "", "[privacy]\nsmallest_group = 20\n", '[funnel]\nsteps = ["view", "paid"]\n'):
        shop_folder(tmp_path / "shop", toml=f'name = "a"\nsample = true\n{toml}')
        run(tmp_path / "shop", out=tmp_path / "out", folder=tmp_path / "books", resume=True, tell=lines.append)
    kept = [line.endswith("kept, nothing has changed") for line in lines if line.startswith("  01_a")]
    assert kept == [False, True, False, False]


@pytest.mark.parametrize(
    ("now", "late"),
    [
        ("2026-07-18T23:00", ""),
        ("2026-07-19T15:59", ""),  # a minute before midnight in Shanghai, on Sunday
        ("2026-07-19T16:00", "the data end on 2026-07-12, though week 2026-W29 is over: did an export not come?"),
        ("2026-01-01T00:00", ""),  # a clock that is wrong
    ],
)
def test_data_that_are_late(now: str, late: str):
    facts: Any = SimpleNamespace(timezone="Asia/Shanghai", sample=False, until="2026-07-12")
    time = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    assert weekly._late(facts, Week("2026-W28"), time) == late
    facts.sample = True
    assert weekly._late(facts, Week("2026-W28"), time) == ""


def test_late_data_are_told_where_no_week_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(weekly, "_late", lambda *_: "the export did not come")
    lines: list[str] = []
    report = _quick(tmp_path, "1", tell=lines.append)
    assert "the export did not come" in lines
    assert json.loads((report.folder / "status.json").read_text(encoding="utf-8"))["late"] == "the export did not come"
    report = _quick(tmp_path, "1", week="2026-W28", tell=lines.append)
    assert lines.count("the export did not come") == 1
    assert "late" not in json.loads((report.folder / "status.json").read_text(encoding="utf-8"))


def test_what_failed_in_all_languages_lies_there_in_the_first(tmp_path: Path):
    """There is no other edition without the first, so nothing of it lies where nobody would look after it."""
    bad = _quick(tmp_path, "1 / 0", languages=["en", "zh"])
    assert (bad.exit_code, bad.folder.name) == (2, "2026-W28.failed")
    assert not (bad.folder / "zh").exists()
    assert {path.name for path in bad.folder.rglob("*.ipynb")} == {"01_a.ipynb"}
    assert bad.table["language"].tolist() == ["en"]


ENDLESS = """
import sys
from pathlib import Path
from clvlib.report.runner import run
at = Path(sys.argv[1])
report = run(at / "shop", out=at / "reports", folder=at / "books", timeout=2)
print(report.table["error"].tolist())
"""


def test_a_notebook_that_never_ends(tmp_path: Path):
    shop_folder(tmp_path / "shop")
    notebook(tmp_path / "books", "01_a", ["import time\ntime.sleep(300)"])
    command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout == "['it was stopped after 2 seconds']\n"
    assert done.stderr == ""  # a log has the line that tells, and not what libraries say of it


def test_the_time_limit_is_for_all_cells_together(tmp_path: Path):
    book = read_notebook(notebook(tmp_path, "01_a", ["import time"] + ["time.sleep(0.8)"] * 8))
    assert execute(book, {}, timeout=3).error == "it was stopped after 3 seconds"


def test_a_kernel_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from jupyter_client.kernelspec import KernelSpec

    spec = KernelSpec(argv=["/bin/false", "{connection_file}"], language="python", display_name="broken")
    monkeypatch.setattr(Kernel, "kernel_spec", property(lambda _: spec))
    error = execute(read_notebook(notebook(tmp_path, "01_a", ["1"])), {}, timeout=20).error
    assert error.startswith("RuntimeError: Kernel died before replying")


def test_kernels_are_quiet_and_ignore_the_users_setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("print('hello'); planted = 1", encoding="utf-8")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    code = "import warnings\nwarnings.warn('noise')\nprint('planted' in globals())"
    node = execute(read_notebook(notebook(tmp_path, "01_a", [code])), {}, timeout=30).node
    outputs = node.cells[-1].outputs
    assert [(o.name, o.text) for o in outputs] == [("stdout", "False\n")]


def test_resume_runs_only_what_failed_or_changed(tmp_path: Path):
    source, folder, out = shop_folder(tmp_path / "shop"), tmp_path / "books", tmp_path / "reports"
    parameters = 'week: str = ""\noutput: str = ""\nlevel: float = 0.9'
    table = "import os, time\nos.makedirs(output + '/01_a')\nopen(output + '/01_a/t.csv', 'w').write(str(time.time()))"
    notebook(folder, "01_a", ["import time\nprint(time.time())", table], parameters=parameters)
    notebook(folder, "02_b", ["1 / 0"], parameters=parameters)

    def ran(**given: Any) -> set[str]:
        lines: list[str] = []
        run(source, out=out, folder=folder, tell=lines.append, resume=True, parameters=given)
        kept = {line.split(":")[0].strip() for line in lines if line.endswith("kept, nothing has changed")}
        return {"01_a", "02_b"} - kept

    def written() -> list[bytes]:
        return [(out / "2026-W28" / name).read_bytes() for name in ("01_a.ipynb", "tables/01_a/t.csv")]

    assert ran() == {"01_a", "02_b"}
    before = written()
    assert ran() == {"02_b"}  # which had failed
    notebook(folder, "02_b", ["1"], parameters=parameters)
    assert ran() == {"02_b"}
    assert ran() == set()
    assert written() == before
    assert ran(**{"02_b.level": 0.8}) == {"02_b"}
    (out / "2026-W28" / "02_b.ipynb").write_text("{}", encoding="utf-8")
    assert ran(**{"02_b.level": 0.8}) == {"02_b"}
    with (source / "orders.csv").open("a", encoding="utf-8") as orders:
        orders.write("c001,2026-06-03 10:00:00,10.00\n")
    assert ran() == {"01_a", "02_b"}
    assert written() != before


def test_what_took_longest_starts_first(tmp_path: Path):
    """By what the last report says; without one the notebook with the most code does."""
    shop_folder(tmp_path / "shop")
    for name, size in [("01_a", 1), ("02_b", 200), ("03_c", 400)]:
        notebook(tmp_path / "books", name, ["1" + " " * size])
    status = tmp_path / "reports" / "2026-W28" / "status.json"

    def order() -> list[str]:
        lines: list[str] = []
        run(tmp_path / "shop", out=tmp_path / "reports", folder=tmp_path / "books", jobs=1, tell=lines.append)
        return [line.split(":")[0].strip() for line in lines if ": done (" in line]

    assert order() == ["03_c", "02_b", "01_a"]
    told = json.loads(status.read_text(encoding="utf-8"))
    told["chapters"] = [
        chapter | {"seconds": seconds} for chapter, seconds in zip(told["chapters"], (5.0, 9.0, 1.0), strict=True)
    ]
    status.write_text(json.dumps(told), encoding="utf-8")
    assert order() == ["02_b", "01_a", "03_c"]
    status.write_text("{", encoding="utf-8")
    assert order() == ["03_c", "02_b", "01_a"]


def test_a_run_imports_nothing_that_only_kernels_need():
    """The front door stands before pandas, so that what kernels are forks of begins first; no run needs the others."""
    code = "import sys, clvlib.report.runner\nprint(*sys.modules)\nimport clvlib.report.weekly, clvlib.report.edition\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(*sys.modules)"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    first, then = (set(line.split()) for line in done.stdout.splitlines())
    assert not first & {"numpy", "pandas", "duckdb", "zmq", "papermill", "nbformat"}
    assert not then & {"scipy.stats", "matplotlib", "sklearn", "statsmodels", "seaborn"}
    assert {"pandas", "papermill", "scipy.special"} <= then


def test_editions_from_one_pool_are_those_of_runs_of_their_own(tmp_path: Path):
    shop_folder(tmp_path / "shop")
    for name in ("01_a", "02_b"):
        chapter = OPEN.replace("output=output", "output=output, lang=lang")
        cells = [chapter, "## What changed?", FIGURES, "import pathlib, time\nstarted = time.monotonic()"]
        show = "size = pathlib.Path(output, chapter.name, lang).write_text(f'{started} {time.monotonic()}')"
        wait = ["time.sleep(1)", show.replace("{", "{{").replace("}", "}}")]
        notebook(tmp_path / "books", name, [*cells, *wait], parameters=f'{PARAMETERS}\nlang: str = ""')

    def made(out: str, languages: list[str]) -> Path:
        report = run(tmp_path / "shop", out=tmp_path / out, folder=tmp_path / "books", languages=languages, jobs=4)
        assert report.exit_code == 0, report.table["error"].tolist()
        return report.folder

    both = made("both", ["en", "zh"])
    for code, place in (("en", both), ("zh", both / "zh")):
        alone = made(code, [code])
        for name in ("01_a.ipynb", "02_b.ipynb", "email.txt", "alerts.json"):
            ours = (
                (place / name).read_text(encoding="utf-8").replace("../tables", "tables").replace("../../../", "../../")
            )
            assert ours.replace("W28/zh/index", "W28/index") == (alone / name).read_text(encoding="utf-8"), name
        assert ('<html lang="zh' in (place / "index.html").read_text(encoding="utf-8")[:200]) == (code == "zh")
    for name in ("01_a", "02_b"):  # the second edition of a notebook waits for the first
        first, second = ((both / "tables" / name / code).read_text().split() for code in ("en", "zh"))
        assert float(first[1]) < float(second[0])


BACKFILL = """
import sys
from pathlib import Path
from clvlib.report.runner import run_weeks
base = Path(sys.argv[1])
weeks = [f"2026-W{w}" for w in range(23, 27)]
for report in run_weeks(base / "shop", weeks, base / "reports", folder=base / "books", resume=True):
    print(report.week, flush=True)
"""


@pytest.mark.slow
def test_a_backfill_that_is_killed_again_and_again(tmp_path: Path):
    """Whatever instant it dies in, what is published is whole, and the next attempt goes on from there."""
    shop_folder(tmp_path / "shop")
    notebook(
        tmp_path / "books", "01_a", [OPEN, "chapter.kpi('sold', 5)", "chapter.forecast('sold', 5, 1, 9, actual=4)"]
    )
    out, moments = tmp_path / "reports", np.random.default_rng(4)
    for seconds in [*moments.uniform(0.3, 3, size=3), 300.0]:
        command = [sys.executable, "-c", BACKFILL, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
            assert process.stdout is not None
            process.stdout.readline()  # the first week, made or kept
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        published = sorted(out.glob("2*"))
        assert published
        for folder in published:
            assert (folder / "index.html").read_text(encoding="utf-8").endswith("</html>")
            assert (folder / "status.json").exists()
    ledger = current(out, print)
    assert [row["week"] for row in ledger.rows("kpis", "Mini <shop>")] == [f"2026-W{w}" for w in range(23, 27)]
    assert all(row["revision"] == 1 for row in ledger.rows("entries", "Mini <shop>"))
    assert not list(out.glob(".staging*"))
    sentence = grades(ledger, "Mini <shop>", Week("2026-W27"), {}).sentence
    assert sentence.endswith("Of 3 forecasts due since 2026-W24, 3 fell inside their 90% intervals.")


# ---- before any kernel starts


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch):
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(weekly, "execute", never)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"parameters": {"horizn": 1}}, ParameterError, "no notebook of this run has a parameter 'horizn'"),
        ({"parameters": {"week": "x"}}, ParameterError, "'week' is set by the report itself"),
        ({"week": "2026-W54"}, ParameterError, "weeks 01 to 53"),
        ({"week": "next"}, ParameterError, "is no week and no span"),
        ({"week": "2027-W01"}, ParameterError, "outside the data"),
        ({"week": "2026-W20"}, ParameterError, "outside the data"),
        ({"notebooks": ["07"]}, ParameterError, "no notebook is called '07'; there are 01_a"),
        ({"notebooks": ["01_b"]}, ParameterError, "did you mean 01_a"),
        ({"jobs": 0}, ParameterError, "must be positive"),
    ],
)
def test_bad_input_is_refused_at_once(tmp_path: Path, no_kernel, options: dict, error: type[ClvError], says: str):
    with pytest.raises(error, match=says):
        _quick(tmp_path, "1", **options)
    assert not list((tmp_path / "reports").glob("2*"))


def test_sources_that_cannot_be_used(tmp_path: Path, no_kernel):
    notebook(tmp_path / "books", "01_a", ["1"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "header").mkdir()
    (tmp_path / "header" / "orders.csv").write_text("customer_id,ordered_at,amount\n", encoding="utf-8")
    (tmp_path / "column").mkdir()
    (tmp_path / "column" / "orders.csv").write_text("customer_id,amount\na,1\n", encoding="utf-8")
    for name, says in [("nowhere", "no such"), ("empty", "."), ("header", "."), ("column", "ordered_at")]:
        with pytest.raises(ClvError, match=says):
            run(tmp_path / name, out=tmp_path / "reports", folder=tmp_path / "books")


def test_no_notebooks(tmp_path: Path):
    with pytest.raises(ReportError, match="no notebook lies here"):
        select(folder=tmp_path)


def test_a_week_that_the_data_do_not_fill(tmp_path: Path):
    shop_folder(tmp_path / "shop", weeks=6)
    orders = (tmp_path / "shop" / "orders.csv").read_text(encoding="utf-8").splitlines()
    kept = [line for line in orders if "2026-07-1" not in line and "2026-06-1" not in line and "2026-06-2" not in line]
    (tmp_path / "shop" / "orders.csv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    report = _quick(tmp_path, "1", week="2026-W28")  # orders end on Thursday 9 July
    page = (report.folder / "index.html").read_text(encoding="utf-8")
    assert "The data end on 9 July 2026, before this week does" in page
    assert _quick(tmp_path, "1").week == "2026-W27"
    assert _quick(tmp_path, "1", week="2026-W25").exit_code == 0  # 15 to 21 June, without a single order


# ---- while writing


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    good = _quick(tmp_path, "print('good')")

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(edition, "_dump", full)
    with pytest.raises(ReportError, match="cannot write the report of 2026-W28: No space left on device"):
        _quick(tmp_path, "print('new')")
    assert "good" in (good.folder / "01_a.ipynb").read_text(encoding="utf-8")
    assert not list((tmp_path / "reports").glob(".staging*"))


def test_a_file_where_the_reports_go(tmp_path: Path, no_kernel):
    (tmp_path / "reports").write_text("", encoding="utf-8")
    with pytest.raises(ClvError, match="reports: File exists"):
        _quick(tmp_path, "1")


@pytest.mark.parametrize("after", [0.0, 4.0], ids=["before kernels start", "while they run"])
def test_stopped_from_the_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float):
    def interrupted(_: Any) -> None:
        time.sleep(after)
        raise KeyboardInterrupt

    monkeypatch.setattr(weekly._Tasks, "wait", interrupted)
    _stopped(tmp_path)


def test_stopped_while_a_thread_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its kernel is nobody's then: the run must end it, and wait for it, before it takes its folders away."""
    real = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        real(thread)
        monkeypatch.setattr(threading.Thread, "start", real)
        raise KeyboardInterrupt

    before = threading.enumerate()
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    _stopped(tmp_path)
    assert threading.enumerate() == before


def _stopped(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _quick(tmp_path, "import time\ntime.sleep(300)")
    assert time.monotonic() - started < 30
    assert not list((tmp_path / "reports").glob(".staging*"))


def test_a_thread_that_gives_up_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(edition, "settled", broken)
    with pytest.raises(ReportError, match="cannot write the report of 2026-W28: Input/output error"):
        _quick(tmp_path, "1")


def test_several_weeks_from_one_reading(tmp_path: Path):
    shop_folder(tmp_path / "shop")
    notebook(tmp_path / "books", "01_a", ["print(week)"], parameters='week: str = ""')
    lines: list[str] = []
    weeks = ["2026-W26", "2026-W27"]
    made = list(run_weeks(tmp_path / "shop", weeks, tmp_path / "reports", folder=tmp_path / "books", tell=lines.append))
    assert [report.week for report in made] == weeks
    assert sum(line.startswith("tables of") for line in lines) == 1


def test_a_store_that_was_prepared_before(tmp_path: Path):
    import clvlib as clv

    clv.connect(shop_folder(tmp_path / "shop"), store=tmp_path / "shop.duckdb").close()
    notebook(tmp_path / "books", "01_a", [OPEN])
    report = run(tmp_path / "shop.duckdb", out=tmp_path / "reports", folder=tmp_path / "books")
    assert report.exit_code == 0
