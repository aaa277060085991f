"""Why a figure moved between two weeks: late or revised data, code, parameters, or the business.

Reports of one week that differ saw the same business, so what their figures differ by is due to what they were made
from; the manifests say what that is. And where the last report of the earlier week was made from the same code and
parameters as that of the later one, and the data up to then have not changed since, what is left is the business.
Where it was not, the two cannot be told apart until the earlier week is made again, and that is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from clvlib.data.calendar import Week
from clvlib.errors import ParameterError
from clvlib.report.form import show, show_change, text_table
from clvlib.report.ledger import Ledger
from clvlib.report.trend import settings
from clvlib.result import Result

__all__ = ["Difference", "difference"]

DATA, CODE, PARAMETERS = "late or revised data", "code", "parameters"


@dataclass(frozen=True)
class Difference(Result):
    """Two weeks beside each other; ``table`` has a row per figure that both have.

    ``table`` columns: chapter, name, label, unit, currency, before (as it was first reported), after, change; and of
    the change: revised (what later reports of the earlier week said differently) with the ``causes`` of that, and
    business (the rest), missing where ``mixed`` names what it cannot be told apart from.

    Attributes
    ----------
    shop, earlier, later : str
        Whose, and which weeks.
    notes : tuple of str
        What the reports were made from differently, in sentences.
    """

    shop: str
    earlier: str
    later: str
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it, for a terminal."""
        heads = ["figure", self.earlier, self.later, "change", "by revision", "by business", "due to"]
        rows = [_words(row) for row in self.table.to_dict("records")]
        head = f"{self.shop}: {self.earlier} as it was first reported, and {self.later}\n"
        table = text_table(heads, rows, [False, *[True] * 5, False]) if rows else "They have no figure in common."
        return "\n".join([head, table, *(f"\n{note}" for note in self.notes)])


def _words(row: Mapping[Any, Any]) -> list[str]:
    unit, currency = row["unit"], row["currency"]
    values = [show(row[field], unit, currency) for field in ("before", "after")]
    moves = [show_change(row[field] or None, unit, currency) for field in ("change", "revised", "business")]
    due = [row["causes"], f"not told apart: {row['mixed']} and the business" if row["mixed"] else ""]
    return [row["label"], *values, *moves, "; ".join(filter(None, due))]


@dataclass(frozen=True)
class _Run:
    """One report of a week: when it was recorded, and what it was made from."""

    run: int
    manifest: Mapping[str, Any]


def difference(ledger: Ledger, earlier: str, later: str, shop: str = "") -> Difference:
    """Explain how the figures of two weeks differ.

    Parameters
    ----------
    ledger : Ledger
        What the reports said.
    earlier, later : str
        Weeks, such as ``2026-W45``; ``W45`` is the last such that was reported.
    shop : str
        Whose; not needed where the ledger knows one shop with both weeks.

    Returns
    -------
    Difference

    Raises
    ------
    ParameterError
        A week was not reported, it is not clear of which shop, or the weeks are not in order.
    """
    first, last = (_week(ledger, text, shop) for text in (earlier, later))
    if last <= first:
        raise ParameterError(f"{later} does not come after {earlier}; the earlier week is named first")
    shop = _shop(ledger, first, last, shop)
    runs, now = _runs(ledger, shop, first), _runs(ledger, shop, last)[-1]
    values = _values(ledger, shop, first)
    rows = []
    for kpi in ledger.rows("kpis", shop):
        said = values.get((kpi["chapter"], kpi["name"]), [])
        if kpi["week"] == last.label and said and kpi["value"] is not None:
            rows.append(_row(kpi, said, runs, now, first))
    notes = [f"{first} was reported {len(runs)} times."] if len(runs) > 1 else []
    for before, after in pairwise(runs):
        notes += [f"A later report of {first} had {text}." for text in _differences(before, after, first, same=True)]
    mixed = _differences(runs[-1], now, first)
    notes += [f"The report of {last} had {text}, against the last one of {first}." for text in mixed]
    if mixed:
        notes.append(f"To tell this from the business, make the week again: clvlib report --week {first}")
    return Difference(table=pd.DataFrame(rows), shop=shop, earlier=first.label, later=last.label, notes=tuple(notes))


def _week(ledger: Ledger, text: str, shop: str) -> Week:
    """Read a week; without its year it is the last such that was reported, or one of the year of the last report."""
    query = "SELECT max(week) FILTER (suffix(week, $1)), max(week) FROM reports WHERE $2 IN ('', shop)"
    (found, latest) = ledger.connection.execute(query, [f"-{text.upper()}", shop]).fetchall()[0]
    return Week(text if not latest or text[:1] not in {"W", "w"} else found or f"{latest[:4]}-{text}")


def _shop(ledger: Ledger, first: Week, last: Week, wanted: str) -> str:
    query = "SELECT shop, week FROM reports WHERE week IN (?, ?)"
    known = set(ledger.connection.execute(query, [first.label, last.label]).fetchall())
    both = sorted(shop for shop, week in known if week == last.label and (shop, first.label) in known)
    if wanted in both or (len(both) == 1 and not wanted):
        return wanted or both[0]
    if len(both) > 1:
        raise ParameterError(f"these weeks were reported for {', '.join(both)}: say which one with --shop")
    whose = f" of {wanted}" if wanted else ""
    raise ParameterError(f"there are no reports{whose} for both {first} and {last}: clvlib report --week makes one")


def _runs(ledger: Ledger, shop: str, week: Week) -> list[_Run]:
    return [
        _Run(row["run"], json.loads(row["manifest"])) for row in ledger.rows("runs", shop) if row["week"] == week.label
    ]


def _values(ledger: Ledger, shop: str, week: Week) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return, by chapter and name, the runs that stated a new value of a figure, with the value."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in ledger.rows("entries", shop):
        value = json.loads(row["content"]).get("value") if row["content"] else None
        if row["kind"] == "kpi" and row["week"] == week.label and value is not None:
            found.setdefault((row["chapter"], row["name"]), []).append((row["run"], float(value)))
    return found


def _row(
    kpi: Mapping[str, Any], said: Sequence[tuple[int, float]], runs: Sequence[_Run], now: _Run, first: Week
) -> dict[str, Any]:
    before, known = said[0][1], said[-1][1]
    moved = {run for (run, value), (_, last) in zip(said[1:], said, strict=False) if value != last}
    why = [
        cause
        for one, other in pairwise(runs)
        if other.run in moved
        for cause in _causes(one, other, kpi["chapter"], first, same=True)
    ]
    mixed = _causes(runs[-1], now, kpi["chapter"], first)
    named = {field: kpi[field] for field in ("chapter", "name", "label", "unit", "currency")}
    return named | {
        "before": before,
        "after": kpi["value"],
        "change": kpi["value"] - before,
        "revised": known - before,
        "causes": " and ".join(dict.fromkeys(why)),
        "business": float("nan") if mixed else kpi["value"] - known,
        "mixed": " and ".join(mixed),
    }


def _causes(before: _Run, after: _Run, chapter: str, upto: Week, *, same: bool = False) -> list[str]:
    """Return which of data, code and parameters differ between what two reports of a chapter were made from."""
    one, other = before.manifest, after.manifest
    books = [manifest["notebooks"].get(chapter, {}).get("sha256") for manifest in (one, other)]
    found = {
        DATA: bool(_late(one, other, upto, same=same)),
        CODE: one["versions"] != other["versions"] or books[0] != books[1],
        PARAMETERS: settings(one, chapter) != settings(other, chapter),
    }
    return [cause for cause, differs in found.items() if differs]


def _late(one: Mapping[str, Any], other: Mapping[str, Any], upto: Week, *, same: bool) -> list[str]:
    """Say of each table how its rows up to a week differ; those without a time count between reports of one week."""
    said = []
    for table in dict.fromkeys([*one["tables"], *other["tables"]]):
        before, after = (manifest["tables"].get(table, {}).get("weeks", {}) for manifest in (one, other))
        weeks = [w for w in sorted({*before, *after}) if (w <= upto.label if w else same)]
        changed = [week for week in weeks if before.get(week) != after.get(week)]
        if changed:
            more = sum(_rows(after, week) - _rows(before, week) for week in changed)
            where = changed[0] if len(changed) == 1 else f"{len(changed)} weeks from {changed[0]} to {changed[-1]}"
            what = f"{more:+,} rows" if more else "other rows"
            said.append(f"{table} {what}{f' in {where}' if changed[0] else ''}".replace("-", "−", int(more < 0)))
    return said


def _rows(weeks: Mapping[str, str], week: str) -> int:
    return int(weeks.get(week, "0").split()[0])


def _differences(before: _Run, after: _Run, upto: Week, *, same: bool = False) -> list[str]:
    """Say what two reports were made from differently."""
    one, other = before.manifest, after.manifest
    said = [f"{DATA} ({'; '.join(late)})"] if (late := _late(one, other, upto, same=same)) else []
    versions = [
        f"{name} {one['versions'].get(name, 'absent')} → {version}"
        for name, version in other["versions"].items()
        if one["versions"].get(name) != version
    ]
    both = [name for name in other["notebooks"] if name in one["notebooks"]]
    books = [n for n in both if one["notebooks"][n]["sha256"] != other["notebooks"][n]["sha256"]]
    if versions or books:
        said.append(f"other {CODE} ({', '.join([*versions, *(f'notebook {name}' for name in books)])})")
    changed = [
        f"{name}.{key} {settings(one, name).get(key)!r} → {value!r}"
        for name in both
        for key, value in settings(other, name).items()
        if settings(one, name).get(key) != value
    ]
    return said + ([f"other {PARAMETERS} ({', '.join(changed)})"] if changed else [])
