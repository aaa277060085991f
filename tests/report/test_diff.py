"""Why a figure moved: what is due to data, code and parameters is kept apart from the business."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from clvlib.errors import ParameterError
from clvlib.report.chapter import KPI
from clvlib.report.diff import Difference, difference
from clvlib.report.ledger import current

from .books import kpi, published

W1, W2 = "2026-W45", "2026-W46"


def report(out: Path, week: str, sold: float, orders: dict[str, str] | None = None, **more: Any) -> None:
    weeks = {"2026-W44": "70 a", "2026-W45": "80 b"} | ({"2026-W46": "90 c"} if week == W2 else {}) | (orders or {})
    tables = {"orders": {"weeks": weeks}, "customers": {"weeks": {"": "9 x" if week == W1 else "12 y"}}}
    said = [(KPI, kpi("sold", sold, unit="money")), (KPI, kpi("share", 0.2, unit="share"))]
    published(out, week, said, tables=tables, **more)
    current(out, print)


def between(out: Path) -> tuple[dict[str, Any], Difference]:
    found = difference(current(out, print), W1, W2)
    return found.table.set_index("name").loc["sold"].to_dict(), found


def test_the_business_alone(tmp_path: Path):
    report(tmp_path, W1, 1000.0)
    report(tmp_path, W2, 1500.0)
    row, found = between(tmp_path)
    assert (row["change"], row["revised"], row["business"], row["causes"], row["mixed"]) == (500, 0, 500, "", "")
    assert found.notes == ()
    assert "Sold      ¥1,000    ¥1,500   +¥500            —        +¥500" in found.text
    assert found.text.startswith("Shop: 2026-W45 as it was first reported, and 2026-W46")
    assert "Share      20.0%     20.0%" in found.text


def test_late_data_that_a_second_report_saw(tmp_path: Path):
    report(tmp_path, W1, 1000.0)
    late = {"2026-W45": "83 d"}
    report(tmp_path, W1, 1030.0, late)
    report(tmp_path, W2, 1500.0, late)
    row, found = between(tmp_path)
    assert (row["change"], row["revised"], row["business"], row["mixed"]) == (500, 30, 470, "")
    assert row["causes"] == "late or revised data"
    assert found.notes == (
        "2026-W45 was reported 2 times.",
        "A later report of 2026-W45 had late or revised data (orders +3 rows in 2026-W45).",
    )


@pytest.mark.parametrize(
    ("change", "cause", "says"),
    [
        ({"orders": {"2026-W44": "70 z"}}, "late or revised data", "orders other rows in 2026-W44"),
        (
            {"orders": {"2026-W44": "60 z", "2026-W45": "81 z"}},
            "late or revised data",
            "orders −9 rows in 2 weeks from 2026-W44 to 2026-W45",
        ),
        ({"versions": {"clvlib_code": "new"}}, "code", "other code (clvlib_code absent → new)"),
        ({"sha256": "b"}, "code", "other code (notebook 01_a)"),
        ({"parameters": {"weeks": 8}}, "parameters", "other parameters (01_a.weeks None → 8)"),
    ],
)
def test_what_cannot_be_told_apart_until_the_week_is_made_again(
    tmp_path: Path, change: dict[str, Any], cause: str, says: str
):
    report(tmp_path, W1, 1000.0)
    report(tmp_path, W2, 1500.0, **change)
    row, found = between(tmp_path)
    assert row["mixed"] == cause
    assert math.isnan(row["business"])
    assert (
        f"The report of 2026-W46 had {'' if 'other' in says and says.startswith('other') else cause}" in found.notes[0]
    )
    assert says in found.notes[0]
    assert found.notes[-1].endswith("make the week again: clvlib report --week 2026-W45")
    assert f"not told apart: {cause} and the business" in found.text
    report(tmp_path, W1, 1100.0, **change)
    row, _ = between(tmp_path)
    assert (row["revised"], row["business"], row["causes"], row["mixed"]) == (100, 400, cause, "")


def test_weeks_without_their_year(tmp_path: Path):
    for week in ("2025-W45", W1, W2):
        report(tmp_path, week, 1.0)
    ledger = current(tmp_path, print)
    found = difference(ledger, "w45", "W46")
    assert (found.earlier, found.later) == (W1, W2)
    for wrong, says in (("W47", "2026-W45 and 2026-W47"), ("W9", "'2026-W9' is not an ISO week"), ("W54", "01 to 53")):
        with pytest.raises(ParameterError, match=says):
            difference(ledger, "W45", wrong)


def test_weeks_that_cannot_be_compared(tmp_path: Path):
    report(tmp_path, W1, 1.0)
    with pytest.raises(ParameterError, match="no reports for both 2026-W45 and 2026-W46"):
        between(tmp_path)
    with pytest.raises(ParameterError, match="does not come after"):
        difference(current(tmp_path, print), W2, W1)
    report(tmp_path, W2, 1.0)
    for week in (W1, W2):
        published(tmp_path, week, [], shop="Other")
        current(tmp_path, print)
    with pytest.raises(ParameterError, match="Other, Shop: say which one"):
        between(tmp_path)
    assert difference(current(tmp_path, print), W1, W2, shop="Shop").shop == "Shop"
    assert "They have no figure in common." in difference(current(tmp_path, print), W1, W2, shop="Other").text
