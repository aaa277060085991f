"""The effect by days since the assignment."""

from __future__ import annotations

import pandas as pd
import pytest

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.exposure import exposure
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.stats.proportions import proportion_difference
from tests.abtest.test_experiment import START, bought, first, people


def orders(arm: str, buyers: dict[str, int]) -> pd.DataFrame:
    """First orders of new people, so many after each time."""
    parts, start = [], 0
    for after, n in buyers.items():
        parts.append(bought([f"{arm}{i}" for i in range(start, start + n)], after=after))
        start += n
    return pd.concat(parts)


def test_only_people_who_have_been_there_that_long_count() -> None:
    assigned = people(A=1000, B=1000)
    late = assigned["unit_id"].isin(first("A", 400) + first("B", 300))
    assigned.loc[late, "assigned_at"] = START + pd.Timedelta("10D")
    history = pd.concat([orders("A", {"11D": 50}), orders("B", {"11D": 60})])  # of the late: a day after they came
    early = pd.concat(
        [bought([f"A{i}" for i in range(400, 440)]), bought([f"B{i}" for i in range(300, 400)], after="4D")]
    )
    found = exposure(
        Experiment("script"), assigned, pd.concat([history, early]), days=(7, 3, 14), as_of=START + pd.Timedelta("14D")
    ).table.set_index("days")
    counts = {3: (0 + 60, 1000, 40 + 50, 1000), 7: (100, 700, 40, 600), 14: (100, 700, 40, 600)}
    assert list(found.index) == [3, 7, 14]
    for day, (x1, n1, x2, n2) in counts.items():
        single = proportion_difference(x1, n1, x2, n2, level=1 - 0.05 / 3)
        row = found.loc[day]
        assert (row["n"], row["control_n"]) == (n1, n2)
        assert row[["difference", "lower", "upper"]].tolist() == pytest.approx(
            [single.estimate, single.lower, single.upper]
        )


def test_from_when_on_it_can_be_told() -> None:
    data = pd.concat([orders("A", {"12h": 40, "36h": 40, "5D": 120}), orders("B", {"12h": 40, "36h": 120, "5D": 40})])
    found = exposure(Experiment("script"), people(A=2000, B=2000), data, days=(1, 2, 7), as_of="2026-11-30")
    assert found.sentence == (
        "B's effect on conversion can first be told on day 2; after 7 days, with 2,000 people, it no longer can."
    )
    assert (found.table["lower"] > 0).tolist() == [False, True, False]
    same = exposure(Experiment("script"), people(A=2000, B=2000), orders("A", {"1h": 9}), days=(1,), as_of="2026-11-30")
    assert same.table["difference"].iloc[0] == pytest.approx(-9 / 2000)


def test_days_that_nobody_has_reached() -> None:
    data = orders("A", {"1h": 10})
    soon = START + pd.Timedelta("2D")
    assert exposure(Experiment("script"), people(A=99, B=99), data, as_of=soon).table["days"].tolist() == [1, 2]
    with pytest.raises(EmptyDataError, match="nobody has been there for 5 days, or nobody brought"):
        exposure(Experiment("script"), people(A=99, B=99), data, days=(5, 7), as_of=soon)
    for days in ((), (0,), (1.5,)):
        with pytest.raises(ParameterError, match="positive whole numbers"):
            exposure(Experiment("script"), people(A=9, B=9), data, days=days)
