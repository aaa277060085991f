"""Guards over the source notebooks: they read as a story, and nbval has something to compare.

nbval passes silently over a cell without stored output, so a stripped notebook would test nothing.
"""

from __future__ import annotations

import ast
import copy
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

from clvlib.report.chapter import HEADER
from clvlib.report.parameters import read_notebook

FOLDER = Path(__file__).parents[1] / "notebooks"
NAMES = ("01_audience_profile", "02_funnel", "03_clv", "04_abtest")
UNCHECKED = {"nbval-ignore-output", "nbval-skip"}
MOST_CELLS = 30

# a folder of somebody's machine, a temporary one, a Windows drive; a link such as https://… is none
_MACHINE = re.compile(
    r"(?<![\w./:])/(?:home|Users|root|tmp|work|var|private|opt|mnt)/\w|\b[A-Za-z]:\\\\?\w|site-packages"
)


def code_cells(node: Any) -> list[Any]:
    return [cell for cell in node.cells if cell.cell_type == "code"]


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


def texts(cell: Any) -> list[str]:
    """All words that a cell shows."""
    found: list[str] = []
    for output in cell.outputs:
        found.append(output.get("text", ""))
        found += [str(content) for kind, content in output.get("data", {}).items() if not kind.startswith("image/")]
    return found


def definitions(source: str) -> list[str]:
    """Names of the functions and classes that code defines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    return [getattr(found, "name", "a lambda") for found in ast.walk(ast.parse(source)) if isinstance(found, kinds)]


def faults(node: Any) -> list[str]:
    """What is wrong with a notebook, a line for each."""
    said: list[str] = []
    cells = code_cells(node)
    for number, cell in enumerate(cells, 1):
        where = f"code cell {number} ({cell.source.strip().splitlines()[0] if cell.source.strip() else 'empty'})"
        said += [f"{where}: defines {name}; computation belongs into clvlib" for name in definitions(cell.source)]
        for output in cell.outputs:
            if output.output_type == "error":
                said.append(f"{where}: stores the error {output.ename}")
            if output.output_type == "stream" and output.name == "stderr":
                said.append(f"{where}: stores a warning: {output.text.strip().splitlines()[0]}")
            image = output.get("data", {}).get("image/png")
            if image and not output.metadata.get("image/png", {}).get("alt"):
                said.append(f"{where}: shows a picture without alternative text; use chapter.figure")
        said += [f"{where}: shows the machine's path {m.group()}…" for t in texts(cell) for m in _MACHINE.finditer(t)]
        if "parameters" not in tags(cell) and not tags(cell) & UNCHECKED and not cell.outputs:
            said.append(f"{where}: has no stored output, so nbval would compare nothing")
    if [cell.execution_count for cell in cells] != list(range(1, len(cells) + 1)):
        said.append("the cells were not run once, in order, in a fresh kernel: run all and save")
    if len(node.cells) > MOST_CELLS:
        said.append(f"{len(node.cells)} cells; a story has {MOST_CELLS} at most")
    if node.metadata.get("kernelspec", {}).get("name") != "python3":
        said.append("its kernel is not python3")
    return said


def story(node: Any) -> list[str]:
    """Breaks of the form: a title, text before each section's code, an opening that says week and sample."""
    said: list[str] = []
    if node.cells[0].cell_type != "markdown" or not node.cells[0].source.startswith("# "):
        said.append("it does not begin with its title")
    if not any(cell.cell_type == "markdown" and cell.source.startswith("## ") for cell in node.cells):
        said.append("it has no sections")
    if not any(HEADER in output.get("data", {}) for cell in code_cells(node) for output in cell.outputs):
        said.append("no cell opens a Chapter")
    return said


@pytest.fixture(params=NAMES)
def path(request: pytest.FixtureRequest) -> Path:
    return FOLDER / f"{request.param}.ipynb"


def test_no_other_notebooks():
    assert sorted(p.stem for p in FOLDER.glob("*.ipynb")) == sorted(NAMES)


def test_parameters(path: Path):
    parameters = read_notebook(path).parameters
    ours = {name: (p.annotation, p.default) for name, p in parameters.items() if name in {"source", "week", "output"}}
    assert ours == {"source": ("str", "../data/sample"), "week": ("str", ""), "output": ("str", "")}
    first = code_cells(nbformat.read(path, as_version=4))[0]
    assert "parameters" in tags(first)
    unexplained = [line for line in first.source.splitlines() if line.strip() and "#" not in line]
    assert not unexplained


def test_no_faults(path: Path):
    node = nbformat.read(path, as_version=4)
    assert (node.nbformat, node.nbformat_minor) >= (4, 5)
    assert faults(node) == []


def test_reads_as_a_story(path: Path):
    assert story(nbformat.read(path, as_version=4)) == []


def test_name_of_the_chapter(path: Path):
    node = nbformat.read(path, as_version=4)
    headers = [o.data[HEADER] for c in code_cells(node) for o in c.outputs if HEADER in o.get("data", {})]
    assert [header["chapter"] for header in headers] == [path.stem]
    assert headers[0]["sample"] is True


# ---- the guards themselves


@pytest.fixture
def good() -> Any:
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    shown = new_output("display_data", data={"text/plain": "x", HEADER: {}})
    picture = new_output("display_data", data={"image/png": "x"}, metadata={"image/png": {"alt": "A line"}})
    return new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        cells=[
            new_markdown_cell("# Title"),
            new_code_cell("a: int = 1", metadata={"tags": ["parameters"]}, execution_count=1),
            new_markdown_cell("## Section"),
            new_code_cell("a", outputs=[shown], execution_count=2),
            new_code_cell("b", outputs=[picture], execution_count=3),
        ],
    )


def _stripped(node: Any) -> None:
    node.cells[3].outputs = []


def _renumbered(node: Any) -> None:
    node.cells[3].execution_count = 7


def _function(node: Any) -> None:
    node.cells[3].source = "def f(x):\n    return x"


def _lambda(node: Any) -> None:
    node.cells[3].source = "f = lambda x: x"


def _path(node: Any) -> None:
    node.cells[3].outputs[0].data["text/plain"] = "saved to /home/me/shop"


def _error(node: Any) -> None:
    node.cells[3].outputs = [nbformat.v4.new_output("error", ename="E", evalue="x", traceback=[])]


def _warning(node: Any) -> None:
    node.cells[3].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="careful"))


def _no_alt(node: Any) -> None:
    node.cells[4].outputs[0].metadata = {}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_stripped, "no stored output"), (_renumbered, "not run once, in order"), (_function, "defines f"),
        (_lambda, "defines a lambda"), (_path, "the machine's path /home/m"), (_error, "stores the error E"),
        (_warning, "stores a warning: careful"), (_no_alt, "without alternative text"),
    ],
)  # fmt: skip
def test_the_guards_see(good: Any, spoil: Any, says: str):
    assert faults(good) == story(good) == []
    bad = copy.deepcopy(good)
    spoil(bad)
    assert len(faults(bad)) == 1
    assert says in faults(bad)[0]
