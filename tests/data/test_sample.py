"""The sample shop: what its truth.json says is what its rows show, and its tables agree with one another.

No figure here comes from a run: rates are compared with the stated parameters within their sampling error (four
standard errors, or a chi-square beyond 1e-4 of either tail), and laws with their closed forms.
"""

from __future__ import annotations

import datetime as dt
import gc
import json
import time
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pytest
from scipy import special, stats

import clvlib as clv
from clvlib.data import sample_world as world
from clvlib.data.contract import CONTRACT
from clvlib.data.sample import write_sample
from clvlib.data.sample_files import NEVER
from clvlib.data.sample_plan import Plan
from clvlib.data.sample_process import make_people, make_season, purchase_times
from clvlib.data.sample_trial import orders_within
from clvlib.errors import ParameterError

END = dt.date(2026, 11, 15)


class Files:
    """A written shop behind DuckDB, a view per table, text that is no amount or time set aside."""

    def __init__(self, folder: Path, truth: dict) -> None:
        self.folder, self.truth = folder, truth
        self.db = duckdb.connect()
        for name in CONTRACT:
            csv, parquet = folder / f"{name}*.csv", folder / f"{name}*.parquet"
            if list(folder.glob(csv.name)):
                source = f"read_csv('{csv}', nullstr = ['', 'n/a'])"
            elif list(folder.glob(parquet.name)):
                source = f"read_parquet('{parquet}')"
            else:
                continue
            self.db.execute(f"CREATE VIEW {name} AS SELECT * FROM {source}")

    def rows(self, sql: str) -> list[tuple]:
        return self.db.execute(sql).fetchall()

    def one(self, sql: str):
        return self.rows(sql)[0][0]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("small")
    return Files(folder, write_sample(folder, customers=1500, weeks=20, seed=5))


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Files:
    folder = tmp_path_factory.mktemp("large")
    return Files(folder, write_sample(folder, customers=25_000, weeks=40, seed=7, format="parquet"))


@pytest.fixture(scope="module")
def plan() -> Plan:
    """130,000 buyers, so that the script test has about 200,000 people; no file is written."""
    return Plan.draw(130_000, 40, 11, END)


def fits(observed: np.ndarray, trials: np.ndarray, probability: np.ndarray) -> bool:
    """Whether counts agree with binomial probabilities, cell by cell, by Pearson's chi-square."""
    expected = trials * probability
    enough = (expected >= 10) & (trials - expected >= 10)
    assert enough.sum() >= 5
    z = (observed - expected)[enough] / np.sqrt(expected * (1 - probability))[enough]
    return bool(1e-4 < stats.chi2.sf((z**2).sum(), enough.sum()) < 1 - 1e-4)


# ---------------------------------------------------------------------------------------------------------------- files


def test_the_same_arguments_give_the_same_bytes_and_another_seed_does_not(tmp_path):
    write_sample(tmp_path / "a", customers=60, weeks=8, seed=3)
    write_sample(tmp_path / "b", customers=60, weeks=8, seed=3)
    write_sample(tmp_path / "c", customers=60, weeks=8, seed=4)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "b").iterdir())
    same = [(tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files]
    assert all(same)
    assert (tmp_path / "a" / "customers.parquet").read_bytes() != (tmp_path / "c" / "customers.parquet").read_bytes()


def test_large_shops_written_by_threads_are_reproducible_too(tmp_path, monkeypatch):
    monkeypatch.setattr("clvlib.data.sample.SMALL", 10)
    for name in "ab":
        write_sample(tmp_path / name, customers=200, weeks=6, seed=3)
    files = sorted(p.name for p in (tmp_path / "a").glob("events-*.parquet"))
    assert files[0] == "events-2026-W41.parquet"
    assert len(files) == 6
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_a_new_sample_replaces_an_old_one_and_nothing_else(tmp_path):
    write_sample(tmp_path, customers=20, weeks=10, seed=1)
    write_sample(tmp_path, customers=20, weeks=1, seed=1)
    assert [p.name for p in tmp_path.glob("orders-*")] == ["orders-2026-11.csv"]
    other = tmp_path / "mine"
    other.mkdir()
    (other / "orders.csv").write_text("customer_id,ordered_at,amount\n")
    with pytest.raises(ParameterError, match=r"'orders\.csv' and is no earlier sample"):
        write_sample(other)
    assert (other / "orders.csv").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"customers": 0}, "customers is 0"),
        ({"customers": 2.5}, r"customers is 2\.5"),
        ({"weeks": 0}, "weeks is 0"),
        ({"weeks": 521}, "at most 520"),
        ({"seed": -1}, "seed is -1"),
        ({"end": "2026-11-14"}, "2026-11-14, a Saturday"),
        ({"end": "tomorrow"}, "'tomorrow'"),
        ({"format": "xlsx"}, "'xlsx'"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(ParameterError, match=message):
        write_sample(tmp_path / "shop", **wrong)
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize("customers", [1, 2, 7])
@pytest.mark.parametrize("weeks", [1, 2, 6, 53])
def test_the_smallest_shops_can_be_read(tmp_path, customers, weeks):
    truth = write_sample(tmp_path, customers=customers, weeks=weeks, seed=customers)
    assert truth["realised"]["buyers"] >= customers
    assert json.loads((tmp_path / "truth.json").read_text(encoding="utf-8")) == truth
    shop = clv.connect(tmp_path)
    assert shop.has("orders")
    assert shop.has("events")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_formats_hold_the_same_rows(tmp_path, kind):
    mixed = write_sample(tmp_path / "mixed", customers=80, weeks=12, seed=2)
    other = write_sample(tmp_path / kind, customers=80, weeks=12, seed=2, format=kind)
    assert {p.suffix for p in (tmp_path / kind).iterdir()} == {f".{kind}", ".json", ".lock", ".toml", ".yaml"}
    assert mixed == other
    a, b = Files(tmp_path / "mixed", mixed), Files(tmp_path / kind, other)
    for name in CONTRACT:
        query = f"SELECT count(*), count(DISTINCT COLUMNS(*)) FROM {name}"
        assert a.rows(query) == b.rows(query), name


def test_a_shop_for_trying_out_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shop = clv.sample_shop(customers=30, weeks=4)
    assert len(shop.customer_summary(as_of="2026-11-15", unit="W", collapse="D")) > 20
    assert list(tmp_path.glob("clvlib-sample-*"))
    del shop
    gc.collect()
    assert not list(tmp_path.glob("clvlib-sample-*"))


def test_every_table_and_only_columns_of_the_contract(small):
    for name, table in CONTRACT.items():
        columns = {row[0] for row in small.rows(f"DESCRIBE {name}")}
        assert columns <= {c.name for c in table.columns}, name
        assert set(table.required) <= columns, name
        assert small.one(f"SELECT count(*) FROM {name}") == small.truth["rows"][name]


def test_every_entry_of_the_truth_is_described(small):
    truth = small.truth
    entries = ["shop", "rows"]
    entries += [f"{part}.{name}" for part in ("parameters", "planted", "realised") for name in truth[part]]
    assert sorted(truth["fields"]) == sorted(entries)


def test_the_shop_says_that_it_is_a_sample_and_quarantine_finds_the_accident(small):
    shop = clv.connect(small.folder)
    assert shop.config.sample
    assert shop.config.as_of == END
    reasons = shop.quality().reasons
    accident = small.truth["planted"]["accident"]
    assert set(reasons["table"]) == {"orders"}
    assert sorted(reasons["rows"]) == sorted(v for k, v in accident.items() if k not in {"day", "unknown_events"})


# --------------------------------------------------------------------------------------------------------- consistency

REFERENCES = [
    ("orders", "customer_id", "customers", "customer_id"),
    ("orders", "session_id", "sessions", "session_id"),
    ("events", "session_id", "sessions", "session_id"),
    ("feedback", "customer_id", "customers", "customer_id"),
    ("feedback", "session_id", "sessions", "session_id"),
    ("complaints", "customer_id", "customers", "customer_id"),
    ("contacts", "customer_id", "customers", "customer_id"),
    ("identities", "customer_id", "customers", "customer_id"),
    ("referrals", "customer_id", "customers", "customer_id"),
    ("referrals", "referrer_id", "orders", "customer_id"),
    ("assignments", "unit_id", "customers", "customer_id"),
    ("feedback", "customer_id", "orders", "customer_id"),
    ("complaints", "customer_id", "orders", "customer_id"),
    ("contacts", "customer_id", "orders", "customer_id"),
]


@pytest.mark.parametrize(("table", "column", "other", "key"), REFERENCES)
def test_references_name_rows_that_exist(small, table, column, other, key):
    # Three customers at most have lost their only order row to the accident, which took away ids
    lost = small.truth["planted"]["accident"]["missing_customer"] if other == "orders" else 0
    known = f"SELECT {key} FROM {other} WHERE {key} IS NOT NULL"
    assert small.one(f"SELECT count(DISTINCT {column}) FROM {table} WHERE {column} NOT IN ({known})") <= lost


IN_ORDER = [
    ("orders", ["ordered_at", "paid_at", "shipped_at", "received_at", "returned_at"]),
    ("sessions", ["started_at", "ended_at"]),
    ("complaints", ["opened_at", "first_response_at", "resolved_at"]),
    ("competitors", ["started_at", "ended_at"]),
    ("referrals", ["sent_at", "accepted_at"]),
]


@pytest.mark.parametrize(("table", "columns"), IN_ORDER)
def test_times_of_a_row_are_in_order(small, table, columns):
    future = small.truth["planted"]["accident"]["future_time"] if table == "orders" else 0
    for before, after in pairwise(columns):
        wrong = small.one(f"SELECT count(*) FROM {table} WHERE {before} > {after}")
        assert wrong == (future if before == "ordered_at" else 0)
        if before not in {"ordered_at", "opened_at", "sent_at", "started_at"}:
            assert small.one(f"SELECT count(*) FROM {table} WHERE {before} IS NULL AND {after} IS NOT NULL") == 0


def test_nothing_happens_after_the_end_or_before_the_sign_up(small):
    end = "TIMESTAMP '2026-11-16'"
    for table, column in [("events", "occurred_at"), ("feedback", "created_at"), ("contacts", "sent_at")]:
        assert small.one(f"SELECT max({column}) < {end} FROM {table}")
    for column in ["paid_at", "shipped_at", "received_at", "returned_at"]:
        assert small.one(f"SELECT max({column}) < {end} FROM orders")
    joined = "JOIN customers c ON c.customer_id = "
    assert small.one(f"SELECT count(*) FROM events {joined} person_id WHERE occurred_at < signed_up_at") == 0
    assert small.one(f"SELECT count(*) FROM orders {joined} orders.customer_id WHERE ordered_at < signed_up_at") == 0
    assert small.one(f"SELECT count(*) FROM referrals r {joined} r.customer_id WHERE accepted_at > signed_up_at") == 0
    assert small.one("SELECT max(ended_at - started_at) < INTERVAL 5 HOUR FROM sessions")


def test_each_order_ends_a_visit_whose_steps_are_in_the_log(small):
    accident = small.truth["planted"]["accident"]
    paid = small.rows("SELECT person_id, occurred_at, product_id, platform FROM events WHERE event = 'paid'")
    orders = small.rows(
        "SELECT DISTINCT customer_id, paid_at, product_id, platform FROM orders WHERE customer_id IS NOT NULL"
    )
    assert len(paid) == small.truth["realised"]["orders"]
    assert len(set(orders) - set(paid)) == 0
    assert len(set(paid) - set(orders)) <= accident["missing_customer"]
    ordered = set(small.rows("SELECT person_id, occurred_at FROM events WHERE event = 'order'"))
    made = set(
        small.rows(
            f"SELECT customer_id, ordered_at FROM orders WHERE customer_id IS NOT NULL AND ordered_at < DATE '{END}'"
        )
    )
    assert made <= ordered
    # every step of a paid visit comes after the one before it
    missing = small.one(
        "SELECT count(*) FROM (SELECT * FROM events WHERE event = 'paid') p WHERE NOT EXISTS (SELECT 1 "
        "FROM events e, events c, events o WHERE e.person_id = p.person_id AND c.person_id = p.person_id "
        "AND o.person_id = p.person_id AND e.event = 'exposure' AND c.event = 'cart' AND o.event = 'order' "
        "AND e.occurred_at < c.occurred_at AND c.occurred_at < o.occurred_at AND o.occurred_at < p.occurred_at "
        "AND e.occurred_at > p.occurred_at - INTERVAL 45 MINUTE AND e.product_id = p.product_id)"
    )
    assert missing == 0


def test_steps_are_nested_and_sessions_hold_their_events(small):
    counts = dict(small.rows("SELECT event, count(*) FROM events GROUP BY event"))
    assert [counts[step] for step in world.STEPS] == sorted((counts[s] for s in world.STEPS), reverse=True)
    assert {*world.STEPS, *world.INTERACTIONS, "reserve"} < set(counts)
    unknown = sum(counts[name] for name in world.ACCIDENT_EVENTS if name in counts)
    assert unknown == small.truth["planted"]["accident"]["unknown_events"]
    early = small.one(
        "SELECT count(*) FROM events JOIN sessions USING (session_id) WHERE event <> 'reserve' AND "
        "(occurred_at < started_at OR occurred_at > ended_at + INTERVAL 30 MINUTE "
        "OR events.platform <> sessions.platform)"
    )
    assert early == 0
    late = "event = 'reserve' AND occurred_at >= started_at"
    assert small.one(f"SELECT count(*) FROM events JOIN sessions USING (session_id) WHERE {late}") == 0


def test_money_adds_up(small):
    wrong = "SELECT count(*) FROM orders WHERE refunded_amount > amount OR amount <= 0"
    assert small.one(wrong) == 0
    assert small.one("SELECT max(abs(list_price * quantity - discount - amount)) < 0.05 FROM orders")
    assert small.one("SELECT count(*) FROM orders WHERE returned_at IS NOT NULL AND refunded_amount <> amount") == 0
    assert small.one("SELECT count(*) FROM orders WHERE (coupon_id IS NULL) <> (discount = 0)") == 0


def test_people_are_contacted_at_most_once_a_week_by_rules_on_orders(small):
    again = (
        "SELECT count(*) FROM (SELECT sent_at - lag(sent_at) OVER (PARTITION BY customer_id ORDER BY sent_at) AS gap "
        "FROM contacts WHERE action IN ('thank_you_24h', 'coupon_48h')) WHERE gap < INTERVAL 5 DAY"
    )
    assert small.one(again) == 0


def test_comments_carry_what_a_privacy_filter_must_mask(large):
    assert large.one("SELECT count(*) FROM feedback WHERE comment LIKE '%13800000000%'") > 0
    assert large.one("SELECT count(DISTINCT comment) FROM feedback") > 300
    assert large.one("SELECT bool_and(rating BETWEEN 1 AND 5) FROM feedback")
    moods = dict(large.rows("SELECT label, avg(rating) FROM feedback WHERE label IS NOT NULL GROUP BY label"))
    assert moods["positive"] > 4 > 3 >= moods["neutral"] > 2 > moods["negative"]


# ---------------------------------------------------------------------------------------------------------- parameters


def bg_nbd(x: np.ndarray, t: np.ndarray, T: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Log-likelihood of BG/NBD by customer (Fader, Hardie & Lee 2005, equation 6)."""
    r, alpha, a, b = theta
    base = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
    alive = special.betaln(a, b + x) - special.betaln(a, b) - (r + x) * np.log(alpha + T)
    left = np.where(
        x > 0,
        special.betaln(a + 1, b + np.maximum(x, 1) - 1) - special.betaln(a, b) - (r + x) * np.log(alpha + t),
        -np.inf,
    )
    return base + np.logaddexp(alive, left)


def test_purchases_follow_bg_nbd_in_operational_time():
    """At the true parameters the score has mean zero, within four standard errors."""
    season = make_season(dt.date(2026, 2, 9), 40)
    people = make_people(np.random.default_rng(1), season, 100_000)
    person, when, left = purchase_times(np.random.default_rng(2), season, people)
    week = season.operational(when.astype(float)) / world.WEEK
    x = np.bincount(person) - 1.0
    last = np.flatnonzero(np.r_[person[1:] != person[:-1], True])
    first = np.r_[0, last[:-1] + 1]
    t, T = week[last] - week[first], 40 - week[first]
    theta = np.array([world.BG[k] for k in ("r", "alpha", "a", "b")])
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-5
        score = (bg_nbd(x, t, T, theta + step) - bg_nbd(x, t, T, theta - step)) / 2e-5
        assert abs(score.mean()) < 4 * score.std() / np.sqrt(len(score))
    assert not left[first].any()


def test_spend_follows_gamma_gamma(plan):
    p, q, gamma = (world.GAMMA_GAMMA[k] for k in ("p", "q", "gamma"))
    orders = plan.natural
    value = orders.cents[orders.rank == 0] / 100
    mean = p * gamma / (q - 1)
    assert abs(value.mean() - mean) < 4 * value.std() / np.sqrt(len(value))
    # mean of 1 / amount is E[nu] / (p - 1) = (q / gamma) / (p - 1)
    inverse = 1 / value
    assert abs(inverse.mean() - q / gamma / (p - 1)) < 4 * inverse.std() / np.sqrt(len(value))
    # within a person the logarithm has variance trigamma(p), whatever the person
    log, n = np.log(orders.cents / 100), np.bincount(orders.person)
    repeated = n[orders.person] > 1
    person, log = orders.person[repeated], log[repeated]
    centred = log - (np.bincount(person, log) / np.maximum(np.bincount(person), 1))[person]
    freedom = len(log) - (n > 1).sum()
    estimate = (centred**2).sum() / freedom
    assert estimate == pytest.approx(special.polygamma(1, p), rel=4 * np.sqrt(3 / freedom))
    spend = np.log(plan.people.spend_rate[: plan.people.buyers])
    assert abs(np.corrcoef(spend, np.log(plan.people.rate + 1e-12))[0, 1]) < 4 / np.sqrt(len(spend))


def test_the_season_averages_to_one_and_has_its_peaks(plan):
    season = plan.season
    assert season.hourly.mean() == pytest.approx(1)
    assert season.daily.mean() == pytest.approx(1)
    days = np.bincount(plan.orders.when // world.DAY, minlength=280)
    assert season.start + dt.timedelta(days=int(days.argmax())) == dt.date(2026, 11, 11)
    hours = np.bincount(plan.orders.when % world.DAY // 3600, minlength=24)
    assert hours[20:23].sum() / hours.sum() == pytest.approx(14.5 / world.HOUR_WEIGHT.sum(), abs=0.01)
    seconds = np.linspace(0, season.seconds - 2, 1001).astype(np.int64)
    assert np.abs(season.calendar(season.operational(seconds)) - seconds).max() <= 1


def _cells(large: Files) -> list[tuple]:
    return large.rows(
        "SELECT e.platform, p.category, coalesce(s.host_id, ''), "
        + ", ".join(f"count(*) FILTER (event = '{step}')" for step in world.STEPS)
        + " FROM events e JOIN (SELECT DISTINCT product_id, category FROM orders) p USING (product_id) "
        "LEFT JOIN sessions s USING (session_id) WHERE occurred_at < DATE '2026-11-09' GROUP BY ALL"
    )


def test_funnel_steps_have_their_probabilities_in_every_segment(large):
    truth = large.truth["parameters"]["funnel"]
    cells = _cells(large)
    counts = np.array([row[3:] for row in cells])
    hosts = {**truth["host"]["cart"], "": 1.0}
    for k, step in enumerate(world.STEPS[1:], start=1):
        probability = np.array([truth["base"][step] * truth["platform"][step][row[0]] for row in cells])
        if step == "cart":
            probability *= [truth["category"]["cart"][row[1]] * hosts[row[2]] for row in cells]
        assert fits(counts[:, k], counts[:, k - 1], probability), step


@pytest.mark.parametrize("shop", ["small", "large"])
def test_click_to_cart_falls_below_the_threshold_in_the_last_week_alone(shop, request):
    files = request.getfixturevalue(shop)
    weekly = files.rows(
        "SELECT date_trunc('week', occurred_at), count(DISTINCT CASE WHEN event = 'cart' THEN person_id END) / "
        "count(DISTINCT CASE WHEN event = 'click' THEN person_id END) FROM events GROUP BY 1 ORDER BY 1"
    )
    rates = np.array([row[1] for row in weekly])
    assert rates[-1] < 0.115
    assert rates[:-1].mean() > 0.14
    assert (rates[-9:-1] > 0.12).all()


def test_the_drop_has_its_size_in_its_segment(large):
    drop = large.truth["planted"]["click_to_cart_drop"]
    rows = large.rows(
        "SELECT coalesce(s.host_id, ''), count(*) FILTER (event = 'cart'), count(*) FILTER (event = 'click') FROM "
        f"events e JOIN (SELECT DISTINCT product_id FROM orders WHERE category = '{drop['category']}') USING "
        f"(product_id) LEFT JOIN sessions s USING (session_id) WHERE e.platform = '{drop['platform']}' "
        "AND occurred_at >= DATE '2026-11-09' GROUP BY 1"
    )
    hosts = {**large.truth["parameters"]["funnel"]["host"]["cart"], "": 1.0}
    probability = np.array([drop["dropped_probability"] * hosts[row[0]] for row in rows])
    assert fits(np.array([r[1] for r in rows]), np.array([r[2] for r in rows]), probability)
    assert drop["week"] == "2026-W46"


def test_script_b_adds_its_effect_and_the_cover_image_none(plan):
    trial, orders = plan.trial, plan.orders
    assert len(trial.person) > 190_000
    converts = orders_within(trial.person, trial.assigned, orders.person, orders.when, world.WEEK)
    n = np.bincount(trial.arm)
    rate = np.bincount(trial.arm, converts) / n
    error = np.sqrt((rate * (1 - rate) / n).sum())
    assert abs(rate[1] - rate[0] - world.SCRIPT_EFFECT) < 4 * error
    assert 0.085 < rate[0] < 0.115
    assert abs(n[0] - n[1]) < 4 * np.sqrt(n.sum())
    table = dict(plan.tables())["assignments"]
    other = table["experiment"].codes == 1
    codes, who = table["variant"].codes[other], np.asarray(table["unit_id"].to_pandas())[other]
    number = {label: k for k, label in enumerate(plan.labels.slice(0, len(plan.people)).to_pylist())}
    person = np.array([number[label] for label in who])
    hit = orders_within(person, table["assigned_at"].seconds[other], orders.person, orders.when, world.WEEK)
    share = [hit[codes == k].mean() for k in (2, 3)]
    assert abs(share[0] - share[1]) < 4 * np.sqrt(2 * share[0] / (len(hit) / 2))
    assert len(set(trial.person.tolist())) == len(trial.person)


def test_the_coupon_has_its_effect_through_the_hold_out(plan):
    contacts, orders = plan.contacts, plan.natural
    mature = (contacts["action"] == 1) & (contacts["sent"] < plan.season.seconds - 14 * world.DAY)
    person, sent, held = (contacts[k][mature] for k in ("person", "sent", "holdout"))
    again = orders_within(person, sent, orders.person, orders.when, 14 * world.DAY)
    rate, n = (np.array([again[held == k].mean() for k in (False, True)]), np.bincount(held.astype(int)))
    error = np.sqrt(((1 - rate) / rate / n).sum())
    assert abs(np.log(rate[1] / rate[0]) - np.log(1 - world.COUPON_EFFECT)) < 4 * error
    assert n[1] / n.sum() == pytest.approx(world.COUPON_HOLDOUT, abs=4 * 0.4 / np.sqrt(n.sum()))


def test_returns_and_refunds_have_their_rates(plan):
    orders, after = plan.orders, plan.after
    mature = (after.received != NEVER) & (after.received < plan.season.seconds - 9 * world.DAY)
    full = world.CATEGORY_RETURN[orders.category] * np.where(orders.host >= 0, world.HOST_REFUND[orders.host], 1.0)
    cell = (orders.category * 9 + orders.host + 1)[mature]
    n = np.bincount(cell)
    returned = np.bincount(cell, after.returned[mature] != NEVER)
    assert fits(returned, n, np.bincount(cell, full[mature]) / np.maximum(n, 1))
    partial = (after.refunded_cents > 0) & (after.returned == NEVER)
    size = np.bincount(orders.category[mature])
    assert fits(np.bincount(orders.category[mature], partial[mature]), size, world.CATEGORY_PARTIAL)


def test_customers_leave_for_their_causes_and_the_causes_show(plan):
    orders, after = plan.orders, plan.after
    left = orders.cause >= 0
    counts = np.bincount(orders.cause[left])
    assert fits(np.r_[counts, counts], np.full(8, left.sum()), np.r_[world.CAUSE_SHARE, world.CAUSE_SHARE])
    assert after.late[orders.cause == 0].all()
    assert (orders.coupon[orders.cause == 2] == -1).all()
    base = after.late[orders.cause != 0]
    assert base.mean() == pytest.approx(world.LATE_BASE, abs=4 * np.sqrt(0.07 / len(base)))
    table = dict(plan.tables())["complaints"]
    silent = (table["first_response_at"].seconds == NEVER).sum()
    assert silent >= 0.9 * (orders.cause == 1).sum()


def test_referrals_have_their_k_factor(plan):
    table = dict(plan.tables())["referrals"]
    accepted = table["accepted_at"].seconds != NEVER
    n, buyers = len(accepted), plan.people.buyers
    # the share of referred customers moves a little with the tilts of the channel
    assert accepted.sum() / buyers == pytest.approx(world.K_FACTOR, abs=0.01)
    rate = accepted.mean()
    assert abs(rate - world.ACCEPTANCE) < 4 * np.sqrt(rate * (1 - rate) / n)
    guests = table["customer_id"].drop_null().to_pylist()
    assert len(guests) == len(set(guests)) == accepted.sum()


def test_companions_follow_one_another(plan):
    orders = plan.natural
    by_person = np.lexsort((orders.when, orders.person))
    product, person = orders.product[by_person], orders.person[by_person]
    same = person[1:] == person[:-1]
    given, then = product[:-1][same], product[1:][same]
    for first, companion in world.COMPANIONS.items():
        share = (then[given == first] == companion).mean()
        assert share == pytest.approx(world.COMPANION_PROBABILITY, abs=0.12)
        assert share > world.COMPANION_PROBABILITY - 0.05


def test_channels_differ_as_stated(plan):
    channels = {
        name: (plan.people.rate[mine].mean(), plan.people.dropout[mine].mean())
        for k, name in enumerate(world.CHANNELS)
        if (mine := plan.people.channel[: plan.people.buyers] == k).any()
    }
    assert channels["WeChat group"][0] > channels["Douyin"][0] > channels["KOL"][0]
    assert channels["WeChat group"][1] < channels["Douyin"][1] < channels["KOL"][1]


# ------------------------------------------------------------------------------------------------- the shop that ships


def test_the_shipped_shop_is_small_and_plausible(sample):
    truth = json.loads((sample / "truth.json").read_text(encoding="utf-8"))
    assert sum(p.stat().st_size for p in sample.rglob("*")) < 5_000_000
    assert truth["shop"]["customers"] == 3000
    assert truth["shop"]["end"] == "2026-11-15"
    assert len(list(sample.glob("orders-*.csv"))) == 10
    assert {p.suffix for p in sample.iterdir()} == {".csv", ".parquet", ".json", ".lock", ".toml", ".yaml"}
    assert 0.35 <= truth["realised"]["repeat_share"] <= 0.45
    assert 80_000 < truth["realised"]["weekly_gmv"] < 130_000
    assert min(truth["planted"]["script_experiment"]["people"].values()) >= 2000
    weekly = list(truth["realised"]["click_to_cart"].values())
    assert weekly[-1] < 0.12 < min(weekly[:-1])


def test_the_shipped_shop_is_what_its_command_makes(sample, tmp_path):
    truth = json.loads((sample / "truth.json").read_text(encoding="utf-8"))
    again = write_sample(tmp_path, seed=truth["shop"]["seed"])
    assert again == truth
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in sample.iterdir())
    for path in (*sample.glob("*.csv"), *sample.glob("*.plan.*")):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_a_hundred_thousand_customers_take_seconds(tmp_path):
    begin = time.process_time()
    truth = write_sample(tmp_path, customers=100_000, seed=1)
    assert time.process_time() - begin < 20  # about 6 on the machine where this was written
    assert truth["rows"]["events"] > 8_000_000
