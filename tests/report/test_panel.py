"""The panel, driven without a browser: one kernel as JupyterLab starts it, in which cells press the buttons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

from clvlib.report.chapter import KPI
from clvlib.report.execute import execute
from clvlib.report.forkserver import started
from clvlib.report.harvest import harvest
from clvlib.report.kernel import forks_of
from clvlib.report.parameters import checked, read_notebook
from tests.report import books

VIEW = "application/vnd.jupyter.widget-view+json"
PARAMETERS = """\
source: str = "shop"
week: str = ""
output: str = ""
only: dict[str, str] = {}  # a part of the shop; empty: all of it
level: float = 0.95  # of the intervals, not "#1"
factor: int = 1
tiers: list[float] = [1000, 2]  # where they begin
fail: bool = False"""
SETUP = """\
import clvlib as clv
shop = clv.connect(source).where(**only)
chapter = clv.Chapter("{name}", shop, week=week, output=output)
clv.panel(shop)
span = (chapter.week.start, chapter.week.end)"""
REVENUE = """\
spent = shop.table("orders").query(f"SELECT sum(amount) AS s FROM {{{{t}}}} AS t WHERE day >= '{{span[0]}}' "
                                   f"AND day < '{{span[1]}}'")["s"].iloc[0]
chapter.kpi("revenue", factor * spent, level=level)
first = 1 / 0 if fail else 1"""
CELLS = ["## Revenue", REVENUE, "## Weeks", 'chapter.kpi("factor", factor)\nchapter.say(f"{{first}} week")']

# What somebody does at the panel. What it then shows has reached the kernel by the next cell.
DRIVE = """\
import json, os, sys
from pathlib import Path
from clvlib.report import panel as module
panel = module._shown

def set_to(**values):
    panel.reset.click()
    for name, value in values.items():
        panel.fields[name].write(value)
    panel.run.click()

def chosen():
    return {name: field.read() for name, field in panel.fields.items()}

def offered(choice):
    return [value for _, value in choice.options]"""
SEE = "[panel.message.value, panel.output.outputs, week]"
STEPS = {
    "open": ("", "[chosen(), offered(panel._weeks), offered(panel._parts['platform'])]"),
    "week": ("set_to(week='2026-W24')", SEE),
    "segment": ("set_to(week='2026-W25', only={'platform': 'Kuaishou'}, factor=2)", SEE),
    "bad list": ("panel.fields['tiers'].box.value = '[1, two]'; panel.run.click()", SEE),
    "bad number": ("panel.reset.click(); panel.fields['level'].box.value = float('inf'); panel.run.click()", SEE),
    "bad week": ("set_to(week='2031-W01')", SEE),
    "error": ("set_to(fail=True)", SEE),
    "reset": ("panel.reset.click()", "chosen()"),
    "other shop": ("set_to(source='later')", "[offered(panel._weeks), offered(panel._parts['platform'])]"),
    "module": ("Path('mine.py').write_text('def f(): return 1'); sys.path.insert(0, '.'); from mine import f", "f()"),
    "edited module": ("Path('mine.py').write_text('def f(): return 1 + 1')", "f()"),
    "no parameters": ("os.environ['JPY_SESSION_NAME'] = str(Path('none.ipynb').resolve()); clv.panel(shop)", "0"),
    "no widgets": ("sys.modules['ipywidgets'] = None; clv.panel(shop)", "0"),
}


def orders(start: int) -> str:
    """Two weeks of June 2026 and more: an order a day, of 100.50 and one more each day, on two platforms."""
    lines = ["customer_id,ordered_at,amount,platform"]
    for day in range(start, 28):
        platform = ("Douyin", "Douyin", "Kuaishou")[day % 3] if start == 0 else "Taobao"
        lines.append(f"c{day % 5},2026-06-{day + 1:02d} 10:00:00,{100 + day}.50,{platform}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook beside two shops."""
    folder = tmp_path_factory.mktemp("panel")
    for name, start in (("shop", 0), ("later", 14)):
        (folder / name).mkdir()
        (folder / name / "orders.csv").write_text(orders(start), encoding="utf-8")
    books.notebook(folder / "books", "01_mine", [SETUP, *CELLS], PARAMETERS)
    books.notebook(folder, "none", ["1"], "")
    (folder / "runtime").mkdir()
    (folder / "runtime" / f"jpserver-{os.getpid()}.json").write_text("{}")
    return folder


@pytest.fixture
def inherited(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all that is started from a notebook in JupyterLab finds in its environment."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "books" / "01_mine.ipynb"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))


def executed(folder: Path, cells: list[str]) -> Any:
    """The notebook in nbclient, with further cells at its end."""
    node = nbformat.read(folder / "books" / "01_mine.ipynb", as_version=4)
    node.cells += [new_code_cell(cell) for cell in cells]
    resources = {"metadata": {"path": str(folder)}}
    options = {"kernel_name": "python3", "timeout": 60, "shutdown_kernel": "immediate"}
    NotebookClient(node, resources=resources, **options).execute()
    return node


@pytest.fixture(scope="module")
def lab(folder: Path) -> Any:
    """The notebook with all steps done. This process plays JupyterLab's server: the kernel's parent, and listed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JPY_SESSION_NAME", str(folder / "books" / "01_mine.ipynb"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        pairs = [(do, f"print(json.dumps({see}))") for do, see in STEPS.values()]
        return executed(folder, [DRIVE, *(cell for pair in pairs for cell in pair)])


def reported(folder: Path, **parameters: Any) -> Any:
    """The notebook as the report runs it."""
    book = read_notebook(folder / "books" / "01_mine.ipynb")
    values = checked([book], {"source": str(folder / "shop"), **parameters})[book.name]
    with started() as server:
        kernel = forks_of(server)
        run = execute(book, values, timeout=60, kernel=kernel)
    assert not run.error
    return run.node


def outputs(lab: Any, step: str) -> list[Any]:
    """What the two cells of a step showed: what it did itself, what could be seen then."""
    place = len(lab.cells) - 2 * len(STEPS) + 2 * list(STEPS).index(step)
    return [lab.cells[place].outputs, lab.cells[place + 1].outputs]


def seen(lab: Any, step: str) -> Any:
    return json.loads(outputs(lab, step)[1][0].text)


def kpis(shown: list[Any]) -> dict[str, Any]:
    return {o["data"][KPI]["name"]: o["data"][KPI] for o in shown if KPI in o.get("data", {})}


def test_opens_with_the_notebooks_values_and_what_the_data_offer(lab: Any):
    values, weeks, platforms = seen(lab, "open")
    assert values == {
        "source": "shop", "week": "", "output": "", "only": {}, "level": 0.95, "factor": 1, "tiers": "[1000, 2]",
        "fail": False,
    }  # fmt: skip
    assert weeks == ["", "2026-W26", "2026-W25", "2026-W24", "2026-W23"]
    assert platforms == [None, "Douyin", "Kuaishou"]
    said = [s["state"]["value"] for s in states(lab, "HTMLModel")]
    assert "<small>of the intervals, not &quot;#1&quot;</small>" in said


def states(lab: Any, model: str) -> list[Any]:
    known = lab.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    return [state for state in known if state["model_name"] == model]


def test_one_panel_and_the_chapter_below_it(lab: Any):
    views = [o for cell in lab.cells for o in cell.get("outputs", []) if VIEW in o.get("data", {})]
    assert [list(view.data) for view in views] == [[VIEW]]
    _, shown, _ = seen(lab, "week")
    texts = [o["data"].get("text/markdown", o["data"]["text/plain"]) for o in shown]
    assert [text.split(" (")[0] for text in texts] == [
        "shop, week 2026-W24", "## Revenue", "Revenue: 774", "## Weeks", "Factor: 1", "1 week."
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("step", "week", "parameters", "revenue"),
    [
        ("week", "2026-W24", {}, 7 * 100.5 + sum(range(7, 14))),
        ("segment", "2026-W25", {"only": {"platform": "Kuaishou"}, "factor": 2}, 2 * (3 * 100.5 + 14 + 17 + 20)),
    ],
)
def test_figures_are_the_runners(
    lab: Any, folder: Path, step: str, week: str, parameters: dict[str, Any], revenue: float
):
    shown = kpis(seen(lab, step)[1])
    assert shown["revenue"]["value"] == revenue
    theirs = harvest(reported(folder, week=week, **parameters)).kpis
    assert shown == {kpi["name"]: kpi for kpi in theirs}


@pytest.mark.parametrize(
    ("step", "says"), [("bad list", "tiers: &#x27;[1, two]&#x27; is no list[float]"), ("bad number", "inf is no float")]
)
def test_what_the_runner_would_refuse_is_not_run(lab: Any, step: str, says: str):
    message, shown, week = seen(lab, step)
    assert says in message
    assert 'role="alert"' in message
    assert (shown, week) == tuple(seen(lab, "segment")[1:])


def test_errors_stand_in_red_where_they_happened(lab: Any):
    message, shown, _ = seen(lab, "bad week")
    assert "Stopped in “01_mine”" in message
    assert [o["output_type"] for o in shown] == ["display_data"]
    assert "outside the data, which run from 2026-06-01" in shown[0]["data"]["text/html"]
    assert "Traceback" not in shown[0]["data"]["text/html"]
    message, shown, _ = seen(lab, "error")
    assert "Stopped in “Revenue”" in message
    assert list(kpis(shown)) == ["revenue"]  # what comes after was not run
    html = shown[-1]["data"]["text/html"]
    assert html.startswith('<p role="alert" style="color: ')
    assert "Revenue: ZeroDivisionError: division by zero</p>" in html
    assert "first = 1 / 0 if fail else 1" in html


def test_reset(lab: Any):
    assert seen(lab, "reset") == seen(lab, "open")[0]


def test_another_source_offers_its_own_weeks_and_segments(lab: Any):
    assert seen(lab, "other shop") == [["", "2026-W26", "2026-W25"], [None]]  # it is on one platform


def test_changed_modules_are_loaded_anew(lab: Any):
    assert (seen(lab, "module"), seen(lab, "edited module")) == (1, 2)


def test_nothing_to_show_a_panel_of(lab: Any):
    done, _ = outputs(lab, "no parameters")
    assert "0 code cells carry the tag" in done[0]["data"]["text/html"]
    assert outputs(lab, "no widgets")[0] == []


def is_silent(node: Any) -> bool:
    return [len(cell.outputs) for cell in node.cells if "clv.panel" in cell.source] == [1]  # the chapter's own


@pytest.mark.usefixtures("inherited")
def test_silent_in_nbclient(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "nobody").mkdir()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "nobody"))  # this process is no server
    node = executed(folder, ["print('autoreload' in str(get_ipython().extension_manager.loaded))"])
    assert is_silent(node)
    assert node.cells[-1].outputs[0].text == "False\n"


@pytest.mark.usefixtures("inherited")
def test_silent_in_papermill_and_in_a_report(folder: Path, tmp_path: Path):
    book = str(folder / "books" / "01_mine.ipynb")
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--log-level", "ERROR", book, "out.ipynb"]
    done = subprocess.run([*command, "--cwd", str(folder)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert is_silent(nbformat.read(tmp_path / "out.ipynb", as_version=4))
    assert is_silent(reported(folder))


@pytest.mark.usefixtures("inherited")
def test_nbval_passes_on_what_was_saved_in_lab(lab: Any, folder: Path):
    saved = nbformat.v4.new_notebook(cells=lab.cells[: -1 - 2 * len(STEPS)], metadata=lab.metadata)
    nbformat.write(saved, folder / "saved.ipynb")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "saved.ipynb"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
