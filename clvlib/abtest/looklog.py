"""What was seen and decided at each look at an experiment, in a file that later runs add to and cannot reset."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from clvlib.abtest.decision import amount
from clvlib.abtest.outcome import ExperimentResult
from clvlib.errors import DataError
from clvlib.words import mark, tr, trn

__all__ = ["COLUMNS", "LookLog"]

COLUMNS = (
    *("look", "verdict", "arm", "best", "n", "difference", "lower", "upper", "level"),
    *("metric", "unit", "control", "recorded_at"),
)
_NUMBERS = ("difference", "lower", "upper", "level")


class LookLog:
    """Looks at one experiment, a line of JSON each, every line with the digest of the one before it.

    Whoever looks until the figures please can delete what displeased. Here a line that is changed, taken out or put in
    between no longer fits the next; the last digest, printed in each report, tells whether lines at the end are gone.
    The digest is of what was seen and not of when, so that two who look at the same data have the same.

    Parameters
    ----------
    path : str or Path
        The file; it need not be there yet, and nor need its folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     LookLog(Path(folder) / "script.looks").table.columns.tolist()[:3]
    ['look', 'verdict', 'arm']
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def record(self, result: ExperimentResult, look: str | dt.date, at: pd.Timestamp) -> pd.DataFrame:
        """Add what ``result`` says, unless the last line for this look says the same.

        Parameters
        ----------
        result : ExperimentResult
            What was found.
        look : str or date
            Until when the data were known.
        at : pandas.Timestamp
            The time now.

        Returns
        -------
        pandas.DataFrame
            As :attr:`table`, with the new line.

        Raises
        ------
        DataError
            The file was edited, is no log, or is one of another experiment.
        """
        best = result.best
        said: dict[str, Any] = {
            "experiment": result.name,
            "look": pd.Timestamp(look).isoformat(),
            "verdict": result.verdict,
            "arm": result.arm,
            "best": str(best["arm"]),
            "n": int(result.rows()["n"].sum()),
            **{key: _number(best[key]) for key in _NUMBERS},
            "metric": result.metric,
            "unit": str(best["unit"]),
            "control": result.control,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as out:
            fcntl.flock(out, fcntl.LOCK_EX)  # two reports may look at once; the system takes the lock back at the end
            entries = self._entries()
            if entries and entries[0]["experiment"] != result.name:
                raise DataError(f"{self.path}: these are looks at {entries[0]['experiment']!r}, not at {result.name!r}")
            same = [entry for entry in entries if entry["look"] == said["look"]]
            if not same or any(same[-1][key] != said[key] for key in said):
                chained = said | {"previous": _last(entries)}
                line = chained | {"digest": _digest(chained), "recorded_at": pd.Timestamp(at).isoformat()}
                out.write(json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n")
                out.flush()
                os.fsync(out.fileno())
        return self.table

    @property
    def table(self) -> pd.DataFrame:
        """What was recorded, a row per line.

        ``look`` (until when the data were known), ``verdict``, ``arm`` (to ship), ``best`` (the best arm, which the
        figures are of), ``n`` (people of all arms), ``difference``, ``lower``, ``upper``, ``level``, ``metric``,
        ``unit``, ``control``, ``recorded_at``. A look that late data changed was recorded again and has several.
        """
        frame = pd.DataFrame(self._entries(), columns=list(COLUMNS))
        figures = {key: frame[key].astype(float) for key in _NUMBERS}
        return frame.assign(**figures, **{key: pd.to_datetime(frame[key]) for key in ("look", "recorded_at")})

    @property
    def digest(self) -> str:
        """Of the last line, and so of all; empty without any."""
        return _last(self._entries())

    @property
    def sentence(self) -> str:
        """What was decided first, whatever later looks say, and the digest by which a lost line would show."""
        table = self.table
        if table.empty:
            return tr("No look is on record yet.")
        decided = table[table["verdict"].isin(["ship", "do not ship"])]
        looks = table["look"].nunique()
        digest = {"digest": self.digest[:12]}
        if decided.empty:
            return trn(
                "After {n} look on record nothing is decided (SHA-256 of the record {digest}…).",
                "After {n} looks on record nothing is decided (SHA-256 of the record {digest}…).",
                looks,
                **digest,
            )
        first = decided.iloc[0]
        names = {"arm": first["best"], "control": first["control"], "metric": tr(first["metric"])}
        names |= {end: amount(first[end], first["unit"], sign=True) for end in ("difference", "lower", "upper")}
        text = mark("{verdict}, {arm} against {control}: {metric} {difference} ({lower} to {upper})")
        return trn(
            "Of {n} look on record, that of {day:%Y-%m-%d} was the first to decide: {said}. SHA-256 of the record: "
            "{digest}….",
            "Of {n} looks on record, that of {day:%Y-%m-%d} was the first to decide: {said}. SHA-256 of the record: "
            "{digest}….",
            looks,
            day=first["look"],
            said=tr(text, verdict=tr(first["verdict"]), **names),
            **digest,
        )

    def _entries(self) -> list[dict[str, Any]]:
        """Lines in their order, each checked against its own digest and against the one before."""
        if not self.path.exists():
            return []
        entries: list[dict[str, Any]] = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = dict(json.loads(line))
                known, at = entry.pop("digest"), entry.pop("recorded_at")
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(f"{self.path}: line {number} is no look ({error}); restore the file") from error
            if _digest(entry) != known or entry.get("previous") != _last(entries):
                raise DataError(f"{self.path}: line {number} was edited, or one before it is gone; restore the file")
            entries.append(entry | {"digest": known, "recorded_at": at})
        return entries


def _last(entries: list[dict[str, Any]]) -> str:
    return str(entries[-1]["digest"]) if entries else ""


def _number(value: float) -> float | str:
    """Ten digits, so that the same data give the same line on any machine; JSON has no infinity."""
    return float(f"{value:.10g}") if abs(value) < float("inf") else str(value)


def _digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
