"""From a shop to published reports: check, prepare once, execute the notebooks side by side, publish at once."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pandas as pd
from nbformat import NotebookNode

from clvlib.data.calendar import Week
from clvlib.data.connect import connect
from clvlib.data.privacy import keyed, recipients_of
from clvlib.errors import ParameterError, ReportError
from clvlib.report.execute import Execution, execute
from clvlib.report.facts import Facts, facts_of, versions
from clvlib.report.limits import within_data
from clvlib.report.parameters import Notebook
from clvlib.report.plan import Edition, Plan
from clvlib.report.publish import locked, publish, staging
from clvlib.report.resume import take_over
from clvlib.result import Result
from clvlib.words import speaking

if TYPE_CHECKING:
    from clvlib.report.edition import Made

__all__ = ["Report", "reports"]

_Task = tuple[Edition, Notebook, NotebookNode | None]  # with what was kept of the last report, if anything
_LOOKED_AT = 9  # reports of the last weeks, for how long a notebook took


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


def reports(plan: Plan, weeks: Sequence[str], languages: Sequence[str]) -> Iterator[Report]:
    """Make the reports of some weeks, in some languages; see :func:`clvlib.report.runner.run_weeks`."""
    with keyed(plan.out):
        facts, store, which = _prepared(plan, weeks, languages)
        for week in which:
            late = "" if any(weeks) else _late(next(iter(facts.values())), week, dt.datetime.now(dt.UTC))
            if late:
                plan.tell(late)
            report = _report(plan, facts, store, week, late)
            from clvlib.report.archive import refresh  # as in _chapter

            with speaking(next(iter(facts))):
                refresh(plan.out, plan.tell)
            yield report


def _prepared(plan: Plan, labels: Sequence[str], languages: Sequence[str]) -> tuple[dict[str, Facts], Path, list[Week]]:
    """Read and check the tables once, into a file from which each kernel starts at once."""
    started = time.monotonic()
    store = _store(plan.source, plan.mapping, plan.scratch / "shop.duckdb")
    shop = connect(store)
    try:
        weeks = [week for label in labels for week in shop.weeks(label)]
        within_data(plan.notebooks, plan.parameters, shop)
        recipients_of(shop.config.recipients)
        facts = {code: _told(shop, code) for code in languages or [shop.config.language]}
        plan.tell(f"tables of {shop.name} checked ({_seconds(time.monotonic() - started)})")
    finally:
        shop.close()
    return facts, store, weeks


def _late(facts: Facts, week: Week, now: dt.datetime) -> str:
    """Say that a later week than the report's is over, as when an export did not come; nothing where none is."""
    over = Week.containing(now.astimezone(ZoneInfo(facts.timezone)).date()).previous
    if facts.sample or over <= week:
        return ""
    return f"the data end on {facts.until}, though week {over} is over: did an export not come?"


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


def _report(plan: Plan, facts: Mapping[str, Facts], store: Path, week: Week, late: str) -> Report:
    with locked(plan.out, week.label), staging(plan.out, week.label) as staged:
        plan.tell(f"week {week.label} ({week.start} to {week.as_of})")
        editions = [Edition(plan, facts, code, week, store, staged) for code in facts]
        try:
            made = _made(plan, editions, late)
        except OSError as error:
            raise ReportError(f"cannot write the report of {week.label}: {error.strerror or error}") from error
        tables, codes = zip(*made, strict=True)
        failed = plan.out / f"{week.label}.failed"
        target = editions[0].target if codes[0] < 2 else failed
        publish(staged, target)
        if codes[0] < 2:
            shutil.rmtree(failed, ignore_errors=True)  # the trouble of an earlier run is over
        _remember(plan)
    table = pd.concat(tables, ignore_index=True)
    return Report(table=table, week=week.label, folder=target, exit_code=2 if codes[0] == 2 else min(max(codes), 1))


def _made(plan: Plan, editions: Sequence[Edition], late: str) -> list[tuple[pd.DataFrame, int]]:
    """Make the editions of a week; where nothing of the first succeeded there are no others.

    The notebooks of all of them run in one pool. What follows one is done as soon as it has ended, by the thread that
    waited for it; what depends on none is done here, while they run.
    """
    started, clock = dt.datetime.now(dt.UTC), time.monotonic()
    tasks = _Tasks(_in_order(plan, editions))
    with _at_work(plan, tasks):
        from clvlib.report.edition import past_of, written

        past, lists = past_of(editions[0])
        code = versions()
        tasks.wait()
    times = {"started": started.isoformat(timespec="seconds"), "seconds": round(time.monotonic() - clock, 2)}
    times |= {"late": late} if late else {}
    done: list[tuple[pd.DataFrame, int]] = []
    for edition in editions:
        ours = sorted(tasks.made[edition.language], key=lambda made: made.run.name)
        done.append(written(edition, ours, past, lists, code, times))
        if done[0][1] == 2:
            for other in editions[1:]:
                shutil.rmtree(other.folder)
            break
    return done


@contextmanager
def _at_work(plan: Plan, tasks: _Tasks) -> Iterator[None]:
    """Let threads make what is to be made, for a ``with`` block; however that ends, none of them is left behind.

    A signal can come at any moment, also while a thread starts: one that has not begun then finds nothing to do.
    """
    threads = [threading.Thread(target=_work, args=(tasks,)) for _ in range(plan.jobs)]
    try:
        for thread in threads:
            thread.start()
        yield
    except BaseException:
        tasks.stop()
        plan.kernel.kill_all()
        raise
    finally:
        for thread in threads:
            if thread.is_alive():
                thread.join()


class _Tasks:
    """What is still to be made, for several threads: in order, and never two editions of one notebook at a time.

    Those write the same tables, and what outlasts the week: the later edition has the last word, as ever.
    """

    def __init__(self, tasks: Iterable[_Task]) -> None:
        self.made: defaultdict[str, list[Made]] = defaultdict(list)
        self._left, self._busy, self._broken = list(tasks), set[str](), list[BaseException]()
        self._changed = threading.Condition()

    def take(self) -> _Task | None:
        """Return the next one, once there is one that nobody is in the way of; None where nothing is left."""
        with self._changed:
            while self._left:
                for task in self._left:
                    if task[1].name not in self._busy:
                        self._left.remove(task)
                        self._busy.add(task[1].name)
                        return task
                self._changed.wait()
            return None

    def done(self, task: _Task, made: Made) -> None:
        """Keep what one has become."""
        with self._changed:
            self.made[task[0].language].append(made)
            self._busy.discard(task[1].name)
            self._changed.notify_all()

    def failed(self, error: BaseException) -> None:
        """Keep why a thread gave up."""
        with self._changed:
            self._broken.append(error)
            self._changed.notify_all()

    def wait(self) -> None:
        """Return once all is made.

        Raises
        ------
        BaseException
            What a thread gave up for.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._broken or not (self._left or self._busy))
        if self._broken:
            raise self._broken[0]

    def stop(self) -> None:
        """Let nobody begin another."""
        with self._changed:
            self._left.clear()
            self._changed.notify_all()


def _work(tasks: _Tasks) -> None:
    try:
        while task := tasks.take():
            _make(task, tasks)
    except BaseException as error:  # noqa: BLE001 - who waits for all of them raises it
        tasks.failed(error)


def _make(task: _Task, tasks: _Tasks) -> None:
    edition, book, kept = task
    plan = edition.plan
    if kept is None:
        run = execute(book, edition.values(book), plan.timeout, kernel=plan.kernel)
    else:
        run = Execution(book.name, kept, "", "", 0.0)
    if plan.kernel.stopped:
        return
    from clvlib.report.edition import settled  # beside the kernels: what makes pages takes a while to import

    tasks.done(task, settled(edition, book, run))
    name = f"{run.name} ({edition.language})" if edition.place else run.name
    how = "kept, nothing has changed" if kept else f"{run.error or 'done'} ({_seconds(run.seconds)})"
    plan.tell(f"  {name}: {how}")


def _in_order(plan: Plan, editions: Sequence[Edition]) -> list[_Task]:
    """Return what is to be made: what was kept, then what is likely to take longest, so that it does not end last."""
    weights = _weights(plan)
    found: list[_Task] = []
    for edition in editions:
        edition.folder.mkdir(exist_ok=True)
        kept = take_over(edition.target, edition.folder, edition.own_facts, edition.wanted()) if plan.resume else {}
        found += [(edition, book, kept.get(book.name)) for book in plan.notebooks]
    return sorted(found, key=lambda each: (each[2] is None, -weights[each[1].name]))


def _weights(plan: Plan) -> dict[str, float]:
    """Return how long each notebook is likely to take: as in the last report, or else by how much code it has."""
    took: dict[str, float] = {}
    for file in sorted(plan.out.glob("????-W??/status.json"), reverse=True)[:_LOOKED_AT]:
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # it says how to be faster, no more
            for chapter in json.loads(file.read_text(encoding="utf-8"))["chapters"]:
                if chapter["status"] == "ok" and chapter["seconds"] > 0:  # those that were kept took none
                    took.setdefault(chapter["chapter"], float(chapter["seconds"]))
    if all(book.name in took for book in plan.notebooks):
        return took
    return {
        book.name: float(sum(len(c.source) for c in book.node.cells if c.cell_type == "code"))
        for book in plan.notebooks
    }


def _remember(plan: Plan) -> None:
    from clvlib.report.ledger import current

    try:
        current(plan.out, plan.tell)
    except ReportError as error:
        plan.tell(f"the report is published, and not in the ledger yet: {error}. The next run adds it")


def _seconds(value: float) -> str:
    return f"{value:.1f} s"
