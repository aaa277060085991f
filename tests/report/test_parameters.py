"""What is passed to a notebook is checked before a kernel starts, and arrives exactly."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.errors import ParameterError, ReportError
from clvlib.report.parameters import checked, literal, read_notebook

from .books import notebook

CELL = """source: str = ""
horizon: int = 52  # weeks
level: float = 0.95
fast: bool = False
engine: Literal["clvlib", "lifetimes"] = "clvlib"
segments: list[str] = []
targets: dict[str, float] = {}
limit: int | None = None
shift: float = -1.5"""


@pytest.fixture
def book(tmp_path: Path):
    return read_notebook(notebook(tmp_path, "03_clv", [], parameters=CELL))


def test_defaults_are_read(book):
    assert {name: p.default for name, p in book.parameters.items()} == {
        "source": "", "horizon": 52, "level": 0.95, "fast": False, "engine": "clvlib", "segments": [], "targets": {},
        "limit": None, "shift": -1.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "given_", "want"),
    [
        ("horizon", "26", 26), ("horizon", 26, 26), ("level", "0.9", 0.9), ("shift", "1", 1), ("fast", "true", True),
        ("engine", "lifetimes", "lifetimes"), ("segments", "['a', '直播']", ["a", "直播"]), ("segments", ["x"], ["x"]),
        ("targets", {"gmv": 1}, {"gmv": 1}), ("limit", "none", None), ("limit", "5", 5), ("source", "007", "007"),
        ("03.horizon", "1", 1), ("03_clv.horizon", "1", 1),
    ],
)  # fmt: skip
def test_what_fits(book, name: str, given_: Any, want: Any):
    result = checked([book], {name: given_})["03_clv"]
    assert list(result.values()) == [want]
    assert [type(v) for v in result.values()] == [type(want)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("horizon", "2.5"), ("horizon", "ten"), ("horizon", True), ("horizon", np.int64(3)), ("level", "high"),
        ("level", float("nan")), ("fast", 1), ("fast", "yes please"), ("engine", "R"), ("segments", ("a",)),
        ("segments", [1]), ("targets", {"a": "b"}), ("source", 3), ("source", None), ("limit", 0.5),
    ],
)  # fmt: skip
def test_what_does_not(book, name: str, value: Any):
    with pytest.raises(ParameterError, match=f"parameter {name}: .* is no "):
        checked([book], {name: value})


DECLARED = """margin: float = 0.3
level: float = 0.0
hold_out: float = 0.1
churn_weeks: int = 8
outlook_weeks: list[int] = [4, 12]
quiet_hours: list[int] = [22, 9]
holdout_end: str = ""
step: str = "cart"
"""


@pytest.fixture
def limited(tmp_path: Path):
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(DECLARED, metadata={"tags": ["parameters"]})])
    nbformat.write(node, tmp_path / "03_clv.ipynb")
    return read_notebook(tmp_path / "03_clv.ipynb")


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("margin", "1.5", "1.0"), ("margin", "0.0", "0.01"), ("level", "95.0", "0.0"), ("hold_out", "1.0", "0.5"),
        ("churn_weeks", "0", "1"), ("outlook_weeks", "[4, -1]", "[1]"), ("quiet_hours", "7", "[0, 7]"),
        ("holdout_end", "2026-13-01", "2026-11-15"), ("holdout_end", "Monday", ""),
    ],
)  # fmt: skip
def test_impossible_values_are_refused_before_anything_starts(limited, name: str, bad: str, good: str):
    with pytest.raises(ParameterError, match=f"parameter {name}: "):
        checked([limited], {name: bad})
    checked([limited], {name: good})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("horizont", "did you mean horizon"),
        ("x", "there are engine, fast"),
        ("05_other.horizon", "no notebook of this run has a parameter '05_other.horizon'; did you mean horizon"),
    ],
)
def test_unknown_names(book, name: str, hint: str):
    with pytest.raises(ParameterError, match=hint):
        checked([book], {name: 1})


def test_an_unknown_name_of_one_notebook_names_what_that_one_has(tmp_path: Path, book):
    other = read_notebook(notebook(tmp_path, "02_funnel", [], parameters="step: str = ''\nsources: int = 1"))
    for key in ("03_clv.nosuch", "03.nosuch"):
        with pytest.raises(
            ParameterError, match=f"notebook 03_clv has no parameter '{key}'; there are engine, "
        ) as told:
            checked([other, book], {key: 1})
        assert not {"step", "sources"} & set(str(told.value).replace(",", "").split())
    with pytest.raises(ParameterError, match=r"'02\.horizon'; there are source"):  # another's names are no hint
        checked([other, book], {"02.horizon": 1})


def test_each_notebook_gets_what_it_declares(tmp_path: Path, book):
    other = read_notebook(notebook(tmp_path, "02_funnel", [], parameters="level: float = 0.9"))
    assert checked([book, other], {"level": 0.8, "horizon": 4, "02.level": 0.7}) == {
        "03_clv": {"level": 0.8, "horizon": 4},
        "02_funnel": {"level": 0.7},
    }


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("", "0 code cells carry the tag"),
        ("a = 1", "written 'name: type = constant', found 'a = 1'"),
        ("a: int", "written 'name: type = constant'"),
        ("import os", "found 'import os'"),
        ("a: int = open('x')", "default of a is no constant"),
        ("a: int = 'x'", "the default of a, 'x', is no int"),
        ("a: Path = None", "the type Path is none of"),
        ("a: __import__('os').x = 1", "the type"),
        ("a: int = = 1", "not Python"),
    ],
)
def test_cells_that_do_more(tmp_path: Path, cell: str, says: str):
    with pytest.raises(ReportError, match=says):
        read_notebook(notebook(tmp_path, "01_a", [], parameters=cell))


def test_files_that_are_no_notebooks(tmp_path: Path):
    with pytest.raises(ReportError, match="no such notebook"):
        read_notebook(tmp_path / "x.ipynb")
    (tmp_path / "x.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(ReportError, match="this is not a notebook"):
        read_notebook(tmp_path / "x.ipynb")


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
nested = st.recursive(plain, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=8)


@given(nested)
def test_literals_are_exact(value: Any):
    text = literal(value)
    assert ast.literal_eval(text) == value
    assert "\n" not in text


def test_literals_are_written_by_several_threads(monkeypatch: pytest.MonkeyPatch):
    def parsed(*_: Any, **__: Any) -> None:
        raise SystemError("AST constructor recursion depth mismatch (before=89, after=64)")  # of Python up to 3.11.7

    monkeypatch.setattr(ast, "parse", parsed)
    assert literal({"vip": [5, None]}) == "{'vip': [5, None]}"


def test_chinese_stays_readable():
    assert literal("直播间") == "'直播间'"


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        np.int64(1),
        np.float64(1),
        float("inf"),
        {1, 2},
        object(),
        [np.int64(1)],
        {"a": float("nan")},
        {(1, 2): 3},
    ],
)
def test_what_has_no_literal_is_refused(value: Any):
    with pytest.raises(ParameterError, match="literal"):
        literal(value)
