from __future__ import annotations

import datetime as dt

import duckdb
import numpy as np
import pandas as pd
import pytest
import sqlglot
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from clvlib.abtest.experiment import Experiment
from clvlib.abtest.metrics import METRICS
from clvlib.abtest.query import fetch, merged
from clvlib.data.engine import DuckDBEngine, Table
from clvlib.errors import DataError, EmptyDataError, EngineError, MissingColumnError, ParameterError, ThinDataWarning
from tests.conftest import shared_data

START = pd.Timestamp("2026-10-01 20:00")
LATER = "2026-10-31"


def people(**arms: int) -> pd.DataFrame:
    """People of each arm, with ids A0, A1, …"""
    rows = [(arm, f"{arm}{i}") for arm, n in arms.items() for i in range(n)]
    frame = pd.DataFrame(rows, columns=["variant", "unit_id"])
    return frame.assign(experiment="script", assigned_at=START)


def bought(ids: list[str], amount: float | np.ndarray = 50.0, after: str = "1h") -> pd.DataFrame:
    return pd.DataFrame({"customer_id": ids, "ordered_at": START + pd.Timedelta(after), "amount": amount})


def first(arm: str, n: int) -> list[str]:
    return [f"{arm}{i}" for i in range(n)]


def cells(arms: dict[str, tuple[int, int]], **more: object) -> pd.DataFrame:
    """Aggregates as the query gives them, from people and conversions per arm."""
    frame = pd.DataFrame(
        [(arm, "mature", n, x) for arm, (n, x) in arms.items()],
        columns=["variant", "status", "people", "conversion_total"],
    )
    rate = frame["conversion_total"] / frame["people"]
    frame["revenue_mean"] = 50 * rate
    frame["revenue_variance"] = 2500 * rate * (1 - rate) * frame["people"] / (frame["people"] - 1)
    extras = {"extra_rows": 0, "bought_before": 0, "bad_amounts": 0, "last_assigned": START}
    return with_covariate(frame.assign(**(extras | {"look": START + pd.Timedelta("14D")} | more)))


def with_covariate(frame: pd.DataFrame) -> pd.DataFrame:
    """Nobody bought anything before, and nothing exceeds the caps."""
    raw = {f"adjusted revenue_raw_{k}": frame[f"revenue_{k}"] for k in ("mean", "variance")}
    before = {f"adjusted revenue_{k}": 0.0 for k in ("before_mean", "before_variance", "covariance")}
    caps = {f"revenue {p}_{k}": frame[f"revenue_{k}"] for p in ("p99", "p99.9") for k in ("mean", "variance")}
    buyers, name = frame["conversion_total"] / frame["people"], "spend per buyer"
    ratio = {f"{name}_numerator_{k}": frame[f"revenue_{k}"] for k in ("mean", "variance")}
    per = frame["people"] / (frame["people"] - 1).clip(lower=1)
    ratio |= {f"{name}_denominator_mean": buyers, f"{name}_denominator_variance": buyers * (1 - buyers) * per}
    ratio[f"{name}_covariance"] = frame["revenue_mean"] * (1 - buyers) * per  # who does not buy spends nothing
    return frame.assign(**raw, **before, **ratio, **caps, **{f"revenue {p}_cap": 1000.0 for p in ("p99", "p99.9")})


def status(result, check: str) -> str:
    return str(result.gate.set_index("check").loc[check, "status"])


# --- known answers ----------------------------------------------------------------------------------------------------


def test_264_against_200_of_2000() -> None:
    orders = bought(first("A", 200) + first("B", 264))
    result = Experiment("script").analyse(people(A=2000, B=2000), orders, as_of=LATER)
    row = result.primary.iloc[0]
    assert (row["lower"], row["upper"]) == pytest.approx((0.012188, 0.051926), abs=5e-7)
    assert row["relative"] == pytest.approx(0.32)
    assert (result.verdict, result.arm) == ("ship", "B")
    assert "3.20 points above A's (95% interval +1.22 points to +5.19 points" in result.sentence
    revenue = result.effects("revenue").iloc[0]
    assert revenue["difference"] == pytest.approx(1.6)
    assert set(result.gate["status"]) == {"pass"}


def test_gain_is_the_difference_in_margin_of_as_many_people_as_the_control_has() -> None:
    orders = bought(first("A", 200) + first("B", 264))
    result = Experiment("script").analyse(people(A=2000, B=2000), orders, as_of=LATER)
    won, row = result.gain(0.3), result.effects("revenue").iloc[0]
    assert won["people"] == 2000
    assert won["gain"] == pytest.approx(960)  # 264 - 200 orders of 50, 30% of it
    assert won["lower"] / row["lower"] == pytest.approx(won["upper"] / row["upper"]) == pytest.approx(600)
    with pytest.raises(ParameterError, match="revenue"):
        Experiment("script", metrics=(METRICS["conversion"],)).analyse(
            people(A=2000, B=2000), orders, as_of=LATER
        ).gain(0.3)


def test_any_look_gives_the_confidence_sequence() -> None:
    """The critical value is that of the sequence; at 2,500 an arm the known figure's, on Wald's standard error."""
    experiment = Experiment("script", looks="any", min_per_arm=2500)
    result = experiment.judge(cells({"A": (2000, 200), "B": (2000, 264)}))
    row = result.primary.iloc[0]
    assert (row["lower"], row["upper"]) == pytest.approx((0.001250, 0.062750), abs=4e-4)
    assert result.verdict == "keep running"  # 2,500 an arm were asked for
    shipped = Experiment("script", looks="any", min_per_arm=2000).judge(cells({"A": (2000, 200), "B": (2000, 264)}))
    assert shipped.verdict == "ship"


def test_cookie_cats() -> None:
    data = pd.read_csv(shared_data("cookie_cats") / "cookie_cats.csv")
    assigned = pd.DataFrame(
        {"experiment": "gate", "variant": data["version"], "unit_id": data["userid"], "assigned_at": START}
    )
    week, day = (bought(data.loc[data[c], "userid"].to_list(), 1.0) for c in ("retention_7", "retention_1"))
    experiment = Experiment("gate", control="gate_30")
    result = experiment.analyse(assigned, week, as_of=LATER)
    row = result.primary.iloc[0]
    assert row["difference"] == pytest.approx(-0.008201, abs=5e-7)
    assert row["p_value"] == pytest.approx(0.00155, abs=5e-6)
    assert (result.verdict, result.arm) == ("do not ship", "")
    assert status(result, "sample ratio") == "warn"
    assert experiment.analyse(assigned, day, as_of=LATER).primary["p_value"].iloc[0] == pytest.approx(0.0744, abs=5e-5)


def test_ab_data() -> None:
    data = pd.read_csv(shared_data("ab_data") / "ab_data.csv.gz", parse_dates=["timestamp"])
    fits = (data["group"] == "treatment") == (data["landing_page"] == "new_page")
    assert (~fits).sum() == 3893
    data = data[fits].rename(columns={"group": "variant", "user_id": "unit_id", "timestamp": "assigned_at"})
    buyers = data[data["converted"] == 1].rename(columns={"unit_id": "customer_id", "assigned_at": "ordered_at"})
    result = Experiment("page", control="control").analyse(
        data.assign(experiment="page"), buyers.assign(amount=1.0), as_of="2017-03-01"
    )
    rates = result.table[result.table["metric"] == "conversion"].set_index("arm")["value"]
    assert rates.to_dict() == pytest.approx({"control": 0.120386, "treatment": 0.118808}, abs=5e-7)
    assert result.primary["p_value"].iloc[0] == pytest.approx(0.190, abs=5e-4)
    assert result.primary["n"].iloc[0] + result.primary["control_n"].iloc[0] == 290_584
    assert status(result, "one row per person") == "warn"
    assert result.verdict == "do not ship"
    assert "the test is over" in result.sentence


def test_two_arms_at_once_are_found_in_ab_data() -> None:
    """Passing both the group and the page that was shown puts the people whose page contradicts their group in both."""
    data = pd.read_csv(shared_data("ab_data") / "ab_data.csv.gz", parse_dates=["timestamp"])
    page = data["landing_page"].map({"new_page": "treatment", "old_page": "control"})
    rows = pd.concat([data["group"], page]).rename("variant").to_frame()
    rows = rows.assign(unit_id=data["user_id"], assigned_at=data["timestamp"], experiment="page")
    with pytest.warns(ThinDataWarning, match="nothing varies"):
        result = Experiment("page", control="control").analyse(rows, bought([]), as_of="2017-03-01")
    contradicted = data.loc[(data["group"] == "treatment") != (data["landing_page"] == "new_page"), "user_id"].nunique()
    assert status(result, "one arm per person") == "fail"
    assert (
        f"{contradicted:,} people were in two arms" in result.gate.set_index("check").loc["one arm per person", "found"]
    )
    assert result.verdict == "invalid"


# --- who counts, and when ---------------------------------------------------------------------------------------------


def test_windows_that_are_open_count_neither_way() -> None:
    assigned = people(A=30, B=30)
    late = assigned["unit_id"].isin(first("A", 10) + first("B", 10))
    assigned.loc[late, "assigned_at"] = pd.Timestamp("2026-10-28")
    orders = bought(["A0", "A20", "B21", "B22"])
    orders.loc[0, "ordered_at"] = pd.Timestamp("2026-10-29")  # converted, but its window is open
    result = Experiment("script", min_per_arm=10).analyse(assigned, orders, as_of=LATER)
    rates = result.table[result.table["metric"] == "conversion"].set_index("arm")
    assert rates["n"].to_dict() == {"A": 20, "B": 20}
    assert rates["total"].to_dict() == {"A": 1, "B": 2}
    assert result.verdict == "keep running"
    assert "open until 2026-11-04 00:00" in result.sentence
    assert "20 people's window" in result.gate.set_index("check").loc["open windows", "found"]


def test_the_window_begins_at_assignment_and_ends_before_its_end() -> None:
    moments = ["-1us", "0s", "6D23h59min59s", "7D"]
    orders = pd.concat([bought([f"A{i}"], after=moment) for i, moment in enumerate(moments)])
    result = Experiment("script", min_per_arm=1).analyse(
        people(A=10, B=10), pd.concat([orders, bought(["B0"])]), as_of=LATER
    )
    assert result.table.loc[result.table["arm"] == "A", "total"].iloc[0] == 2


@pytest.mark.parametrize(
    ("as_of", "mature"),
    [
        ("2026-10-08", True),
        (dt.date(2026, 10, 7), False),
        (pd.Timestamp("2026-10-08 20:00"), True),
        (pd.Timestamp("2026-10-08 19:59"), False),
    ],
)
def test_when_a_window_is_over(as_of: object, mature: bool) -> None:
    experiment = Experiment("script", min_per_arm=1)
    arguments = (people(A=5, B=5), bought(["A1", "B1"]))
    if mature:
        assert experiment.analyse(*arguments, as_of=as_of).verdict == "do not ship"
    else:
        with pytest.raises(
            EmptyDataError,
            match="nobody's 7 days are over; the first can be told from 2026-10-08",
        ):
            experiment.analyse(*arguments, as_of=as_of)


def test_without_as_of_the_last_time_in_the_data_counts() -> None:
    orders = pd.concat([bought(["A1", "B1"]), bought(["somebody"], after="7D")])
    assert Experiment("script", min_per_arm=1).analyse(people(A=5, B=5), orders).primary["n"].iloc[0] == 5


def test_what_happened_after_as_of_is_not_known() -> None:
    assigned = people(A=20, B=20)
    again = assigned.assign(assigned_at=pd.Timestamp("2026-11-05"), variant="B")  # everybody moves to B, later
    orders = pd.concat([bought(["A1", "B1"]), bought(["A2"], after="50D")])
    experiment = Experiment("script", min_per_arm=1)
    then = experiment.analyse(pd.concat([assigned, again]), orders, as_of=LATER)
    pd.testing.assert_frame_equal(then.table, experiment.analyse(assigned, bought(["A1", "B1"]), as_of=LATER).table)


def test_people_in_two_arms_and_repeated_rows() -> None:
    assigned = people(A=300, B=300)
    repeated = assigned.iloc[:7].assign(assigned_at=START + pd.Timedelta("2D"))  # the first row of each counts
    moved = assigned.iloc[[10, 11]].assign(variant="B")
    result = Experiment("script", min_per_arm=1).analyse(
        pd.concat([assigned, repeated, moved]), bought(first("A", 15) + first("B", 9)), as_of=LATER
    )
    rates = result.table[result.table["metric"] == "conversion"].set_index("arm")
    assert rates["n"].to_dict() == {"A": 298, "B": 300}
    assert rates["total"].to_dict() == {"A": 13, "B": 9}
    found = result.gate.set_index("check")["found"]
    assert "2 people were in two arms" in found["one arm per person"]
    assert "7 repeated rows" in found["one row per person"]
    assert status(result, "one arm per person") == status(result, "one row per person") == "warn"


def test_refunds_are_netted_and_negative_revenue_is_kept() -> None:
    orders = bought(first("A", 5) + first("B", 5), 100.0)
    orders["net_amount"] = [100.0, 100, 100, 100, 100, 0, 0, -20, 100, 100]
    result = Experiment("script", min_per_arm=1).analyse(people(A=10, B=10), orders, as_of=LATER)
    revenue = result.table[result.table["metric"] == "revenue"].set_index("arm")
    assert revenue["total"].to_dict() == {"A": 500, "B": 180}
    assert revenue.loc["B", "difference"] == pytest.approx(-32)


def test_an_order_that_was_never_paid_is_no_conversion_but_a_refunded_one_is() -> None:
    orders = bought(first("A", 30) + first("B", 50)).assign(paid_at=START, net_amount=50.0)
    orders.loc[:9, ["paid_at", "net_amount"]] = [pd.NaT, 0.0]  # A0 to A9 left at the till
    orders.loc[[10, 11], "net_amount"] = 0.0  # A10 and A11 got all their money back
    result = Experiment("script").analyse(people(A=2000, B=2000), orders, as_of=LATER)
    totals = result.table.set_index(["metric", "arm"])["total"]
    assert totals["conversion"].to_dict() == {"A": 20, "B": 50}
    assert totals["revenue"].to_dict() == {"A": 18 * 50.0, "B": 50 * 50.0}


def test_two_orders_of_one_person_are_one_conversion() -> None:
    orders = pd.concat([bought(["A1", "A1", "B1"]), bought(["A1"], after="2D")])
    result = Experiment("script", min_per_arm=1).analyse(people(A=10, B=10), orders, as_of=LATER)
    table = result.table.set_index(["metric", "arm"])["total"]
    assert table["conversion", "A"] == 1
    assert table["revenue", "A"] == 150


def test_tables_of_a_shop_and_frames_give_the_same() -> None:
    assigned, orders = people(A=40, B=50), bought(first("A", 5) + first("B", 20))
    connection = duckdb.connect()
    connection.register("a", assigned)
    connection.register("o", orders)
    engine = DuckDBEngine(connection)
    tables = [
        Table(engine, name, relation, tuple(frame.columns))
        for name, relation, frame in (("assignments", "a", assigned), ("orders", "o", orders))
    ]
    experiment = Experiment("script", min_per_arm=1)
    here, there = experiment.analyse(assigned, orders, as_of=LATER), experiment.analyse(*tables, as_of=LATER)
    pd.testing.assert_frame_equal(here.table, there.table)
    with pytest.raises(ParameterError, match="tables of one shop, or frames"):
        experiment.analyse(tables[0], orders)


def test_integer_ids_and_a_quote_or_brace_in_the_name() -> None:
    assigned = people(A=10, B=10).assign(unit_id=range(20), experiment="it's {t}")
    result = Experiment("it's {t}", min_per_arm=1).analyse(assigned, bought([0, 1, 12]), as_of=LATER)
    assert result.table["total"].iloc[0] == 2


def test_the_query_carries_over_to_spark_and_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ("experiment", "variant", "unit_id", "assigned_at", "cluster_id", "customer_id", "ordered_at", "amount")
    table = Table(DuckDBEngine(), "t", "t", columns)
    asked: list[str] = []
    answer = pd.DataFrame({"cluster_id": ["s1"]})
    monkeypatch.setattr(DuckDBEngine, "query", lambda _, sql: [asked.append(sql), answer][1])
    fetch(table, table, METRICS.values(), name="x", window=pd.Timedelta("7D"), history=pd.Timedelta("28D"))
    (sql,) = asked
    for dialect in ("spark", "postgres"):
        (out,) = sqlglot.transpile(sql, read="duckdb", write=dialect, unsupported_level=sqlglot.ErrorLevel.RAISE)
        assert "VAR_SAMP" in out.upper() or "VARIANCE" in out.upper()


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_sample_ratio_blocks_the_verdict() -> None:
    result = Experiment("script").judge(cells({"A": (821_588, 82_000), "B": (815_482, 90_000)}))
    assert result.verdict == "invalid"
    assert "p = 1.822e-06" in result.sentence
    planned = Experiment("script", shares={"A": 0.8, "B": 0.2}).judge(cells({"A": (8000, 800), "B": (2000, 200)}))
    assert status(planned, "sample ratio") == "pass"


def test_an_arm_that_nobody_reached_is_a_sample_ratio_failure() -> None:
    shares = {"A": 1, "B": 1, "C": 1}
    result = Experiment("script", shares=shares, min_per_arm=1).judge(cells({"A": (500, 50), "B": (510, 50)}))
    assert result.verdict == "invalid"
    assert "C 0" in result.sentence


def test_imbalance_before_the_test_blocks_the_verdict() -> None:
    frame = cells({"A": (5000, 500), "B": (5000, 600)})
    frame["bought_before"] = [500, 700]
    result = Experiment("script").judge(frame)
    assert status(result, "balance before the test") == "fail"
    table = [[500, 4500], [700, 4300]]
    from scipy.stats import chi2_contingency

    assert f"p = {chi2_contingency(table, correction=False).pvalue:.4g}" in result.sentence
    frame["bought_before"] = [500, 520]
    assert status(Experiment("script").judge(frame), "balance before the test") == "pass"


def test_assignments_after_their_outcome() -> None:
    orders = bought(first("A", 20) + first("B", 30), after="-1h")
    with pytest.warns(ThinDataWarning, match="nothing varies"):
        result = Experiment("script", min_per_arm=1).analyse(people(A=100, B=100), orders, as_of=LATER)
    assert status(result, "assignment before outcome") == "fail"
    assert result.verdict == "invalid"


def test_fewer_people_than_asked_for() -> None:
    result = Experiment("script").judge(cells({"A": (1999, 100), "B": (2100, 300)}))
    assert result.verdict == "keep running"
    assert result.sentence == (
        "Keep running: A 1,999, B 2,100 people whose window is over; at least 2,000 in each arm was asked for."
    )


# --- verdicts ---------------------------------------------------------------------------------------------------------

counts = st.tuples(st.integers(1, 3000), st.floats(0, 1)).map(lambda t: (t[0], round(t[0] * t[1])))


@settings(max_examples=50)
@given(
    st.lists(counts, min_size=2, max_size=5),
    st.sampled_from([0.8, 0.95, 0.99]),
    st.sampled_from(["once", "weekly", "any"]),
    st.sampled_from(sorted(METRICS)),
)
@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_verdict_interval_and_p_value_agree(arms: list[tuple[int, int]], level: float, looks: str, metric: str) -> None:
    named = dict(zip("ABCDE", arms, strict=False))
    shares = {arm: n for arm, (n, _) in named.items()}  # as planned, whatever the sizes
    experiment = Experiment("script", metric=metric, level=level, min_per_arm=1, shares=shares, looks=looks)
    result = experiment.judge(cells(named))
    rows = result.table[result.table["arm"] != "A"]
    edge = rows[["lower", "upper"]].abs().min(axis=1) < 1e-9
    assume(not edge.any() and not ((rows["p_adjusted"] - (1 - level)).abs() < 1e-6).any())
    for row in rows.itertuples():
        told = row.p_adjusted <= 1 - level
        assert told == (row.verdict in {"better", "worse"})
        if not np.isnan(row.lower):
            assert told == (row.lower > 0 or row.upper < 0)
            assert row.lower <= row.difference <= row.upper
        if np.isfinite(row.relative_lower) and np.isfinite(row.relative_upper):
            assert told == (row.relative_lower > 0 or row.relative_upper < 0)
        if told:
            assert row.verdict == ("better" if row.difference > 0 else "worse")
    better = result.primary[result.primary["verdict"] == "better"]
    assert (result.verdict == "ship") == (len(better) > 0)
    if len(better):
        assert result.arm == better.loc[better["difference"].idxmax(), "arm"]
    assert result.sentence.lower().startswith(result.verdict)


def test_the_best_of_several_arms_is_shipped_and_holm_corrects() -> None:
    arms = {"A": (4000, 400), "B": (4000, 460), "C": (4000, 500), "D": (4000, 455)}
    result = Experiment("script").judge(cells(arms))
    assert (result.verdict, result.arm) == ("ship", "C")
    single = [Experiment("script").judge(cells({"A": arms["A"], k: arms[k]})).primary["p_value"].iloc[0] for k in "BCD"]
    assert result.primary["p_value"].tolist() == pytest.approx(single)
    by_arm = result.primary.set_index("arm")["p_adjusted"]
    assert by_arm["C"] == pytest.approx(3 * single[1])
    assert by_arm["B"] == pytest.approx(2 * single[0])


def test_ten_arms_of_nothing() -> None:
    arms = {chr(65 + i): (2500, 250 + i) for i in range(10)}
    result = Experiment("script").judge(cells(arms))
    assert len(result.primary) == 9
    assert result.verdict == "do not ship"


def test_nothing_worth_having_is_not_waited_for() -> None:
    frame = cells({"A": (40_000, 4000), "B": (40_000, 4010)})
    waiting = pd.concat([frame, frame.assign(status="open", people=50, conversion_total=0, look=pd.NaT)])
    assert Experiment("script", looks="any").judge(waiting).verdict == "keep running"
    futile = Experiment("script", looks="any", minimum_effect=0.02).judge(waiting)
    assert futile.verdict == "do not ship"
    assert "less than the 2.00 points worth having" in futile.sentence


def test_before_the_end_nothing_is_decided_at_a_single_look() -> None:
    frame = cells({"A": (2000, 200), "B": (2000, 300)})
    waiting = pd.concat([frame, frame.assign(status="open", people=50, look=pd.NaT)])
    assert Experiment("script").judge(waiting).verdict == "keep running"
    assert Experiment("script", looks="any").judge(waiting).verdict == "ship"


def test_html_and_table() -> None:
    result = Experiment("script").judge(cells({"A": (2000, 200), "B": (2000, 264)}))
    assert "ship" in result._repr_html_()
    assert result.table.loc[0, "verdict"] == "control"
    assert result.table.loc[[0], "difference"].isna().all()


# --- guardrails -------------------------------------------------------------------------------------------------------


def costly(loss: float, n: int = 20_000) -> pd.DataFrame:
    """B converts better, and brings ``loss`` less a person."""
    frame = cells({"A": (n, n // 10), "B": (n, n // 8)})
    frame["revenue_mean"], frame["revenue_variance"] = [10.0, 10.0 - loss], 400.0
    return with_covariate(frame)


@pytest.mark.parametrize(
    ("loss", "verdict", "guardrail"),
    [
        (-0.5, "ship", "holds"),
        (0.3, "ship", "holds"),
        (0.7, "do not ship", "not shown"),
        (2.0, "do not ship", "broken"),
    ],
)
def test_a_guardrail_is_kept_by_the_same_inversion(loss: float, verdict: str, guardrail: str) -> None:
    result = Experiment("script", guardrails={"revenue": 1.0}).judge(costly(loss))
    row = result.effects("revenue").iloc[0]
    assert (result.verdict, row["role"], row["verdict"]) == (verdict, "guardrail", guardrail)
    assert ("revenue" in result.sentence) is True
    error = (400 / 20_000 * 2) ** 0.5  # the arithmetic of Welch's test against a fall by 1
    assert row["lower"] == pytest.approx(-loss - 1.96 * error, abs=1e-3)
    assert row["p_value"] == pytest.approx(2 * norm.sf(abs(1 - loss) / error), rel=1e-2)


def test_a_guardrail_that_is_not_shown_waits_for_more_people() -> None:
    frame = costly(0.7)
    waiting = pd.concat([frame, frame.assign(status="open", people=50, look=pd.NaT)])
    result = Experiment("script", guardrails={"revenue": 1.0}, looks="any").judge(waiting)
    assert result.verdict == "keep running"
    assert "revenue is not shown to fall by less than 1.00" in result.sentence
    broken = costly(3.0)
    waiting = pd.concat([broken, broken.assign(status="open", people=50, look=pd.NaT)])
    assert Experiment("script", guardrails={"revenue": 1.0}, looks="any").judge(waiting).verdict == "do not ship"


def test_the_best_arm_whose_guardrails_hold_is_shipped() -> None:
    frame = cells({"A": (20_000, 2000), "B": (20_000, 2600), "C": (20_000, 2400)})
    frame["revenue_mean"], frame["revenue_variance"] = [10.0, 7.0, 10.0], 400.0
    result = Experiment("script", guardrails={"revenue": 1.0}).judge(with_covariate(frame))
    assert (result.verdict, result.arm) == ("ship", "C")


@settings(max_examples=40)
@given(counts, counts, st.floats(0.001, 0.5), st.sampled_from(["once", "weekly", "any"]))
@pytest.mark.filterwarnings("ignore::clvlib.errors.ThinDataWarning")
def test_guardrail_interval_and_p_value_agree(a: tuple, b: tuple, margin: float, looks: str) -> None:
    shares = {"A": a[0], "B": b[0]}
    experiment = Experiment(
        "script", metric="revenue", guardrails={"conversion": margin}, min_per_arm=1, shares=shares, looks=looks
    )
    row = experiment.judge(cells({"A": a, "B": b})).effects("conversion").iloc[0]
    assume(abs(row["lower"] + margin) > 1e-9 and abs(row["upper"] + margin) > 1e-9)
    assert (row["verdict"] == "not shown") == (row["p_value"] >= 0.05)
    if row["verdict"] == "holds":
        assert row["lower"] > -margin


# --- looks ------------------------------------------------------------------------------------------------------------


def weekly(looks: int, n: int, rates: tuple[float, float]) -> pd.DataFrame:
    """People of each week's end, ``n`` an arm each time."""
    parts = [
        cells({"A": (n, round(n * rates[0])), "B": (n, round(n * rates[1]))}, look=START + pd.Timedelta(7 * k, "D"))
        for k in range(1, looks + 1)
    ]
    return pd.concat(parts, ignore_index=True)


def test_five_planned_looks_use_lan_and_demets_boundaries() -> None:
    experiment = Experiment("script", metric="revenue", looks="weekly", min_per_arm=1, planned_per_arm=10_000)
    frame = weekly(5, 2000, (0.1, 0.11))
    for looks, critical in enumerate([4.877, 3.357, 2.680, 2.290, 2.031], start=1):
        part = frame[frame["look"] <= START + pd.Timedelta(7 * looks, "D")]
        row = experiment.judge(part).primary.iloc[0]
        error = (row["upper"] - row["lower"]) / 2 / critical
        n = 2000 * looks
        p = np.array([0.1, 0.11])
        assert error == pytest.approx((2500 * (p * (1 - p)).sum() / (n - 1)) ** 0.5, rel=2e-3)


def test_what_comes_after_the_plan_is_complete_is_not_used() -> None:
    experiment = Experiment("script", looks="weekly", min_per_arm=4000)
    frame = weekly(6, 1000, (0.10, 0.11))
    later = frame["look"] > START + pd.Timedelta("28D")
    frame.loc[later & (frame["variant"] == "B"), "conversion_total"] = 900
    result, then = experiment.judge(frame), experiment.judge(frame[~later])
    pd.testing.assert_frame_equal(result.table, then.table)
    pd.testing.assert_frame_equal(result.looks, then.looks)
    assert (result.verdict, result.primary["n"].iloc[0]) == ("do not ship", 4000)
    assert Experiment("script", looks="any", min_per_arm=4000).judge(frame).verdict == "ship"


def test_a_look_without_anybody_new_is_no_look() -> None:
    frame = weekly(3, 1000, (0.10, 0.11))
    idle = cells({"A": (1, 0)}, look=START + pd.Timedelta("28D"))  # the smallest arm has grown by nobody
    experiment = Experiment("script", looks="weekly", min_per_arm=4000)
    assert len(experiment.judge(pd.concat([frame, idle])).looks) == 3


def test_weekly_looks_of_a_shop() -> None:
    """Weeks end on Sunday: windows that end on Monday at midnight belong to the week before."""
    assigned = people(A=6, B=6)
    monday = pd.Timestamp("2026-10-05")
    assigned["assigned_at"] = [monday, monday + pd.Timedelta("1us"), *[monday + pd.Timedelta("8D")] * 4] * 2
    orders = pd.DataFrame({"customer_id": ["A0", "B1"], "ordered_at": monday + pd.Timedelta("1D"), "amount": 10.0})
    frame = fetch(
        assigned, orders, METRICS.values(), name="script", window=pd.Timedelta("7D"), history=pd.Timedelta("28D"),
        as_of="2026-10-21",
    )  # fmt: skip
    looks = frame[frame["variant"] == "A"].groupby("look")["people"].sum().to_dict()
    assert looks == {
        pd.Timestamp("2026-10-12"): 1,
        pd.Timestamp("2026-10-19"): 1,
        pd.Timestamp("2026-10-22"): 4,  # the week is not over: the data end on the 21st
    }


@pytest.mark.slow
def test_twelve_weekly_looks_of_an_experiment_under_no_effect() -> None:
    """The whole way from weekly aggregates: the share of runs in which any look would have shipped or stopped it."""
    rng = np.random.default_rng(99)
    runs, told = 12, {"weekly": 0, "any": 0}
    for _ in range(runs):
        x = rng.binomial(400, 0.1, (12, 2))
        weeks = [cells({"A": (400, a), "B": (400, b)}, look=START + pd.Timedelta(k, "W")) for k, (a, b) in enumerate(x)]
        frame = pd.concat(weeks, ignore_index=True)
        for looks in told:
            found = Experiment("script", looks=looks, min_per_arm=4800).judge(frame).looks
            told[looks] += bool(((found["lower"] > 0) | (found["upper"] < 0)).any())
    assert max(told.values()) <= 3  # 12 runs at 5%: more than 3 has a chance of 0.2%


# --- less variance ----------------------------------------------------------------------------------------------------


def covaried(rng: np.random.Generator, n: int, effect: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People with orders before and after, correlated, and the frame of both for other methods."""
    before = rng.gamma(2, 20, n)
    arm = rng.integers(0, 2, n)
    after = np.maximum(0.8 * before + rng.normal(10, 15, n) + effect * arm, 0.01)
    ids = [f"p{i}" for i in range(n)]
    assigned = pd.DataFrame(
        {"experiment": "script", "variant": np.where(arm, "B", "A"), "unit_id": ids, "assigned_at": START}
    )
    orders = pd.concat([bought(ids, before, "-5D"), bought(ids, after, "3D")])
    return assigned, orders, pd.DataFrame({"y": after, "x": before, "arm": arm})


def test_adjusted_revenue_is_the_analysis_of_covariance() -> None:
    from statsmodels.api import OLS, add_constant

    assigned, orders, frame = covaried(np.random.default_rng(3), 3000, 2.0)
    result = Experiment("script", min_per_arm=1, metric="adjusted revenue").analyse(assigned, orders, as_of=LATER)
    row = result.primary.iloc[0]
    ols = OLS(frame["y"], add_constant(frame[["arm", "x"]])).fit()
    assert row["difference"] == pytest.approx(ols.params["arm"], rel=1e-9)
    assert (row["upper"] - row["lower"]) / 2 == pytest.approx(1.96 * ols.bse["arm"], rel=0.01)
    within = frame.groupby("arm")[["y", "x"]].transform(lambda v: v - v.mean())
    assert row["reduction"] == pytest.approx(within["y"].corr(within["x"]) ** 2, rel=1e-9)
    raw = result.effects("revenue").iloc[0]
    assert row["upper"] - row["lower"] < 0.65 * (raw["upper"] - raw["lower"])


parts = st.lists(
    st.lists(st.tuples(st.floats(-100, 100), st.floats(0, 50)), min_size=1, max_size=6), min_size=1, max_size=5
)


@given(parts)
def test_joining_aggregates_of_parts_gives_those_of_the_whole(groups: list[list[tuple[float, float]]]) -> None:
    def aggregate(rows: list[tuple[float, float]]) -> dict[str, float]:
        y, x = np.array(rows).T
        one = len(rows) == 1
        c = np.full((2, 2), np.nan) if one else np.cov(y, x)
        name = "adjusted revenue"
        z = np.minimum(y, 50.0)
        capped = {"mean": z.mean(), "variance": np.nan if one else z.var(ddof=1), "cap": 50.0}
        return {
            **dict.fromkeys(("extra_rows", "bought_before", "bad_amounts"), 0),
            "variant": "A", "status": "mature", "look": START, "last_assigned": START, "people": len(rows),
            "conversion_total": int((y > 0).sum()), "revenue_mean": y.mean(), "revenue_variance": c[0, 0],
            **{f"revenue {p}_{k}": v for p in ("p99", "p99.9") for k, v in capped.items()},
            f"{name}_raw_mean": y.mean(), f"{name}_raw_variance": c[0, 0], f"{name}_before_mean": x.mean(),
            f"{name}_before_variance": c[1, 1], f"{name}_covariance": c[0, 1],
            "spend per buyer_numerator_mean": y.mean(), "spend per buyer_numerator_variance": c[0, 0],
            "spend per buyer_denominator_mean": x.mean(), "spend per buyer_denominator_variance": c[1, 1],
            "spend per buyer_covariance": c[0, 1],
        }  # fmt: skip

    whole = aggregate([row for group in groups for row in group])
    joined = merged(pd.DataFrame([aggregate(group) for group in groups]), ["variant"], METRICS.values()).iloc[0]
    for key, value in whole.items():
        if key in joined and isinstance(value, (int, float)):
            assert joined[key] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True)


# --- by simulation ----------------------------------------------------------------------------------------------------


def simulate(rng: np.random.Generator, runs: int, n: int, rates: tuple[float, float]) -> pd.DataFrame:
    """Revenue of both arms, mostly zero and heavy of tail, as aggregates."""
    rows = []
    for arm, rate in zip("AB", rates, strict=True):
        x = rng.binomial(n, rate, runs)
        spend = rng.lognormal(3, 1, (runs, n)) * (np.arange(n) < x[:, None])
        figures = {"revenue_mean": spend.mean(1), "revenue_variance": spend.var(1, ddof=1)}
        rows.append(pd.DataFrame({"run": range(runs), "variant": arm, "conversion_total": x} | figures))
    frame = pd.concat(rows).assign(status="mature", people=n, extra_rows=0, bought_before=0, bad_amounts=0)
    return with_covariate(frame.assign(last_assigned=START, look=START))


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["conversion", "revenue"])
def test_type_one_error_and_coverage(metric: str) -> None:
    runs, level = 100, 0.9
    frame = simulate(np.random.default_rng(12), runs, 1500, (0.12, 0.12))
    experiment = Experiment("script", metric=metric, level=level, min_per_arm=1)
    told = covered = 0
    for _, run in frame.groupby("run"):
        row = experiment.judge(run).primary.iloc[0]
        told += row["verdict"] != "not told apart"
        covered += row["lower"] <= 0 <= row["upper"]
    error = 3 * (level * (1 - level) / runs) ** 0.5  # three Monte Carlo standard errors
    assert told / runs == pytest.approx(1 - level, abs=error)
    assert covered == runs - told


# --- bad input --------------------------------------------------------------------------------------------------------


def test_nobody_converts() -> None:
    with pytest.warns(ThinDataWarning, match="nothing varies"):
        result = Experiment("script").judge(cells({"A": (2000, 0), "B": (2000, 0)}))
    assert result.verdict == "do not ship"
    row = result.primary.iloc[0]
    assert row["p_value"] == 1
    assert -0.01 < row["lower"] < 0 < row["upper"] < 0.01


def test_everybody_converts() -> None:
    with pytest.warns(ThinDataWarning, match="nothing varies"):
        result = Experiment("script").judge(cells({"A": (2000, 2000), "B": (2000, 2000)}))
    assert result.verdict == "do not ship"
    assert result.table["value_upper"].iloc[0] == 1


def test_missing_amounts_are_refused() -> None:
    for amount in (np.nan, np.inf):
        orders = bought(["A1", "B1"], np.array([amount, 1.0]))
        with pytest.raises(DataError, match="1 amounts in this experiment are missing or infinite"):
            Experiment("script").analyse(people(A=10, B=10), orders, as_of=LATER)
    others = bought(["A1", "B1", "Z"], np.array([1.0, 1.0, np.nan]))  # somebody else's do no harm
    assert Experiment("script").analyse(people(A=10, B=10), others, as_of="2026-10-10").verdict == "keep running"


def test_one_arm_no_arm_other_arms() -> None:
    with pytest.raises(DataError, match="one arm, A"):
        Experiment("script").analyse(people(A=10), bought(["A1"]), as_of=LATER)
    with pytest.raises(ParameterError, match="'control' is none of the arms A, B"):
        Experiment("script", control="control").analyse(people(A=10, B=10), bought(["A1"]), as_of=LATER)
    with pytest.raises(EmptyDataError, match="nobody was assigned to one arm of an experiment named 'cover'"):
        Experiment("cover").analyse(people(A=10, B=10), bought(["A1"]), as_of=LATER)
    with pytest.raises(ParameterError, match="no share is planned for B"):
        Experiment("script", shares={"A": 1, "C": 1}).analyse(people(A=10, B=10), bought(["A1"]), as_of=LATER)


def test_a_test_that_ended_too_small_is_not_waited_for() -> None:
    """Of 2,000 asked for 1,500 an arm came, all on one day: a fortnight's rest goes on, a longer one is the end."""
    arguments = people(A=1500, B=1500), bought([*first("A", 150), *first("B", 200), "late"])
    last = START + pd.Timedelta("14D")
    assert Experiment("script").analyse(*arguments, as_of=last).verdict == "keep running"
    over = Experiment("script").analyse(*arguments, as_of=last + pd.Timedelta("1h"))
    assert over.verdict == "do not ship"
    assert "nobody has been assigned since 2026-10-01 (A 1,500, B 1,500 people" in over.sentence
    slow = Experiment("script", window="21D").analyse(*arguments, as_of=START + pd.Timedelta("21D"))
    assert slow.verdict == "keep running"  # windows of three weeks are waited for


def test_who_has_the_people_asked_for_is_told_to_stop_assigning() -> None:
    assigned = people(A=2000, B=2000)
    late = assigned["unit_id"].isin(["A0", "B0"])
    assigned.loc[late, "assigned_at"] = START + pd.Timedelta("9D")
    orders, as_of = bought([*first("A", 200), *first("B", 264)]), START + pd.Timedelta("10D")
    wait = Experiment("script", min_per_arm=1999).analyse(assigned, orders, as_of=as_of)
    assert wait.sentence.startswith("Keep running, but assign nobody else: every arm has the people")
    more = Experiment("script", min_per_arm=1999, planned_per_arm=2001).analyse(assigned, orders, as_of=as_of)
    assert more.sentence.startswith("Keep running: windows are open until 2026-10-17")


def test_an_arm_whose_windows_are_all_open() -> None:
    assigned = people(A=10, B=10)
    assigned.loc[assigned["variant"] == "B", "assigned_at"] = pd.Timestamp("2026-10-30")
    with pytest.raises(EmptyDataError, match="only A has people whose 7 days are over"):
        Experiment("script").analyse(assigned, bought(["A1"]), as_of=LATER)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"metric": "clicks"}, "metric: 'clicks'"),
        ({"looks": "daily"}, "looks: 'daily'"),
        ({"level": 95}, "level: a share"),
        ({"power": 1}, "power: a share"),
        ({"min_per_arm": 0}, "min_per_arm: at least 1"),
        ({"minimum_effect": -0.1}, "minimum_effect: a positive"),
        ({"shares": {"A": 0, "B": 1}}, "shares: every planned share"),
        ({"guardrails": {"clicks": 1}}, "guardrails: 'clicks'"),
        ({"guardrails": {"conversion": 0.1}}, "is the primary metric"),
        ({"guardrails": {"revenue": -1}}, "margin of revenue must be positive"),
        ({"planned_per_arm": 100}, "planned_per_arm: at least min_per_arm"),
        ({"window": "a week"}, "window: 'a week'"),
        ({"window": "0D"}, "at least a second"),
    ],
)
def test_parameters_out_of_range(parameters: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Experiment("script", **parameters)


def test_columns_that_are_absent_or_wrong() -> None:
    assigned, orders = people(A=10, B=10), bought(["A1"])
    with pytest.raises(MissingColumnError, match="assignments: column variant"):
        Experiment("script").analyse(assigned.drop(columns="variant"), orders)
    with pytest.raises(MissingColumnError, match="orders: column amount"):
        Experiment("script").analyse(assigned, orders.drop(columns="amount"))
    with pytest.raises(EngineError, match="yesterday"):
        Experiment("script").analyse(assigned, orders.assign(ordered_at="yesterday"))
    with pytest.raises(ParameterError, match="as_of: 'soon'"):
        Experiment("script").analyse(assigned, orders, as_of="soon")
    with pytest.raises(ParameterError, match="expected a table"):
        Experiment("script").analyse([], orders)
