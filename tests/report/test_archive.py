"""The page over all weeks, and the links from week to week, made of whatever lies in the folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from clvlib.report.archive import refresh
from clvlib.report.publish import locked
from clvlib.report.template import fill, week_links


def week(out: Path, label: str, **status: Any) -> Path:
    (out / label).mkdir(parents=True)
    chapters = [{"chapter": "01_a", "status": "ok"}, {"chapter": "02_b", "status": status.pop("second", "ok")}]
    said = {"week": label, "shop": "Shop <i>", "sentence": f"What {label} said.", "alerts": {"high": 0, "low": 2}}
    (out / label / "status.json").write_text(json.dumps({**said, "chapters": chapters, **status}), encoding="utf-8")
    page = out / label / "index.html"
    page.write_text(f"<html>{week_links(label, [])}<p>{label} 直播</p></html>", encoding="utf-8")
    return page


def links(page: Path) -> list[str]:
    return re.findall(r'href="([^"#]+)"', page.read_text(encoding="utf-8"))


def test_weeks_lead_to_one_another_whatever_came_first(tmp_path: Path):
    last = week(tmp_path, "2027-W01")
    refresh(tmp_path, print)
    assert links(last) == ["../index.html"]
    first = week(tmp_path, "2026-W52")
    middle = week(tmp_path, "2026-W53")
    refresh(tmp_path, print)
    assert links(first) == ["../index.html", "../2026-W53/index.html"]
    assert links(middle) == ["../2026-W52/index.html", "../index.html", "../2027-W01/index.html"]
    assert links(last) == ["../2026-W53/index.html", "../index.html"]
    for page in (first, middle, last):
        assert all((page.parent / link).resolve().is_file() for link in links(page))
        assert f"<p>{page.parent.name} 直播</p>" in page.read_text(encoding="utf-8")
    changed = middle.stat().st_mtime_ns
    refresh(tmp_path, print)
    assert middle.stat().st_mtime_ns == changed  # what is right is left alone


def test_the_page_over_all_weeks(tmp_path: Path):
    week(tmp_path, "2026-W45", second="failed", alerts={"high": 1})
    week(tmp_path, "2026-W46", sentence="A <script> fell.", notices=["The data have shrunk: <b>."])
    week(tmp_path, "2025-W01")
    (tmp_path / "2026-W44").mkdir()
    (tmp_path / "2026-W44" / "index.html").write_text("half a report", encoding="utf-8")
    lines: list[str] = []
    refresh(tmp_path, lines.append)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert links(tmp_path / "index.html") == [f"{n}/index.html" for n in ("2026-W46", "2026-W45", "2025-W01")]
    assert re.findall(r"<h2 [^>]*>(\d+)</h2>", text) == ["2026", "2025"]
    assert "A &lt;script&gt; fell." in text
    assert text.index("The data have shrunk: &lt;b&gt;.") < text.index("A &lt;script&gt; fell.")
    assert "Shop &lt;i&gt;" in text
    assert "2–8 Nov 2026" in text
    assert "1 of 2 chapters failed." in text
    assert "1 high" in text
    assert not re.search(r"<(script|link|img)|https?://", text)
    assert not lines


def test_others_pages_and_busy_weeks_are_left_alone(tmp_path: Path):
    page = week(tmp_path, "2026-W46")
    week(tmp_path, "2026-W45")
    with locked(tmp_path, "2026-W46"):
        refresh(tmp_path, print)
    assert links(page) == ["../index.html"]
    (tmp_path / "index.html").write_text("my own page", encoding="utf-8")
    lines: list[str] = []
    refresh(tmp_path, lines.append)
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == "my own page"
    assert "index.html is no page of ours; move it away" in lines[0]
    assert links(page) == ["../2026-W45/index.html", "../index.html"]


def test_no_week_at_all():
    assert "No report lies here yet." in fill("archive.html", {"years": {}, "shops": []})
