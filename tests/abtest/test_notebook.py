"""Notebook 04, its cells run in this process: what it says of the sample shop, and of one that has orders alone."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from clvlib.abtest.experiment import Experiment
from clvlib.data.connect import Shop
from tests.conftest import ROOT, shared_data


def run(capsys: pytest.CaptureFixture[str], source: Path, **parameters: object) -> str:
    cells = json.loads((ROOT / "notebooks" / "04_abtest.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code[0]["metadata"]["tags"] == ["parameters"]
    names: dict[str, object] = {}
    for place, cell in enumerate(code):
        exec("".join(cell["source"]), names)  # noqa: S102 - our own notebook
        if place == 0:
            assert set(parameters) <= set(names)
            names |= {"source": str(source), **parameters}
    return capsys.readouterr().out


def test_the_planted_effect_is_found_and_nothing_where_nothing_was_planted(
    sample_shop: Shop, sample_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = Experiment("script").of(sample_shop, sample_shop.week().as_of).best
    assert script["lower"] < 0.032 < script["upper"]  # E1: B converts 3.2 points better
    assert script["verdict"] == "better"
    said = run(capsys, sample_store)
    assert "Ship B: B's conversion is" in said
    assert "is left out:" not in said
    assert "is unchanged and was kept. It said: A professional review" in said
    assert "refund share holds; complaint rate holds" in said
    assert "Looks are put on record by reports alone" in said
    assert (
        "2,100 people per arm find 3.20 points with a chance of 80% as long as A's conversion is not above 14." in said
    )
    assert "To do: Show B of experiment script to everybody (expected gain" in said
    nothing = run(capsys, sample_store, experiment="cover_image", control="control")
    assert "To do:" not in nothing
    assert "Do not ship treatment: the test is over" in nothing
    assert "Experiment cover_image has no plan" in nothing


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ("weekly", "Ship B: B's conversion is"),
        ("any", "but refund share is not shown to rise by less than 6.00 points"),  # so wide are its intervals
    ],
)
def test_other_ways_of_looking(sample_store: Path, capsys: pytest.CaptureFixture[str], looks: str, said: str) -> None:
    text = run(capsys, sample_store, looks=looks)
    assert said in text
    assert f"was not kept in 1 respect: analysis: looks, planned once, found {looks}." in text


def test_while_the_test_runs_nothing_is_decided(sample_store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run(capsys, sample_store, week="2026-W43")
    assert "Keep running" in said
    assert "window is still open" in said


def test_a_shop_with_orders_alone_gets_one_line_a_section(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = pd.date_range("2026-01-05", periods=60, freq="D")
    orders = pd.DataFrame({"customer_id": [f"c{i % 9}" for i in range(60)], "ordered_at": days, "amount": 10.0})
    orders.to_csv(tmp_path / "orders.csv", index=False)
    lines = run(capsys, tmp_path).strip().splitlines()
    assert len(lines) == 14  # the head of the chapter, then a line a section
    assert all("is left out: this shop has no table assignments" in line for line in lines[1:])


@pytest.mark.slow
def test_cookie_cats_as_a_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A gate at level 40 keeps 0.82 points fewer players for a week; the split is suspicious, and there is no money."""
    data = pd.read_csv(shared_data("cookie_cats") / "cookie_cats.csv")
    ids, start = data["userid"].astype(str), pd.Timestamp("2026-10-05 12:00")
    assigned = pd.DataFrame({"experiment": "gate", "variant": data["version"], "unit_id": ids, "assigned_at": start})
    assigned.to_parquet(tmp_path / "assignments.parquet")
    came = pd.DataFrame({"customer_id": ids[data["retention_7"]], "ordered_at": start + pd.Timedelta("6D")})
    came.assign(amount=1.0).to_parquet(tmp_path / "orders.parquet")
    (tmp_path / "clvlib.toml").write_text("as_of = 2026-10-18\n", encoding="utf-8")
    said = run(capsys, tmp_path, experiment="gate", control="gate_30", week="2026-W42")
    assert "Do not ship gate_40: gate_40's conversion is 0.82 points below gate_30's" in said
    assert "p = 0.0016; 45,489 against 44,700 people" in said
    assert "sample ratio               warn" in said
    assert "E4 Customer value is left out: " in said  # nobody came twice
    assert "E3 Segments is left out: this shop has no table customers" in said
