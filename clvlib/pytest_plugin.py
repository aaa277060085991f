"""A plugin of pytest that holds what notebooks store against what they say today.

``pytest --clv-notebooks notebooks/*.ipynb`` executes each notebook and compares, by name and within a tolerance, its
key figures, forecasts, alerts, tables, sentences and the data behind its figures; ``--clv-accept`` stores what it says
today. Where nbval runs the same notebooks in the same session, its execution is used. Tolerances are set in the
configuration of pytest, a line each, and the last one that fits a record counts::

    clv_tolerance = ["03_clv = 1e-5", "03_clv/kpi/repeat_rate = 1e-3", "*/figure/* = 1e-4 1e-6"]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["NotebookFile", "StoredOutputs", "pytest_addoption", "pytest_collect_file"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("clvlib", "what notebooks store against what they say today")
    group.addoption(
        "--clv-notebooks", action="store_true", help="execute each notebook and compare it with its stored outputs"
    )
    group.addoption("--clv-accept", action="store_true", help="store what each notebook says today")
    group.addoption(
        "--clv-timeout", type=float, default=600.0, metavar="SECONDS", help="for all cells of a notebook (%(default)g)"
    )
    parser.addini(
        "clv_tolerance",
        type="linelist",
        default=[],
        help="how far numbers may move, as 'notebook/kind/name = relative [absolute]' with * and ?; last match counts",
    )


@pytest.hookimpl(trylast=True)  # behind nbval, whose execution is then there
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> NotebookFile | None:
    """Collect notebooks where asked to."""
    option = parent.config.option
    if file_path.suffix != ".ipynb" or not (option.clv_notebooks or option.clv_accept):
        return None
    collected: NotebookFile = NotebookFile.from_parent(parent, path=file_path)
    return collected


class NotebookFile(pytest.File):
    """A notebook, which holds one check."""

    def collect(self) -> Iterator[pytest.Item]:
        """Return the check."""
        yield StoredOutputs.from_parent(self, name="stored outputs")


class StoredOutputs(pytest.Item):
    """What a notebook stores is what it says today."""

    def runtest(self) -> None:
        """Execute and compare, or store."""
        from clvlib.errors import ClvError

        try:
            told = self._told()
        except ClvError as error:
            told = str(error)
        if told:
            pytest.fail(told, pytrace=False)

    def _told(self) -> str:
        """Return what is to be said of the notebook; nothing where all is well."""
        from clvlib.report import regression
        from clvlib.report.parameters import read_notebook

        option = self.config.option
        known = regression.tolerances(self.config.getini("clv_tolerance"))
        stored = read_notebook(self.path).node
        if not option.clv_accept and not regression.is_stored(stored):
            return "nothing is stored: run all cells and save, or store it with --clv-accept"
        outputs = self._run_by_nbval(stored)
        if outputs is None:
            node = regression.fresh(self.path, option.clv_timeout)
        else:
            node = regression.with_outputs(stored, outputs)
        if option.clv_accept:
            regression.accept(self.path, node)
            return ""
        found = regression.compare(self.path.stem, stored, node, known, self._clean())
        many = f"{len(found):,} difference{'s' if len(found) > 1 else ''} between what is stored and what it says today"
        return f"{many}; where this is meant, store it with --clv-accept\n{regression.story(found)}" if found else ""

    def _run_by_nbval(self, node: Any) -> list[Any] | None:
        """Return the outputs of each code cell where nbval has just executed all of them."""
        cells = [item for item in self.session.items if item.path == self.path and hasattr(item, "test_outputs")]
        outputs = [cell.test_outputs for cell in cells]
        whole = len(outputs) == sum(cell.cell_type == "code" for cell in node.cells) and None not in outputs
        return outputs if whole else None

    def _clean(self) -> Callable[[str], str]:
        """Return what nbval's file of patterns, the one that both share, takes out of texts."""
        import re

        file = self.config.getoption("nbval_sanitize_with", None)
        text = Path(file).read_text(encoding="utf-8") if file else ""
        pairs = re.findall(r"^regex: (.*)$\n^replace: (.*)$", text, re.MULTILINE)

        def clean(said: str) -> str:
            for pattern, instead in pairs:
                said = re.sub(pattern, instead, said)
            return said

        return clean

    def reportinfo(self) -> tuple[Path, None, str]:
        """Say what is checked."""
        return self.path, None, f"{self.path.name}: {self.name}"
