"""The report's front door: it starts what kernels are forks of, and checks what is asked for, before all else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clvlib.data.calendar import Week, week_span
from clvlib.data.scratch import Scratch
from clvlib.errors import ParameterError, ReportError
from clvlib.report import forkserver
from clvlib.report.parameters import Notebook, checked, read_notebook
from clvlib.report.pdf import browser
from clvlib.words import LANGUAGES

if TYPE_CHECKING:
    from clvlib.report.weekly import Report

__all__ = ["NOTEBOOKS", "run", "run_weeks", "select"]

NOTEBOOKS = (Path(__file__).parents[1] / "notebooks").resolve()  # in a checkout a link to those beside the library
_OURS = ("source", "week", "output", "lang")  # parameters that the runner itself sets


def _quiet(_: str) -> None:
    """Tell nobody."""


def select(names: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Notebook]:
    """Read the report's notebooks, or those of them that are named.

    Parameters
    ----------
    names : sequence of str
        Such as ``03`` or ``03_clv``; none: all.
    folder : pathlib.Path
        Where they lie.

    Raises
    ------
    ParameterError
        A name fits none.
    ReportError
        There are none, or one cannot be read.
    """
    paths = sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))
    if not paths:
        raise ReportError(f"{folder}: no notebook lies here")
    if not names:
        return [read_notebook(path) for path in paths]
    wanted: list[Path] = []
    for name in names:
        fits = [path for path in paths if name in {path.stem, path.stem.partition("_")[0], path.name}]
        if not fits:
            near = get_close_matches(name, [path.stem for path in paths], n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(path.stem for path in paths)}"
            raise ParameterError(f"no notebook is called {name!r}; {hint}")
        wanted += [path for path in fits if path not in wanted]
    return [read_notebook(path) for path in sorted(wanted)]


def run(source: str | Path, week: str = "", out: str | Path = "reports", **options: Any) -> Report:
    """Make the report of one week; see :func:`run_weeks` for the options.

    Parameters
    ----------
    source : str or pathlib.Path
        What :func:`clvlib.connect` accepts.
    week : str
        Such as ``2026-W46``; empty: the last complete week in the data.
    out : str or pathlib.Path
        Folder of the reports.

    Returns
    -------
    Report
    """
    return next(run_weeks(source, [week], out, **options))


def run_weeks(
    source: str | Path,
    weeks: Sequence[str],
    out: str | Path = "reports",
    *,
    mapping: str | Path | None = None,
    notebooks: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    jobs: int = 2,
    timeout: float = 1800,
    resume: bool = False,
    languages: Sequence[str] = (),
    folder: Path = NOTEBOOKS,
    pdf: bool | str = False,
    tell: Callable[[str], None] = _quiet,
) -> Iterator[Report]:
    """Make the reports of several weeks from tables that are read and checked once.

    Parameters
    ----------
    source, out
        As in :func:`run`.
    weeks : sequence of str
        Each one week, or several such as ``2026-W20..2026-W46``; an empty text is the last complete week.
    mapping : str or pathlib.Path, optional
        How to read the source, as in :func:`clvlib.connect`.
    notebooks : sequence of str
        Which ones, such as ``["01", "03_clv"]``; none: all in ``folder``.
    parameters : mapping
        Values by name, or by ``notebook.name``.
    jobs : int
        How many notebooks run at a time.
    timeout : float
        Seconds that one notebook may take.
    resume : bool
        Take over what the published report of a week has, where notebook, parameters, data and all versions are the
        same; what failed or has changed runs.
    languages : sequence of str
        Codes of :data:`clvlib.words.LANGUAGES`: the first is the language of the report, each further one has an
        edition in a folder of its name inside; none: the language that the shop's configuration names.
    folder : pathlib.Path
        Where the source notebooks lie.
    pdf : bool or str
        Whether ``index.pdf`` lies beside the page too; a string names the browser that prints it.
    tell : callable
        Receives a line at each step.

    Yields
    ------
    Report
        One per week, as it is published.

    Raises
    ------
    ClvError
        A parameter, a week, a notebook, the data or the browser cannot be used (before any kernel starts), another run
        writes the same week, or the report cannot be written.
    """
    _refuse(jobs, timeout, parameters or {}, languages)
    with closing(Scratch()) as aside, forkserver.started(aside.path) as server:
        program = browser(pdf if isinstance(pdf, str) else "") if pdf else ""
        chosen = select(notebooks, folder)
        given = checked(chosen, parameters or {})
        for asked in filter(None, weeks):
            week_span(asked, Week.containing(dt.date.max))
        # in the time that these imports take the server has its own
        from clvlib.report.kernel import forks_of
        from clvlib.report.plan import Plan
        from clvlib.report.weekly import reports

        place, disk = Path(out).resolve(), aside.path
        kernel = forks_of(server, disk)
        plan = Plan(source, mapping, place, chosen, given, jobs, timeout, tell, program, kernel, disk, resume=resume)
        yield from reports(plan, weeks, languages)


def _refuse(jobs: int, timeout: float, parameters: Mapping[str, Any], languages: Sequence[str]) -> None:
    if jobs < 1 or timeout <= 0:
        raise ParameterError(f"jobs is {jobs} and timeout {timeout:g}; both must be positive")
    for name in _OURS:
        if name in parameters:
            raise ParameterError(f"parameter {name!r} is set by the report itself (--source, --week, --out, --lang)")
    unknown = [code for code in languages if code not in LANGUAGES]
    if unknown:
        raise ParameterError(f"language {unknown[0]!r} is none of {', '.join(LANGUAGES)}")
