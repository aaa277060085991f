"""From a shop to a published report: check, prepare once, execute the notebooks side by side, publish at once."""

from __future__ import annotations

import datetime as dt
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbformat import NotebookNode

from clvlib.data.calendar import Week, week_span
from clvlib.data.connect import connect
from clvlib.data.privacy import keyed
from clvlib.data.remote import without_password
from clvlib.errors import ParameterError, ReportError
from clvlib.report.archive import refresh
from clvlib.report.execute import Execution, execute
from clvlib.report.facts import Facts, digest, facts_of, versions
from clvlib.report.harvest import Harvest, harvest
from clvlib.report.kernel import Kernel, warm_kernels
from clvlib.report.ledger import ALERTS, GRADES, Ledger, current
from clvlib.report.lists import graded
from clvlib.report.locale import translated
from clvlib.report.mail import mail_html, mail_text
from clvlib.report.page import compose, render
from clvlib.report.parameters import Notebook, checked, literal, read_notebook
from clvlib.report.pdf import browser, write_pdf
from clvlib.report.publish import locked, publish, staging
from clvlib.report.resume import take_over
from clvlib.report.summary import SEVERITIES
from clvlib.result import Result
from clvlib.words import LANGUAGES, language, speaking

__all__ = ["NOTEBOOKS", "Report", "run", "run_weeks", "select"]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
_OURS = ("source", "week", "output", "lang")  # parameters that the runner itself sets


def _quiet(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Report(Result):
    """What a run came to; ``table`` has a row per chapter: chapter, status, error, seconds, kpis, alerts, language.

    Attributes
    ----------
    week : str
        ISO week.
    folder : pathlib.Path
        Where the report lies.
    exit_code : int
        0: all is there; 1: published, with failed chapters in it or without the PDF that was asked for; 2: no chapter
        succeeded, and what was published before stands.
    """

    week: str
    folder: Path
    exit_code: int


@dataclass(frozen=True)
class _Plan:
    """One run, checked before anything starts."""

    source: str
    mapping: str
    out: Path
    notebooks: list[Notebook]
    parameters: dict[str, dict[str, Any]]
    jobs: int
    timeout: float
    tell: Callable[[str], None]
    resume: bool
    kernel: type[Kernel]
    browser: str


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
    _refuse(jobs, timeout, parameters or {})
    program = browser(pdf if isinstance(pdf, str) else "") if pdf else ""
    unknown = [code for code in languages if code not in LANGUAGES]
    if unknown:
        raise ParameterError(f"language {unknown[0]!r} is none of {', '.join(LANGUAGES)}")
    chosen = select(notebooks, folder)
    given = checked(chosen, parameters or {})
    for asked in filter(None, weeks):
        week_span(asked, Week.containing(dt.date.max))
    with (
        keyed(Path(out)),
        warm_kernels() as kernel,
        _prepared(source, mapping, weeks, languages, tell) as (facts, store, which),
    ):
        where = (without_password(str(source)), str(mapping or ""), Path(out).resolve())
        plan = _Plan(*where, chosen, given, jobs, timeout, tell, resume, kernel, program)
        for week in which:
            report = _report(plan, facts, store, week)
            with speaking(next(iter(facts))):
                refresh(plan.out, tell)
            yield report


def _refuse(jobs: int, timeout: float, parameters: Mapping[str, Any]) -> None:
    if jobs < 1 or timeout <= 0:
        raise ParameterError(f"jobs is {jobs} and timeout {timeout:g}; both must be positive")
    for name in _OURS:
        if name in parameters:
            raise ParameterError(f"parameter {name!r} is set by the report itself (--source, --week, --out, --lang)")


@contextmanager
def _prepared(
    source: str | Path,
    mapping: str | Path | None,
    labels: Sequence[str],
    languages: Sequence[str],
    tell: Callable[[str], None],
) -> Iterator[tuple[dict[str, Facts], Path, list[Week]]]:
    """Read and check the tables once, into a file from which each kernel starts at once."""
    with tempfile.TemporaryDirectory(prefix="clvlib-") as scratch:
        started = time.monotonic()
        store = _store(source, mapping, Path(scratch) / "shop.duckdb")
        shop = connect(store)
        try:
            weeks = [week for label in labels for week in shop.weeks(label)]
            facts = {code: _told(shop, code) for code in languages or [shop.config.language]}
            tell(f"tables of {shop.name} checked ({_seconds(time.monotonic() - started)})")
        finally:
            shop.close()
        yield facts, store, weeks


def _told(shop: Any, code: str) -> Facts:
    with speaking(code):
        return facts_of(shop)


def _store(source: str | Path, mapping: str | Path | None, file: Path) -> Path:
    """Return a file of checked tables: ``file``, or the source itself where it is one already."""
    try:
        connect(source, mapping=mapping, store=file).close()
    except ParameterError:
        if mapping is not None:
            raise
        connect(source).close()
        return Path(source).resolve()
    return file


def _report(plan: _Plan, facts: Mapping[str, Facts], store: Path, week: Week) -> Report:
    with locked(plan.out, week.label), staging(plan.out, week.label) as staged:
        past = current(plan.out, plan.tell)
        plan.tell(f"week {week.label} ({week.start} to {week.as_of})")
        made: list[Report] = []
        lists = _lists(plan, store, week, past)
        for code in facts:
            with speaking(code):
                made.append(_edition(plan, facts, store, week, staged, past, lists))
            if made[0].exit_code == 2:
                break
        target, worst = made[0].folder, max(report.exit_code for report in made)
        publish(staged, target)
        _remember(plan)
    table = pd.concat([report.table for report in made], ignore_index=True)
    return Report(table=table, week=week.label, folder=target, exit_code=2 if made[0].exit_code == 2 else min(worst, 1))


def _lists(plan: _Plan, store: Path, week: Week, past: Ledger) -> list[dict[str, Any]]:
    shop = connect(store)
    try:
        return graded(past, plan.out, shop, week)
    finally:
        shop.close()


def _edition(
    plan: _Plan,
    facts: Mapping[str, Facts],
    store: Path,
    week: Week,
    staged: Path,
    past: Ledger,
    lists: list[dict[str, Any]],
) -> Report:
    """Make the report in the language spoken now: the first in the staging folder, others in folders of their own."""
    started, clock = dt.datetime.now(dt.UTC), time.monotonic()
    own, (first, *_) = language(), facts
    place = Path() if own == first else Path(own)
    (staged / place).mkdir(exist_ok=True)
    target = plan.out / week.label / place
    values = {book.name: _values(plan, book, store, week, staged) for book in plan.notebooks}
    wanted = _wanted(plan, week, target, place)
    kept = take_over(target, staged / place, facts[own], wanted) if plan.resume else {}
    runs = _execute_all(plan, values, kept)
    harvests = {run.name: harvest(run.node) for run in runs}
    failed = sum(bool(run.error) for run in runs)
    code = 0 if not failed else 1 if failed < len(runs) else 2
    target = target if code < 2 or place.name else plan.out / f"{week.label}.failed"
    table = _table(runs, harvests).assign(language=own)
    times = {"started": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - clock, 2)}
    try:
        said = _write(plan, facts, week, staged / place, runs, harvests, target, past, lists)
        printed = _print(plan, staged / place) if code < 2 else {}
        code = max(code, int(printed.get("status") == "failed"))
        status = {"week": week.label, "status": ("ok", "partial", "failed")[code], "exit_code": code, **times}
        status |= {"shop": facts[own].name, "language": own, "sentence": said["sentence"]}
        status |= {"alerts": _counted(said["alerts"])} | ({"pdf": printed} if printed else {})
        _dump(staged / place / "status.json", status | {"chapters": table.to_dict("records")})
    except OSError as error:
        raise ReportError(f"cannot write the report of {week.label}: {error.strerror or error}") from error
    return Report(table=table, week=week.label, folder=target, exit_code=code)


def _print(plan: _Plan, staged: Path) -> dict[str, str]:
    """Return what the status says of the PDF, or nothing where none is wanted; without it the report is a report."""
    if not plan.browser:
        return {}
    try:
        write_pdf(staged / "index.html", staged / "index.pdf", plan.browser)
    except ReportError as error:
        plan.tell(f"  the page is not printed: {error}")
        return {"status": "failed", "error": str(error)}
    return {"status": "ok", "error": ""}


def _remember(plan: _Plan) -> None:
    try:
        current(plan.out, plan.tell)
    except ReportError as error:
        plan.tell(f"the report is published, and not in the ledger yet: {error}. The next run adds it")


def _values(plan: _Plan, book: Notebook, store: Path, week: Week, staged: Path) -> dict[str, Any]:
    ours = {"source": str(store), "week": week.label, "output": str(staged / "tables"), "lang": language()}
    return {k: v for k, v in ours.items() if k in book.parameters} | plan.parameters[book.name]


def _wanted(plan: _Plan, week: Week, target: Path, place: Path) -> dict[str, dict[str, Any]]:
    return {
        book.name: {"sha256": digest(book.path), "parameters": _published_values(plan, book, week, target, place)}
        for book in plan.notebooks
    }


def _execute_all(
    plan: _Plan, values: Mapping[str, Mapping[str, Any]], kept: Mapping[str, NotebookNode]
) -> list[Execution]:
    done = [Execution(name, node, "", "", 0.0) for name, node in kept.items()]
    for name in kept:
        plan.tell(f"  {name}: kept, nothing has changed")
    with ThreadPoolExecutor(plan.jobs) as pool:
        books = [book for book in plan.notebooks if book.name not in kept]
        books.sort(key=lambda book: -book.path.stat().st_size)  # what is likely to take longest does not come last
        futures = [pool.submit(execute, book, values[book.name], plan.timeout, kernel=plan.kernel) for book in books]
        try:
            for future in as_completed(futures):
                run = future.result()
                done.append(run)
                plan.tell(f"  {run.name}: {run.error or 'done'} ({_seconds(run.seconds)})")
        except BaseException:
            for future in futures:
                future.cancel()
            plan.kernel.kill_all()
            raise
    return sorted(done, key=lambda run: run.name)


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _table(runs: list[Execution], harvests: Mapping[str, Harvest]) -> pd.DataFrame:
    rows = [
        {
            "chapter": run.name,
            "status": "failed" if run.error else "ok",
            "error": run.error,
            "seconds": round(run.seconds, 2),
            "kpis": len(harvests[run.name].kpis),
            "alerts": len(harvests[run.name].alerts),
        }
        for run in runs
    ]
    return pd.DataFrame(rows)


def _counted(raised: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {severity: sum(alert["severity"] == severity for alert in raised) for severity in SEVERITIES}


def _dump(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")


def _write(
    plan: _Plan,
    facts: Mapping[str, Facts],
    week: Week,
    staged: Path,
    runs: list[Execution],
    harvests: Mapping[str, Harvest],
    target: Path,
    past: Ledger,
    lists: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write all files but the status, and return what the page says."""
    own, (first, *_) = language(), facts
    place = Path() if own == first else Path(own)
    books: dict[str, dict[str, Any]] = {}
    for run, book in zip(runs, plan.notebooks, strict=True):
        used = _as_published(plan, run.node, book, week, target, place)
        text = nbformat.writes(run.node)
        published = staged / f"{run.name}.ipynb"
        published.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        books[book.name] = {
            "sha256": digest(book.path),
            "parameters": used,
            "status": "failed" if run.error else "ok",
            "executed_sha256": digest(published),
        }
    manifest = {
        "schema": 1,
        "week": week.label,
        "source": plan.source,
        "mapping": plan.mapping,
        "shop": facts[own].name,
        "sample": facts[own].sample,
        "language": own,
        "tables": facts[own].fingerprint,
        "notebooks": books,
        "versions": versions(),
    }
    _dump(staged / "manifest.json", manifest)
    up = "../" if place.name else ""
    editions = {code: f"{up}{'' if code == first else f'{code}/'}index.html" for code in facts if code != own}
    said = compose(facts[own], week, runs, harvests, manifest, past, lists, place=place.name, editions=editions)
    pages = {"index.html": render(said), "email.html": mail_html(said), "email.txt": mail_text(said)}
    for name, text in pages.items():
        (staged / name).write_text(text, encoding="utf-8")
    told = ("chapter", "rule", "text", "segment", "severity")
    _dump(staged / ALERTS, {"alerts": [{field: alert[field] for field in told} for alert in said["alerts"]]})
    _dump(staged / GRADES, {"grades": lists})
    return said


def _published_values(plan: _Plan, book: Notebook, week: Week, target: Path, place: Path) -> dict[str, Any]:
    origin = Path(plan.source)
    source = Path(os.path.relpath(origin.resolve(), target)).as_posix() if origin.exists() else plan.source
    tables = "../tables" if place.name else "tables"
    ours = {"source": source, "week": week.label, "output": tables, "lang": language()}
    return {name: ours.get(name, p.default) for name, p in book.parameters.items()} | plan.parameters[book.name]


def _as_published(plan: _Plan, node: Any, book: Notebook, week: Week, target: Path, place: Path) -> dict[str, Any]:
    """Rewrite the injected cell so that the notebook can be run again from where it is published; translate its text.

    While it ran it read the prepared tables and wrote into the staging folder; neither outlives the run.
    """
    for cell in node.cells:
        if cell.cell_type == "markdown":
            cell.source = translated(cell.source)
    values = _published_values(plan, book, week, target, place)
    cell = next(c for c in node.cells if "injected-parameters" in c.metadata.get("tags", []))
    lines = [f"{k}: {book.parameters[k].annotation} = {literal(v)}" for k, v in values.items()]
    head = f"# Parameters; the source was read with mapping={plan.mapping!r}" if plan.mapping else "# Parameters"
    cell.source = "\n".join([head, *lines])
    return values
