"""What was seen and decided at each look at an experiment, in a file that later runs add to and cannot reset."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from clvlib.abtest.outcome import ExperimentResult
from clvlib.errors import DataError

__all__ = ["LookLog"]

COLUMNS = ("look", "recorded_at", "verdict", "arm", "n", "difference", "lower", "upper", "sentence")


class LookLog:
    """Looks at one experiment, a line of JSON each, every line with the digest of the one before it.

    Whoever looks until the figures please can delete what displeased. Here a line that is changed, taken out or put in
    between no longer fits the next; the last digest, printed in each report, tells whether lines at the end are gone.

    Parameters
    ----------
    path : str or Path
        The file; best beside the plan's lock and under version control. It need not be there yet.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     LookLog(Path(folder) / "script.looks").table.columns.tolist()[:3]
    ['look', 'recorded_at', 'verdict']
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
            The file was edited, or is no log.
        """
        entries = self._entries()
        best = result.best
        said: dict[str, Any] = {
            "experiment": result.name,
            "look": pd.Timestamp(look).isoformat(),
            "verdict": result.verdict,
            "arm": result.arm,
            "n": int(result.rows()["n"].sum()),
            **{key: _number(best[key]) for key in ("difference", "lower", "upper")},
            "sentence": result.sentence,
        }
        if entries and entries[0]["experiment"] != result.name:
            raise DataError(f"{self.path}: these are looks at {entries[0]['experiment']!r}, not at {result.name!r}")
        same = [entry for entry in entries if entry["look"] == said["look"]]
        found = said.keys() - {"sentence"}  # which is the same in another language
        if not same or any(same[-1][key] != said[key] for key in found):
            said |= {"recorded_at": pd.Timestamp(at).isoformat(), "previous": _last(entries)}
            line = json.dumps(said | {"digest": _digest(said)}, sort_keys=True, ensure_ascii=False)
            with self.path.open("a", encoding="utf-8") as out:
                out.write(line + "\n")
                out.flush()
                os.fsync(out.fileno())
        return self.table

    @property
    def table(self) -> pd.DataFrame:
        """What was recorded, a row per line.

        ``look``, ``recorded_at``, ``verdict``, ``arm``, ``n`` (people of all arms), the best arm's ``difference``,
        ``lower``, ``upper``, and ``sentence``. A look that late data changed was recorded again and has several.
        """
        frame = pd.DataFrame(self._entries(), columns=list(COLUMNS))
        figures = {key: frame[key].astype(float) for key in ("difference", "lower", "upper")}
        return frame.assign(**figures, **{key: pd.to_datetime(frame[key]) for key in ("look", "recorded_at")})

    @property
    def digest(self) -> str:
        """Of the last line, and so of all; empty without any."""
        return _last(self._entries())

    @property
    def sentence(self) -> str:
        """What was decided first, whatever later looks say."""
        table = self.table
        decided = table[table["verdict"].isin(["ship", "do not ship"])]
        looks = table["look"].nunique()
        times = f"{looks} {'look' if looks == 1 else 'looks'}"
        if decided.empty:
            return f"After {times} nothing is decided."
        first = decided.iloc[0]
        return f"Of {times}, that of {first['look']:%Y-%m-%d} decided: {first['sentence']}"

    def _entries(self) -> list[dict[str, Any]]:
        """Lines in their order, each checked against its own digest and against the one before."""
        if not self.path.exists():
            return []
        entries: list[dict[str, Any]] = []
        for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                entry = dict(json.loads(line))
                known = entry.pop("digest")
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(f"{self.path}: line {number} is no look ({error}); restore the file") from error
            if _digest(entry) != known or entry.get("previous") != _last(entries):
                raise DataError(f"{self.path}: line {number} was edited, or one before it is gone; restore the file")
            entries.append(entry | {"digest": known})
        return entries


def _last(entries: list[dict[str, Any]]) -> str:
    return str(entries[-1]["digest"]) if entries else ""


def _number(value: float) -> float | str:
    """JSON has no infinity."""
    return float(value) if abs(value) < float("inf") else str(value)


def _digest(entry: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
