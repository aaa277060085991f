"""What the library and the shop do not have is refused before a kernel starts, and the message lists what they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import clvlib as clv
from clvlib.data.connect import Shop
from clvlib.errors import ParameterError
from clvlib.report import weekly
from clvlib.report.limits import within_data
from clvlib.report.parameters import Notebook, checked, read_notebook
from clvlib.report.runner import _OURS, run, select

from .books import notebook

BOOKS = select()
DECLARED = [
    (book, parameter) for book in BOOKS for parameter in book.parameters.values() if parameter.name not in _OURS
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Two experiments, three of whose arms bear other names; complaints, two platforms, a plan."""
    folder = tmp_path_factory.mktemp("shop")
    day = "2026-06-01 10:00:00"
    frames = {
        "orders": {"customer_id": ["a", "b"], "ordered_at": [day, "2026-06-28 09:00:00"], "amount": [5, 6],
                   "platform": ["Douyin", "Kuaishou"]},
        "customers": {"customer_id": ["a", "b"], "channel": ["x", "y"], "city_tier": ["1", "2"]},
        "assignments": {"experiment": ["script", "price", "price"], "variant": ["A", "low", "high"],
                        "unit_id": ["a", "a", "b"], "assigned_at": [day] * 3},
        "complaints": {"complaint_id": ["k", "l"], "opened_at": [day] * 2, "topic": ["delivery", "price"]},
    }  # fmt: skip
    for name, columns in frames.items():
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)
    (folder / "script.plan.yaml").write_text("experiment: script\n", encoding="utf-8")
    opened = clv.connect(folder)
    yield opened
    opened.close()


def refusal(shop: Shop, given: dict[str, Any]) -> str:
    """What is said to values for the notebooks of the report; nothing where they are taken."""
    try:
        within_data(BOOKS, checked(BOOKS, given), shop)
    except ParameterError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"experiment": "nosuch"}, "parameter experiment: 'nosuch' is none of price, script"),
        ({"experiment": "scirpt"}, "none of price, script (did you mean script?)"),
        ({"control": "B"}, "parameter control: 'B' is none of A"),  # of the experiment that is looked at
        ({"experiment": "price", "control": "A"}, "parameter control: 'A' is none of high, low"),
        ({"metric": "profit"}, "parameter metric: 'profit' is none of conversion, revenue"),
        ({"looks": "daily"}, "none of once, weekly, any"),
        ({"plan": "other.yaml"}, "parameter plan: 'other.yaml' is none of script.plan.yaml"),
        ({"segment": "region"}, "parameter segment: 'region' is none of city_tier, channel"),
        ({"model": "BetaGeo"}, "parameter model: 'BetaGeo' is none of auto, BetaGeoModel, ModifiedBetaGeoModel, Par"),
        ({"engine": "R"}, "parameter engine: 'R' is none of clvlib, lifetimes"),
        ({"engine": "lifetimes", "model": "NBDModel"}, "'NBDModel' is none of auto, BetaGeoModel, Modified"),
        ({"engine": "lifetimes", "spend_model": "DependentGammaGammaModel"}, "is none of GammaGammaModel"),
        ({"step": "nosuch"}, "parameter step: 'nosuch' is none of click, cart, order, paid"),
        ({"step": "exposure"}, "none of click"),  # the first has no rate
        ({"market_weights": {"size": 1.0, "luck": 1.0}}, "parameter market_weights: 'luck' is none of size, spending"),
        ({"market_weights": {"size": -1.0}}, "parameter market_weights: {'size': -1.0} is below 0"),
        ({"across_teams": {"team": ["x"]}}, "parameter across_teams: 'team' is none of topic"),
        ({"across_teams": {"topic": ["delivery", "nosuch"]}}, "'nosuch' is none of delivery, price"),
        ({"only": {"host": "x"}}, "a shop is not divided by 'host'; did you mean host_id?"),
        ({"only": {"platform": "Duoyin"}}, "did you mean Douyin?"),
        ({"holdout_end": "2026-06-29"}, "parameter holdout_end: '2026-06-29' lies beyond the data, which end on"),
        ({"gold": [500, 5]}, "parameter gold: [500, 5] does not let tiers rise: silver [1000, 2], gold [500, 5]"),
    ],
)  # fmt: skip
def test_what_there_is_not(shop: Shop, given: dict[str, Any], says: str):
    said = refusal(shop, given)
    assert says in said


@pytest.mark.parametrize(
    "given",
    [
        {"experiment": "price", "control": "low"}, {"metric": "revenue", "looks": "any"}, {"plan": "script.plan.yaml"},
        {"segment": "city_tier"}, {"model": "NBDModel"}, {"engine": "lifetimes", "model": "ParetoNBDModel"},
        {"spend_model": "DependentGammaGammaModel"}, {"step": "click"}, {"market_weights": {"size": 2.0}},
        {"across_teams": {"topic": ["price"]}}, {"across_teams": {}}, {"only": {"platform": "Kuaishou"}},
        {"holdout_end": "2026-06-28"}, {"silver": [10, 1]}, {"evening_from": 1}, {"quiet_hours": [0, 23]},
    ],
)  # fmt: skip
def test_what_there_is(shop: Shop, given: dict[str, Any]):
    assert refusal(shop, given) == ""


def test_a_default_is_never_refused(tmp_path: Path):
    """A shop of orders alone has no experiment, no complaint and no channel, and a report."""
    orders = pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2026-06-01"], "amount": [5]})
    bare = clv.connect({"orders": orders})
    given = {f"{book.name}.{parameter.name}": parameter.default for book, parameter in DECLARED}
    assert refusal(bare, given) == ""
    assert refusal(bare, {"experiment": "price"}) == "parameter experiment: 'price' is not here: this shop has none"
    assert refusal(bare, {"segment": "region"}) == "parameter segment: 'region' is not here: this shop has none"


def test_long_lists_are_cut():
    orders = pd.DataFrame({"customer_id": ["a"], "ordered_at": ["2026-06-01"], "amount": [5]})
    names = [f"e{i:02d}" for i in range(25)]
    lots = pd.DataFrame({"experiment": names, "variant": "A", "unit_id": "a", "assigned_at": "2026-06-01"})
    said = refusal(clv.connect({"orders": orders, "assignments": lots}), {"experiment": "x"})
    assert said.endswith(f"is none of {', '.join(names[:20])} and 5 more")


@pytest.mark.parametrize(("book", "parameter"), DECLARED, ids=lambda value: value.name)
def test_no_parameter_takes_whatever_it_is_given(shop: Shop, book: Notebook, parameter: Any):
    """A new one must be told what it can be: text and keys name something, and no number may be below zero."""
    wrong = {"str": "nosuch", "int": -1, "float": -1.0}
    first = re.split(r"\W", parameter.annotation)[0]
    if first == "list":
        value: Any = [-1 for _ in parameter.default]
    elif first == "dict":
        value = {"nosuch": next(iter(parameter.default.values()), "nosuch")}
    else:
        value = wrong[first]
    assert f"{value!r}" in (said := refusal(shop, {f"{book.name}.{parameter.name}": value})) or "nosuch" in said


def test_no_kernel_starts_for_it(tmp_path: Path, shop: Shop, monkeypatch: pytest.MonkeyPatch):
    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(weekly, "execute", never)
    with pytest.raises(ParameterError, match="none of price, script"):
        run(shop.folder, out=tmp_path, parameters={"04_abtest.experiment": "nosuch"})
    assert not list(tmp_path.glob("2*"))


def test_a_notebook_of_one_s_own_may_have_one_of_two(tmp_path: Path, shop: Shop):
    """What two parameters have to do with each other is asked only where both are there."""
    cell = 'model: str = "auto"\ngold: list[float] = [1, 1]\nlevel: str = "shop"\nsegment: list[str] = []'
    own = read_notebook(notebook(tmp_path, "07_mine", [], parameters=cell))
    given = checked([own], {"model": "NBDModel", "gold": [2.0, 2.0], "level": "room", "segment": ["channel"]})
    within_data([own], given, shop)
    with pytest.raises(ParameterError, match="'nosuch' is none of city_tier, channel"):
        within_data([own], checked([own], {"segment": ["channel", "nosuch"]}), shop)
