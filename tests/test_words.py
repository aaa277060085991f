"""Two languages from one source: the catalogue is whole, and a Chinese report has no English in it but names."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import nbformat
import pytest

from clvlib import plotting
from clvlib.errors import ParameterError
from clvlib.report.form import show
from clvlib.report.locale import day, days, translated
from clvlib.words import language, paragraph, speaking, tr, trn

from . import catalogue, font

# what stays as it is in any language: names of methods and models, files, parameters and settings
_NAMES = """
GMV pp CLV RFM RCV VIP KPI BG NBD MBG CNBD Pareto Gamma GammaGamma CRPS Brier Gini alpha beta gamma clvlib lifetimes
CNY Asia Shanghai BetaGeoModel ModifiedBetaGeoModel ParetoNBDModel NBDModel GammaGammaModel alive csv ipynb
index html json parquet tables audience profile funnel clv abtest by hour segments change paths customer value at
label to risk leaving comments recommendations contact orders contacts script conversion Logit Lan DeMets Welch Holm Cox
ID CPC CPM CTR SHA Kaplan Meier market weights markets criteria complaints escalate advertising reach referrers
competition hours refunds returns reservations zh CAC
"""
NAMES = set(_NAMES.split())


@pytest.fixture
def chinese() -> Iterator[None]:
    with speaking("zh"):
        yield


def test_the_catalogue_is_up_to_date_and_whole():
    stored = catalogue.stored()
    new = catalogue.updated(stored, {}, catalogue.messages())
    assert catalogue.written(new) == (catalogue.FOLDER / "zh.po").read_bytes(), "run make words"
    assert catalogue.compiled(new) == (catalogue.FOLDER / "zh.mo").read_bytes(), "run make words"
    for message in filter(lambda m: m.id, new):
        ids = [message.id] if isinstance(message.id, str) else list(message.id)
        text = message.string if isinstance(message.string, str) else message.string[0]
        assert text, f"not translated: {ids[-1]}"
        assert catalogue.fields(text) == catalogue.fields(ids[-1]), ids[-1]


def test_no_space_stands_between_chinese_sentences(chinese: None):
    assert paragraph("一。", "", "二。", "三。") == "一。二。三。"
    with speaking("en"):
        assert paragraph("One {of}.", "Two.") == "One {of}. Two."
    assert paragraph() == ""


def test_each_form_of_a_message(chinese: None):
    assert tr("no such message {n}", n=1) == "no such message 1"
    assert tr("") == ""
    assert trn("{n} week", "{n} weeks", 1) == "1周"
    assert trn("{n} week", "{n} weeks", 12) == "12周"
    with speaking("en"):
        assert trn("{n} week", "{n} weeks", 12) == "12 weeks"
    assert language() == "zh"
    with pytest.raises(ParameterError, match="'fr' is none of en, zh"), speaking("fr"):
        pass
    assert language() == "zh"


def test_numbers_in_sentences_have_a_minus_sign_and_dates_a_hyphen():
    import datetime as dt

    told = tr("{a:+.1%} and {b} on {c}, {d}", a=-0.034, b=-2, c=dt.date(2026, 11, 15), d="x-y")
    assert told == "−3.4% and −2 on 2026-11-15, x-y"
    assert trn("{n} week of {x:.1f}", "{n} weeks of {x:.1f}", 2, x=-0.5) == "2 weeks of −0.5"


def test_numbers_and_dates(chinese: None):
    import datetime as dt

    assert show(1234567.8, "money", "CNY", short=True) == "¥123.5万"
    assert show(185_019, "money", "CNY", short=True) == "¥18.50万"  # as many decimals as its neighbours
    assert show(100_000, "money", "CNY", short=True) == "¥10万"
    assert show(12345678, "count", short=True) == "1,235万"
    assert show(12345, "count", short=True) == "1.23万"
    assert show(9999, "count", short=True) == "9,999"
    assert show(2.5e8, "count", short=True) == "2.50亿"
    assert show(-0.032, "points") == "−3.2pp"
    assert day(dt.date(2026, 11, 15)) == "2026年11月15日"
    assert days(dt.date(2026, 12, 28), dt.date(2027, 1, 3)) == "2026年12月28日至2027年1月3日"


def test_marks_of_text_cells_stay(chinese: None):
    assert translated("# Nothing known\n\nNothing *known*.\n") == "# Nothing known\n\nNothing *known*.\n"
    assert translated("## The threshold").startswith("## ")
    assert "threshold" not in translated("## The threshold")


def test_figures_have_every_letter_of_gb2312_and_survive_seaborn():
    import seaborn as sns
    from fontTools.ttLib import TTFont

    letters = {
        ord(letter) for letter in map(chr, font.letters()) if letter.isascii() or letter.encode("gb2312", "ignore")
    }
    assert letters <= set(TTFont(font.TARGET).getBestCmap())
    try:
        plotting.style("zh")
        sns.set_theme()
        plotting.style()
        with plotting.styled():
            axes = plotting.new_axes()
            axes.set_title("顾客生命周期价值：−3.2个百分点")
            axes.figure.canvas.draw()  # a missing glyph is a warning, and warnings are errors here
            assert plotting.compact(1_234_567, "¥") == "¥123万"
    finally:
        plotting.style("en")


@pytest.fixture
def report(sample_reports: Path) -> Path:
    return sample_reports / "2026-W46" / "zh"


def data_words() -> set[str]:
    """Return the words of the sample shop's own values, which a report repeats."""
    shop = Path(__file__).parents[1] / "data" / "sample"
    texts = {"Sample livestream shop", *(file.read_text(encoding="utf-8") for file in shop.glob("*.plan.yaml"))}
    with duckdb.connect() as connection:
        for file in sorted({*shop.glob("*.csv"), *shop.glob("*.parquet")}):
            table = connection.sql(f"SELECT * FROM '{file}'")
            for name, kind in zip(table.columns, table.types, strict=True):
                if str(kind) == "VARCHAR" and name != "comment":
                    texts |= {str(v) for (v,) in table.select(f'"{name}"').distinct().fetchall()}
            texts |= {*table.columns, file.stem}
    return set(re.findall(r"[A-Za-z]+", " ".join(texts)))


@pytest.mark.slow
def test_a_chinese_page_has_no_english_but_names(report: Path):
    known = NAMES | data_words()
    for name in ("index.html", "email.html", "email.txt"):
        text = (report / name).read_text(encoding="utf-8")
        text = re.sub(
            r"<style.*?</style>|<details.*?</details>|<footer.*?</footer>|<head>.*?</head>", "", text, flags=re.DOTALL
        )
        text = re.sub(r'<a [^>]*lang="en">English</a>', "", text)  # to the other edition
        words = " ".join(re.findall(r'(?:alt|aria-label|data-name)="([^"]*)"', text))
        shown = html.unescape(re.sub(r"<[^>]+>", "\n", re.sub(r'="[^"]*"', "", text)) + words)
        shown = re.sub(r"P-[A-Z0-9]{12}|[0-9a-f]{12}…|\d{4}-W\d\d|W\d\d", "", shown)
        lines = {line for line in shown.splitlines() if set(re.findall(r"[A-Za-z]{2,}", line)) - known}
        assert not lines, f"{name}: not in Chinese: {lines}"
        assert 'lang="zh-Hans"' in (report / name).read_text(encoding="utf-8") or name.endswith("txt")


@pytest.mark.slow
def test_no_letter_is_missing_in_a_figure(report: Path):
    for path in report.glob("*.ipynb"):
        for cell in nbformat.read(path, 4).cells:
            for output in cell.get("outputs", []):
                assert "missing from font" not in output.get("text", ""), (path.name, output)
