"""The page as readers meet it: in a real browser, wide and narrow, light and dark, by keyboard, on paper."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import axe_core_python
import pytest

from clvlib.data.calendar import Week
from clvlib.errors import ReportError
from clvlib.report import ledger, pdf
from clvlib.report.chapter import KPI
from clvlib.report.form import html_table
from clvlib.report.runner import run
from clvlib.report.weekly import Report

from . import books
from .browser import Browser, opened
from .test_page import EVIL, PNG, alert, book, kpi, page, shown

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
COLOURS = ["color-contrast", "link-in-text-block"]
VIOLATIONS = """axe.run(document, {runOnly: %s, rules: %s,
    resultTypes: ["violations"]}).then(found => found.violations.map(
    v => `${v.id}, ${v.nodes.length} times: ${v.nodes[0].html.slice(0, 200)}; ${v.nodes[0].failureSummary}`))"""
# Colours take axe far longer than all else: of rows of a table that look alike it is shown one even and one odd. The
# shadow at a table's edge, which says that there is more to scroll to, would keep it from saying anything about tables.
THIN = """for (const body of document.querySelectorAll("tbody")) {
    const seen = new Set(), look = (row, i) => [i % 2, ...[row, ...row.querySelectorAll("*")].map(
        e => [e.tagName, e.className, e.getAttribute("style"), e.textContent === ""])].join();
    [...body.rows].map((row, i) => [row, look(row, i)]).forEach(
        ([row, look]) => seen.has(look) ? row.style.display = "none" : seen.add(look));
}
document.querySelectorAll(".clv-table").forEach(e => { e.style.backgroundImage = "none"; })"""
HEADINGS = '[...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(h => +h.tagName[1])'
WITHOUT_WORDS = "[...document.images].filter(i => !i.alt.trim()).length"
# what a reader can only reach by scrolling sideways, and cannot focus
OUT_OF_REACH = """[...document.querySelectorAll("body *")].filter(e => e.scrollWidth > e.clientWidth + 1
    && ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.tabIndex < 0
    ).map(e => e.outerHTML.slice(0, 200))"""
STICKING_OUT = """[...document.querySelectorAll("body *")].filter(e => e.checkVisibility()
    && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 200))"""
TOO_TALL = """[...document.querySelectorAll("figure, tr, .alert, .clv-kpi")].filter(e => e.checkVisibility()
    && e.getBoundingClientRect().height > %d).map(e => e.outerHTML.slice(0, 200))"""
FOCUS = """(() => {
    const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
    const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && box.width > 0
        && box.bottom > 0 && box.top < innerHeight;
    return [[...document.querySelectorAll("*")].indexOf(e), seen, e.outerHTML.slice(0, 100)];
})()"""
FOCUSABLE = """[...document.querySelectorAll("a[href], summary, [tabindex]")].filter(
    e => e.checkVisibility() && e.getBoundingClientRect().width > 0).map(
    e => [...document.querySelectorAll("*")].indexOf(e))"""
# verdicts as they are with the weeks before them
PAST = """document.querySelectorAll(".verdict").forEach(
    e => e.insertAdjacentHTML("beforeend", "<small>usual change −¥32,221 to +¥39,252</small>"))"""
A4_WIDTH, A4_HEIGHT = 688, 1001  # CSS pixels of 182 mm by 265 mm, within the margins


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def violations(browser: Browser, rules: list[str], without: Sequence[str] = ()) -> Any:
    return browser.run(VIOLATIONS % (rules, json.dumps({rule: {"enabled": False} for rule in without})))


def examine(browser: Browser, file: Path) -> None:
    """What holds for every page that we write, wide and narrow, light and dark."""
    for width in (1280, 375):
        browser.open(file, width)
        assert browser.requested() == []
        assert browser.run('performance.getEntriesByType("resource").length') == 0
        levels = browser.run(HEADINGS)
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert browser.run(WITHOUT_WORDS) == 0
        assert browser.run("document.documentElement.scrollWidth") == width
        assert browser.run(OUT_OF_REACH) == []
        browser.run(f"{AXE}; 0")
        assert violations(browser, [*WCAG, "best-practice"], without=COLOURS) == [], width
        browser.run(THIN)
        for dark in (False, True):
            browser.show(width, dark=dark)
            assert violations(browser, COLOURS) == [], (width, dark)


def examine_print(browser: Browser, file: Path) -> int:
    """What holds for every page on paper; how many sheets it takes."""
    browser.open(file, A4_WIDTH, dark=True, media="print")
    assert browser.run(STICKING_OUT) == []
    assert browser.run(TOO_TALL % A4_HEIGHT) == []
    closed = '[...document.querySelectorAll("details:not(.fold)")].filter(e => e.checkVisibility()).length'
    assert browser.run(closed) == 0  # nobody can click on paper
    folded = '[...document.querySelectorAll("details.fold > :not(summary)")].map(e => e.getBoundingClientRect().height)'
    assert all(height > 0 for height in browser.run(folded))  # what is folded on a screen is open there
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    return sheets(browser.pdf())


def sheets(printed: bytes) -> int:
    assert {
        box.split()[2:] == [b"594.95996", b"841.91998"] for box in re.findall(rb"/MediaBox \[(.*?)\]", printed)
    } == {True}
    return len(re.findall(rb"/Type /Page\b", printed))


# ---- the report of the sample shop


@pytest.mark.slow
@pytest.mark.parametrize("place", ["2026-W46", "2026-W46/zh"])
def test_the_report(chromium: Browser, sample_reports: Path, place: str):
    examine(chromium, sample_reports / place / "index.html")
    chromium.show(1280, dark=False)
    chromium.run(PAST)  # the first table of all is read without scrolling
    assert chromium.run('(t => t.scrollWidth - t.clientWidth)(document.querySelector(".kpis").parentElement)') == 0


@pytest.mark.slow
def test_all_weeks(chromium: Browser, sample_reports: Path):
    examine(chromium, sample_reports / "index.html")
    assert examine_print(chromium, sample_reports / "index.html") == 1


@pytest.mark.slow
def test_the_mail(chromium: Browser, sample_reports: Path):
    for width in (1280, 375):
        chromium.open(sample_reports / "2026-W46" / "email.html", width)
        chromium.run(f"{AXE}; 0")
        assert violations(chromium, WCAG) == []  # it is a part of a reader's page, without landmarks of its own
        assert chromium.run("document.documentElement.scrollWidth") == width


@pytest.mark.slow
def test_by_keyboard(chromium: Browser, sample_reports: Path):
    chromium.open(sample_reports / "2026-W46" / "index.html", 375)
    wanted = chromium.run(FOCUSABLE)
    reached = []
    for _ in wanted:
        chromium.press("Tab", 9)
        place, seen, html = chromium.run(FOCUS)
        assert seen, html
        reached.append(place)
    assert reached == wanted
    assert chromium.run('document.querySelectorAll("details").length') > 10
    chromium.run('document.querySelector("summary").focus()')
    chromium.press("Enter", 13, "\r")
    assert chromium.run('document.querySelector("details").open')
    chromium.run('document.querySelector(".chapter .clv-table").focus()')
    chromium.press("ArrowRight", 39)
    scrolled = "new Promise(done => setTimeout(() => done(document.activeElement.scrollLeft), 500))"
    assert chromium.run(scrolled) > 0


@pytest.mark.slow
@pytest.mark.parametrize("place", ["2026-W46", "2026-W46/zh"])
def test_on_paper(chromium: Browser, sample_reports: Path, place: str):
    assert 10 < examine_print(chromium, sample_reports / place / "index.html") < 90


# ---- pages that are not like the sample's


def past(folder: Path, shop: str, label: str) -> Any:
    for i in range(3):
        said = [(KPI, books.kpi("sold", 100.0 + i, label=label))]
        books.published(folder, Week("2026-W46").shift(i - 3).label, said, shop=shop, name="01_x")
    return ledger.current(folder, print)


def failed(folder: Path) -> str:
    long = "kernel died: " + "no_space_left_on_device_" * 30
    return page(book("# A", [shown({"text/plain": f"{long}\n" * 9})], "## One"), book("# B"), error=long)


def without_past(folder: Path) -> str:
    return page(book("# A", [kpi("sold", 1e12, lower=9e11, upper=1.1e12), kpi("x", None, why="none yet")], "## One"))


def chinese(folder: Path) -> str:
    label = "复购客户的平均每单成交额(扣除退款与优惠券之后,按自然周统计)"
    shop = "杭州丽人直播电商有限责任公司官方旗舰店"
    figures = [
        kpi("sold", 140.0, lower=130.0, upper=150.0, unit="count", label=label),
        alert("点击率低于百分之十二" * 9, "high"),
    ]
    return page(book("# 谁在看,谁在买?", "## 新客与老客", figures), past=past(folder, shop, label), name=shop)


def long_names(folder: Path) -> str:
    name = "Donaudampfschifffahrtsgesellschaft" * 6
    cells = [[name, name, "1,234,567"]] * 3
    table = shown(
        {"text/html": html_table(["product", "b", "sold"], cells, [False, False, True], name, name), "text/plain": ""}
    )
    figures = [kpi("sold", 140.0, unit="count", label=name, lower=1.0, upper=2.0), alert(name, "medium"), table]
    return page(
        book(f"# {name}", f"## {name}", f"`{name}`", figures, f"## {name}"), past=past(folder, name, name), name=name
    )


def wide_tables(folder: Path) -> str:
    def table(columns: int) -> Any:
        heads = ["product", "category", *[f"revenue share {i}" for i in range(columns - 2)]]
        rows = [["Hydrating night cream", "beauty", *["¥1,059,728"] * (columns - 2)]] * 40
        return shown({"text/html": html_table(heads, rows, [False] * 2 + [True] * (columns - 2)), "text/plain": ""})

    picture = shown({"image/png": PNG, "text/plain": ""}, {"image/png": {"alt": "A", "width": 1600, "height": 900}})
    return page(book("# A", "## One", [table(14), picture, shown({"text/plain": EVIL * 20})]))


@pytest.mark.parametrize("write", [failed, without_past, chinese, long_names, wide_tables])
def test_odd_pages(chromium: Browser, tmp_path: Path, write: Any):
    file = tmp_path / "index.html"
    file.write_text(write(tmp_path), encoding="utf-8")
    examine(chromium, file)
    assert examine_print(chromium, file) <= 4


# ---- index.pdf


def program(folder: Path, script: str) -> str:
    """A browser that does as it is told."""
    file = folder / "some-browser"
    file.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    file.chmod(0o755)
    return str(file)


def reported(folder: Path, *languages: str) -> tuple[Report, dict[str, Any]]:
    books.notebook(folder / "books", "01_a", [books.OPEN, books.FIGURES])
    report = run(
        books.shop_folder(folder / "shop"), out=folder / "out", folder=folder / "books", pdf=True, languages=languages
    )
    return report, json.loads((report.folder / "status.json").read_text(encoding="utf-8"))


def test_a_report_is_printed(chromium: Browser, tmp_path: Path):
    report, status = reported(tmp_path, "en", "zh")
    assert (report.exit_code, status["pdf"]) == (0, {"status": "ok", "error": ""})
    for edition in (report.folder, report.folder / "zh"):
        printed = (edition / "index.pdf").read_bytes()
        assert 1 <= sheets(printed) <= 4
        assert b"file:" not in printed, "it says nothing of where it was made"


def test_a_browser_that_fails_spares_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(pdf.VARIABLE, program(tmp_path, "echo starting >&2; echo no sandbox >&2; exit 1"))
    report, status = reported(tmp_path)
    assert (report.exit_code, status["exit_code"], status["status"]) == (1, 1, "partial")
    assert status["pdf"]["status"] == "failed"
    assert status["pdf"]["error"].endswith("some-browser wrote no PDF: no sandbox")
    assert (report.folder / "index.html").is_file()
    assert not (report.folder / "index.pdf").exists()


def test_without_a_browser_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ReportError, match="nowhere is no program that can be started"):
        run(tmp_path / "no shop", out=tmp_path / "out", pdf="nowhere")
    monkeypatch.delenv(pdf.VARIABLE, raising=False)
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(ReportError, match=r"no Chromium, Chrome or Edge was found .* CLVLIB_BROWSER"):
        run(tmp_path / "no shop", out=tmp_path / "out", pdf=True)
    assert not (tmp_path / "out").exists()


def test_a_browser_that_hangs_is_ended_with_its_children(tmp_path: Path):
    child = tmp_path / "child"
    hanging = program(tmp_path, f"sleep 60 & echo $! > {child}; wait")
    with pytest.raises(ReportError, match="had not printed the page after 2 s"):
        pdf.write_pdf(tmp_path / "index.html", tmp_path / "index.pdf", hanging, timeout=2)
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    until = time.monotonic() + 10
    while state.exists() and state.read_text(encoding="utf-8").split()[2] != "Z":
        assert time.monotonic() < until, "it still runs"
        time.sleep(0.05)
    assert not (tmp_path / "index.pdf").exists()


def test_what_is_no_pdf_is_not_kept(tmp_path: Path):
    lying = program(tmp_path, 'for a in "$@"; do case $a in --print-to-pdf=*) echo oops > "${a#*=}";; esac; done')
    with pytest.raises(ReportError, match="wrote no PDF"):
        pdf.write_pdf(tmp_path / "index.html", tmp_path / "index.pdf", lying)
    assert not (tmp_path / "index.pdf").exists()
