"""What a run makes: what was asked for, and each edition of a week's report, before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clvlib.data.calendar import Week
from clvlib.data.remote import without_password
from clvlib.report.facts import Facts, digest
from clvlib.report.kernel import Kernel
from clvlib.report.parameters import Notebook

__all__ = ["Edition", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What was asked for, checked as far as it can be without the data.

    Attributes
    ----------
    source, mapping
        As in :func:`clvlib.connect`.
    out : pathlib.Path
        Folder of the reports.
    notebooks : list of Notebook
        In the order of the chapters.
    parameters : mapping
        What to pass, by the name of the notebook.
    jobs, timeout, tell, resume
        As in :func:`clvlib.report.runner.run_weeks`.
    browser : str
        The program that prints the page; empty where it is not printed.
    kernel : type of Kernel
        What kernels are made by.
    scratch : pathlib.Path
        Folder that is removed when the run has ended.
    """

    source: str | Path
    mapping: str | Path | None
    out: Path
    notebooks: list[Notebook]
    parameters: Mapping[str, Mapping[str, Any]]
    jobs: int
    timeout: float
    tell: Callable[[str], None]
    browser: str
    kernel: type[Kernel]
    scratch: Path
    resume: bool


@dataclass(frozen=True)
class Edition:
    """A week's report in one language.

    Attributes
    ----------
    plan : Plan
        What was asked for.
    facts : mapping of str to Facts
        The shop, by the language of the words in it; the first is that of the report.
    language : str
        Its own.
    week : Week
        Of the report.
    store : pathlib.Path
        The checked tables.
    staged : pathlib.Path
        Folder of the report in the making.
    """

    plan: Plan
    facts: Mapping[str, Facts]
    language: str
    week: Week
    store: Path
    staged: Path

    @property
    def place(self) -> str:
        """Its folder inside that of the week; empty for the first edition."""
        return "" if self.language == next(iter(self.facts)) else self.language

    @property
    def folder(self) -> Path:
        """Where it is made."""
        return self.staged / self.place

    @property
    def target(self) -> Path:
        """Where it is published."""
        return self.plan.out / self.week.label / self.place

    @property
    def source(self) -> str:
        """Where the data came from, as it may be told."""
        return without_password(str(self.plan.source))

    @property
    def own_facts(self) -> Facts:
        """The shop, in its language."""
        return self.facts[self.language]

    def values(self, book: Notebook) -> dict[str, Any]:
        """Return what a notebook is run with."""
        ours = self._ours(str(self.store), str(self.staged / "tables"))
        return {k: v for k, v in ours.items() if k in book.parameters} | dict(self.plan.parameters[book.name])

    def published(self, book: Notebook) -> dict[str, Any]:
        """Return with what a notebook can be run again from where it is published."""
        ours = self._ours(self._origin(), "../tables" if self.place else "tables")
        defaults = {name: ours.get(name, parameter.default) for name, parameter in book.parameters.items()}
        return defaults | dict(self.plan.parameters[book.name])

    def wanted(self) -> dict[str, dict[str, Any]]:
        """Return, by notebook, what its chapter is made from, as the manifest has it."""
        books = self.plan.notebooks
        return {book.name: {"sha256": digest(book.path), "parameters": self.published(book)} for book in books}

    def _ours(self, source: str, output: str) -> dict[str, Any]:
        own = {"source": source, "week": self.week.label, "output": output, "lang": self.language}
        return own | dict(self.own_facts.configured)

    def _origin(self) -> str:
        """Return where the data came from, as seen from where the report is published where that is a file."""
        origin = Path(self.source)
        return Path(os.path.relpath(origin.resolve(), self.target)).as_posix() if origin.exists() else self.source
