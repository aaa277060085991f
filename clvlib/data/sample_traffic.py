"""The sample shop's event log: every paid order is the end of a visit, and draws the visits that ended earlier.

For an order whose visit has step probabilities q, the number of visits that failed at each step before it is negative
binomial, so that among all visits each step succeeds with probability q whatever the mix of platforms, categories,
hosts and weeks. A person makes at most one visit without a purchase a week (unless a platform runs out of people), and
none in a week in which they buy, so that rates by person and by visit agree within a week.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import special

from clvlib.data import sample_world as world
from clvlib.data.sample_files import Codes, Columns, Times
from clvlib.data.sample_orders import Orders, Sessions
from clvlib.data.sample_process import People, choose
from clvlib.data.sample_world import WEEK

__all__: list[str] = []

Array = npt.NDArray[Any]
SLACK = 1800  # seconds that a visit may take from exposure to order


@dataclass
class Visits:
    """Visits; ``stage`` counts the steps taken, 1 for an exposure alone to 5 for a paid order.

    ``gaps`` holds the seconds from each step to the next, whether or not that was taken.
    """

    person: Array
    start: Array
    stage: Array
    product: Array
    session: Array
    platform: Array
    channel: Array
    gaps: Array

    def __len__(self) -> int:
        return len(self.person)

    def take(self, rows: Array) -> Visits:
        """Some of them."""
        return Visits(**{name: values[rows] for name, values in vars(self).items()})


def in_segment(orders: Orders) -> Array:
    """Whether each order is of the platform and category whose click-to-cart rate falls in the last week."""
    platform, category = world.PLATFORMS.index(world.DROP_PLATFORM), world.CATEGORIES.index(world.DROP_CATEGORY)
    found: Array = (orders.platform == platform) & (orders.category == category)
    return found


def step_probabilities(orders: Orders, drop: float) -> dict[str, Array]:
    """Probability of each step in the visits that surround each order; ``drop`` multiplies the segment's carts."""
    q = {step: base * world.PLATFORM_STEP[step][orders.platform] for step, base in world.STEP_BASE.items()}
    q["cart"] = q["cart"] * world.CATEGORY_CART[orders.category]
    q["cart"] = q["cart"] * np.where(orders.host >= 0, world.HOST_CART[orders.host], 1.0)
    q["cart"] = q["cart"] * np.where(in_segment(orders), drop, 1.0)
    return q


def drop_factor(orders: Orders) -> float:
    """Factor on the segment's click -> cart that takes the whole shop to its target in a week with these orders.

    Expected carts c and clicks c / q by order: the segment's clicks have to fill what the target leaves open.
    """
    q = step_probabilities(orders, 1.0)
    carts = 1 / (q["order"] * q["paid"])
    clicks, inside = carts / q["cart"], in_segment(orders)
    room = carts.sum() / world.DROP_TARGET - clicks[~inside].sum()
    factor = clicks[inside].sum() / room if room > 0 else world.DROP_RANGE[1]
    return round(float(np.clip(factor, *world.DROP_RANGE)), 4)


def _pool(rng: np.random.Generator, people: People, week: int, buying: Array, platform: int, n: int) -> Array:
    """``n`` people of a platform for a week, by their activity, none twice while there are enough."""
    on = np.flatnonzero((people.platform == platform) & (people.signed_up < week * WEEK))
    on = on[~buying[on]]
    if not len(on):
        return np.zeros(0, np.int64)
    weight = people.activity[on] * np.where(people.gone[on] < week * WEEK, np.float32(0.1), np.float32(1.0))
    keys = rng.standard_exponential(len(on), dtype=np.float32) / weight
    size = min(n, len(on))
    drawn = on[np.argpartition(keys, size - 1)[:size]]
    return rng.permutation(np.resize(drawn, n))


def _failures(rng: np.random.Generator, orders: Orders, drop: float) -> tuple[Array, Array]:
    """For each failed visit, the order around which it is drawn and the steps that it took."""
    q = step_probabilities(orders, drop)
    reached = np.ones(len(orders), np.int64)
    seeds, stages = [], []
    for steps, missed in ((4, "paid"), (3, "order"), (2, "cart"), (1, "click")):
        failed = rng.negative_binomial(reached, q[missed])
        reached = reached + failed
        seeds.append(np.repeat(np.arange(len(orders)), failed))
        stages.append(np.full(len(seeds[-1]), steps, np.int8))
    return np.concatenate(seeds), np.concatenate(stages)


def _visitors(rng: np.random.Generator, people: People, week: int, buyers: Array, platform: Array) -> Array:
    """A person for each visit on a platform, -1 where the platform has nobody yet."""
    buying = np.zeros(len(people), bool)
    buying[buyers] = True
    person = np.full(len(platform), -1, np.int64)
    for k in range(len(world.PLATFORMS)):
        rows = np.flatnonzero(platform == k)
        if len(rows):
            found = _pool(rng, people, week, buying, k, len(rows))
            person[rows[: len(found)]] = found
    return person


def failed_visits(
    rng: np.random.Generator, people: People, sessions: Sessions, orders: Orders, week: int, drop: float
) -> Visits:
    """Visits of one week that ended before the payment, around the orders of that week.

    A person's number plus the number of people stands for the same person under the id of their platform.
    """
    seed, stage = _failures(rng, orders, drop)
    n = len(seed)
    session, category, platform = orders.session[seed], orders.category[seed], orders.platform[seed]
    room = np.maximum(sessions.end[session] - sessions.start[session] - SLACK, 60)
    aired = sessions.start[session] + (room * rng.random(n)).astype(np.int64)
    around = orders.when[seed] + rng.integers(-10_800, 10_800, n)
    start = np.where(session >= 0, aired, np.clip(around, week * WEEK, (week + 1) * WEEK - SLACK))
    place = (world.CATEGORY_SIZE[category] * rng.random(n) ** 1.3).astype(np.int16)
    product = (world.FIRST_PRODUCT[category] + place).astype(np.int16)
    person = _visitors(rng, people, week, orders.person, platform)
    own = rng.random(n) < 0.55
    channel = np.where(own, people.channel[person], choose(rng, world.CHANNEL_RETURNING, n)).astype(np.int16)
    somebody = np.flatnonzero(person >= 0)
    person[rng.random(n) < world.ANONYMOUS_SHARE] += len(people)
    visits = Visits(person, start, stage, product, session, platform, channel, visit_gaps(rng, n))
    return visits if len(somebody) == n else visits.take(somebody)


def visit_gaps(rng: np.random.Generator, n: int) -> Array:
    """Seconds from exposure to click, click to cart, cart to order, and to payment, per visit; about 10 minutes."""
    low = np.array([4, 8, 10, 15])
    mean = np.array([70.0, 130.0, 110.0, 90.0])
    most = np.array([500, 600, 500, 400])
    draws = low + rng.standard_exponential((n, 4), dtype=np.float32) * mean
    gaps: Array = np.minimum(draws, most).astype(np.int16)
    return gaps


def _dwell(rng: np.random.Generator, kind: int, stage: Array) -> Array:
    """Seconds in the room (exposures) or on the page (clicks), heavy-tailed, longer where a cart follows."""
    if kind > 1:
        return np.full(len(stage), -1, np.int32)
    mean, sigma = ((5.1, 1.15), (3.2, 0.8))[kind]
    log = mean + 0.45 * (stage >= 3) + sigma * rng.standard_normal(len(stage), dtype=np.float32)
    return np.minimum(np.ceil(np.exp(log)), 14_400).astype(np.int32)


def paid_visits(rng: np.random.Generator, sessions: Sessions, orders: Orders) -> Visits:
    """The visits that ended in an order, with gaps squeezed where the session began only shortly before."""
    gaps = visit_gaps(rng, len(orders))
    total = gaps[:, :3].sum(axis=1)
    begun = np.where(orders.session >= 0, sessions.start[orders.session], 0)
    squeeze = np.minimum(1.0, (orders.when - begun) / (total + 1))
    gaps[:, :3] = np.maximum(gaps[:, :3] * squeeze[:, None], 1)
    start = orders.when - gaps[:, :3].sum(axis=1)
    stage = np.full(len(orders), 5, np.int8)
    return Visits(orders.person, start, stage, orders.product, orders.session, orders.platform, orders.channel, gaps)


def _by_time(when: Array) -> Array:
    """Sort order by time, ties by row: a sort of packed values is several times faster than ``argsort``."""
    low = when.min(initial=0)
    packed = (when - low) * (1 << 40) + np.arange(len(when)) if len(when) else np.zeros(0, np.int64)
    packed.sort()
    return packed & ((1 << 40) - 1)


def _beside(
    rng: np.random.Generator, people: People, sessions: Sessions, visits: Visits, lost: int
) -> tuple[Array, Array, Array]:
    """Interactions on air and reservations before: row of the visit, time and kind of each."""
    paid = np.arange(len(visits)) >= lost
    spend = people.spend_rate[visits.person[lost:]] * world.GAMMA_GAMMA["gamma"]
    joins = np.full(len(visits), world.INTERACTION["failed"])
    joins[lost:] = world.INTERACTION["paid"]
    joins[lost:] += world.INTERACTION["paid_by_spend"] * special.gammaincc(world.GAMMA_GAMMA["q"], spend)
    on_air = visits.session >= 0
    talk = np.flatnonzero(on_air & (rng.random(len(visits)) < joins))
    talk_at = visits.start[talk] + (visits.gaps[talk, 0] * rng.random(len(talk))).astype(np.int64)
    talk_kind = len(world.STEPS) + choose(rng, world.INTERACTION_SHARE, len(talk))
    share = np.where(paid, world.RESERVE["paid"], world.RESERVE["failed"])
    book = np.flatnonzero(on_air & (rng.random(len(visits)) < share))
    book_at = sessions.start[visits.session[book]] - rng.integers(1800, 4 * 3600, len(book))
    known = people.signed_up[visits.person[book] % len(people)] < book_at
    book, book_at = book[known], book_at[known]
    kinds = np.concatenate([talk_kind, np.full(len(book), len(world.EVENTS) - 1)])
    return np.concatenate([talk, book]), np.concatenate([talk_at, book_at]), kinds.astype(np.int8)


def week_events(
    rng: np.random.Generator,
    people: People,
    sessions: Sessions,
    failed: tuple[Visits, ...],
    chains: tuple[Visits, ...],
    paid: Array,
    labels: Any,
) -> Columns:
    """The event log of one week's visits, by time.

    ``paid`` is the time of payment of each visit in ``chains``. ``labels`` holds everybody's customer id and then
    everybody's id on their platform, which stands in a few visits without a purchase.
    """
    visits = Visits(
        *(np.concatenate(parts) for parts in zip(*(vars(v).values() for v in failed + chains), strict=True))
    )
    lost = sum(len(part) for part in failed)
    beside, beside_at, beside_kind = _beside(rng, people, sessions, visits, lost)
    rows, times, kinds, dwell = [beside], [beside_at], [beside_kind], [np.full(len(beside), -1, np.int32)]
    at = visits.start
    for kind in range(len(world.STEPS)):
        if kind:
            at = at + visits.gaps[:, kind - 1]
        reach = np.flatnonzero(visits.stage > kind)
        rows.append(reach)
        times.append(at[reach])
        kinds.append(np.full(len(reach), kind, np.int8))
        dwell.append(_dwell(rng, kind, visits.stage[reach]))
    times[-1] = paid[rows[-1] - lost]  # only orders reach the last step
    when = np.concatenate(times)
    order = _by_time(when)
    row, dwell_s = np.concatenate(rows)[order], np.concatenate(dwell)[order]
    return {
        "person_id": labels.take(pa.array(visits.person[row])),
        "occurred_at": Times(when[order]),
        "event": Codes(np.concatenate(kinds)[order], world.EVENTS),
        "session_id": Codes(visits.session[row], sessions.labels),
        "product_id": Codes(visits.product[row], world.PRODUCTS),
        "platform": Codes(visits.platform[row], world.PLATFORMS),
        "channel": Codes(visits.channel[row], world.CHANNELS),
        "dwell_s": pa.array(dwell_s, mask=dwell_s < 0),
    }
