"""What a chapter shows, in a notebook and outside of one."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyrage
import pytest

import clvlib as clv
from clvlib.data.privacy import SAMPLE_KEY, Pseudonyms
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.report import chapter as module
from clvlib.report.chapter import ACTION, ALERT, FORECAST, HEADER, KPI, MISSING, TABLE, Chapter
from clvlib.report.figures import figure_groups
from clvlib.report.harvest import Harvest
from clvlib.report.trend import Trend
from clvlib.words import currency_symbol, money

from .books import shop_folder


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Any]:
    opened = clv.connect(shop_folder(tmp_path / "shop"))
    yield opened
    opened.close()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict, dict]]:
    """What was displayed, as media types and metadata, as if in a notebook."""
    seen: list[tuple[dict, dict]] = []

    def display(bundle: dict, *, raw: bool, metadata: dict) -> None:
        assert raw
        seen.append((bundle, metadata))

    import IPython.display

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(module, "_in_notebook", lambda: True)
    with warnings.catch_warnings():
        yield seen
    plt.close("all")


@pytest.fixture
def chapter(shop: Any, shown: list, tmp_path: Path) -> Chapter:
    made = Chapter("03_clv", shop, week="2026-W27", output=tmp_path / "tables")
    shown.clear()
    return made


def test_import_is_cheap():
    heavy = "{'papermill', 'nbclient', 'IPython', 'matplotlib', 'jinja2', 'pydantic'}"
    code = (
        f"import sys, clvlib.report.chapter; found = {heavy} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_sentences_of_the_library_have_the_currency_of_the_shop(shop, shown):
    assert money(1500) == "1,500"
    Chapter("03_clv", shop)
    assert money(1500) == f"{currency_symbol(shop.config.currency)}1,500" != "1,500"


def test_opens_with_week_and_sample_mark(shop, shown):
    made = Chapter("03_clv", shop)
    assert made.week.label == "2026-W28"  # 2026-07-06 to 07-12, the last week of the data
    assert made.weeks_known == 6  # from 2026-06-01, the Monday of W23, on
    bundle, _ = shown[0]
    assert "Sample data: a made-up shop" in bundle["text/plain"]
    assert "Mini &lt;shop&gt;, week 2026-W28" in bundle["text/html"]
    assert bundle[HEADER] == {"chapter": "03_clv", "week": "2026-W28", "sample": True}


@pytest.mark.parametrize(
    ("week", "says"), [("2026-W60", "weeks 01 to 53"), ("soon", "is no week"), ("2030-W01", "outside")]
)
def test_impossible_weeks(shop, week: str, says: str):
    with pytest.raises(ParameterError, match=says):
        Chapter("03_clv", shop, week=week)


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "收入"])
def test_names_that_are_no_file_names(chapter, name: str):
    for call in (
        lambda: chapter.kpi(name, 1),
        lambda: chapter.forecast(name, 1),
        lambda: chapter.table(name, pd.DataFrame()),
        lambda: chapter.figure(name, plt.gca(), "x"),
    ):
        with pytest.raises(ParameterError, match="a name here is made of letters"):
            call()


def test_kpi(chapter, shown):
    chapter.kpi("revenue", 1234567.891, 1.2e6, 1.3e6, unit="money", better="higher")
    bundle, _ = shown[0]
    assert bundle["text/plain"] == "Revenue: ¥1,234,568 (95% interval ¥1,200,000 to ¥1,300,000)"
    assert bundle[KPI] == {
        "chapter": "03_clv", "name": "revenue", "label": "Revenue", "value": 1234567.9, "lower": 1200000,
        "upper": 1300000, "unit": "money", "better": "higher", "level": 0.95, "week": "2026-W27", "currency": "CNY",
        "why": "",
    }  # fmt: skip


def test_what_is_to_be_known_of_a_figure_goes_with_it(chapter, shown):
    chapter.kpi("revenue", 100.0, unit="money", note="about 90 in the end")
    assert shown[0][0][KPI]["note"] == "about 90 in the end"
    said = {"03_clv": Harvest(kpis=[shown[0][0][KPI]])}
    (group,) = figure_groups({}, said, {"03_clv": "x"}, {("03_clv", "revenue"): Trend(())})
    assert group["rows"][0]["why"] == "about 90 in the end"  # it stands below the number


def test_a_stock_says_that_it_is_one(chapter, shown):
    chapter.kpi("value", 100.0, 90.0, 110.0, unit="money", stock=True)
    chapter.kpi("sold", 100.0, 90.0, 110.0, unit="money")
    assert [bundle[KPI].get("stock") for bundle, _ in shown] == [True, None]


def test_kpi_without_a_number(chapter, shown):
    chapter.kpi("return_rate", float("nan"), float("nan"), float("nan"), unit="share", why="nothing was <returned>")
    bundle, _ = shown[0]
    assert bundle["text/plain"] == "Return rate: — (nothing was <returned>)"
    assert "nothing was &lt;returned&gt;" in bundle["text/html"]
    assert bundle[KPI]["value"] is None
    assert bundle[KPI]["lower"] is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unit": "mony"}, "unit 'mony'"),
        ({"better": "up"}, "better"),
        ({"lower": 2.0, "upper": 1.0}, "wrong way round"),
    ],
)
def test_kpi_that_cannot_be(chapter, options: dict, says: str):
    with pytest.raises(ParameterError, match=says):
        chapter.kpi("x", 1.0, **options)


def test_forecast(chapter, shown):
    chapter.forecast("buyers", 120.04, 101, 135, weeks=4, actual=np.int64(118), label="Buyers")
    chapter.forecast("buyers", 30.5, 20, 41, actual=float("nan"))
    first, second = (bundle for bundle, _ in shown)
    assert first["text/plain"] == "Buyers, next 4 weeks: 120 (90% interval 101 to 135)"
    assert second["text/plain"] == "Buyers, next week: 30 (90% interval 20 to 41)"
    assert first[FORECAST] == {
        "chapter": "03_clv", "name": "buyers", "label": "Buyers", "mean": 120.04, "lower": 101, "upper": 135,
        "actual": 118, "unit": "count", "level": 0.9, "weeks": 4, "week": "2026-W27", "currency": "CNY", "why": "",
    }  # fmt: skip
    assert second[FORECAST]["actual"] is None


def test_forecast_with_its_distribution(chapter, shown):
    chapter.forecast("buyers", 30, quantiles={0.75: 33, 0.25: 27, 0.05: np.float64(21.5), 0.5: 30, 0.95: 40}, label="B")
    assert shown[0][0]["text/plain"] == "B, next week: 30 (90% interval 22 to 40; middle half 27 to 33)"
    said = shown[0][0][FORECAST]
    assert said["quantiles"] == [(0.05, 21.5), (0.25, 27), (0.5, 30), (0.75, 33), (0.95, 40)]
    assert (said["lower"], said["upper"]) == (21.5, 40)
    chapter.forecast("buyers", 30, 20, 41, level=0.8, quantiles={0.1: 22, 0.9: 38})  # what is given stands
    assert (shown[1][0][FORECAST]["lower"], shown[1][0][FORECAST]["upper"]) == (20, 41)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unit": "mony"}, "forecast x: unit 'mony'"),
        ({"lower": 2.0, "upper": 1.0}, "wrong way round"),
        ({"weeks": 0}, "a whole number of weeks ahead, not 0"),
        ({"weeks": 1.5}, "a whole number of weeks"),
        ({"quantiles": {0.1: 5, 0.9: 4}}, "forecast x: the quantiles 0.1: 5, 0.9: 4 are none"),
        ({"quantiles": {0: 5, 0.9: 6}}, "levels lie between 0 and 1"),
        ({"quantiles": {0.1: float("nan"), 0.9: 6}}, "0.1: None"),
    ],
)
def test_forecast_that_cannot_be(chapter, options: dict, says: str):
    with pytest.raises(ParameterError, match=says):
        chapter.forecast("x", 1.0, **options)


def test_table_shows_some_and_saves_all(chapter, shown, tmp_path: Path):
    frame = pd.DataFrame({"product": [f"<p{i}>" for i in range(30)], "revenue": [1000.123456] * 30})
    chapter.table("best", frame, "Best & worst", rows=5, formats={"revenue": "money"})
    bundle, _ = shown[0]
    assert bundle["text/html"].count("<tr>") == 6
    assert "&lt;p0&gt;" in bundle["text/html"]
    assert "25 more rows in best.csv" in bundle["text/plain"]
    assert "¥1,000" in bundle["text/plain"]
    assert bundle[TABLE]["rows"] == 30
    saved = pd.read_parquet(tmp_path / "tables" / "03_clv" / "best.parquet")
    assert len(saved) == 30
    assert saved["revenue"][0] == 1000.123456


def test_table_shows_chosen_columns_and_saves_every_one(chapter, shown, tmp_path: Path):
    frame = pd.DataFrame({"host": ["H1"], "rate": [0.5], "z": [1.25]})
    chapter.table("hosts", frame, formats={"rate": "share", "z": ".1f"}, columns=["host", "rate"])
    assert shown[0][0][TABLE]["columns"] == ["host", "rate"]
    assert "50.0%" in shown[0][0]["text/plain"]
    saved = pd.read_parquet(tmp_path / "tables" / "03_clv" / "hosts.parquet")
    assert saved.columns.tolist() == ["host", "rate", "z"]
    with pytest.raises(ParameterError, match="no column rank; it has host, rate, z"):
        chapter.table("hosts", frame, columns=["host", "rank"])


def test_table_without_rows_or_output(shop, shown):
    made = Chapter("03_clv", shop)
    made.table("none", pd.DataFrame({"a": []}))
    assert shown[-1][0]["text/plain"] == "a\nNo rows."
    with pytest.raises(ParameterError, match="no column b; it has a"):
        made.table("none", pd.DataFrame({"a": []}), formats={"b": "share"})


def test_customers_are_shown_under_pseudonyms_and_saved_for_their_owner(chapter, shown, tmp_path: Path):
    frame = pd.DataFrame({"value": [5.0, 7.0]}, index=pd.Index(["c001", "=c002"], name="customer_id"))
    chapter.people("best", frame, "Best", formats={"value": "money"})
    bundle, _ = shown[0]
    assert "c001" not in str(bundle)
    first = Pseudonyms(SAMPLE_KEY).of(["c001"])[0]
    assert first in bundle["text/plain"]
    assert bundle[TABLE] | {"people": True, "recipients": 0, "rows": 2, "saved": True} == bundle[TABLE]
    assert bundle[TABLE]["cells"][0] == [first, "¥5.00"]  # as shown: exact amounts are in the owner's file alone
    file = tmp_path / "tables" / "03_clv" / "best.csv"
    assert file.stat().st_mode & 0o777 == 0o600
    saved = pd.read_csv(file)
    assert saved["customer_id"].tolist() == ["c001", "'=c002"]
    assert saved["customer"][0] == first
    assert not file.with_suffix(".parquet").exists()
    chapter.people("again", frame.reset_index().rename_axis("row"))
    assert first in shown[1][0]["text/plain"]
    with pytest.raises(ParameterError, match="no customer_id"):
        chapter.people("bad", frame.rename_axis("who"))


def test_a_list_is_encrypted_where_recipients_are_configured(tmp_path: Path, shown):
    own = pyrage.x25519.Identity.generate()
    toml = f'[privacy]\nrecipients = ["{own.to_public()}"]\n'
    opened = clv.connect(shop_folder(tmp_path / "shop", toml=toml))
    made = Chapter("03_clv", opened, output=tmp_path / "tables")
    made.people("best", pd.DataFrame({"customer_id": ["c001"], "value": [5.0]}))
    (file,) = (tmp_path / "tables" / "03_clv").iterdir()
    assert file.name == "best.csv.age"
    assert b"c001" in pyrage.decrypt(file.read_bytes(), [own])
    assert shown[-1][0][TABLE]["recipients"] == 1
    opened.close()


def test_small_groups_are_withheld(chapter, shown, tmp_path: Path):
    frame = pd.DataFrame({"people": [120, 7, 45, 12, 0], "spend": [1.0, 2, 3, 4, 0]}, index=list("abcde"))
    chapter.table("groups", frame, people="people", rows=2)
    text = shown[0][0]["text/plain"]
    assert [row[:2] for row in shown[0][0][TABLE]["cells"]] == [["a", 120], ["c", 45]]
    assert shown[0][0][TABLE]["rows"] == 3
    # 7 and 12
    assert text.endswith(
        "1 more row in groups.csv; withheld: 2 groups of 19 in all (fewer than 10, or found by subtraction from those "
        "that are shown)"
    )
    saved = pd.read_csv(tmp_path / "tables" / "03_clv" / "groups.csv")
    assert saved.iloc[:, 0].tolist() == ["a", "c", "e", "withheld (2 groups)"]
    assert saved["people"].sum() == frame["people"].sum()
    assert pd.isna(saved["spend"].iloc[-1])
    with pytest.raises(ParameterError, match="no column persons"):
        chapter.table("groups", frame, people="persons")


def test_a_table_of_small_groups_alone_says_so(chapter, shown):
    chapter.table("few", pd.DataFrame({"who": ["a"], "people": [7]}), people="people")
    assert shown[0][0][TABLE]["cells"] == []
    assert shown[0][0]["text/plain"].splitlines()[-1].startswith("Withheld: 1 group (fewer than 10")
    assert "7" not in shown[0][0]["text/plain"]
    chapter.table("none", pd.DataFrame({"who": [], "people": []}), people="people")
    assert shown[1][0]["text/plain"].endswith("No rows.")


@pytest.mark.parametrize("what", ["axes", "figure", "array", "grid"])
def test_figure(chapter, shown, what: str):
    import seaborn as sns

    fig, axes = plt.subplots(2, 2)
    drawn = {"axes": axes[0, 0], "figure": fig, "array": axes}.get(what)
    if drawn is None:
        drawn = sns.relplot(x=[1, 2], y=[3, 4])
    chapter.figure("line", drawn, alt="A line that rises")
    bundle, meta = shown[0]
    assert bundle["text/plain"] == "A line that rises"
    assert meta["image/png"]["alt"] == "A line that rises"
    assert 300 < meta["image/png"]["width"] < 900
    assert plt.get_fignums() == ([] if what != "grid" else [fig.number])


def test_figures_are_the_same_bytes_each_time(chapter, shown):
    for _ in range(2):
        _, ax = plt.subplots()
        ax.plot([1, 2])
        chapter.figure("line", ax, alt="A line")
    assert shown[0][0]["image/png"] == shown[1][0]["image/png"]


def test_figure_needs_words_and_a_figure(chapter):
    with pytest.raises(ParameterError, match="alt is empty"):
        chapter.figure("line", plt.gca(), alt=" ")
    with pytest.raises(ParameterError, match="found str"):
        chapter.figure("line", "picture", alt="x")


def test_absent_tables_are_said_once(chapter, shown):
    assert chapter.has("orders", section="V1")
    assert shown == []
    assert not chapter.has("orders", "events", "spend", section="A5 <Sources>")
    bundle, _ = shown[0]
    assert bundle["text/plain"] == "A5 <Sources> is left out: this shop has no table events, spend."
    assert "A5 &lt;Sources&gt;" in bundle["text/html"]
    assert bundle[MISSING]["tables"] == ["events", "spend"]


def test_section_leaves_out_what_the_data_cannot_carry(chapter, shown):
    with chapter.section("V1 Value"):
        raise EmptyDataError("no customer bought twice")
    assert shown[0][0]["text/plain"] == "V1 Value is left out: no customer bought twice."
    with chapter.section("V1 Value"):
        chapter.shop.table("events")
    assert "events" in shown[1][0][MISSING]["reason"]
    with pytest.raises(ZeroDivisionError), chapter.section("V1 Value"):
        _ = 1 / 0


def test_alert(chapter, shown):
    chapter.alert("click to cart below 12%", "9% on <douyin>", segment="douyin", severity="high")
    bundle, _ = shown[0]
    assert bundle["text/plain"] == "▲ high alert, click to cart below 12% [douyin]: 9% on <douyin>."
    assert "&lt;douyin&gt;" in bundle["text/html"]
    assert bundle[ALERT]["severity"] == "high"
    with pytest.raises(ParameterError, match="severity"):
        chapter.alert("x", "y", severity="urgent")


def test_action(chapter, shown):
    chapter.action("coupon", "Send the coupon <now>.", 120.5, 80, 160, people=12, cost=6, basis="assumed", level=0.9)
    bundle, _ = shown[0]
    assert bundle["text/plain"] == (
        "To do: Send the coupon <now> (expected gain ¥120 (¥80.00 to ¥160); 12 customers; assumed)"
    )
    assert "&lt;now&gt;" in bundle["text/html"]
    assert {"value": 120.5, "people": 12, "cost": 6, "level": 0.9}.items() <= bundle[ACTION].items()
    with pytest.raises(ParameterError, match="wrong way round"):
        chapter.action("coupon", "Send it", 120, 160, 80)
    with pytest.raises(ParameterError, match="names a file"):
        chapter.action("the coupon", "Send it")


def test_our_warnings_reach_the_reader(chapter, shown):
    warnings.warn("only 3 customers <bought> twice", ThinDataWarning, stacklevel=1)
    assert shown[0][0]["text/plain"] == "Note: only 3 customers <bought> twice"
    assert "&lt;bought&gt;" in shown[0][0]["text/html"]


def test_outside_a_notebook_it_prints(shop, capsys: pytest.CaptureFixture[str]):
    made = Chapter("03_clv", shop)
    made.kpi("buyers", 12345, unit="count")
    made.say("most <came> back.")
    assert capsys.readouterr().out.splitlines()[-2:] == ["Buyers: 12,345", "Most <came> back."]
