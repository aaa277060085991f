"""What a notebook stores against what it says today: key figures, tables, sentences and the data behind figures.

nbval passes over a stripped notebook and a changed plot, and fails on a last digit. Here every record is compared by
its name, numbers within a tolerance, and the difference says which number of which record moved, and by how much. The
plugin of pytest that calls this is :mod:`clvlib.pytest_plugin`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from fnmatch import fnmatchcase
from itertools import groupby
from math import isclose
from pathlib import Path
from typing import Any, Final, Literal

from clvlib.errors import ParameterError, ReportError
from clvlib.report.chapter import ACTION, ALERT, CHANCES, FIGURE, FORECAST, HEADER, KPI, MISSING, TABLE
from clvlib.report.form import ABSENT
from clvlib.report.tables import written_whole

__all__ = ["Difference", "Tolerance", "accept", "compare", "fresh", "is_stored", "story", "tolerances", "with_outputs"]

_KINDS: Final[dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]]] = {
    KPI: ("kpi", lambda said: str(said["name"])),
    FORECAST: ("forecast", lambda said: f"{said['name']} over {said['weeks']} weeks"),
    ACTION: ("action", lambda said: str(said["name"])),
    CHANCES: ("chances", lambda said: str(said["name"])),
    ALERT: ("alert", lambda said: f"{said['rule']} [{said['segment']}]" if said["segment"] else str(said["rule"])),
    MISSING: ("missing", lambda said: str(said["section"])),
    TABLE: ("table", lambda said: str(said["name"])),
    FIGURE: ("figure", lambda said: str(said["name"])),
    HEADER: ("chapter", lambda said: str(said["chapter"])),
}
# a day or a week is no number: it is the same, or another
_NUMBER = re.compile(r"\d{4}-W?\d\d(?:-\d\d)?|[+−-]?\d[\d,]*(?:\.\d+)?")
_SKETCHED = {"count", "largest", "means", "slopes"}
_LONGEST = 200  # letters of a value in a message
_SHOWN = 6  # differences of one record in a message


@dataclass(frozen=True)
class Tolerance:
    """How far a number may move: by ``relative`` of the larger of the two, or by ``absolute``, whichever is more.

    Attributes
    ----------
    pattern : str
        The records that it is for, such as ``03_clv/kpi/repeat_rate`` or ``03_clv/figure/*``; a notebook's name alone
        means all of it.
    relative, absolute : float
        Stored numbers have 8 digits, so that less than 1e-7 cannot be told.
    """

    pattern: str = "*"
    relative: float = 1e-6
    absolute: float = 1e-9

    def same(self, one: Any, other: Any) -> bool:
        """Whether two values are the same; numbers within words count as numbers."""
        if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
            return one is other
        if isinstance(one, (int, float)) and isinstance(other, (int, float)):
            return isclose(one, other, rel_tol=self.relative, abs_tol=self.absolute)
        if isinstance(one, str) and isinstance(other, str):
            return one == other or self._same_words(one, other)
        return bool(one == other)

    def _same_words(self, one: str, other: str) -> bool:
        if _NUMBER.split(one) != _NUMBER.split(other):
            return False
        pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
        return all(a == b or (_read(a) is not None and self.same(_read(a), _read(b))) for a, b in pairs)


def _read(text: str) -> float | None:
    """Return the number that a text is, or None: a day and a week are none."""
    try:
        return float(text.replace(",", "").replace("−", "-"))
    except ValueError:
        return None


def tolerances(lines: Iterable[str]) -> list[Tolerance]:
    """Read tolerances as they are configured: ``pattern = relative``, or ``pattern = relative absolute``.

    Raises
    ------
    ParameterError
        A line reads otherwise.

    Examples
    --------
    >>> tolerances(["03_clv = 1e-5", "03_clv/kpi/repeat_rate = 1e-3 0.01"])[-1]
    Tolerance(pattern='03_clv/kpi/repeat_rate', relative=0.001, absolute=0.01)
    """
    found = []
    for line in lines:
        pattern, _, numbers = line.rpartition("=")
        try:
            relative, absolute, *more = [float(word) for word in numbers.split()] + [Tolerance.absolute]
        except ValueError:
            relative, absolute, more = -1.0, 0.0, []
        if not pattern.strip() or len(more) > 1 or not (0 <= relative < 1 and absolute >= 0):
            raise ParameterError(f"tolerance {line!r}: write 'pattern = relative' or 'pattern = relative absolute'")
        found.append(Tolerance(pattern.strip(), relative, absolute))
    return found


def _tolerance(known: Sequence[Tolerance], notebook: str, name: str) -> Tolerance:
    """Return the last that is for this record."""
    full = f"{notebook}/{name}"
    return next(t for t in reversed(known) if t.pattern == notebook or fnmatchcase(full, t.pattern))


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was stored.

    Attributes
    ----------
    record : str
        Kind and name, such as ``kpi/repeat_rate``.
    field : str
        Which part of it, such as ``value`` or ``axes 1, line 2 'Douyin', y[14]``; empty: all of it.
    change : {'changed', 'missing', 'new'}
        'missing' was stored and is no longer said.
    stored, fresh : Any
        The two values; None where there is none.
    """

    record: str
    field: str
    change: Literal["changed", "missing", "new"]
    stored: Any = None
    fresh: Any = None

    @property
    def relative(self) -> float | None:
        """By how much of the stored number the fresh one is larger; None where that cannot be said."""
        numbers = [value for value in (self.stored, self.fresh) if isinstance(value, (int, float))]
        return (numbers[1] - numbers[0]) / abs(numbers[0]) if len(numbers) == 2 and numbers[0] else None

    @property
    def text(self) -> str:
        """The difference in one line.

        >>> Difference("kpi/repeat_rate", "value", "changed", 0.25, 0.2525).text
        'kpi/repeat_rate, value: stored 0.25, fresh 0.2525 (+1%)'
        """
        where = ", ".join(filter(None, (self.record, self.field)))
        match self.change:
            case "missing":
                return f"{where}: missing; stored {_short(self.stored)}"
            case "new":
                return f"{where}: new, not stored; fresh {_short(self.fresh)}"
            case _:
                share = "" if self.relative is None else f" ({100 * self.relative:+.3g}%)"
                return f"{where}: stored {_short(self.stored)}, fresh {_short(self.fresh)}{share}"


def _short(value: Any) -> str:
    text = ABSENT if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def story(differences: Sequence[Difference]) -> str:
    """Return all differences, a line for each; of a record that changed throughout, the first ones."""
    lines: list[str] = []
    for record, group in groupby(differences, key=lambda d: d.record):
        found = list(group)
        lines += [difference.text for difference in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"{record}: and {len(found) - _SHOWN:,} more")
    return "\n".join(lines)


# ---- what a notebook says


def is_stored(node: Any) -> bool:
    """Whether any cell of a notebook has an output."""
    return any(cell.get("outputs") for cell in node.cells)


@dataclass(frozen=True)
class _Said:
    records: dict[str, dict[str, Any]]
    sentences: list[tuple[str, str]]  # with the heading above each


def _said(node: Any, clean: Callable[[str], str]) -> _Said:
    found: list[tuple[str, dict[str, Any]]] = []
    sentences: list[tuple[str, str]] = []
    heading = ""
    for cell in node.cells:
        if cell.cell_type == "markdown":
            heads = re.findall(r"^#+ +(.+)$", cell.source, re.MULTILINE)
            heading = heads[-1].strip() if heads else heading
        for output in _merged(cell.get("outputs", [])):
            ours = {kind: output.data[kind] for kind in _KINDS if kind in output.get("data", {})}
            for media, payload in ours.items():
                kind, name = _KINDS[media]
                found.append((f"{kind}/{name(payload)}", payload))
            text = "" if ours else _words(output)
            if text.strip():
                sentences.append((heading, clean(text.strip())))
    records = dict(zip(_numbered(key for key, _ in found), (payload for _, payload in found), strict=True))
    return _Said(records, sentences)


def _numbered(names: Iterable[str]) -> Iterator[str]:
    """Tell names apart that come more than once."""
    seen: Counter[str] = Counter()
    for name in names:
        seen[name] += 1
        yield f"{name} #{seen[name]}" if seen[name] > 1 else name


def _words(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text) if output.name == "stdout" else ""  # warnings differ between versions of libraries
    if output.output_type == "error":
        return f"{output.ename}: {output.evalue}"
    return "" if "image/png" in output.data else str(output.data.get("text/plain", ""))


def _merged(outputs: Iterable[Any]) -> list[Any]:
    """Put together what was printed: where a stream is cut depends on the clock."""
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last is not None and output.output_type == "stream" == last.output_type and output.name == last.name:
            merged[-1] = type(last)({**last, "text": last.text + output.text})
        else:
            merged.append(output)
    return merged


# ---- comparing


def compare(
    name: str, stored: Any, fresh: Any, known: Sequence[Tolerance] = (), clean: Callable[[str], str] = str
) -> list[Difference]:
    """Compare what a notebook stores with what it says today.

    Parameters
    ----------
    name : str
        Of the notebook, without ending.
    stored, fresh : nbformat.NotebookNode
        The notebook as it lies there, and executed. Records are found by name, wherever they stand; the order of
        sentences, and of the rows of a table, counts.
    known : sequence of Tolerance
        The last one whose pattern fits a record is its tolerance.
    clean : callable
        Takes out of a sentence what may differ, such as an address in memory.

    Returns
    -------
    list of Difference
        In the order of the stored records.
    """
    known = [Tolerance(), *known]
    old, new = _said(stored, clean), _said(fresh, clean)
    found: list[Difference] = []
    for key in {**old.records, **new.records}:
        parts = _parts(old.records.get(key), new.records.get(key), _tolerance(known, name, key))
        found += [replace(part, record=key) for part in parts]
    return found + _sentences(old.sentences, new.sentences, lambda key: _tolerance(known, name, key))


def _parts(stored: Any, fresh: Any, tolerance: Tolerance) -> Iterator[Difference]:
    """Compare two records of one name, either of which may be None."""
    if stored is None or fresh is None:
        yield _one_sided("", stored, fresh)
    elif "cells" in stored and "cells" in fresh:
        one, other = ({k: v for k, v in said.items() if k not in {"columns", "cells"}} for said in (stored, fresh))
        yield from _values("", one, other, tolerance)
        yield from _table(stored, fresh, tolerance)
    else:
        yield from _values("", stored, fresh, tolerance)


def _one_sided(field: str, stored: Any, fresh: Any) -> Difference:
    return Difference("", field, "new" if stored is None else "missing", _outline(stored), _outline(fresh))


def _outline(value: Any) -> Any:
    """Say of something large that is there or not, what it is."""
    if isinstance(value, Mapping):
        scalars = {
            k: v for k, v in value.items() if not isinstance(v, (Mapping, list)) and k not in {"chapter", "name"}
        }
        return ", ".join(f"{key} {_short(content)}" for key, content in scalars.items() if content not in {"", None})
    return f"{len(value):,} values" if isinstance(value, list) else value


def _values(field: str, stored: Any, fresh: Any, tolerance: Tolerance) -> Iterator[Difference]:
    """Compare what JSON can hold, part by part."""
    if isinstance(stored, Mapping) and isinstance(fresh, Mapping):
        if stored.keys() >= _SKETCHED and fresh.keys() >= _SKETCHED:
            # the mean of numbers that cancel out says little; their size says how exact it is
            largest = tolerance.relative * max(stored["largest"], fresh["largest"])
            tolerance = replace(tolerance, absolute=max(tolerance.absolute, largest))
        for key in {**stored, **fresh}:
            part = _called(key, stored.get(key))
            inner = f"{field}, {part}" if field else part
            if key in stored and key in fresh:
                yield from _values(inner, stored[key], fresh[key], tolerance)
            else:
                yield _one_sided(inner, stored.get(key), fresh.get(key))
    elif isinstance(stored, list) and isinstance(fresh, list):
        if len(stored) != len(fresh):
            yield Difference("", f"{field}, how many", "changed", len(stored), len(fresh))
            return
        for i, (one, other) in enumerate(zip(stored, fresh, strict=True), 1):
            yield from _values(f"{field}[{i}]", one, other, tolerance)
    elif not tolerance.same(stored, fresh):
        yield Difference("", field, "changed", stored, fresh)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _called(key: str, part: Any) -> str:
    """Name a part for readers: with the words that stand beside it in the figure."""
    words = (part.get("label") or part.get("title")) if isinstance(part, Mapping) else ""
    return f"{key} '{words}'" if words else key


def _table(stored: Mapping[str, Any], fresh: Mapping[str, Any], tolerance: Tolerance) -> Iterator[Difference]:
    """Compare the cells of two tables: columns by their heading, rows by what they begin with."""
    heads, now = list(_numbered(stored["columns"])), list(_numbered(fresh["columns"]))
    for head in heads:
        if head not in now:
            yield Difference("", f"column {head}", "missing", f"{len(stored['cells'])} cells")
    for head in now:
        if head not in heads:
            yield Difference("", f"column {head}", "new", None, f"{len(fresh['cells'])} cells")
    common = [head for head in heads if head in now]
    if common != [head for head in now if head in heads]:
        yield Difference("", "columns", "changed", ", ".join(heads), ", ".join(now))
    old = [[row[heads.index(head)] for head in common] for row in stored["cells"]]
    new = [[row[now.index(head)] for head in common] for row in fresh["cells"]]

    def cells(number: int, one: list[Any], other: list[Any]) -> list[Difference]:
        place = f"row {number} '{_row_name(one)}'"
        return [
            Difference("", f"{place}, {head}", "changed", a, b)
            for head, a, b in zip(common, one, other, strict=True)
            if not tolerance.same(a, b)
        ]

    def alone(number: int, one: list[Any] | None, other: list[Any] | None) -> Difference:
        here: list[Any] = one or other or []
        return replace(_one_sided(f"row {number} '{_row_name(here)}'", one, other), stored=one, fresh=other)

    yield from _aligned(old, new, _row_name, cells, alone)


def _row_name(row: Sequence[Any]) -> str:
    """Return what a row is about: its first words, or else its first number, roughly."""
    words = next((cell for cell in row if isinstance(cell, str)), None)
    first = row[0] if row else ""
    return words if words is not None else f"{first:.4g}" if _number(first) else str(first)


def _sentences(
    stored: list[tuple[str, str]], fresh: list[tuple[str, str]], tolerance: Callable[[str], Tolerance]
) -> list[Difference]:
    def changed(_: int, one: tuple[str, str], other: tuple[str, str]) -> list[Difference]:
        record = f"sentence/{one[0]}"
        same = tolerance(record).same(one[1], other[1])
        return [] if same else [Difference(record, "", "changed", one[1], other[1])]

    def alone(_: int, one: tuple[str, str] | None, other: tuple[str, str] | None) -> Difference:
        heading = (one or other or ("", ""))[0]
        return replace(_one_sided("", one and one[1], other and other[1]), record=f"sentence/{heading}")

    return _aligned(stored, fresh, lambda said: _NUMBER.sub("0", said[1]), changed, alone)


def _aligned(
    stored: list[Any],
    fresh: list[Any],
    key: Callable[[Any], str],
    changed: Callable[[int, Any, Any], list[Difference]],
    alone: Callable[[int, Any, Any], Difference],
) -> list[Difference]:
    """Compare two lists in which things may have come or gone: one by one, or by what they are, whichever says less."""
    found: list[Difference] = []
    matcher = SequenceMatcher(None, [key(item) for item in stored], [key(item) for item in fresh], autojunk=False)
    for _, a, b, c, d in matcher.get_opcodes():
        pairs = b - a if b - a == d - c else 0
        for i in range(pairs):
            found += changed(a + i + 1, stored[a + i], fresh[c + i])
        found += [alone(i + 1, stored[i], None) for i in range(a + pairs, b)]
        found += [alone(i + 1, None, fresh[i]) for i in range(c + pairs, d)]
    if found and len(stored) == len(fresh):
        pairwise = zip(stored, fresh, strict=True)
        one_by_one = [part for i, pair in enumerate(pairwise, 1) for part in changed(i, *pair)]
        return min(one_by_one, found, key=len)
    return found


# ---- executing and accepting


def fresh(path: Path, timeout: float) -> Any:
    """Execute a notebook where it lies, in the kernel of the report; the file is not touched.

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    ReportError
        It is no notebook of ours, or a cell failed.
    """
    from clvlib.report.execute import execute
    from clvlib.report.parameters import read_notebook

    book = read_notebook(path)
    done = execute(book, {}, timeout)
    if done.error:
        raise ReportError(f"{path}: {done.error}\n{done.traceback}")
    outputs = [cell.outputs for cell in done.node.cells if cell.cell_type == "code" and cell.get("id") != "injected"]
    return with_outputs(book.node, outputs)


def with_outputs(node: Any, outputs: Sequence[Sequence[Any]]) -> Any:
    """Return a notebook with the outputs of its code cells put in place, counted as in a fresh run.

    Raises
    ------
    ReportError
        A cell failed.
    """
    from nbformat import from_dict

    made = from_dict(node)
    cells = [cell for cell in made.cells if cell.cell_type == "code"]
    count = 0
    for cell, shown in zip(cells, outputs, strict=True):
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = [from_dict(output) for output in _merged(shown)]
        for output in cell.outputs:
            if output.output_type == "error":
                raise ReportError(f"code cell {count}: {output.ename}: {output.evalue}")
            if output.output_type == "execute_result":
                output.execution_count = count
    return made


def accept(path: Path, node: Any) -> None:
    """Replace the stored outputs of a notebook by those of its fresh execution, and nothing else in the file.

    Parameters
    ----------
    path : pathlib.Path
        The notebook; it is written whole, or not at all.
    node : nbformat.NotebookNode
        What :func:`fresh` returned.

    Raises
    ------
    ReportError
        The file cannot be written.
    """
    import nbformat

    path = path.resolve()  # where it is a link, what it points to is written
    before = path.read_bytes().decode()
    content = json.loads(before)
    made = json.loads(nbformat.writes(node))
    for cell, new in zip(content["cells"], made["cells"], strict=True):
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = new["execution_count"], new["outputs"]
    indent = re.search(r"\n([ \t]+)\"", before)
    escaped = before.isascii() and "\\u" in before
    text = json.dumps(content, indent=indent[1] if indent else None, ensure_ascii=escaped)
    text += "\n" if before.endswith("\n") else ""

    def write(part: Path) -> None:
        part.touch(mode=path.stat().st_mode & 0o777)
        part.write_bytes(text.encode())

    written_whole(path, write)
