"""The report's memory: what every published report ever said, append-only, in one DuckDB file beside the reports.

The ledger is brought up to date from the published folders, and in no other way: before a report is made, and again
once it is published. So a run that was killed, a report that was copied here, a ledger that was lost or restored are
all mended by the next look at it. It is read as a whole into memory, changed there, and written as a whole to a new
file that takes the old one's place: whatever interrupts a run, one or the other is there and complete, and nobody who
reads it is in the way of a run.

One row of ``entries`` is what one report said of one thing: a key figure, an alert or a forecast, as JSON. The same
report recorded again adds nothing; other content adds a revision; what a complete chapter no longer says is withdrawn
by a revision without content. The views ``kpis`` and ``alerts`` show the last revision of each, the view ``forecasts``
what each forecast said when its time came, with ``happened``: what the figure came to in the weeks up to its own. The
view ``exports`` is the audit trail: which list of customers was written, when, by whom, with how many customers.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import duckdb
import nbformat

from clvlib.data.engine import literal, opened
from clvlib.errors import ParameterError, ReportError
from clvlib.report.harvest import Harvest, harvest
from clvlib.report.publish import locked
from clvlib.report.tables import written_whole

__all__ = ["ALERTS", "GRADES", "NAME", "Ledger", "backup", "current", "erase", "restore"]

NAME: Final = "ledger.duckdb"
DURATIONS: Final = "durations"  # of a manifest: the only thing in it that differs where nothing else does
GRADES: Final = "grades.json"  # of the lists whose time had come
ALERTS: Final = "alerts.json"  # what a report raised: the alerts of its chapters, and those of its verdicts
_BROKEN: Final = "broken"  # in the name of a ledger that was set aside
_WAIT = 60.0  # seconds for another run to finish with it; it needs a fraction of one

_ENTRIES: Final = """
CREATE TABLE runs (run INTEGER, shop VARCHAR, week VARCHAR, id VARCHAR, recorded TIMESTAMP, operator VARCHAR,
  manifest VARCHAR);
CREATE TABLE lists (run INTEGER, chapter VARCHAR, name VARCHAR, customers INTEGER, recipients INTEGER);
CREATE TABLE entries (shop VARCHAR, week VARCHAR, kind VARCHAR, chapter VARCHAR, name VARCHAR, revision INTEGER,
  run INTEGER, content VARCHAR);
"""
_LATEST: Final = """
CREATE VIEW exports AS SELECT shop, week, recorded, operator, chapter, name, customers, recipients
  FROM lists JOIN runs USING (run) ORDER BY run, chapter, name;
CREATE VIEW latest AS SELECT * FROM entries
  QUALIFY row_number() OVER (PARTITION BY shop, week, kind, chapter, name ORDER BY revision DESC) = 1;
CREATE VIEW reports AS SELECT * FROM runs
  QUALIFY row_number() OVER (PARTITION BY shop, week ORDER BY run DESC) = 1;
"""
_FIELDS: Final = {
    "kpi": ("name", "label", "value", "lower", "upper", "level", "unit", "better", "currency", "why"),
    "alert": ("rule", "text", "segment", "severity"),
    "action": ("name", "label", "value", "lower", "upper", "level", "people", "cost", "basis", "list", "currency"),
    "forecast": (
        *("name", "label", "weeks", "mean", "lower", "upper", "level", "actual", "unit", "currency", "why"),
        "quantiles",
    ),
    "chance": ("name", "label", "event", "weeks", "customers", "expected", "listed", "key", "why"),
    "grade": (
        *("name", "label", "event", "weeks", "made", "due", "customers", "gone", "observed", "expected", "lower"),
        *("upper", "brier", "brier_same", "p_value", "listed", "hits", "bands", "verdict", "why"),
    ),
}
_OPTIONAL: Final = {"quantiles"}  # in the content only where a report has it: older ones say the same without
_NUMBERS: Final = {
    *("value", "lower", "upper", "level", "weeks", "mean", "actual", "people", "cost", "customers", "gone", "observed"),
    *("expected", "brier", "brier_same", "p_value", "listed", "hits"),
}
# a forecast is held to what it said when its time came, as later revisions knew better; what happened is the last word
_STOOD: Final = """(
  WITH made AS (
    SELECT *, strftime(strptime(week || '-1', '%G-W%V-%u') + to_weeks(CAST(content->>'$.weeks' AS INTEGER)), '%G-W%V')
      AS due, last_value(content) OVER (PARTITION BY shop, week, chapter, name ORDER BY revision
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last
    FROM entries WHERE kind = 'forecast' AND content IS NOT NULL),
  known AS (SELECT shop, week AS due, min(run) AS seen FROM runs GROUP BY ALL),
  timed AS (SELECT *, coalesce(run < seen, true) AS in_time FROM made LEFT JOIN known USING (shop, due))
  SELECT *, CAST(last->>'$.actual' AS DOUBLE) AS happened FROM timed
  QUALIFY row_number() OVER (PARTITION BY shop, week, chapter, name
    ORDER BY in_time DESC, CASE WHEN in_time THEN -revision ELSE revision END) = 1)"""


def _views() -> Iterator[str]:
    key = "shop, week, chapter, revision, run"
    for kind, fields in _FIELDS.items():
        columns = ", ".join(
            f"CAST(content->>'$.{name}' AS {'DOUBLE' if name in _NUMBERS else 'VARCHAR'}) AS {name}" for name in fields
        )
        rows = f"latest WHERE kind = '{kind}' AND content IS NOT NULL"
        more, source = (", due, happened", _STOOD) if kind == "forecast" else ("", rows)
        yield f"CREATE VIEW {kind}s AS SELECT {key}, {columns}{more} FROM {source}"


@dataclass(frozen=True)
class Ledger:
    """The ledger as it was read, in memory; the connection answers any query on it.

    Attributes
    ----------
    connection : duckdb.DuckDBPyConnection
        With the tables ``runs`` and ``entries`` and the views ``reports``, ``kpis``, ``alerts``, ``actions`` and
        ``forecasts``.
    """

    connection: duckdb.DuckDBPyConnection

    def rows(self, view: str, shop: str, before: str = "") -> list[dict[str, Any]]:
        """Return what a view holds of a shop, in the order of the weeks, or of those before one."""
        query = f"SELECT * FROM {view} WHERE shop = $1 AND ($2 = '' OR week < $2) ORDER BY week, run"
        done = self.connection.execute(query, [shop, before])
        names = [column[0] for column in done.description]
        return [dict(zip(names, row, strict=True)) for row in done.fetchall()]

    def manifests(self, shop: str) -> dict[str, dict[str, Any]]:
        """Return, by week, what the last report of each was made from."""
        return {row["week"]: json.loads(row["manifest"]) for row in self.rows("reports", shop)}

    def record(self, folder: Path) -> bool:
        """Add what a published report says and is not known yet; whether there was anything to add.

        Raises
        ------
        ReportError
            The report cannot be read.
        """
        try:
            text = (folder / "manifest.json").read_text(encoding="utf-8")
            manifest = json.loads(text)
            shop, week = str(manifest["shop"]), str(manifest["week"])
            identity = _identity(manifest)
            known = "SELECT id FROM reports WHERE shop = ? AND week = ?"
            if self.connection.execute(known, [shop, week]).fetchone() == (identity,):
                return False
            chapters = {
                name: (book["status"] == "ok", harvest(nbformat.read(folder / f"{name}.ipynb", as_version=4)))
                for name, book in manifest["notebooks"].items()
            }
            chapters = {name: (complete, _raised(folder, name, said)) for name, (complete, said) in chapters.items()}
            revisions = {name: (complete, _said(found)) for name, (complete, found) in chapters.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReportError(f"the report in {folder} cannot be read ({error})") from error
        (run,) = self.connection.execute("SELECT coalesce(max(run), 0) + 1 FROM runs").fetchall()[0]
        values = [run, shop, week, identity, _operator(), text]
        self.connection.execute("INSERT INTO runs VALUES ($1, $2, $3, $4, now() AT TIME ZONE 'UTC', $5, $6)", values)
        for name, (complete, said) in revisions.items():
            self._revise((shop, week), name, run, said, complete=complete)
        for name, (_, found) in chapters.items():
            for table in found.tables:
                if table.get("people") and table["saved"]:
                    row = [run, name, table["name"], table["rows"], table["recipients"]]
                    self.connection.execute("INSERT INTO lists VALUES (?, ?, ?, ?, ?)", row)
        return True

    def _revise(
        self, report: tuple[str, str], chapter: str, run: int, said: dict[tuple[str, str], str], *, complete: bool
    ) -> None:
        query = "SELECT kind, name, revision, content FROM latest WHERE shop = ? AND week = ? AND chapter = ?"
        known = {
            (kind, name): (revision, content)
            for kind, name, revision, content in self.connection.execute(query, [*report, chapter]).fetchall()
        }
        wanted: dict[tuple[str, str], str | None] = dict.fromkeys(known) if complete else {}
        for (kind, name), content in (wanted | said).items():
            revision, before = known.get((kind, name), (0, None))
            if content != before:
                row = [*report, kind, chapter, name, revision + 1, run, content]
                self.connection.execute(f"INSERT INTO entries VALUES ({', '.join('?' * len(row))})", row)


def _identity(manifest: Mapping[str, Any]) -> str:
    """Return what tells a report from one of other inputs; how long it took does not."""
    inputs = {field: value for field, value in manifest.items() if field != DURATIONS}
    text = json.dumps(inputs, indent=2, ensure_ascii=False) + "\n"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _raised(folder: Path, chapter: str, said: Harvest) -> Harvest:
    """Return what a chapter says, with what the report made of it: alerts of its verdicts, grades of its lists."""
    for file, kind in ((folder / ALERTS, "alerts"), (folder / GRADES, "grades")):
        if file.exists():
            told = json.loads(file.read_text(encoding="utf-8"))[kind]
            said = replace(said, **{kind: [each for each in told if each["chapter"] == chapter]})
    return said


def _operator() -> str:
    """Return who runs this, as far as the system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""


def _said(found: Harvest) -> dict[tuple[str, str], str]:
    """Return each thing that a chapter says by kind and name, its content in one way of writing."""
    named = [("kpi", kpi["name"], kpi) for kpi in found.kpis]
    named += [("forecast", f"{made['name']} {made['weeks']}w", made) for made in found.forecasts]
    named += [("action", made["name"], made) for made in found.actions]
    named += [("chance", made["name"], made) for made in found.chances]
    named += [("grade", f"{made['name']} of {made['made']}", made) for made in found.grades]
    for alert in found.alerts:
        about = " · ".join(filter(None, [alert["rule"], alert["segment"]]))
        names = (about if i == 1 else f"{about} ({i})" for i in count(1))
        named.append(("alert", next(name for name in names if ("alert", name) not in {n[:2] for n in named}), alert))
    content = {
        (kind, name): {field: record.get(field) for field in _FIELDS[kind] if field in record or field not in _OPTIONAL}
        for kind, name, record in named
    }
    return {key: json.dumps(fields, ensure_ascii=False, sort_keys=True) for key, fields in content.items()}


def _read(file: Path | None = None) -> Ledger:
    """Read a ledger, all of it, so that every checksum in it is checked; without a file, an empty one."""
    connection = opened()
    connection.execute(_ENTRIES)
    if file is not None:
        connection.execute(f"ATTACH {literal(str(file))} AS file (READ_ONLY)")
        for table in ("runs", "entries", "lists"):
            if unknown := _columns(connection, f"file.{table}") - _columns(connection, table):
                raise ReportError(
                    f"{file} was written by a later version of clvlib: {table} has {', '.join(sorted(unknown))}, which "
                    "this one does not know; use that one, or move the file away"
                )
            connection.execute(f"INSERT INTO {table} BY NAME FROM file.{table}")
        connection.execute("DETACH file")
    for statement in (_LATEST, *_views()):
        connection.execute(statement)
    return Ledger(connection)


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    return {str(row[0]) for row in connection.execute(f"DESCRIBE {table}").fetchall()}


def _write(ledger: Ledger, file: Path) -> None:
    def write(part: Path) -> None:
        part.unlink(missing_ok=True)  # of a run that was killed and had the same number
        try:
            ledger.connection.execute(f"ATTACH {literal(str(part))} AS file")
            ledger.connection.execute("COPY FROM DATABASE memory TO file")
            ledger.connection.execute("DETACH file")
        except duckdb.Error as error:
            part.with_name(f"{part.name}.wal").unlink(missing_ok=True)
            said = str(error).splitlines()[0].rstrip(". ")
            raise ReportError(f"cannot write {file}: {said}; is the disk full?") from error
        part.chmod(part.stat().st_mode & 0o444)  # only a run writes it; DuckDB opens it for reading alone
        with part.open("rb") as written:
            os.fsync(written.fileno())

    written_whole(file, write)


def _free(file: Path, why: str) -> Path:
    """Return a name beside a ledger under which it can be kept."""
    names = (file.with_name(f"{file.stem}.{why}{f'-{i}' if i > 1 else ''}{file.suffix}") for i in count(1))
    return next(name for name in names if not name.exists())


def _opened(file: Path, tell: Callable[[str], None]) -> Ledger:
    """Read a ledger; one that is broken is set aside, and an empty one takes its place."""
    if not file.exists():
        return _read()
    try:
        return _read(file)
    except duckdb.Error as error:
        if "lock on file" in str(error):
            raise ReportError(f"another program has {file} open for writing; close it ({error})") from error
        kept = file.rename(_free(file, _BROKEN))
        tell(
            f"the ledger {file} cannot be read ({str(error).splitlines()[0][:120]}); it was set aside as {kept.name}, "
            "and is made anew from the published reports. Earlier revisions of their figures are in back-ups alone: "
            "see clvlib ledger restore"
        )
        return _read()


def _published(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.glob("????-W??/manifest.json"))


def current(out: Path, tell: Callable[[str], None]) -> Ledger:
    """Bring the ledger of a folder up to date with the reports that are published there, and return it.

    Parameters
    ----------
    out : pathlib.Path
        Folder of the reports.
    tell : callable
        Receives a line where the ledger was broken, or a report cannot be read.

    Raises
    ------
    ReportError
        Another run has held it for a minute, another program has it open, or it cannot be written.
    """
    with locked(out, "ledger", "the ledger", _WAIT):
        for left in out.glob(f".{NAME}.*"):
            left.unlink(missing_ok=True)
        ledger = _opened(out / NAME, tell)
        added = False
        for folder in _published(out):
            try:
                added |= ledger.record(folder)
            except ReportError as error:
                tell(f"{error}; the ledger does without it")
        if added:
            _write(ledger, out / NAME)
        return ledger


def erase(out: Path, texts: Sequence[str], by: str, tell: Callable[[str], None]) -> tuple[dict[str, int], list[str]]:
    """Overwrite texts in all that the ledgers of a folder hold, also those that a back-up has replaced.

    This is the one thing that changes what was recorded: a person who asks to be forgotten is.

    Returns
    -------
    tuple
        By file, in how many entries they were; and the files that were set aside because they are broken: what cannot
        be read cannot be searched, and is removed.

    Raises
    ------
    ReportError
        As :func:`current`.
    """
    stem, suffix = NAME.split(".")
    entries: dict[str, int] = {}
    with locked(out, "ledger", "the ledger", _WAIT):
        for file in sorted(out.glob(f"{stem}*.{suffix}")):
            if _BROKEN in file.name:
                continue
            ledger = _opened(file, tell)
            query = "UPDATE entries SET content = replace(content, $1, $2) WHERE contains(content, $1)"
            changed = sum(ledger.connection.execute(query, [text, by]).fetchall()[0][0] for text in texts)
            if changed:
                _write(ledger, file)
                entries[file.name] = changed
        broken = sorted(out.glob(f"{stem}*.{_BROKEN}*.{suffix}"))
        for file in broken:
            file.unlink()
    return entries, [file.name for file in broken]


def backup(out: Path, file: Path, tell: Callable[[str], None]) -> None:
    """Write the ledger of a folder, brought up to date, to another file.

    Raises
    ------
    ReportError
        As :func:`current`.
    """
    if not _published(out) and not (out / NAME).exists():
        raise ReportError(f"{out} has neither a ledger nor reports to make one from")
    _write(current(out, tell), file)


def restore(out: Path, file: Path, tell: Callable[[str], None]) -> None:
    """Put a back-up in the place of the ledger, which is kept beside it, and bring it up to date.

    Raises
    ------
    ReportError
        The back-up cannot be read (the ledger is untouched then), or as :func:`current`.
    """
    if not file.is_file():
        raise ParameterError(f"{file}: no such file")
    try:
        ledger = _read(file)
    except duckdb.Error as error:
        raise ReportError(f"{file} is no ledger that can be read ({str(error).splitlines()[0]})") from error
    with locked(out, "ledger", "the ledger", _WAIT):
        if (out / NAME).exists():
            kept = Path(shutil.copy2(out / NAME, _free(out / NAME, "replaced")))
            tell(f"the ledger that was there is kept as {kept.name}")
        _write(ledger, out / NAME)
    current(out, tell)
