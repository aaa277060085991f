"""The body of the e-mail: small, without script or address, the same words and figures as the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from nbformat.v4 import new_notebook

from clvlib.data.calendar import Week
from clvlib.report import ledger
from clvlib.report.cells import chapter_page
from clvlib.report.chapter import KPI
from clvlib.report.harvest import Harvest
from clvlib.report.mail import LIMIT, mail_html, mail_text
from clvlib.report.page import compose, render

from . import books
from .test_page import EVIL, facts

NOW = Week("2026-W46")


def made(out: Path, figures: int = 2, letters: int = 10) -> dict[str, object]:
    """What a report says whose last figure fell, after ten quiet weeks."""
    names = [f"k{i}" for i in range(figures)]
    label = f"K <b> {'x' * letters}"
    shop = {"name": "01_x", "shop": facts().name}
    for ago in range(10, 0, -1):
        said = [(KPI, books.kpi(name, 100.0 + ago % 3, label=label)) for name in names]
        books.published(out, NOW.shift(-ago).label, said, **shop)
    now = [
        books.kpi(name, 101.0 if name != names[-1] else 40.0, label=label, lower=30.0, upper=130.0) for name in names
    ]
    alert = {"chapter": "01_x", "rule": EVIL, "text": "y" * letters, "segment": "douyin", "severity": "high"}
    harvests = {"01_x": Harvest(now, alerts=[alert] * figures)}
    manifest = {"shop": facts().name, "week": NOW.label, "tables": {}, "versions": {}}
    manifest |= {"notebooks": {"01_x": {"sha256": "f" * 64, "parameters": {}}}}
    chapter = chapter_page("01_x", new_notebook())
    return compose(facts(), NOW, [chapter], harvests, manifest, ledger.current(out, print))


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return made(tmp_path_factory.mktemp("reports"))


def test_html_is_fit_for_mail(said: dict[str, object]):
    html = mail_html(said)
    assert len(html.encode()) < LIMIT
    assert not re.search(r"<(script|style|link|img|svg|form)|https?:|url\(|class=|href=", html)
    assert EVIL not in html
    assert all("style=" in tag for tag in re.findall(r"<(?:td|th|table|body|h1|h2|p)\b[^>]*>", html))


def test_no_line_ends_inside_a_number(said: dict[str, object]):
    """A figure of last week stands in a narrow column: only the names of figures give way."""
    html = mail_html(said)
    assert re.findall(r"<(\w+)[^>]*overflow-wrap:anywhere", html) == ["th", "th"]
    assert len(re.findall(r"<td[^>]*white-space:nowrap;\">\d", html)) == 2


def test_it_says_what_the_page_says(said: dict[str, object]):
    html, text, page = mail_html(said), mail_text(said), render(said)
    for told in (said["sentence"], *said["bullets"]):  # type: ignore[misc]
        assert told in text
    assert "fell by 60.4% to 40, beyond normal variation" in text  # 101 → 40
    for told in ("fell by 60.4% to 40", "for the worse", "30 to 130", "This shop is made up", "9–15 Nov 2026"):
        assert told in html
        assert told in page
    assert re.search(r"K <b> x+ +40 +101 +−61 \(−60.4%\) +changed, for the worse", text)
    assert "HIGH: " in text


def test_it_stays_small_whatever_notebooks_say(tmp_path: Path):
    said = made(tmp_path, figures=80, letters=20_000)
    assert len(mail_html(said).encode()) < LIMIT
    assert len(mail_text(said).encode()) < LIMIT
