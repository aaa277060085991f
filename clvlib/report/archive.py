"""The page over all weeks, and the links between the pages of neighbouring ones, made from what lies in the folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clvlib.data.calendar import Week
from clvlib.errors import ReportError
from clvlib.report.locale import days
from clvlib.report.publish import locked
from clvlib.report.tables import written_whole
from clvlib.report.template import fill, linked
from clvlib.words import LANGUAGES

__all__ = ["refresh"]

_OURS = '<meta name="generator" content="clvlib">'
_WAIT = 60.0  # seconds for another run to finish with it; it needs a fraction of one


def refresh(out: Path, tell: Callable[[str], None]) -> None:
    """Write ``index.html`` over all weeks that are published in a folder, and link their pages anew.

    A page that another run is about to replace is left to that run.

    Parameters
    ----------
    out : pathlib.Path
        Folder of the reports.
    tell : callable
        Receives a line where the page could not be written; the reports do not depend on it.
    """
    try:
        with locked(out, "archive", "the page over all weeks", _WAIT):
            weeks = _weeks(out)
            labels = [week["label"] for week in weeks]
            for label in labels:
                for place in ("", *LANGUAGES):
                    if (out / label / place / "index.html").is_file():
                        _link(out, label, labels, place)
            _write(out / "index.html", weeks)
    except (ReportError, OSError) as error:
        tell(f"the page over all weeks is not up to date: {error}. The next run mends it")


def _weeks(out: Path) -> list[dict[str, Any]]:
    """Return what the archive says of each week, the newest first."""
    found = []
    for folder in sorted((file.parent for file in out.glob("????-W??/index.html")), reverse=True):
        try:
            week = Week(folder.name)
            status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
            chapters = status["chapters"]
            failed = sum(chapter["status"] == "failed" for chapter in chapters)
            said = {field: status.get(field, "") for field in ("shop", "sentence")}
            notices = [str(notice) for notice in status.get("notices", [])]
            alerts = {severity: int(n) for severity, n in status.get("alerts", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no report of ours, or a broken one
            continue
        more = {"label": week.label, "span": days(week.start, week.as_of), "chapters": len(chapters), "failed": failed}
        there = [code for code in LANGUAGES if (out / week.label / code / "index.html").is_file()]
        more["editions"] = [(code, LANGUAGES[code], f"{week.label}/{code}/index.html") for code in there]
        found.append(said | more | {"alerts": alerts, "notices": notices})
    return found


def _link(out: Path, label: str, labels: list[str], place: str) -> None:
    """Link a week's page, or its edition in another language, to those of other weeks: in that language where it is."""
    file = out / label / place / "index.html"
    own = {other: Path(other) / place / "index.html" for other in labels}
    pages = {other: page if (out / page).is_file() else Path(other) / "index.html" for other, page in own.items()}
    try:
        with locked(out, label):
            before = file.read_text(encoding="utf-8")
            after = linked(before, label, {other: page.as_posix() for other, page in pages.items()}, place)
            if after != before:
                written_whole(file, lambda part: part.write_text(after, encoding="utf-8"))
    except (ReportError, OSError, UnicodeDecodeError):  # its own run links it, or the next one
        return


def _write(file: Path, weeks: list[dict[str, Any]]) -> None:
    if file.exists() and _OURS not in file.read_text(encoding="utf-8", errors="replace")[:2000]:
        raise ReportError(f"{file} is no page of ours; move it away")
    years: dict[str, list[dict[str, Any]]] = {}
    for week in weeks:
        years.setdefault(week["label"][:4], []).append(week)
    shops = sorted({week["shop"] for week in weeks if week["shop"]})
    page = fill("archive.html", {"years": years, "shops": shops})
    written_whole(file, lambda part: part.write_text(page, encoding="utf-8"))
