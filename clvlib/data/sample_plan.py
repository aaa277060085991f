"""The sample shop put together: who, what and when first, then every table, and the event log week by week."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clvlib.data import sample_service as service
from clvlib.data import sample_traffic as traffic
from clvlib.data import sample_trial as trials
from clvlib.data import sample_world as world
from clvlib.data.sample_files import NEVER, Columns
from clvlib.data.sample_orders import (
    Aftermath,
    Orders,
    Sessions,
    follow_up,
    make_orders,
    make_sessions,
    merge,
)
from clvlib.data.sample_process import People, Season, make_people, make_season, purchase_times
from clvlib.data.sample_world import WEEK

__all__: list[str] = []

Array = npt.NDArray[Any]


@dataclass
class Plan:
    """Everything about a shop but its event log, which is made week by week while it is written."""

    seed: int
    season: Season
    people: People
    sessions: Sessions
    natural: Orders  # by time, as they happen without the script test
    extra: Orders  # won by script B, by time
    orders: Orders  # both, by time
    after: Aftermath
    contacts: Columns
    withheld: int  # orders that did not happen because their customer was held out from the coupon
    drop: float  # factor on one segment's click -> cart in the last week
    trial: trials.Trial
    first_click: Array
    accident: trials.Accident | None
    labels: Any  # customer ids, then ids on the home platform
    by_sign_up: Array

    @classmethod
    def draw(cls, customers: int, weeks: int, seed: int, last: dt.date) -> Plan:
        """Draw people, orders, contacts and experiments."""
        season = make_season(last - dt.timedelta(days=7 * weeks - 1), weeks)
        people = make_people(_stream(seed, 0), season, customers)
        sessions = make_sessions(_stream(seed, 9), season)
        purchases = purchase_times(_stream(seed, 10), season, people)
        wanted = make_orders(_stream(seed, 1), season, people, sessions, purchases)
        _leave(people, wanted)
        rng = _stream(seed, 2)
        contacts, withheld = service.plan_contacts(rng, season, wanted)
        kept = wanted.take(np.flatnonzero(~withheld))
        service.use_coupons(rng, kept, contacts)
        natural = merge(kept)
        drop = traffic.drop_factor(_of_week(natural, weeks - 1)) if weeks > 1 else 1.0
        first_click = _first_clicks(seed, season, people, sessions, natural)
        rng = _stream(seed, 3)
        trial = trials.run_trial(rng, season, first_click, natural.person, natural.when)
        extra = _extra_orders(rng, season, people, sessions, natural, trial)
        orders = merge(natural, extra)
        after = follow_up(_stream(seed, 4), orders, season.seconds)
        accident = trials.plan_accident(_stream(seed, 5), season, orders.when)
        labels, by_sign_up = _labels(people)
        return cls(
            seed, season, people, sessions, natural, extra, orders, after, contacts, int(withheld.sum()), drop, trial,
            first_click, accident, labels, by_sign_up,
        )  # fmt: skip

    def tables(self) -> Iterator[tuple[str, Columns]]:
        """Every table but the events."""
        season, people, sessions, orders = self.season, self.people, self.sessions, self.orders
        after, labels, end = self.after, self.labels, self.season.seconds
        rng = [_stream(self.seed, 6, k) for k in range(10)]
        yield "orders", service.orders_table(sessions, orders, after, labels)
        yield "customers", service.customers_table(rng[0], season, people, labels, self.by_sign_up)
        yield "sessions", service.sessions_table(rng[1], sessions, orders)
        yield "spend", service.spend_table(rng[2], season, people)
        yield "feedback", service.feedback_table(rng[3], sessions, orders, after, end, labels)
        yield "complaints", service.complaints_table(rng[4], orders, after, end, labels)
        yield "assignments", trials.assignments_table(rng[5], self.trial, self.first_click, labels)
        yield "contacts", service.contacts_table(rng[6], season, orders, self.contacts, labels)
        yield "competitors", service.competitors_table(rng[7], season)
        yield "identities", service.identities_table(rng[8], people, labels, self.by_sign_up)
        yield "referrals", service.referrals_table(rng[9], season, people, labels)

    def events(self, week: int) -> Columns:
        """The event log of one week: visits around the natural orders, and around those that script B won."""
        rng = _stream(self.seed, 8, week)
        drop = self.drop if week == self.season.weeks - 1 else 1.0
        failed, chain = _natural_visits(self.seed, self.people, self.sessions, self.natural, week, drop)
        won = _of_week(self.extra, week)
        around = traffic.failed_visits(rng, self.people, self.sessions, won, week, drop)
        won_chain = traffic.paid_visits(rng, self.sessions, won)
        low, high = np.searchsorted(self.orders.when, np.array([week, week + 1]) * WEEK)
        paid, is_won = self.after.paid[low:high], self.orders.won[low:high]
        events = traffic.week_events(
            rng, self.people, self.sessions, (failed, around), (chain, won_chain),
            np.concatenate([paid[~is_won], paid[is_won]]), self.labels,
        )  # fmt: skip
        return trials.break_events(events, self.accident, week)


def _stream(*keys: int) -> np.random.Generator:
    """An independent stream of random numbers for each purpose."""
    return np.random.default_rng(list(keys))


def _leave(people: People, orders: Orders) -> None:
    """When buyers stop to watch: never while they stay, early where boredom was the cause."""
    people.gone[: people.buyers] = np.iinfo(np.int64).max
    last = np.flatnonzero(orders.cause >= 0)
    person, when = orders.person[last], orders.when[last]
    bored = orders.cause[last] == world.CAUSES.index("boredom")
    joined = people.signed_up[person]
    people.gone[person] = np.where(bored, joined + (when - joined) // 2, when)


def _labels(people: People) -> tuple[Any, Array]:
    """Customer ids in the order of sign-up, and platform ids that reveal nothing; and people by sign-up."""
    n = len(people)
    by_sign_up = np.argsort(people.signed_up, kind="stable")
    number = np.empty(n, np.int64)
    number[by_sign_up] = np.arange(1, n + 1)
    width = max(6, len(str(n)))
    own = pc.binary_join_element_wise("C", pc.utf8_lpad(pa.array(number).cast(pa.string()), width, "0"), "")
    digits = pc.utf8_lpad(pa.array((number * 364_136_223 + 1_442_695) % 10**9).cast(pa.string()), 9, "0")
    prefix = pa.array(["dy", "ks", "tb", "jd"]).take(pa.array(people.platform))
    return pa.concat_arrays([own, pc.binary_join_element_wise(prefix, digits, "")]), by_sign_up


def _of_week(orders: Orders, week: int) -> Orders:
    low, high = np.searchsorted(orders.when, np.array([week, week + 1]) * WEEK)
    return orders.take(np.arange(low, high))


def _natural_visits(
    seed: int, people: People, sessions: Sessions, natural: Orders, week: int, drop: float
) -> tuple[traffic.Visits, traffic.Visits]:
    """Visits of a week around the orders that happen without the script test; the same at every call."""
    rng = _stream(seed, 7, week)
    orders = _of_week(natural, week)
    failed = traffic.failed_visits(rng, people, sessions, orders, week, drop)
    return failed, traffic.paid_visits(rng, sessions, orders)


def _first_clicks(seed: int, season: Season, people: People, sessions: Sessions, natural: Orders) -> Array:
    """Everybody's first click in the weeks of the experiments, ``NEVER`` for none."""
    latest = np.iinfo(np.int64).max
    first = np.full(len(people), latest)
    for week in (season.weeks - back for back in world.EXPERIMENT_WEEKS if back <= season.weeks):
        for visits in _natural_visits(seed, people, sessions, natural, week, 1.0):
            clicked = np.flatnonzero((visits.stage > 1) & (visits.person < len(people)))
            np.minimum.at(first, visits.person[clicked], visits.start[clicked] + visits.gaps[clicked, 0])
    first[first == latest] = NEVER
    return first


def _extra_orders(
    rng: np.random.Generator, season: Season, people: People, sessions: Sessions, natural: Orders, trial: trials.Trial
) -> Orders:
    """The orders won by script B, by time."""
    person, when = trial.person[trial.extra], trial.extra_when
    order = np.argsort(when, kind="stable")
    person, when = person[order], when[order]
    before = np.bincount(natural.person, minlength=len(people))[person]
    extra = make_orders(rng, season, people, sessions, (person, when, np.zeros(len(person), bool)), before)
    extra.won[:] = True
    return extra
