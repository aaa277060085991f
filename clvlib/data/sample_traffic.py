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

from clvlib.data import sample_world as world
from clvlib.data.sample_files import Codes, Columns, Ids, Times
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


def step_probabilities(orders: Orders, last_week: int) -> dict[str, Array]:
    """Probability of each step in the visits that surround each order."""
    q = {step: base * world.PLATFORM_STEP[step][orders.platform] for step, base in world.STEP_BASE.items()}
    q["cart"] = q["cart"] * world.CATEGORY_CART[orders.category]
    q["cart"] = q["cart"] * np.where(orders.host >= 0, world.HOST_CART[orders.host], 1.0)
    if last_week:
        drop = world.PLANTED_DROP
        hit = orders.platform == world.PLATFORMS.index(drop["platform"])
        hit &= orders.category == world.CATEGORIES.index(drop["category"])
        hit &= orders.when // WEEK == last_week
        q["cart"] = q["cart"] * np.where(hit, drop["factor"], 1.0)
    return q


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


def failed_visits(
    rng: np.random.Generator, people: People, sessions: Sessions, orders: Orders, week: int, last_week: int
) -> Visits:
    """Visits of one week that ended before the payment, around the orders of that week."""
    q = step_probabilities(orders, last_week)
    reached = np.ones(len(orders), np.int64)
    seeds, stages = [], []
    for stage, step in ((4, "paid"), (3, "order"), (2, "cart"), (1, "click")):
        failed = rng.negative_binomial(reached, q[step])
        reached = reached + failed
        seeds.append(np.repeat(np.arange(len(orders)), failed))
        stages.append(np.full(len(seeds[-1]), stage, np.int8))
    seed, stage = np.concatenate(seeds), np.concatenate(stages)
    n = len(seed)
    session, category = orders.session[seed], orders.category[seed]
    in_session = session >= 0
    room = np.maximum(sessions.end[session] - sessions.start[session] - SLACK, 60)
    aired = sessions.start[session] + (room * rng.random(n)).astype(np.int64)
    around = orders.when[seed] + rng.integers(-10_800, 10_800, n)
    start = np.where(in_session, aired, np.clip(around, week * WEEK, (week + 1) * WEEK - SLACK))
    place = (world.CATEGORY_SIZE[category] * rng.random(n) ** 1.3).astype(np.int16)
    platform = orders.platform[seed]
    person = np.full(n, -1, np.int64)
    buying = np.zeros(len(people), bool)
    buying[orders.person] = True
    for k in range(len(world.PLATFORMS)):
        rows = np.flatnonzero(platform == k)
        if len(rows):
            found = _pool(rng, people, week, buying, k, len(rows))
            person[rows[: len(found)]] = found
    own = rng.random(n) < 0.55
    channel = np.where(own, people.channel[person], choose(rng, world.CHANNEL_RETURNING, n)).astype(np.int16)
    product = (world.FIRST_PRODUCT[category] + place).astype(np.int16)
    visits = Visits(person, start, stage, product, session, platform, channel, visit_gaps(rng, n))
    return visits if (person >= 0).all() else visits.take(np.flatnonzero(person >= 0))


def visit_gaps(rng: np.random.Generator, n: int) -> Array:
    """Seconds from exposure to click, click to cart, cart to order, and to payment, per visit; about 10 minutes."""
    low = np.array([4, 8, 10, 15])
    mean = np.array([70.0, 130.0, 110.0, 90.0])
    most = np.array([500, 600, 500, 400])
    draws = low + rng.standard_exponential((n, 4), dtype=np.float32) * mean
    return np.minimum(draws, most).astype(np.int16)


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


def week_events(
    rng: np.random.Generator, failed: tuple[Visits, ...], chains: tuple[Visits, ...], paid: Array, labels: Any
) -> Columns:
    """The event log of one week's visits, by time.

    ``paid`` is the time of payment of each visit in ``chains``. ``labels`` holds everybody's customer id and then
    everybody's id on their platform, which stands in a few visits without a purchase.
    """
    visits = Visits(
        *(np.concatenate(parts) for parts in zip(*(vars(v).values() for v in failed + chains), strict=True))
    )
    lost = sum(len(part) for part in failed)
    visits.person[:lost] += (len(labels) // 2) * (rng.random(lost) < world.ANONYMOUS_SHARE)
    rows, times, kinds, dwell = [], [], [], []
    at, reach = visits.start, np.arange(len(visits))
    for kind in range(len(world.STEPS)):
        if kind:
            at = at + visits.gaps[:, kind - 1]
        reach = np.flatnonzero(visits.stage > kind)
        rows.append(reach)
        times.append(at[reach])
        kinds.append(np.full(len(reach), kind, np.int8))
        dwell.append(_dwell(rng, kind, visits.stage[reach]))
    times[-1] = paid[reach - lost]  # only orders reach the last step
    row, when, kind_code, dwell_s = (np.concatenate(parts) for parts in (rows, times, kinds, dwell))
    order = np.argsort(when, kind="stable")
    row = row[order]
    return {
        "person_id": labels.take(pa.array(visits.person[row])),
        "occurred_at": Times(when[order]),
        "event": Codes(kind_code[order], world.STEPS),
        "session_id": Ids(visits.session[row], "S", 4),
        "product_id": Ids(visits.product[row] + 1, "P", 3),
        "platform": Codes(visits.platform[row], world.PLATFORMS),
        "channel": Codes(visits.channel[row], world.CHANNELS),
        "dwell_s": pa.array(dwell_s[order], mask=dwell_s[order] < 0),
    }
