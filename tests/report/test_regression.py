"""What a notebook stores is held against what it says today: whatever moves is told by name, and nothing else is."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from clvlib.errors import ParameterError, ReportError
from clvlib.report.chapter import ALERT, CHANCES, FIGURE, FORECAST, KPI, TABLE
from clvlib.report.form import frame_cells
from clvlib.report.record import MOST, cells_shown, drawn, sketch
from clvlib.report.regression import Difference, Tolerance, accept, compare, fresh, story, tolerances

from .books import OPEN, forecast, kpi, notebook, shop_folder

ROOT = Path(__file__).parents[2]
NAMES = ("01_audience_profile", "02_funnel", "03_clv", "04_abtest")


# ---- what is stored


def drawn_by(draw: Callable[[Any], object], **options: Any) -> dict[str, Any]:
    with plt.rc_context():
        plt.rcdefaults()  # whatever style another test has set
        figure, axes = plt.subplots(**options)
        draw(axes)
        figure.canvas.draw()
        plt.close(figure)
    return json.loads(json.dumps(drawn(figure), allow_nan=False))


def test_the_data_of_a_figure():
    def draw(ax: Any) -> None:
        ax.plot([1, 2, 3], [4, np.nan, 1 / 3], label="Douyin")
        ax.bar(["a", "b"], [5, 6], label="Sold")
        ax.scatter([1, 2], [3, 4], c=[0.5, 0.75])
        ax.fill_between([0, 1], [0, 0], [1, 2])
        ax.imshow([[1, 2], [3, 4]], aspect="auto")
        ax.text(0.5, 0.5, "9%")
        ax.set(title="Share", xlabel="Weeks", ylim=(0, 8))
        ax.legend()

    panel = drawn_by(draw)["axes 1"]
    assert panel["title"] == "Share"
    assert panel["x"]["label"] == "Weeks"
    assert panel["y"] == {"label": "", "scale": "linear", "limits": [0, 8], "ticks": [str(i) for i in range(9)]}
    assert panel["line 1"] == {"label": "Douyin", "x": [1, 2, 3], "y": [4, None, 0.33333333]}
    assert panel["bars 1"] == {
        "label": "Sold", "x": [-0.4, 0.6], "y": [0, 0], "width": [0.8, 0.8], "height": [5, 6],
    }  # fmt: skip
    assert panel["collection 1"] == {
        "x": [1, 2],
        "y": [3, 4],
        "size": [pytest.approx(5.5**2, rel=2)],
        "values": [0.5, 0.75],
    }
    assert {0, 1, 2} == set(panel["collection 2"]["y"])
    assert panel["image 1"]["values"] == [1, 2, 3, 4]
    assert panel["texts"] == ["9%"]
    assert panel["legend"] == ["Douyin", "Sold"]


def _mixed(ax: Any) -> None:
    ax.pie([1, 2, 3])
    ax.annotate("x", (1, 2), (2, 3), arrowprops={"arrowstyle": "->"})
    ax.errorbar([1, 2], [3, 4], yerr=1)
    ax.boxplot([[1, 2, 9]])
    ax.axvspan(1, 2)
    ax.hexbin([1, 2, 3], [1, 2, 4], gridsize=5)
    ax.quiver([1, 2], [1, 2], [1, 1], [1, 2])
    ax.contourf(np.arange(30).reshape(5, 6))
    ax.twinx().plot(pd.date_range("2026-01-01", periods=3), [1, 2, 3])
    ax.figure.colorbar(ax.pcolormesh(np.ma.masked_less(np.eye(3), 0.5)))


@pytest.mark.parametrize(
    ("draw", "options"),
    [
        (_mixed, {}),
        (lambda ax: ax.plot([1, 2, 3]), {"subplot_kw": {"projection": "polar"}}),
        (lambda ax: ax.scatter([1, 2], [3, 4], [5, 6]), {"subplot_kw": {"projection": "3d"}}),
        (lambda axes: [ax.loglog([1, 10]) for ax in axes.flat], {"nrows": 2, "ncols": 3, "sharex": True}),
        (lambda ax: ax.set_axis_off(), {}),
    ],
)  # fmt: skip
def test_any_figure_can_be_stored(draw: Any, options: dict):
    assert drawn_by(draw, **options)


def test_what_is_stored_of_a_figure_is_bounded_and_still_tells():
    rng = np.random.default_rng(1)
    x, lines = rng.normal(size=50_000), rng.normal(size=(50, 300))

    def draw(ax: Any, y: Any) -> None:
        ax.scatter(x, y)
        ax.plot(lines)

    y = rng.normal(size=50_000)
    before = drawn_by(lambda ax: draw(ax, y))
    assert len(json.dumps(before)) < 15 * MOST
    moved, swapped = y.copy(), y.copy()
    moved[777] += 0.01
    swapped[[40_000, 40_009]] = swapped[[40_009, 40_000]]
    for after in (moved, swapped):
        (difference, *more) = figures_differ(before, drawn_by(lambda ax, after=after: draw(ax, after)))
        assert difference.field.startswith("axes 1, collection 1, y, ")
        assert len(more) < 2
    assert not figures_differ(before, drawn_by(lambda ax: draw(ax, y * (1 + 1e-7))))


def figures_differ(stored: dict[str, Any], fresh: dict[str, Any]) -> list[Difference]:
    books = [book([(FIGURE, {"name": "f", **said})]) for said in (stored, fresh)]
    return compare("03_clv", *books)


def test_the_cells_of_a_table():
    frame = pd.DataFrame(
        {"share": [1 / 3, np.nan], "n": [1, 2], "day": pd.to_datetime(["2026-01-01", None])},
        index=pd.Index(["a", "b"], name="who"),
    )
    heads, cells, numeric = frame_cells(frame, {"share": "share"}, "")
    assert heads == ["who", "share", "n", "day"]
    assert cells_shown(frame, cells, numeric) == [["a", 0.33333333, 1, "2026-01-01"], ["b", None, 2, "—"]]
    doubled = pd.concat([frame, frame], axis=1).reset_index(drop=True)
    assert len(cells_shown(doubled, *frame_cells(doubled, {}, "")[1:])[0]) == 6


@given(st.lists(st.floats(-1e3, 1e3), min_size=100, max_size=300), st.integers(0, 99))
@settings(max_examples=30)
def test_a_sketch_tells_a_number_that_moves(values: list[float], place: int):
    moved = values.copy()
    moved[place] += 1 + abs(moved[place])
    assert sketch(values, 20) != sketch(moved, 20)


# ---- comparing


def book(said: list[tuple[str, dict[str, Any]] | str], heading: str = "Who buys") -> Any:
    """A notebook that says what is given: pairs of media type and content, or sentences."""
    bundles = [{"text/plain": one} if isinstance(one, str) else {"text/plain": "-", one[0]: one[1]} for one in said]
    outputs = [new_output("display_data", data=bundle) for bundle in bundles]
    return new_notebook(cells=[new_markdown_cell(f"## {heading}"), new_code_cell("1", outputs=outputs, id="a")])


def table(rows: list[list[Any]], columns: tuple[str, ...] = ("channel", "sold")) -> tuple[str, dict[str, Any]]:
    return TABLE, {"name": "best", "caption": "", "rows": len(rows), "columns": list(columns), "cells": rows}


ROWS = [["douyin", 5.0, "a"], ["kuaishou", 4.0, "b"], ["taobao", 3.0, "c"]]
WIDE = ("channel", "sold", "grade")


@pytest.mark.parametrize(
    ("stored", "fresh", "says"),
    [
        ((KPI, kpi("rate", 0.25)), (KPI, kpi("rate", 0.2525)), ["kpi/rate, value: stored 0.25, fresh 0.2525 (+1%)"]),
        ((KPI, kpi("rate", 0.25)), (KPI, kpi("rate", None)), ["kpi/rate, value: stored 0.25, fresh —"]),
        ((KPI, kpi("rate", 0.25)), "Done.", [
            "kpi/rate: missing; stored label Rate, value 0.25, unit count, better higher, level 0.95, currency CNY",
            "sentence/Who buys: new, not stored; fresh Done.",
        ]),
        ((FORECAST, forecast("b", 5, 4)), (FORECAST, forecast("b", 5, 4, weeks=2)), [
            "forecast/b over 1 weeks: missing; stored *", "forecast/b over 2 weeks: new, not stored; fresh *",
        ]),
        ("9% of 1,200 came back.", "9% of 1,201 came back.", [
            "sentence/Who buys: stored 9% of 1,200 came back., fresh 9% of 1,201 came back."
        ]),
        (table(ROWS, WIDE), table([ROWS[0], ["kuaishou", 4.4, "b"], ROWS[2]], WIDE), [
            "table/best, row 2 'kuaishou', sold: stored 4.0, fresh 4.4 (+10%)"
        ]),
        (table(ROWS, WIDE), table(ROWS[1:], WIDE), [
            "table/best, rows: stored 3, fresh 2 (-33.3%)",
            'table/best, row 1 \'douyin\': missing; stored ["douyin", 5.0, "a"]',
        ]),
        (table(ROWS, WIDE), table([*ROWS[:2], ["wechat", 1.0, "z"], ROWS[2]], WIDE), [
            "table/best, rows: stored 3, fresh 4 (+33.3%)", "table/best, row 3 'wechat': new, not stored; fresh *",
        ]),
        (table([row[:2] for row in ROWS]), table(ROWS, WIDE), [
            "table/best, column grade: new, not stored; fresh 3 cells"
        ]),
        (table(ROWS, WIDE), table([[row[0], row[2], row[1]] for row in ROWS], ("channel", "grade", "sold")), [
            "table/best, columns: stored channel, sold, grade, fresh channel, grade, sold"
        ]),
        ((FIGURE, {"name": "f", "axes 1": {"title": "Share", "line 2": {"label": "Douyin", "y": [1.0, 2.0]}}}),
         (FIGURE, {"name": "f", "axes 1": {"title": "Share", "line 2": {"label": "Douyin", "y": [1.0, 2.5]}}}), [
            "figure/f, axes 1 'Share', line 2 'Douyin', y[2]: stored 2.0, fresh 2.5 (+25%)"
        ]),
        ((FIGURE, {"name": "f", "axes 1": {"line 1": {"y": [1.0]}}}),
         (FIGURE, {"name": "f", "axes 1": {"line 1": {"y": [1.0, 2.0]}}}), [
            "figure/f, axes 1, line 1, y, how many: stored 1, fresh 2 (+100%)"
        ]),
    ],
)  # fmt: skip
def test_a_difference_can_be_read(stored: Any, fresh: Any, says: list[str]):
    lines = story(compare("03_clv", book([stored]), book([fresh]))).splitlines()
    assert len(lines) == len(says)
    for line, expected in zip(lines, says, strict=True):
        assert line.startswith(expected[:-1]) if expected.endswith("*") else line == expected


def test_a_story_is_short():
    many = [(FIGURE, {"name": "f", "axes 1": {"line 1": {"y": [n + i for i in range(50)]}}}) for n in (0, 1)]
    lines = story(compare("03_clv", *(book([said]) for said in many))).splitlines()
    assert len(lines) == 7
    assert lines[-1] == "figure/f: and 44 more"


def test_days_and_weeks_are_no_numbers():
    wide = Tolerance(relative=0.5)
    assert wide.same("4 of 10 in 2026-W46", "5 of 9 in 2026-W46")
    assert not wide.same("4 of 10 in 2026-W46", "4 of 10 in 2026-W45")
    assert not wide.same("until 2026-11-15", "until 2026-11-16")
    assert not wide.same(True, 1)
    assert not wide.same(None, 0)


def test_what_was_printed_counts_once_however_it_was_cut():
    def printed(*texts: str) -> Any:
        outputs = [new_output("stream", name=name, text=text) for text in texts for name in ("stdout",)]
        return new_notebook(cells=[new_code_cell("1", outputs=outputs, id="a")])

    assert not compare("a", printed("1\n", "2\n"), printed("1\n2\n"))
    assert len(compare("a", printed("1\n2\n"), printed("1\n3\n"))) == 1
    warned = printed("1\n2\n")
    warned.cells[0].outputs.append(new_output("stream", name="stderr", text="careful"))
    assert not compare("a", printed("1\n2\n"), warned)


def test_tolerances_are_set_by_record():
    known = tolerances(["03_clv = 0.1", "*/kpi/rate = 0.001 0.02", "02_*=0"])
    stored, fresh = (book([(KPI, kpi("rate", value)), (KPI, kpi("other", value))]) for value in (0.25, 0.26))
    assert not compare("03_clv", stored, fresh, known)
    assert [d.record for d in compare("04_abtest", stored, fresh, known)] == ["kpi/other"]
    assert len(compare("02_funnel", stored, fresh, known)) == 2
    for line in ("0.1", "a =", "a = x", "a = 1 2 3", "a = -1", "a = 2", "= 0.1"):
        with pytest.raises(ParameterError, match="write 'pattern = relative'"):
            tolerances([line])


NUMBERS = st.one_of(st.none(), st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False, width=32))
RECORDS = st.one_of(
    st.builds(lambda name, value: (KPI, kpi(name, value)), st.sampled_from("abc"), NUMBERS),
    st.builds(table, st.lists(st.tuples(st.sampled_from("xyz"), NUMBERS).map(list), max_size=4)),
    st.builds(lambda y: (FIGURE, {"name": "f", "axes 1": {"line 1": {"y": sketch([v or 0 for v in y], 4)}}}),
              st.lists(NUMBERS, max_size=9)),
    st.builds(lambda text: (ALERT, {"rule": "r", "segment": "", "text": text}), st.text("ab 19.%", max_size=6)),
    st.text("ab 19.,-%", min_size=1, max_size=8),
)  # fmt: skip
SAID = st.lists(RECORDS, max_size=5)


@given(SAID, SAID, st.randoms())
@settings(max_examples=150)
def test_comparing_is_fair(one: list[Any], other: list[Any], random: Any):
    assert not compare("a", book(one), book(copy.deepcopy(one)))
    assert bool(compare("a", book(one), book(other))) == bool(compare("a", book(other), book(one)))
    seen: dict[str, Any] = {}
    for said in one:  # the order of records that differ in name is nobody's meaning; of sentences it is
        seen.setdefault(str(said[1].get("name", "r")) + said[0] if isinstance(said, tuple) else "sentence", said)
    shuffled = list(seen.values())
    random.shuffle(shuffled)
    assert not compare("a", book(list(seen.values())), book(shuffled))


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.floats(-1e9, 1e9)).map(list), min_size=1, max_size=6), st.data())
@settings(max_examples=100)
def test_what_moves_within_the_tolerance_is_not_told(rows: list[list[Any]], data: Any):
    shifts = [data.draw(st.floats(-9e-7, 9e-7)) for _ in rows]
    near = [[name, value * (1 + shift)] for (name, value), shift in zip(rows, shifts, strict=True)]
    assert not compare("a", book([table(rows)]), book([table(near)]))


# ---- every record of every notebook, mutated


def _beyond(value: Any, size: float) -> Any:
    """Move a value by a little more than its tolerance, which in a sketch is one for all of its numbers."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + max(2e-9, max(abs(value), size) * 1.1e-6)
    return "?" if value is None else f"{value} more"


def _within(value: Any, _: float) -> Any:
    return value * (1 + 9e-7) if isinstance(value, float) else value


def _places(payload: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where all values of a record lie, but those that are its name."""
    parts = payload.items() if isinstance(payload, dict) else enumerate(payload) if isinstance(payload, list) else None
    if parts is None:
        yield path
        return
    for key, part in parts:
        if (key, path) not in {(name, ()) for name in ("chapter", "name", "weeks", "rule", "segment", "section")}:
            yield from _places(part, (*path, key))


def _set(payload: Any, path: tuple[Any, ...], change: Callable[[Any, float], Any]) -> None:
    size = 0.0
    for key in path[:-1]:
        payload = payload[key]
        size = payload.get("largest", 0.0) if isinstance(payload, dict) else size
    payload[path[-1]] = change(payload[path[-1]], size)


def _mutants(payload: dict[str, Any], kind: str) -> list[tuple[Any, ...]]:
    """All values of a key figure, forecast or alert; of tables and figures every seventh, and one of each array."""
    places = [place for place in _places(payload) if place[0] != "columns"]
    if kind not in {TABLE, FIGURE}:
        return places
    first = {place[:-1]: place for place in reversed(places)}.values()
    return list(dict.fromkeys([*first, *places[::7]]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_change_in_any_record_is_caught(name: str):
    node = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    outputs = [output for cell in node.cells for output in cell.get("outputs", [])]
    planted = dict.fromkeys((KPI, FORECAST, ALERT, CHANCES, TABLE, FIGURE), 0)
    for output in outputs:
        for kind in planted.keys() & output.get("data", {}).keys():
            # the notebook as far as this record, which is enough: records are found by name
            payload = output["data"][kind]
            stored = book([(kind, payload)])
            for place in _mutants(payload, kind):
                changed = copy.deepcopy(payload)
                _set(changed, place, _beyond)
                (found,) = compare(name, stored, book([(kind, changed)]))
                assert found.record.rpartition("/")[2].startswith(str(payload.get("name", payload.get("rule"))))
                assert found.change == "changed"
                planted[kind] += 1
            near = copy.deepcopy(payload)
            for place in _places(near):
                _set(near, place, _within)
            assert not compare(name, stored, book([(kind, near)]))
    assert planted[KPI]
    assert sum(TABLE in output.get("data", {}) for output in outputs) <= planted[TABLE]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert all(FIGURE in output["data"] for output in pictures), "a figure without its data: run and save the notebook"
    assert planted[FIGURE] > 10 * len(pictures) > 0


# ---- accepting


def test_accepting_changes_outputs_and_nothing_else(tmp_path: Path):
    said = book([(KPI, kpi("rate", 0.25)), "Words."])
    said.metadata["b"], said.metadata["a"] = 1e-7, "中"
    path = tmp_path / "a.ipynb"
    for layout in ({"indent": 1, "ensure_ascii": False}, {"indent": 4, "ensure_ascii": True}, {"indent": "\t"}, {}):
        path.write_text(json.dumps(json.loads(nbformat.writes(said)), **layout), encoding="utf-8")
        before = path.read_bytes()
        path.chmod(0o640)
        accept(path, said)
        assert path.read_bytes() == before
        fresh = copy.deepcopy(said)
        fresh.cells[1].outputs[0].data[KPI]["value"] = 0.26
        accept(path, fresh)
        assert path.read_bytes() == before.replace(b"0.25", b"0.26")
        assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["a.ipynb"]


def test_a_notebook_that_cannot_be_written_is_left_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.ipynb"
    nbformat.write(book(["Words."]), path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ReportError, match="No space left"):
        accept(path, book(["Others."]))
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


# ---- the plugin


def run_pytest(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    plugins = ["-p", "clvlib.pytest_plugin", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--rootdir",
        str(folder),
        "-c",
        str(folder / "pytest.ini"),
        *plugins,
    ]
    return subprocess.run(
        [*command, *options], cwd=folder, check=False, capture_output=True, text=True, env={**os.environ, **env}
    )  # fmt: skip


def test_a_plugin_that_is_not_asked_for_costs_nothing():
    code = (
        "import sys, pytest; before = set(sys.modules); import clvlib.pytest_plugin;"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"pandas", "numpy", "nbformat", "papermill", "matplotlib"} & set(eval(done.stdout))  # noqa: S307


@pytest.fixture
def small(tmp_path: Path) -> Path:
    shop_folder(tmp_path / "shop")
    (tmp_path / "pytest.ini").write_text("[pytest]\nclv_tolerance = 01_a/kpi/loose = 0.5\n", encoding="utf-8")
    (tmp_path / "value.txt").write_text("1", encoding="utf-8")
    cells = [
        OPEN,
        "from pathlib import Path\nwith Path('runs.txt').open('a') as file:\n    _ = file.write('.')",
        "value = float(Path('value.txt').read_text())",
        "chapter.kpi('revenue', value)\nchapter.kpi('loose', value)\nprint(object())",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nlines = ax.plot([0, value])\n"
        "chapter.figure('line', ax, alt='A line')",
    ]
    notebook(
        tmp_path,
        "01_a",
        cells,
        parameters=f'source: str = {str(tmp_path / "shop")!r}\nweek: str = ""\noutput: str = ""',
    )
    return tmp_path


@pytest.mark.slow
def test_the_life_of_a_notebook(small: Path):
    """Nothing stored, accepted, compared, changed, changed within tolerance, failing."""
    path = small / "01_a.ipynb"
    sanitize = ("--nbval-sanitize-with", str(ROOT / "tests" / "nbval_sanitize.cfg"))
    assert "no tests ran" in run_pytest(small, str(path)).stdout
    done = run_pytest(small, "--clv-notebooks", str(path))
    assert done.returncode == 1
    assert "nothing is stored" in done.stdout
    assert run_pytest(small, "--clv-accept", str(path)).returncode == 0
    accepted = path.read_bytes()
    counts = [cell.execution_count for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))

    (small / "value.txt").write_text("1.02", encoding="utf-8")
    runs = (small / "runs.txt").stat().st_size
    both = run_pytest(small, "--nbval-lax", "--clv-notebooks", *sanitize, str(path))
    assert both.returncode == 1
    assert (small / "runs.txt").stat().st_size == runs + 1, "nbval has executed it, and that is enough"
    told = [line for line in both.stdout.splitlines() if line.startswith(("kpi/", "figure/", "sentence/"))]
    assert told[0] == "kpi/revenue, value: stored 1, fresh 1.02 (+2%)"
    assert any(line.startswith("figure/line, axes 1, line 1, y[2]: stored 1, fresh 1.02 (+2%)") for line in told)
    assert not any("loose" in line or "sentence" in line for line in told)
    assert path.read_bytes() == accepted

    (small / "value.txt").write_text("1.0000001", encoding="utf-8")
    assert run_pytest(small, "--clv-notebooks", *sanitize, str(path)).returncode == 0
    (small / "value.txt").write_text("one", encoding="utf-8")
    done = run_pytest(small, "--clv-accept", str(path))
    assert done.returncode == 1
    assert "could not convert string to float: 'one'" in done.stdout
    assert path.read_bytes() == accepted


@pytest.mark.slow
def test_a_fault_of_the_library_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The share of people who came again is one per cent too high, in the kernel that executes the notebook."""
    code = (
        "from clvlib.audience.fans import Fans\n"
        "made = Fans.__init__\n"
        "Fans.__init__ = lambda self, **said: made(self, **said | {'retained': 1.01 * said['retained']})\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code, encoding="utf-8")
    path = ROOT / "notebooks" / "01_audience_profile.ipynb"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", "")))))
    found = compare(path.stem, nbformat.read(path, as_version=4), fresh(path, 300))
    first = found[0]
    assert (first.record, first.field) == ("kpi/retention", "value")
    assert first.relative == pytest.approx(0.01, rel=1e-4)
    assert all("retention" in d.record or "again" in d.text for d in found), story(found)
