"""Files of tables: whole or not at all, exact, and harmless in a spreadsheet."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clvlib.errors import ReportError
from clvlib.report.tables import csv_text, defused, save_table, write_table


@pytest.mark.parametrize("value", ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", " =1", "\t=1", "-", "=", "＝1"])
def test_formulas_are_defused(value: str):
    expected = value if value == "＝1" else f"'{value}"
    assert defused(value) == expected


@pytest.mark.parametrize("value", ["-5", "+86", "-1.5e3", "", " ", "a=1", 5, -5.5, None])
def test_the_rest_is_left_alone(value):
    assert defused(value) == value or value is None


@given(st.text())
def test_no_text_that_runs_gets_through(value: str):
    safe = defused(value)
    runs = safe.lstrip(" ")[:1] in tuple("=+-@\t\r\n") and safe.strip()
    assert not runs or float(safe.rstrip("%")) is not None


@pytest.mark.parametrize("dtype", ["str", object])
def test_each_text_of_a_column_is_defused(dtype: Any):
    frame = pd.DataFrame({"=name": pd.Series(["=1", None, "x", "-5", "=1"], dtype=dtype), "n": range(5)})
    assert csv_text(frame) == "'=name,n\n'=1,0\n,1\nx,2\n-5,3\n'=1,4\n"
    assert frame["=name"].tolist()[0] == "=1"  # the frame itself stays as it was


def test_round_trip(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "product": ["=1+1", "面膜"],
            "amount": [-5.123456789012, 1e-9],
            "n": [1, -2],
            "day": pd.to_datetime(["2026-11-15"] * 2),
        },
        index=pd.Index(["0071234567890123456", "-8"], name="customer_id"),
    )
    save_table(frame, tmp_path / "new" / "folder", "best")
    csv = pd.read_csv(tmp_path / "new" / "folder" / "best.csv", dtype={"customer_id": str})
    assert csv["customer_id"].tolist() == ["0071234567890123456", "-8"]
    assert csv["product"].tolist() == ["'=1+1", "面膜"]
    np.testing.assert_array_equal(csv["amount"], frame["amount"])
    parquet = pd.read_parquet(tmp_path / "new" / "folder" / "best.parquet")
    pd.testing.assert_frame_equal(parquet, frame.reset_index(), check_dtype=False)
    assert (tmp_path / "new" / "folder" / "best.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_columns_that_no_format_knows(tmp_path: Path):
    frame = pd.DataFrame(
        {
            "band": pd.cut(pd.Series([1, 9]), [0, 5, 10]),
            "week": pd.period_range("2026-11-09", periods=2, freq="W"),
            "mixed": [1, "a"],
            "ranks": pd.Series([pd.Interval(1, 3, closed="both"), None], dtype=object),
            "kind": pd.Categorical(["x", None]),
            ("two", "levels"): [1, 2],
        }
    )
    save_table(frame, tmp_path, "odd")
    back = pd.read_parquet(tmp_path / "odd.parquet")
    assert back["band"].tolist() == ["(0, 5]", "(5, 10]"]
    assert back["mixed"].tolist() == ["1", "a"]
    assert back["ranks"].tolist()[0] == "[1, 3]"
    assert back["ranks"].isna().tolist() == [False, True]
    assert "two levels" in back.columns
    save_table(frame.iloc[:0], tmp_path, "none")
    assert pd.read_parquet(tmp_path / "none.parquet").empty


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "best.csv"
    write_table(pd.DataFrame({"a": [1]}), path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(ReportError, match=r"cannot write .*best\.csv: No space left on device"):
        write_table(pd.DataFrame({"a": [2]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["best.csv"]


def test_customer_lists_are_for_their_owner(tmp_path: Path):
    write_table(pd.DataFrame({"a": [1]}), tmp_path / "who.parquet", mode=0o600)
    assert (tmp_path / "who.parquet").stat().st_mode & 0o077 == 0


def test_a_file_where_the_folder_should_be(tmp_path: Path):
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(ReportError, match="cannot write"):
        save_table(pd.DataFrame({"a": [1]}), tmp_path / "out", "best")


@pytest.mark.parametrize("value", [pd.Interval(1.0, 2.0, closed="both"), pd.Period("2026-01")])
def test_columns_of_objects_that_no_file_knows_are_text(tmp_path: Path, value: Any):
    frame = pd.DataFrame({"rank": pd.Series([value, None, value], dtype=object), "n": [1, 2, 3]})
    save_table(frame, tmp_path, "ranks")
    back = pd.read_parquet(tmp_path / "ranks.parquet")
    assert back["rank"].tolist()[0] == str(value)
    assert pd.isna(back["rank"][1])
