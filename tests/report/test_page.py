"""The page: one file, nothing outside it, no script, readable by people and by screen readers."""

from __future__ import annotations

import base64
import datetime as dt
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import bleach
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from clvlib.data.calendar import Week
from clvlib.report import cells, ledger
from clvlib.report.cells import chapter_page, within
from clvlib.report.chapter import ACTION, ALERT, FORECAST, KPI, MISSING, TABLE
from clvlib.report.facts import Facts
from clvlib.report.figures import _words, action_list
from clvlib.report.form import html_table
from clvlib.report.harvest import Harvest, harvest
from clvlib.report.locale import days
from clvlib.report.page import LIMIT, _fullest, compose, render
from clvlib.words import speaking

from . import books

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 60).decode()
EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
CSS = (Path(__file__).parents[2] / "clvlib" / "report" / "page.css").read_text(encoding="utf-8")


def shown(data: dict[str, Any], metadata: dict[str, Any] | None = None) -> Any:
    return new_output("display_data", data=data, metadata=metadata or {})


def book(*cells: Any) -> Any:
    node = new_notebook()
    for i, cell in enumerate(cells):
        if isinstance(cell, str):
            node.cells.append(new_markdown_cell(cell))
        else:
            node.cells.append(new_code_cell(f"print('{i} <b>')", outputs=cell, execution_count=i + 1))
    return node


def facts(**changes: Any) -> Facts:
    quality = pd.DataFrame(
        {"table": ["orders"], "rows_read": [100], "rows_kept": [98], "rows_quarantined": [2], "rows_left_out": [0]}
    )
    reasons = pd.DataFrame(
        {"table": ["orders"], "reason": [f"amount: {EVIL}"], "rows": [2], "first_row": [5], "example": ["13800001111"]}
    )
    day = dt.date(2026, 11, 15)
    values: dict[str, Any] = {
        "name": f"Shop {EVIL}", "currency": "CNY", "timezone": "Asia/Shanghai", "language": "en", "sample": True,
        "first": dt.date(2026, 1, 1), "last": day, "until": day, "quality": quality, "reasons": reasons,
        "notes": ("a note <b>",), "fingerprint": {"orders": {"rows": 98, "hash": "ab12"}}, "targets": {},
        "pseudonyms": "", "configured": {}, "settings": {},
    }  # fmt: skip
    return Facts(**(values | changes))


def kpi(name: str, value: float | None, **changes: Any) -> Any:
    payload = {
        "chapter": "01_a", "name": name, "label": f"{name} <i>", "value": value, "lower": None, "upper": None,
        "unit": "money", "better": "higher", "level": 0.95, "week": "2026-W46", "currency": "CNY", "why": "",
    }  # fmt: skip
    return shown({"text/plain": name, KPI: payload | changes})


def alert(text: str, severity: str) -> Any:
    payload = {"chapter": "01_x", "rule": text, "text": text, "segment": text, "severity": severity}
    return shown({"text/plain": "!", ALERT: payload})


def page(*books: Any, error: str = "", past: Any = None, **changes: Any) -> str:
    named = {f"0{i}_x": node for i, node in enumerate(books, 1)}
    chapters = [chapter_page(name, node, error, EVIL if error else "") for name, node in named.items()]
    notebooks = {name: {"sha256": "f" * 64, "parameters": {"level": 0.9, "source": "/home/me"}} for name in named}
    manifest = {"tables": {"orders": {"rows": 98, "hash": "ab12"}}, "notebooks": notebooks, "versions": {"python": "3"}}
    manifest |= {"shop": facts(**changes).name, "week": "2026-W46"}
    harvests = {name: harvest(node) for name, node in named.items()}
    return render(compose(facts(**changes), Week("2026-W46"), chapters, harvests, manifest, past or ledger._read()))


class Outline(HTMLParser):
    """Headings, pictures, links, anchors and tags of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "img":
            self.pictures.append(values)
        if values.get("href"):
            self.links.append(str(values["href"]))
        if values.get("id"):
            self.ids.append(str(values["id"]))


def test_actions_stand_by_what_they_should_bring():
    made = {"chapter": "01_x", "name": "a", "label": f"Call {EVIL}", "value": 10.0, "lower": 5.0, "upper": 15.0}
    made |= {
        "people": 3,
        "cost": 2.5,
        "basis": "assumed",
        "list": "calls",
        "currency": "CNY",
        "unit": "money",
        "level": 0.9,
    }
    more = made | {
        "name": "b",
        "label": "Write",
        "value": 99.0,
        "lower": None,
        "upper": None,
        "list": "",
        "people": None,
    }
    html = page(book("# A", [shown({"text/plain": "-", ACTION: each}) for each in (made, more)]))
    (place,) = re.findall(r'<section id="actions".*?</section>', html, re.DOTALL)
    items = re.findall(r"<li>.*?</li>", place, re.DOTALL)
    assert [re.findall("<strong>(.*?)</strong>", item) for item in items] == [
        ["Write", "¥99.00"],
        ["Call &lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;", "¥10.00"],
    ]
    assert "90% interval ¥5.00 to ¥15.00" in items[1]
    assert "3 customers; costs ¥2.50; assumed; list 01_x/calls" in items[1]
    assert "interval" not in items[0]
    (risky,) = action_list({"01_x": Harvest(actions=[made | {"lower": -1.0}])})
    assert risky["details"] == (
        "3 customers; costs ¥2.50; assumed; the interval reaches below zero, so it may also lose; list 01_x/calls"
    )
    assert '<section id="actions"' not in page(book("# A"))


@pytest.fixture(scope="module")
def full() -> str:
    first = book(
        f"# Who buys {EVIL}",
        "Text with a [link](https://example.org/x), ![picture](https://example.org/y.png) and <b>html</b>\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "## One",
        [kpi("revenue", 1234567.8, lower=1.2e6, upper=1.3e6), kpi("returns", None, why="none <yet>")],
        "#### Deep",
        [shown({"image/png": PNG, "text/plain": "x"}, {"image/png": {"alt": 'A "line"', "width": 500, "height": 300}})],
        [shown({"text/plain": EVIL}), shown({"text/html": f"<p onclick='x()'>a {EVIL}</p>", "text/plain": "a"})],
        [shown({"text/html": "<style>p {}</style><table></table>", "text/plain": "the plain twin"})],
        [alert(EVIL, "low"), alert("r", "high")],
        [shown({"text/plain": "-", MISSING: {"chapter": "01_x", "section": "A1 <x>", "reason": "no table"}})],
        [new_output("stream", name="stdout", text="x" * 10_000_000), new_output("stream", name="stderr", text="noise")],
    )  # fmt: skip
    return page(first, book("# Two", "### Straight to three", "## Back"))


def test_nothing_outside_and_no_script(full: str):
    outline = Outline(full)
    assert not {"script", "iframe", "object", "embed", "link", "form"} & set(outline.tags)
    assert {link for link in outline.links if not link.startswith("#")} == {"../index.html"}  # all weeks
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r'content="default-src[^"]*"', "", full))
    assert not [
        a for a in outline.attributes if a[1].startswith("on") or (a[1] == "src" and not str(a[2]).startswith("data:"))
    ]
    assert "@import" not in CSS
    assert "url(" not in CSS


def test_text_stays_text(full: str):
    assert EVIL not in full
    assert "&lt;script&gt;" in full
    assert full.count("<img") == 1
    assert "none &lt;yet&gt;" in full


def test_anchors_lead_somewhere(full: str):
    outline = Outline(full)
    assert {link[1:] for link in outline.links if link.startswith("#")} <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_headings_in_order(full: str):
    levels = Outline(full).levels
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_pictures_have_words(full: str):
    assert [p["alt"] for p in Outline(full).pictures] == ['A "line"']


def test_figures_and_alerts(full: str):
    assert "¥1.23M" in full
    assert "¥1.20M to ¥1.30M" in full
    assert full.index('severity">high') < full.index('severity">low')
    assert "No table: A1 &lt;x&gt;." in full
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", full)


def test_quality_reconciles_and_hides_examples(full: str):
    assert "100 rows were read: 98 kept, 2 set aside because they break the data contract (2.0%)." in full
    assert "13800001111" not in full
    assert "a note &lt;b&gt;" in full


def test_sample_is_said_and_silence_otherwise(full: str):
    assert "This shop is made up" in full
    assert "This shop is made up" not in page(book("# A"), sample=False)


def test_paths_stay_at_home(full: str):
    assert "/home/me" not in full


def test_long_output_is_cut(full: str):
    assert "9,996,000 more letters" in full
    assert "noise" not in full
    assert len(full.encode()) < 100_000


def test_unstyled_html_falls_back_to_text(full: str):
    assert "the plain twin" in full
    assert "p {}" not in full


def test_red_card():
    html = page(book("# A", [shown({"text/plain": "so far"})]), error=f"it broke {EVIL}")
    assert "This chapter failed:</strong> it broke &lt;script" in html
    assert "1 of 1 failed" in html
    assert EVIL not in html
    assert "so far" in html


def test_a_page_without_anything():
    html = page(new_notebook())
    assert "No chapter stated a key figure." in html
    assert "No threshold was crossed." in html


def test_the_page_stays_below_its_limit():
    picture = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 300_000).decode()
    big = [shown({"image/png": picture, "text/plain": "x"}, {"image/png": {"alt": f"Figure {i}"}}) for i in range(12)]
    html = page(book("# A", [*big, shown({"image/png": PNG, "text/plain": "x"}, {"image/png": {"alt": "Small"}})]))
    assert len(html.encode()) <= LIMIT
    assert "Left out to keep this page small: Figure" in html
    assert 'alt="Small"' in html
    assert html.count("<img") >= 4


def test_pictures_that_are_none():
    chapter = chapter_page("01_x", book([shown({"image/png": base64.b64encode(b"<script>").decode()})]))
    assert [p.kind for p in chapter.parts] == ["code"]
    chapter = chapter_page("01_x", book([shown({"image/png": '"><script>'})]))
    assert [p.kind for p in chapter.parts] == ["code"]
    within([chapter], 0)


def test_interval_levels_are_said():
    html = page(book([kpi("a", 1.0, lower=0.0, upper=2.0, level=0.9), kpi("b", 1.0, lower=0.0, upper=2.0)]))
    assert "interval (95% unless marked)" in html
    assert "¥0.00 to ¥2.00 (90%)</small>" in html


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ((2026, 11, 9), (2026, 11, 15), "9–15 Nov 2026"),
        ((2026, 9, 28), (2026, 10, 4), "28 Sept – 4 Oct 2026"),
        ((2020, 12, 28), (2021, 1, 3), "28 Dec 2020 – 3 Jan 2021"),
    ],
)
def test_days(first: tuple[int, int, int], last: tuple[int, int, int], text: str):
    assert days(dt.date(*first), dt.date(*last)) == text


def _colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_contrast_is_wcag_aa(which: int):
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    colours = _colours(blocks[0]) | (_colours(blocks[1]) if which else {})
    pairs = [(ink, back) for ink in ("ink", "soft", "accent") for back in ("paper", "wash")]
    pairs += [("bad", "paper"), ("bad", "wash"), ("bad", "bad-wash"), ("ink", "bad-wash"), ("ink", "warn-wash")]
    pairs += [
        ("warn", "warn-wash"),
        ("low", "wash"),
        ("accent", "bad-wash"),
        ("accent", "warn-wash"),
        ("soft", "bad-wash"),
    ]
    for ink, back in pairs:
        bright = sorted((_luminance(colours[ink]), _luminance(colours[back])))
        assert (bright[1] + 0.05) / (bright[0] + 0.05) >= 4.5, (ink, back)


# ---- in time


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a week that eleven others came before."""
    out = tmp_path_factory.mktemp("reports")
    tables = {"orders": {"rows": 300}}
    shop = {"name": "01_x", "shop": facts().name, "parameters": {"level": 0.9}, "tables": tables}
    for i in range(11):
        sold, share = books.kpi("sold", 100.0 + i % 3, lower=90.0, upper=110.0), books.kpi("share", 0.25, unit="share")
        made = (FORECAST, books.forecast("sold", 100.0, 100.0 + i % 3))
        books.published(out, Week("2026-W46").shift(i - 11).label, [(KPI, sold), (KPI, share), made], **shop)
    now = [
        kpi("sold", 140.0, lower=130.0, upper=150.0, unit="count"),
        kpi("share", 0.25, unit="share"),
        kpi("new", 3.0, unit="count"),
        shown({FORECAST: books.forecast("sold", 101.0, 120.0, label=f"Sold {EVIL}")}),
    ]
    past = ledger.current(out, print)
    return page(book(now), past=past, targets={"sold": 200.0, "share": 0.2, "nothing": 1.0})


def test_last_week_change_and_verdict(later: str):
    rows = {label: row for row in re.findall(r'<tr role="row">.*?</tr>', later) if (label := re.sub("<.*?>", " ", row))}
    sold, share, new = (re.sub(r"\s+", " ", label).strip() for label in list(rows)[1:4])
    # 140 ± 10 less 101 - 11 + 9: 39 - √(10² + 9²), 39 + √(10² + 11²); the ten changes before have mean 0.1 and
    # s² = 2.1, one of two figures is flagged, so 0.1 ± t(0.9875; 9) √(2.1 · 1.1) = 0.1 ± 2.685 · 1.52
    assert sold == (
        "sold &lt;i&gt; higher is better target 200, now at 70.0% of it 140 130 to 150 101 "
        "+39 (+38.6%) +26 to +54 changed, for the better usual change −4.0 to +4.2"
    )
    # what never moved has no usual change: a range from 0 to 0 would call the next trifle a change
    assert share == (
        "share &lt;i&gt; higher is better target 20.0%, reached 25.0% 25.0% +0.0 pp within normal variation"
    )
    assert new.endswith("3 — — —")
    assert "Of 2 figures that can be judged, 1 changed since last week: sold &lt;i&gt;." in later
    assert later.count('<svg class="spark"') == 2
    assert "last 12 weeks: from 100 to 140, lowest 100, highest 140" in later


def test_forecasts_that_were_due(later: str):
    text = re.sub(r"\s+", " ", re.sub("<.*?>", " ", later[later.index('<section id="forecasts"') :]))
    assert "Of 1 forecast due this week, 0 fell inside its 90% interval." in text
    assert "Of 11 forecasts due since 2026-W36, 10 fell inside their 90% intervals (90.9%)." in text
    assert "Sold 1 week 100 90 to 110 (90%) 120 outside" in text
    assert EVIL not in later
    assert "2026-W47" in text


def test_shrunken_data_come_before_anything_else(later: str):
    said = "The data have shrunk: 98 rows of orders where the report of 2026-W45 had 300."
    assert said in later
    assert later.index(said) < later.index('<p class="lead"')


def test_a_second_attempt_with_half_of_the_data_is_told_again(tmp_path: Path):
    """What the first attempt published is no measure; nor is what was cut on purpose a month ago."""
    assert _fullest(ledger.current(tmp_path, print), "Shop") == {}
    for week, rows in [("2026-W41", 900), ("2026-W42", 300), ("2026-W45", 290), ("2026-W46", 310), ("2026-W46", 150)]:
        books.published(
            tmp_path, week, [(KPI, books.kpi("sold", 1.0))], tables={"orders": {"rows": rows}, "events": {"rows": 5}}
        )
        past = ledger.current(tmp_path, print)
    assert _fullest(past, "Shop") == {"orders": (310, "2026-W46"), "events": (5, "2026-W46")}


def test_a_first_report_says_so():
    html = page(book([kpi("sold", 1.0)]))
    assert "This is the first report that lies here" in html
    assert "Last week" not in html
    assert 'id="forecasts"' not in html


PIECES = st.sampled_from([
    *("<p>", "</p>", '<td class="num">', "</td>", '<p style="x">', "<br>", "</br>", "<script>", "</script>", "<b"),
    *("<p onclick=x>", '<p onclick="x()">', "a < b", "&lt;", "&", '"', "<!--", "-->", "<P>", "<img src=x>", "<p/>"),
    *("text", " ", '<p class="a>b">', "<svg>", "<a href='javascript:1'>", "</p >", "</div>", "\x00", "<![CDATA["),
    '<div role="group" tabindex="0">',
])  # fmt: skip


@settings(max_examples=400)
@given(st.lists(PIECES, max_size=8).map("".join))
def test_what_is_passed_as_harmless_a_parser_would_pass_too(html: str):
    plain = cells._harmless(html)
    if plain is None:
        return
    parsed = bleach.clean(plain, tags=cells._TAGS, attributes=cells._ATTRIBUTES)
    assert "&lt;" not in parsed.replace("&lt;", "", html.count("&lt;"))  # nothing was escaped that looked like a tag
    names = set(Outline(plain).tags)
    assert names <= cells._TAGS
    assert {name for _, name, _ in Outline(plain).attributes} <= {"class", "role", "tabindex"}


def test_tables_of_ours_need_no_parser():
    from clvlib.report.form import html_table

    table = html_table(["a", "n"], [["<script>", "1"], ["x & y", "2"]], [False, True], "Caption")
    plain = cells._harmless(table)
    assert plain == re.sub(' style="[^"]*"', "", table)
    assert Outline(plain).tags == Outline(bleach.clean(table, tags=cells._TAGS, attributes=cells._ATTRIBUTES)).tags
    for broken in (table + "<", table[:-1], table.replace("</tr>", "", 1), f"{table}</p>", "<p>&lt;</p></p>", "<p>"):
        assert cells._harmless(broken) is None


def test_what_matters_stands_first():
    written = page(book("# Who buys", [kpi(name, 1.0) for name in ("cac", "buyers", "gmv_net", "k_factor")]))
    groups = re.findall(r'<tr class="group" role="row"><th[^>]*>(?:<a[^>]*>)?([^<]*)', written)
    assert groups == ["What matters first", "Who buys"]
    order = [written.index(f'role="rowheader">{name} ') for name in ("gmv_net", "buyers", "cac", "k_factor")]
    assert order == sorted(order)


def test_no_space_follows_a_chinese_mark():
    """Templates and Markdown put one there; in English it stays."""
    markdown = "# A\n**谁在买？** 新客。"
    with speaking("zh"):
        html = page(book(markdown))
    assert "<strong>谁在买？</strong>新客。" in html
    assert "<strong>示例数据。</strong>本店为虚构" in html
    assert "set aside" not in html
    assert "（2.0%）" in html
    assert not re.search(r"[。，；：？！、](</\w+>)? ", re.sub("<pre.*?</pre>", "", html, flags=re.DOTALL))
    assert "<strong>Sample data.</strong> This shop" in page(book("# A"))


def left_out(section: str, reason: str, *tables: str) -> Any:
    payload = {"chapter": "01_x", "section": section, "tables": list(tables), "reason": reason}
    return shown(
        {"text/plain": "-", "text/html": f'<p class="clv-missing">{section} is left out</p>', MISSING: payload}
    )


def test_what_waits_for_data_is_one_line_of_its_chapter():
    """A shop of orders alone had a line, a heading and an explanation for each of 24 analyses that it cannot have."""
    absent = "this shop has no table events"
    node = book(
        "# Paths\n\nIntro.",
        "## Full path\n\nHow many?", [left_out("F1 Path", absent, "events"), left_out("F1 Steps", absent, "events")],
        "## Returns\n\nHow much?", [shown({"text/html": "<p>7% come back</p>"}), left_out("F11 Why", "no reasons")],
        "## Complaints\n\nIn time?", [left_out("F9 Complaints", "this shop has no table complaints", "complaints")],
    )  # fmt: skip
    chapter = chapter_page("01_x", node)
    html = "".join(part.html for part in chapter.parts)
    assert [title for _, title in chapter.sections] == ["Returns"]
    assert "How many?" not in html
    assert html.count('class="clv-missing"') == 1
    line = (
        "2 questions of this chapter wait for data: Full path; Complaints. Tables that would help: events, complaints."
    )
    assert line in html
    assert html.index(line) < html.index("Returns") < html.index("7% come back")
    assert f"<li>T{absent[1:]}: F1 Path, F1 Steps.</li><li>No reasons: F11 Why.</li>" in html


def test_the_little_that_is_left_out_stays_in_its_place():
    node = book("# Paths", "## Full path", [left_out("F1 Path", "no events"), left_out("F1 Steps", "no events")])
    chapter = chapter_page("01_x", node)
    assert [title for _, title in chapter.sections] == ["Full path"]
    assert [part.html for part in chapter.parts][1:3] == [
        f'<p class="clv-missing">{name} is left out</p>' for name in ("F1 Path", "F1 Steps")
    ]


@pytest.mark.parametrize(("rows", "switched"), [(8, False), (9, True)])
def test_a_long_table_shows_its_first_rows_and_the_rest_at_a_click(rows: int, *, switched: bool):
    html = html_table(["host"], [[f"H{row}"] for row in range(rows)], [False], "Hosts", "More in a file")
    chapter = chapter_page("01_x", book([shown({"text/html": html, TABLE: {"cells": [["H"]] * rows}})]))
    switch = f'</table></div><details class="rows"><summary><span>All {rows} rows</span>'
    assert (switch in chapter.parts[0].html) is switched
    assert f"H{rows - 1}" in chapter.parts[0].html  # on paper, and for those whose browser knows no switch, all stand


def test_columns_that_say_nothing_are_left_out():
    table = str(_words(["list", "expected", "customers"], [["a", "—", "3"], ["b", "—", "—"]], "Lists"))
    assert "expected" not in table
    assert table.count("<th ") == 2
    assert table.count("<td ") == 4


@pytest.mark.parametrize("expected", [None, 2.5])
def test_what_a_page_does_not_show_it_does_not_explain(expected: float | None):
    grade = {
        "chapter": "03", "name": "coupon", "label": "Coupon", "event": "purchase", "weeks": 1, "made": "2026-W45",
        "due": "2026-W46",
        "customers": 10, "gone": 0, "observed": 3, "expected": expected, "lower": 1, "upper": 5, "brier": 0.2,
        "brier_same": 0.25, "listed": 10, "hits": 3, "bands": None, "verdict": "as expected", "why": "",
    }  # fmt: skip
    manifest = {"tables": {}, "notebooks": {}, "versions": {}, "shop": "Shop", "week": "2026-W46"}
    html = render(compose(facts(), Week("2026-W46"), [], {}, manifest, ledger._read(), [grade]))
    assert "held against this report&#39;s data." in html
    assert ("19 of 20 cases" in html) == (expected is not None)
