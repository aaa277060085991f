"""What the sample shop's orders are: live sessions, what was bought where and for how much, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from clvlib.data import sample_world as world
from clvlib.data.sample_files import NEVER
from clvlib.data.sample_process import People, Season, choose
from clvlib.data.sample_world import DAY

__all__: list[str] = []

Array = npt.NDArray[Any]
SLOTS = 2  # evening, and midday on Saturdays and Sundays


@dataclass(frozen=True)
class Sessions:
    """Live sessions; ``number[day, platform, slot]`` finds them, -1 where there is none."""

    number: Array
    start: Array
    end: Array
    platform: Array
    host: Array
    script: Array
    topic: Array
    labels: list[str]

    def at(self, seconds: Array, platform: Array) -> Array:
        """Session that is on air for each (time, platform), a minute after its start at the earliest; -1 for none."""
        found = np.full(len(seconds), -1, np.int32)
        for slot in range(SLOTS):
            candidate = self.number[seconds // DAY, platform, slot]
            on_air = (self.start[candidate] + 60 <= seconds) & (seconds < self.end[candidate]) & (candidate >= 0)
            found[on_air] = candidate[on_air]
        return found


def make_sessions(rng: np.random.Generator, season: Season) -> Sessions:
    """Every platform streams every evening, and at midday on Saturdays and Sundays."""
    days, platforms = 7 * season.weeks, len(world.PLATFORMS)
    number = np.full((days, platforms, SLOTS), -1, np.int32)
    day, platform, slot = np.meshgrid(np.arange(days), np.arange(platforms), np.arange(SLOTS), indexing="ij")
    held = (slot == 0) | (day % 7 >= 5)
    number[held] = np.arange(held.sum())
    day, platform, slot = day[held], platform[held], slot[held]
    n = len(day)
    evening = slot == 0
    start = day * DAY + np.where(evening, 70_200, 42_300) + 300 * rng.integers(-3, 7, n)
    length = np.where(evening, rng.integers(38, 50, n), rng.integers(20, 31, n)) * 300
    end = np.minimum(start + length, (day + 1) * DAY - 900)
    # Eight hosts over four simultaneous streams: each evening four of them, at midday the other four
    ranked = np.argsort(rng.random((days, len(world.HOSTS))), axis=1)
    host = ranked[day, platform + slot * platforms]
    script = choose(rng, np.array([0.4, 0.25, 0.2, 0.15]), n)
    topic = choose(rng, world.PERSONA_SHARE @ world.PERSONA_CATEGORY, n)
    return Sessions(number, start, end, platform, host.astype(np.int16), script, topic, [f"S{k:04d}" for k in range(n)])


@dataclass
class Orders:
    """Orders, one array per attribute, in order of person and time until :func:`merge` orders them by time."""

    person: Array
    when: Array
    cause: Array  # why the customer left after this order, -1 where nobody left
    rank: Array  # 0 for the first order
    cents: Array
    platform: Array
    channel: Array
    product: Array
    session: Array
    host: Array  # -1 off air
    quantity: Array
    list_price: Array
    discount: Array
    coupon: Array
    won: Array  # by script B of the experiment

    def __len__(self) -> int:
        return len(self.person)

    @property
    def category(self) -> Array:
        """Category of each product."""
        return world.PRODUCT_CATEGORY[self.product]

    def take(self, rows: Array) -> Orders:
        """Some of the orders."""
        return Orders(**{name: values[rows] for name, values in vars(self).items()})


def merge(*parts: Orders) -> Orders:
    """All orders by time."""
    joined = {name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])}
    return Orders(**joined).take(np.lexsort((joined["person"], joined["when"])))


def first_of_person(person: Array) -> Array:
    """Row of each person's first order, repeated; rows are sorted by person."""
    starts = np.r_[True, person[1:] != person[:-1]] if len(person) else np.zeros(0, bool)
    return np.maximum.accumulate(np.where(starts, np.arange(len(person)), 0))


def _products(rng: np.random.Generator, people: People, person: Array, cents: Array, rank: Array) -> Array:
    """Free choices by persona, dearer products for larger sums, and companions of the product bought before."""
    category = choose(rng, world.PERSONA_CATEGORY, people.persona[person])
    level = np.argsort(np.argsort(cents)) / max(len(cents), 1) + rng.normal(0, 0.35, len(cents))
    place = np.floor((level - np.floor(level)) * world.CATEGORY_SIZE[category]).astype(np.int16)
    product: Array = (world.FIRST_PRODUCT[category] + place).astype(np.int16)
    companion = np.full(len(world.PRODUCT_CATEGORY), -1, np.int16)
    companion[list(world.COMPANIONS)] = list(world.COMPANIONS.values())
    again = np.r_[False, person[1:] == person[:-1]][: len(person)]
    follows = np.flatnonzero(again & (rng.random(len(rank)) < world.COMPANION_PROBABILITY))
    follows = follows[np.argsort(rank[follows], kind="stable")]
    bounds = np.searchsorted(rank[follows], np.arange(1, rank.max(initial=0) + 2))
    for start, stop in pairwise(bounds):  # second orders, third orders, ...
        rows = follows[start:stop]
        given = companion[product[rows - 1]]
        product[rows] = np.where(given >= 0, given, product[rows])
    return product


def _coupons(rng: np.random.Generator, persona: Array, rank: Array, when: Array, season: Season) -> Array:
    """Ordinary coupons: for newcomers, for fans, and on the two large sales days."""
    coupon = np.full(len(rank), -1, np.int8)
    uses = rng.random(len(rank)) < world.PERSONA_COUPON[persona]
    coupon[uses] = np.where(rank[uses] == 0, 0, np.where(rng.random(uses.sum()) < 0.2, 2, 3))
    days = when // DAY
    for name, code in (("Double 11", 4), ("618", 5)):
        first, last, _ = world.HOLIDAY_FACTOR[name]
        dates = season.start_day + np.arange(season.weeks * 7) * np.timedelta64(1, "D")
        on_sale = np.array([first <= (d.month, d.day) <= last for d in dates.astype(object)])
        coupon[on_sale[days] & (rng.random(len(rank)) < 0.7)] = code
    return coupon


def make_orders(
    rng: np.random.Generator,
    season: Season,
    people: People,
    sessions: Sessions,
    purchases: tuple[Array, Array, Array],
    rank: Array | None = None,
) -> Orders:
    """Everything about orders but their delivery.

    ``purchases`` are person, time and whether the person left, by person and time; ``rank`` is how many orders each
    one follows, counted from the rows when absent.
    """
    person, when, left = purchases
    n = len(person)
    rank = np.arange(n) - first_of_person(person) if rank is None else rank
    cents = rng.gamma(world.GAMMA_GAMMA["p"], 1.0, n) / people.spend_rate[person] * 100
    cents = np.maximum(np.round(cents), 100).astype(np.int64)
    away = rng.random(n) >= world.HOME_PLATFORM_SHARE
    platform = np.where(away, rng.integers(0, len(world.PLATFORMS), n), people.platform[person])
    returning = (rank > 0) & (rng.random(n) < 0.5)
    channel = np.where(returning, choose(rng, world.CHANNEL_RETURNING, n), people.channel[person])
    product = _products(rng, people, person, cents, rank)
    cause = np.where(left, choose(rng, world.CAUSE_SHARE, n), -1).astype(np.int8)
    coupon = _coupons(rng, people.persona[person], rank, when, season)
    coupon[cause == world.CAUSES.index("price")] = -1
    session = sessions.at(when, platform)
    quantity = 1 + (rng.random(n) < 0.18) + (rng.random(n) < 0.04)
    share = np.where(coupon >= 0, rng.uniform(0.08, 0.22, n), 0.0)
    list_price = np.round(cents / (1 - share) / quantity).astype(np.int64)
    discount = np.where(coupon >= 0, np.maximum(list_price * quantity - cents, 1), 0)
    host = np.where(session >= 0, sessions.host[session], -1)
    return Orders(
        person, when, cause, rank, cents, platform.astype(np.int8), channel.astype(np.int16), product, session,
        host.astype(np.int16), quantity.astype(np.int8), list_price, discount, coupon, np.zeros(n, bool),
    )  # fmt: skip


@dataclass
class Aftermath:
    """What became of each order; ``NEVER`` for what has not happened by the end of the data."""

    paid: Array
    shipped: Array
    received: Array
    returned: Array
    reason: Array
    refunded_cents: Array
    late: Array


def _known(seconds: Array, end: int) -> Array:
    return np.where(seconds < end, seconds, NEVER)


def follow_up(rng: np.random.Generator, orders: Orders, end: int) -> Aftermath:
    """Payment, delivery, returns and refunds, and the cause for leaving, which shows in them."""
    n = len(orders)
    paid = np.minimum(orders.when + rng.integers(15, 500, n), end - 1)
    late = (orders.cause == world.CAUSES.index("late delivery")) | (rng.random(n) < world.LATE_BASE)
    shipped = paid + (3600 * rng.lognormal(np.log(17), 0.45, n)).astype(np.int64)
    shipped += np.where(late, rng.integers(2 * DAY, 5 * DAY, n), 0)
    received = shipped + (DAY * rng.lognormal(np.log(2.3), 0.3, n)).astype(np.int64)
    received += np.where(late, rng.integers(2 * DAY, 6 * DAY, n), 0)
    factor = np.where(orders.host >= 0, world.HOST_REFUND[orders.host], 1.0)
    u = rng.random(n)
    full = world.CATEGORY_RETURN[orders.category] * factor
    comes_back = u < full
    partial = ~comes_back & (u < full + world.CATEGORY_PARTIAL[orders.category])
    returned = np.where(comes_back, received + rng.integers(DAY, 8 * DAY, n), NEVER)
    settled = np.where(partial, received + rng.integers(DAY // 2, 5 * DAY, n), returned)
    share = np.where(comes_back, 1.0, rng.uniform(0.1, 0.5, n))
    refunded = np.where((settled != NEVER) & (settled < end), np.round(orders.cents * share), 0).astype(np.int64)
    reason = np.where(late & (rng.random(n) < 0.5), 3, choose(rng, world.REASON_SHARE, n))
    known_return = _known(returned, end)
    return Aftermath(
        paid, _known(shipped, end), _known(received, end), known_return,
        np.where(known_return != NEVER, reason, -1).astype(np.int8), refunded, late,
    )  # fmt: skip
