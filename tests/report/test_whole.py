"""The four notebooks, end to end, on the shops that everything must work for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pandas as pd
import pytest

from clvlib.report.page import LIMIT
from clvlib.report.runner import NOTEBOOKS, run
from clvlib.report.weekly import Report

pytestmark = pytest.mark.slow
SOURCES = sorted(NOTEBOOKS.glob("*.ipynb"))


def _words(folder: Path) -> str:
    """What a reader of the page sees, with the code folded away."""
    html = (folder / "index.html").read_text(encoding="utf-8")
    assert len(html.encode()) < LIMIT
    assert not re.search(r"(src|href)=\"(?!data:image/(png|webp);|#|(\.\./(\d{4}-W\d\d/)?|zh/)index\.html\")", html)
    for hidden in (r"<style>.*?</style>", r"<details.*?</details>", r"<[^>]+>"):
        html = re.sub(hidden, " ", html, flags=re.DOTALL)
    words = " ".join(unescape(html).split())
    assert not re.search(r"\b(nan|NaN|NaT|None|inf|Traceback)\b", words)
    return words


def _check(report: Report) -> str:
    assert report.table.set_index("chapter")["error"].to_dict() == {path.stem: "" for path in SOURCES}
    assert report.exit_code == 0
    return _words(report.folder)


def _orders(*rows: str) -> Callable[[Path], str]:
    def write(folder: Path) -> str:
        text = "\n".join(["customer_id,ordered_at,amount", *rows])
        (folder / "orders.csv").write_text(text + "\n", encoding="utf-8")
        return str(folder)

    return write


def test_sample_shop(sample: Path, sample_reports: Path):
    folder = sample_reports / "2026-W46"  # the last week, which is the one that a report is of unless told otherwise
    words = _words(folder)
    assert "This shop is made up" in words
    assert re.search(r"high Click to cart below 12%", words), "the drop that is planted in the sample's last week"
    assert "Left out" not in words
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert {name: book["status"] for name, book in manifest["notebooks"].items()} == {p.stem: "ok" for p in SOURCES}
    assert {"orders", "customers", "events", "assignments"} <= set(manifest["tables"])
    customers = set(pd.read_parquet(sample / "customers.parquet")["customer_id"])
    lists = [path for path in (folder / "tables").rglob("*.csv") if not path.with_suffix(".parquet").exists()]
    assert {path.stem for path in lists} == {
        "customer_value", "leaving", "recommendations", "contact_coupon_48h", "contact_holdout", "contact_win_back",
        "comments_to_label", "referrers", "complaints_to_escalate",
    }  # fmt: skip
    for path in folder.rglob("*"):
        if path in lists:  # they name customers: for their owner alone
            assert path.stat().st_mode & 0o777 == 0o600
            assert customers & set(pd.read_csv(path)["customer_id"])
        elif path.is_file():
            assert not re.search(rb"\bC\d{6}\b", path.read_bytes()), path


def test_orders_alone(tmp_path: Path):
    words = _check(run("cdnow", out=tmp_path))
    assert "23,570" in words  # known_answers.md: customers of CDNOW
    assert "made up" not in words
    assert "This shop has no table events" in words
    assert "11 questions of this chapter wait for data: The full path" in words


DAYS = [f"2026-0{month}-{day:02d}" for month in (3, 4, 5) for day in range(1, 29)]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(_orders("a,2026-01-05,5", "a,2026-01-19,7"), id="one customer"),
        pytest.param(_orders("a,2026-01-05,5", "b,2026-01-26,7"), id="two customers, two orders, a week between"),
        pytest.param(_orders(*[f"c{i},{day},9" for i, day in enumerate(DAYS)]), id="nobody came back"),
        pytest.param(_orders(*[f"c{i % 9},{day},0" for i, day in enumerate(DAYS)]), id="all for nothing"),
        pytest.param(_orders(*[f"c{i % 9},{day},5" for i, day in enumerate(DAYS)]), id="all of one price"),
    ],
)
def test_thin_data_make_a_thin_report(tmp_path: Path, source: Callable[[Path], str]):
    (tmp_path / "shop").mkdir()
    assert "Left out" in _check(run(source(tmp_path / "shop"), out=tmp_path / "reports"))
