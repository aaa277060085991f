"""Chances for single customers are kept under pseudonyms, and graded by the data of the week in which they are due."""

from __future__ import annotations

import datetime as dt
import json
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import clvlib as clv
from clvlib.data.calendar import Week
from clvlib.data.privacy import SAMPLE_KEY, Pseudonyms, find_key, keyed
from clvlib.errors import ParameterError
from clvlib.report.chapter import CHANCES, Chapter
from clvlib.report.figures import list_tables
from clvlib.report.forget import forget
from clvlib.report.ledger import GRADES, current
from clvlib.report.lists import grade, graded, keep, kept_file
from clvlib.report.runner import run_weeks

from .books import OPEN, notebook, published, shop_folder

MADE, DUE = Week("2026-W40"), Week("2026-W42")
NAMES = Pseudonyms(SAMPLE_KEY)
CHANCE = pd.Series({"a": 0.9, "b": 0.6, "c": 0.3, "d": 0.2})


def shop(folder: Path, bought: dict[str, dt.date], until: dt.date = DUE.as_of, toml: str = "sample = true") -> Any:
    """Customers a to e, who all bought long ago; who buys again, and when; and e on the last day of the data."""
    rows = [(who, dt.date(2026, 6, 1), 5.0) for who in "abcd"] + [(who, day, 5.0) for who, day in bought.items()]
    rows += [("e", until, 5.0), ("a", MADE.end, 0.0)]  # something for nothing is no purchase
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount"]).to_csv(folder / "orders.csv", index=False)
    small = "" if "[privacy]" in toml else "\n[privacy]\nsmallest_group = 1\n"
    (folder / "clvlib.toml").write_text(f'name = "Shop"\n{toml}\n{small}', encoding="utf-8")
    return clv.connect(folder)


def report(out: Path, week: Week, chances: pd.Series | None, weeks: int = 2, **more: Any) -> None:
    """A published report that kept chances."""
    folder = out / week.label / "tables" / "01_a"
    said = keep(chances, more.pop("listed", ["a", "b"]), more.pop("names", NAMES), folder, "leaving")
    payload = {"chapter": "01_a", "name": "leaving", "label": "Leaving", "event": "no purchase", "weeks": weeks}
    published(out, week.label, [(CHANCES, payload | said | {"why": ""} | more)])


TEN = "sample = true\n[privacy]\nsmallest_group = 10"
INSIDE, LATE = MADE.end, DUE.end
BOUGHT = {"c": INSIDE, "d": DUE.as_of, "b": LATE}  # c and d in time, b a day too late, a for nothing


def test_graded_by_hand(tmp_path: Path):
    """Of a, b, c, d two buy nothing; expected were 0.9 + 0.6 + 0.3 + 0.2."""
    report(tmp_path, MADE, CHANCE)
    with_data = shop(tmp_path / "shop", BOUGHT)
    assert graded(current(tmp_path, print), tmp_path, with_data, DUE.previous) == []
    (found,) = graded(current(tmp_path, print), tmp_path, with_data, DUE)
    assert (found["customers"], found["observed"], found["expected"], found["gone"]) == (4, 2, 2, 0)
    assert (found["listed"], found["hits"]) == (2, 2)
    assert found["brier"] == pytest.approx((0.1**2 + 0.4**2 + 0.3**2 + 0.2**2) / 4)
    assert found["brier_same"] == 0.25
    assert (found["lower"], found["upper"]) == (
        1,
        4,
    )  # P(none) = 0.1·0.4·0.7·0.8 < 0.025, P(all) = 0.9·0.6·0.3·0.2 > 0.025
    assert found["verdict"] == "as expected"
    assert (found["made"], found["due"]) == (MADE.label, DUE.label)
    said = list_tables([found], [])
    assert said["sentences"] == [
        "Leaving of 2026-W40: of 4 customers 2 bought nothing within 2\u00a0weeks; 2 (1 to 4) were expected; "
        "of the 2 listed 100.0% (34.2% to 100.0%) did."
    ]  # fmt: skip


def test_each_list_is_graded_once_and_by_whichever_report_comes_first(tmp_path: Path):
    report(tmp_path, MADE, CHANCE)
    late = shop(tmp_path / "late", BOUGHT, DUE.shift(3).as_of)
    (found,) = graded(current(tmp_path, print), tmp_path, late, DUE.shift(3))
    assert (found["due"], found["observed"]) == (DUE.label, 2)  # its own weeks count, not those since
    folder = published(tmp_path, DUE.shift(3).label, [])
    (folder / GRADES).write_text(json.dumps({"grades": [found]}), encoding="utf-8")
    ledger = current(tmp_path, print)
    assert graded(ledger, tmp_path, late, DUE.shift(4)) == []
    assert [row["observed"] for row in ledger.rows("grades", "Shop")] == [2]
    report(tmp_path, MADE, CHANCE / 2)  # who makes it again afterwards knows better
    assert graded(current(tmp_path, print), tmp_path, late, DUE.shift(3)) == [
        {field: float(value) if field in {"customers", "weeks"} else value for field, value in found.items()}
    ]


def test_data_that_end_too_early_grade_nothing(tmp_path: Path):
    report(tmp_path, MADE, CHANCE)
    early = shop(tmp_path / "shop", {"c": INSIDE}, until=DUE.start)
    assert graded(current(tmp_path, print), tmp_path, early, DUE) == []


def test_a_list_without_chances_tells_its_precision(tmp_path: Path):
    report(tmp_path, MADE, None, listed=["c", "d", "a"], event="purchase", label="Coupon")
    (found,) = graded(current(tmp_path, print), tmp_path, shop(tmp_path / "shop", BOUGHT), DUE)
    assert (found["listed"], found["hits"], found["verdict"]) == (3, 2, "no chances stated")
    said = list_tables([found], [found])
    assert (said["due"], said["sentences"]) == (True, [])  # its table says it
    assert "<td>66.7% (20.8% to 93.9%)</td>" in re.sub(' (style|class)="[^"]*"', "", said["tables"][0])
    assert "<td>2</td>" in re.sub(' (style|class)="[^"]*"', "", said["tables"][-1])  # graded twice


def test_who_is_no_longer_in_the_data_is_left_out_and_counted(tmp_path: Path):
    report(tmp_path, MADE, pd.concat([CHANCE, pd.Series({"gone": 0.5})]))
    (found,) = graded(current(tmp_path, print), tmp_path, shop(tmp_path / "shop", BOUGHT), DUE)
    assert (found["customers"], found["gone"], found["expected"]) == (4, 1, 2)
    assert list_tables([found], [])["sentences"][0].endswith("; 1 are no longer in the data.")


def test_what_cannot_be_graded_says_why(tmp_path: Path):
    data = shop(tmp_path / "shop", BOUGHT)
    report(tmp_path / "a", MADE, CHANCE, names=Pseudonyms("another key, of sixteen letters"))
    report(tmp_path / "b", MADE, CHANCE)
    kept_file(tmp_path / "b" / MADE.label / "tables" / "01_a", "leaving").unlink()
    report(tmp_path / "c", MADE, CHANCE)
    (found,) = graded(current(tmp_path / "c", print), tmp_path / "c", shop(tmp_path / "ten", BOUGHT, toml=TEN), DUE)
    assert found["why"] == "it is about fewer people than may be shown"
    report(tmp_path / "d", MADE, CHANCE)
    kept_file(tmp_path / "d" / MADE.label / "tables" / "01_a", "leaving").write_bytes(b"PAR1 broken")
    whys = ("its pseudonyms were made with another key", "its file is no longer there", "its file cannot be read")
    for name, why in zip("abd", whys, strict=True):
        (found,) = graded(current(tmp_path / name, print), tmp_path / name, data, DUE)
        assert list_tables([found], [])["ungraded"] == [f"Leaving of 2026-W40 cannot be graded: {why}."]


def test_kept_for_its_owner_alone_without_ids_and_forgotten(tmp_path: Path):
    names = Pseudonyms(find_key(tmp_path))
    report(tmp_path, MADE, CHANCE.rename({"a": "C000123"}), listed=["C000123"], names=names)
    file = kept_file(tmp_path / MADE.label / "tables" / "01_a", "leaving")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"C000123" not in file.read_bytes()
    assert pd.read_parquet(file)["customer"].is_monotonic_increasing  # its order tells nothing
    (entry,) = current(tmp_path, print).rows("chances", "Shop")
    assert not {"P-", "C000123"} & {part for part in ("P-", "C000123") if part in json.dumps(entry, default=str)}
    forget("C000123", tmp_path)
    kept = pd.read_parquet(file)
    assert len(kept) == 3
    assert not kept["listed"].any()
    with keyed(tmp_path):
        data = shop(tmp_path / "shop", BOUGHT, toml="")
        (found,) = graded(current(tmp_path, print), tmp_path, data, DUE)
    assert (found["customers"], found["observed"], found["listed"]) == (3, 1, 0)


def test_a_chapter_keeps_chances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    data = shop(tmp_path / "shop", BOUGHT)
    chapter = Chapter("01_a", data, output=tmp_path / "tables")
    chapter.chances("leaving", CHANCE, "no purchase", 2, listed=["a", "b"], label="Leaving")
    chapter.chances("coupon", None, "purchase", 1, listed=["c"])
    told = capsys.readouterr().out.splitlines()
    assert told[-2:] == [
        "Leaving: to be graded in 2026-W44, by when of 4 customers 2 should buy nothing.",
        "Coupon: to be graded in 2026-W43, 1 customer.",
    ]
    kept = pd.read_parquet(kept_file(tmp_path / "tables" / "01_a", "leaving")).set_index("customer")
    assert kept.loc[NAMES.of(["a", "d"]), "chance"].tolist() == [0.9, 0.2]
    assert kept.loc[NAMES.of(["a", "d"]), "listed"].tolist() == [True, False]


def test_encrypted_lists_are_not_kept_in_the_clear(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = shop(tmp_path / "shop", BOUGHT, toml='sample = true\n[privacy]\nrecipients = ["age1x"]')
    Chapter("01_a", data, output=tmp_path / "tables").chances("leaving", CHANCE, "no purchase", 2)
    assert not (tmp_path / "tables").exists()
    assert "Leaving: this cannot be graded later: lists of this shop are encrypted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("chances", "listed", "says"),
    [
        (CHANCE + 0.2, None, "lies between 0 and 1"),
        (CHANCE.where(CHANCE > 0.5), None, "missing or outside"),
        (pd.concat([CHANCE, CHANCE]), None, "each customer has one chance"),
        (CHANCE, ["z"], "those on the list have one too"),
        (None, None, "neither chances nor a list"),
    ],
)
def test_chances_that_cannot_be(chances: Any, listed: Any, says: str):
    with pytest.raises(ParameterError, match=says):
        keep(chances, listed, NAMES, None, "leaving")


@pytest.mark.parametrize(("event", "weeks"), [("return", 2), ("purchase", 0), ("purchase", 1.5)])
def test_events_that_cannot_be(tmp_path: Path, event: Any, weeks: Any):
    with pytest.raises(ParameterError, match="of purchase or no purchase in a whole number of weeks"):
        Chapter("01_a", shop(tmp_path, BOUGHT)).chances("leaving", CHANCE, event, weeks)


def test_bands_of_too_few_go_with_their_neighbours():
    chance = pd.Series([0.1] * 12 + [0.3] * 3 + [0.5] * 15 + [0.9] * 4)
    came = pd.Series([False] * 20 + [True] * 14)
    bands = json.loads(grade(chance, came, came, smallest=10)["bands"])
    assert [(b["lowest"], b["highest"], b["customers"]) for b in bands] == [(0, 0.2, 12), (0.2, 1, 22)]
    assert sum(b["observed"] for b in bands) == 14
    assert json.loads(grade(chance[:5], came[:5], came[:5])["bands"])[0]["customers"] == 5  # all there is


@pytest.mark.parametrize(
    ("truth", "verdict"), [(1.0, "as expected"), (1.3, "more than expected"), (0.7, "fewer than expected")]
)
def test_simulated_shops(truth: float, verdict: str):
    """Calibrated chances of 250 customers are called so in 19 of 20 shops; chances that are off by 30% are found."""
    rng = np.random.default_rng(8)
    verdicts, inside = [], 0
    for _ in range(400):
        chance = pd.Series(rng.beta(2, 3, 250))
        came = pd.Series(rng.random(250) < np.minimum(1, truth * chance))
        found = grade(chance, came, chance > 0.6)
        verdicts.append(found["verdict"])
        inside += found["lower"] <= found["observed"] <= found["upper"]
    share = np.mean([v == verdict for v in verdicts])
    if truth == 1:
        assert abs(share - 0.95) < 3 * (0.95 * 0.05 / 400) ** 0.5
        assert inside / 400 >= 0.95 - 3 * (0.95 * 0.05 / 400) ** 0.5
    else:
        assert share > 0.9


def test_brier_of_calibrated_chances_is_what_it_should_be():
    """E (p - y)² = E p (1 - p): for a beta law with 2 and 3 that is 2·3 / (5·6) = 0.2."""
    rng = np.random.default_rng(9)
    chance = pd.Series(stats.beta(2, 3).ppf((np.arange(100_000) + 0.5) / 100_000))
    came = pd.Series(rng.random(len(chance)) < chance)
    assert grade(chance[:2000], came[:2000], came[:2000])["customers"] == 2000
    assert grade(chance, came, came)["brier"] == pytest.approx(0.2, abs=0.002)


STATE = """import pandas as pd
until = f"day <= DATE '{{chapter.week.as_of}}'"
ids = sorted(shop.table("orders").query("SELECT DISTINCT customer_id FROM {{t}} WHERE " + until)["customer_id"])
chapter.chances("again", pd.Series(0.5, index=ids), "purchase", 1, listed=ids[:12], label="Come again")"""


def test_from_week_to_week(tmp_path: Path):
    """A backfill of two weeks: the second grades the first, by orders counted here from the shop's own file."""
    source = shop_folder(tmp_path / "shop")
    notebook(tmp_path / "books", "01_a", [OPEN, STATE])
    _, second = run_weeks(source, ["2026-W25", "2026-W26"], tmp_path / "reports", folder=tmp_path / "books")
    assert second.exit_code == 0, second.table["error"].tolist()
    orders = pd.read_csv(source / "orders.csv", keep_default_na=False)
    orders = orders[orders["amount"] != "n/a"]  # set aside
    day = orders["ordered_at"].str[:10]
    known = sorted(set(orders.loc[day <= Week("2026-W25").as_of.isoformat(), "customer_id"]))
    later = set(orders.loc[day.between("2026-06-22", "2026-06-28"), "customer_id"])
    (found,) = json.loads((second.folder / GRADES).read_text(encoding="utf-8"))["grades"]
    assert (found["customers"], found["expected"]) == (len(known), len(known) / 2)
    assert found["observed"] == len(later.intersection(known))
    assert found["hits"] == len(later.intersection(known[:12]))
    page = (second.folder / "index.html").read_text(encoding="utf-8")
    assert f"Come again of 2026-W25: of {len(known)} customers {found['observed']} bought within" in page
    ledger = current(tmp_path / "reports", print)
    assert [row["observed"] for row in ledger.rows("grades", "Mini <shop>")] == [found["observed"]]
