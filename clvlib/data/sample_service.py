"""The sample shop's other tables: people, contacts, feedback, complaints, referrals, spend, competitors, identities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clvlib.data import sample_words as words
from clvlib.data import sample_world as world
from clvlib.data.sample_files import NEVER, Codes, Columns, Ids, Money, Times
from clvlib.data.sample_orders import Aftermath, Orders, Sessions
from clvlib.data.sample_process import People, Season, choose
from clvlib.data.sample_world import DAY

__all__: list[str] = []

Array = npt.NDArray[Any]


def customers_table(rng: np.random.Generator, season: Season, people: People, labels: Any, order: Array) -> Columns:
    """Everybody with their attributes, by sign-up; attributes follow the persona."""
    n = len(people)
    tier_of_city = np.array([c[2] for c in world.CITIES])
    city_weight = np.array([c[3] for c in world.CITIES]) * world.PERSONA_TIER[:, tier_of_city]
    city = choose(rng, city_weight, people.persona)
    tier = tier_of_city[city]
    age = world.PERSONA_AGE[people.persona, 0] + world.PERSONA_AGE[people.persona, 1] * rng.standard_normal(n)
    birth = season.start.year - np.clip(np.round(age), 18, 75).astype(np.int32)
    unknown = rng.random((3, n)) < world.UNKNOWN_SHARE
    gender = np.where(rng.random(n) < world.PERSONA_FEMALE[people.persona], 0, 1)
    gender[unknown[0]] = -1
    income = choose(rng, world.TIER_INCOME, tier)
    income[unknown[1]] = -1
    interests, interest = _interests(rng, people.persona)
    regions = sorted({c[1] for c in world.CITIES})
    region = np.array([regions.index(c[1]) for c in world.CITIES])[city]
    columns: Columns = {
        "signed_up_at": Times(people.signed_up[order]),
        "gender": Codes(gender[order], world.GENDERS),
        "birth_year": pa.array(birth[order], mask=unknown[2][order]),
        "region": Codes(region[order], regions),
        "city": Codes(city[order], tuple(c[0] for c in world.CITIES)),
        "city_tier": Codes(tier[order], world.CITY_TIERS),
        "income_band": Codes(income[order], world.INCOME_BANDS),
        "channel": Codes(people.channel[order], world.CHANNELS),
        "interests": Codes(interest[order], interests),
    }
    return {"customer_id": labels.take(pa.array(order)), **columns}


def _interests(rng: np.random.Generator, persona: Array) -> tuple[list[str], Array]:
    """Two categories each, the persona's own more often."""
    size = len(world.CATEGORIES)
    first = choose(rng, world.PERSONA_CATEGORY + 0.02, persona)
    second = (first + 1 + rng.integers(0, size - 1, len(persona))) % size
    labels = [f"{a}|{b}" for a in world.CATEGORIES for b in world.CATEGORIES]
    return labels, first * size + second


def plan_contacts(rng: np.random.Generator, season: Season, orders: Orders) -> tuple[Columns, Array]:
    """Thank-you or coupon after orders, no person twice within a week, and the orders that a hold-out costs.

    Orders are sorted by person and time. Returns the contacts and a mask of orders that never come to be, because
    their customer was held out from the coupon: the true effect of the coupon.
    """
    first = orders.rank == 0
    gap = np.diff(orders.when, prepend=0)
    eligible = first | (gap > 7 * DAY)
    coupon = eligible & (~first | (rng.random(len(orders)) < 0.5))
    sent = orders.when + np.where(coupon, world.COUPON_DELAY_H * 3600, rng.integers(2 * 3600, 24 * 3600, len(orders)))
    share = np.where(coupon, world.COUPON_HOLDOUT, world.OTHER_HOLDOUT)
    holdout = rng.random(len(orders)) < share
    costs = coupon & holdout & (rng.random(len(orders)) < world.COUPON_EFFECT)
    lost = np.zeros(len(orders), bool)
    source = np.flatnonzero(costs)
    until = sent + world.COUPON_WINDOW_DAYS * DAY
    lag = 1
    while len(source):
        source = source[source + lag < len(orders)]
        later = source + lag
        near = (orders.person[later] == orders.person[source]) & (orders.when[later] <= until[source])
        source, later = source[near], later[near]
        lost[later[orders.when[later] > sent[source]]] = True
        lag += 1
    rows = np.flatnonzero(eligible & ~lost & (sent < season.seconds))
    return {
        "person": orders.person[rows],
        "sent": sent[rows],
        "action": np.where(coupon[rows], 1, 0),
        "holdout": holdout[rows],
    }, lost


def use_coupons(rng: np.random.Generator, orders: Orders, contacts: Columns) -> None:
    """Write C48H on most orders that follow a coupon by at most a fortnight; orders by person and time."""
    sent_ones = (contacts["action"] == 1) & ~contacts["holdout"]
    person, sent = contacts["person"][sent_ones], contacts["sent"][sent_ones]
    span = 4 * 10**9
    keys = np.sort(person * span + sent)
    mine = orders.person.astype(np.int64) * span + orders.when
    last = np.searchsorted(keys, mine) - 1
    since = mine - keys[np.maximum(last, 0)] if len(keys) else np.full(len(mine), -1)
    near = (last >= 0) & (since >= 0) & (since <= world.COUPON_WINDOW_DAYS * DAY)
    used = near & (rng.random(len(orders)) < 0.6) & (orders.cause != world.CAUSES.index("price"))
    orders.coupon[used] = 1
    missing = used & (orders.discount == 0)
    per_piece = np.round(orders.cents / 0.9 / orders.quantity).astype(np.int64)
    orders.list_price[missing] = per_piece[missing]
    orders.discount[missing] = np.maximum(per_piece * orders.quantity - orders.cents, 0)[missing]


ACTIONS = ("thank_you_24h", "coupon_48h", "sleeping_message", "win_back")
CONTACT_CHANNELS = ("app push", "SMS", "WeChat", "phone")
CONTACT_CENTS = np.array([1, 5, 0, 150])


def contacts_table(rng: np.random.Generator, season: Season, orders: Orders, planned: Columns, labels: Any) -> Columns:
    """The planned contacts, and messages to sleepers twice a month, by time. Messages to sleepers have no effect."""
    person, sent, action = [planned["person"]], [planned["sent"]], [planned["action"]]
    holdout = [planned["holdout"]]
    by_time = np.argsort(orders.when, kind="stable")
    last = np.full(orders.person.max(initial=0) + 1, NEVER)
    done = 0
    for day in range(7 * season.weeks):
        date = season.start + np.timedelta64(day, "D").astype(object)
        if date.day not in (5, 20):
            continue
        now = day * DAY + 10 * 3600
        stop = int(np.searchsorted(orders.when[by_time], now))
        rows = by_time[done:stop]
        last[orders.person[rows]] = orders.when[rows]
        done = stop
        sleeping = np.flatnonzero((last != NEVER) & (last < now - 45 * DAY))
        chosen = sleeping[rng.random(len(sleeping)) < 0.12]
        person.append(chosen)
        sent.append(now + rng.integers(0, 7200, len(chosen)))
        action.append(np.where(now - last[chosen] > 90 * DAY, 3, 2))
        holdout.append(rng.random(len(chosen)) < world.OTHER_HOLDOUT)
    who, when, what, held = (np.concatenate(parts) for parts in (person, sent, action, holdout))
    channel = choose(rng, np.array([[5, 1, 4, 0], [6, 2, 2, 0], [4, 4, 2, 0], [2, 4, 2, 2]]) + 1e-9, what)
    order = np.lexsort((who, when))
    return {
        "customer_id": labels.take(pa.array(who[order])),
        "sent_at": Times(when[order]),
        "action": Codes(what[order], ACTIONS),
        "channel": Codes(channel[order], CONTACT_CHANNELS),
        "is_holdout": held[order],
        "cost": Money(np.where(held, 0, CONTACT_CENTS[channel])[order]),
    }


def complaints_table(rng: np.random.Generator, orders: Orders, after: Aftermath, end: int, labels: Any) -> Columns:
    """Complaints after orders; where one went unanswered and the customer left, that was the cause."""
    cause = orders.cause == world.CAUSES.index("unanswered complaint")
    complains = cause | (rng.random(len(orders)) < world.COMPLAINT_BASE + 0.12 * after.late)
    base = np.where(after.received != NEVER, after.received, orders.when)
    opened = base + (3600 * rng.lognormal(np.log(9), 0.8, len(orders))).astype(np.int64)
    rows = np.flatnonzero(complains & (opened < end))
    rows = rows[np.argsort(opened[rows], kind="stable")]
    n = len(rows)
    ignored = cause[rows] | (rng.random(n) < world.UNANSWERED_BASE)
    answered = opened[rows] + (60 * rng.lognormal(np.log(9), 0.75, n)).astype(np.int64)
    solved = answered + (60 * rng.lognormal(np.log(15), 0.9, n)).astype(np.int64)
    solved += np.where(rng.random(n) < 0.06, rng.integers(7200, 2 * DAY, n), 0)
    answered = np.where(ignored | (answered >= end), NEVER, answered)
    topic = np.where(after.late[rows] & (rng.random(n) < 0.7), 0, choose(rng, np.array([1, 4, 2, 2, 2.0]), n))
    severity = choose(rng, np.array([[5, 4, 1], [3, 4, 2], [4, 4, 1], [6, 3, 1], [4, 4, 2.0]]), topic)
    return {
        "complaint_id": Ids(np.arange(1, n + 1), "K", 5),
        "opened_at": Times(opened[rows]),
        "customer_id": labels.take(pa.array(orders.person[rows])),
        "first_response_at": Times(answered),
        "resolved_at": Times(np.where((answered == NEVER) | (solved >= end), NEVER, solved)),
        "severity": Codes(severity, world.SEVERITIES),
        "topic": Codes(topic, world.COMPLAINT_TOPICS),
    }


def feedback_table(
    rng: np.random.Generator, sessions: Sessions, orders: Orders, after: Aftermath, end: int, labels: Any
) -> Columns:
    """Ratings and comments on some of the delivered orders; bad experiences speak up more often."""
    bad = after.late | (after.returned != NEVER) | (orders.cause >= 0)
    writes = rng.random(len(orders)) < np.where(bad, 0.30, 0.16)
    wrote = np.where(after.received != NEVER, after.received, end) + rng.integers(3600, 4 * DAY, len(orders))
    rows = np.flatnonzero(writes & (wrote < end))
    rows = rows[np.argsort(wrote[rows], kind="stable")]
    n = len(rows)
    negative = 0.07 + 0.45 * after.late[rows] + 0.5 * (after.returned[rows] != NEVER)
    negative = np.where(orders.cause[rows] >= 0, np.maximum(negative, 0.6), negative) - 0.02 * (orders.rank[rows] > 0)
    u = rng.random(n)
    mood = np.where(u < negative, 2, np.where(u < negative + 0.12 * (1 - negative), 1, 0))
    rating = np.choose(mood, [4 + (rng.random(n) < 0.7), np.full(n, 3), 1 + (rng.random(n) < 0.45)])
    topic = choose(rng, np.array([45, 15, 15, 10, 15.0]), n)
    sour = mood == 2
    speaks = rng.random(n) < 0.75
    topic = np.where(sour & speaks & after.late[rows], 1, topic)
    topic = np.where(sour & speaks & (orders.cause[rows] == 1), 3, topic)
    topic = np.where(sour & speaks & (orders.cause[rows] == 2), 2, topic)
    text, comment = _comments(rng, topic, mood)
    labelled = rng.random(n) < 0.4
    return {
        "customer_id": labels.take(pa.array(orders.person[rows])),
        "created_at": Times(wrote[rows]),
        "rating": rating.astype(np.int8),
        "comment": Codes(comment, text),
        "topic": Codes(topic, words.TOPICS),
        "session_id": Codes(orders.session[rows], sessions.labels),
        "label": Codes(np.where(labelled, mood, -1), words.MOODS),
    }


def _comments(rng: np.random.Generator, topic: Array, mood: Array) -> tuple[list[str], Array]:
    """Codes of comments that fit; a tenth of the ratings come without one, a few name private data."""
    text: list[str] = []
    sizes, firsts = np.zeros((2, len(words.TOPICS), len(words.MOODS)), np.int64)
    for t, name in enumerate(words.TOPICS):
        for m, feeling in enumerate(words.MOODS):
            lines = words.comments(name, feeling)
            firsts[t, m], sizes[t, m] = len(text), len(lines)
            text += lines
    code = firsts[topic, mood] + (sizes[topic, mood] * rng.random(len(topic))).astype(np.int64)
    private = (rng.random(len(topic)) < 0.01) & (mood == 2)
    code = np.where(private, len(text) + rng.integers(0, len(words.PRIVATE), len(topic)), code)
    text += words.PRIVATE
    return text, np.where(rng.random(len(topic)) < 0.1, -1, code)


def referrals_table(rng: np.random.Generator, season: Season, people: People, labels: Any) -> Columns:
    """Invitations: one accepted for each referred customer, and those that led nowhere."""
    referred = np.flatnonzero(people.channel[: people.buyers] == world.REFERRAL)
    kol = rng.random(people.buyers) < world.KOL_SHARE
    weight = np.cumsum(np.where(kol, world.KOL_WEIGHT, 1.0))
    signed_up = people.signed_up[referred]
    # Buyers are in the order of their first orders: only those who had bought before the sign-up can invite.
    before = np.maximum(np.searchsorted(people.first, signed_up), 1)
    referrer = np.searchsorted(weight, rng.random(len(referred)) * weight[before - 1], side="right")
    known = people.first[referrer] < signed_up
    earliest = np.where(known, people.first[referrer], signed_up - DAY)
    sent = signed_up - np.minimum(rng.exponential(3 * DAY, len(referred)).astype(np.int64) + 60, signed_up - earliest)
    accepted = np.minimum(sent + ((signed_up - sent) * rng.random(len(referred))).astype(np.int64), signed_up)
    refused = rng.negative_binomial(1, world.ACCEPTANCE, len(referred))
    by = np.repeat(referrer, refused)
    start = np.repeat(sent, refused)
    when = start + (rng.random(len(by)) * np.minimum(season.seconds - start, 30 * DAY)).astype(np.int64)
    who = np.concatenate([referrer, by])
    sent_all = np.concatenate([sent, when])
    guest = np.concatenate([referred, np.full(len(by), -1)])
    taken = np.concatenate([accepted, np.full(len(by), NEVER)])
    order = np.lexsort((who, sent_all))
    ways = ("WeChat", "Douyin message", "Xiaohongshu note", "poster QR")
    return {
        "referrer_id": labels.take(pa.array(who[order])),
        "sent_at": Times(sent_all[order]),
        "customer_id": labels.take(pa.array(guest[order], mask=guest[order] < 0)),
        "accepted_at": Times(taken[order]),
        "channel": Codes(choose(rng, np.array([6, 2, 1, 1.0]), len(order)), ways),
        "is_kol": kol[who[order]],
    }


def spend_table(rng: np.random.Generator, season: Season, people: People) -> Columns:
    """Daily cost by channel: the true cost of a new customer times the number expected that day, with noise."""
    days, channels = 7 * season.weeks, len(world.CHANNELS)
    growth = 1 + world.LAUNCH["burst"] * np.exp(-np.arange(days) / 7 / world.LAUNCH["decay_weeks"])
    daily = growth * season.daily
    daily /= daily.sum()
    new = np.bincount(people.channel[: people.buyers], minlength=channels)
    day, channel = (a.ravel() for a in np.meshgrid(np.arange(days), np.arange(channels), indexing="ij"))
    cost = new[channel] * daily[day] * world.CHANNEL_CAC[channel] * rng.lognormal(-0.02, 0.2, len(day))
    cents = np.round(100 * cost).astype(np.int64)
    impressions = np.round(cents / 100 / world.CHANNEL_CPM[channel] * 1000).astype(np.int64)
    clicks = rng.binomial(impressions, world.CHANNEL_CTR[channel])
    own = np.where(channel < len(world.PLATFORMS), channel, -1)
    return {
        "channel": Codes(channel, world.CHANNELS),
        "date": season.start_day + day.astype("timedelta64[D]"),
        "cost": Money(cents),
        "platform": Codes(own, world.PLATFORMS),
        "impressions": impressions,
        "clicks": clicks,
    }


def competitors_table(rng: np.random.Generator, season: Season) -> Columns:
    """Promotions of five competitors, about one each in three weeks; they move nothing in this shop."""
    n = max(len(world.COMPETITORS) * season.weeks // 3, 1)
    start = np.sort(rng.integers(0, season.weeks * 7, n)) * DAY + 3600 * rng.integers(10, 21, n)
    return {
        "brand": Codes(rng.integers(0, len(world.COMPETITORS), n), world.COMPETITORS),
        "started_at": Times(start),
        "ended_at": Times(start + 3600 * rng.integers(3, 72, n)),
        "platform": Codes(rng.integers(0, len(world.PLATFORMS), n), world.PLATFORMS),
        "promotion": Codes(rng.integers(0, len(world.PROMOTIONS), n), world.PROMOTIONS),
        "strength": np.round(rng.uniform(0.05, 0.5, n), 2),
        "traffic_source": Codes(rng.integers(0, len(world.TRAFFIC_SOURCES), n), world.TRAFFIC_SOURCES),
    }


def identities_table(rng: np.random.Generator, people: People, labels: Any, order: Array) -> Columns:
    """Ids of the home platform for most people; the others cannot be resolved."""
    known = order[rng.random(len(order)) < world.ANONYMOUS_RESOLVED]
    return {
        "source": Codes(people.platform[known], world.PLATFORMS),
        "source_id": labels.take(pa.array(known + len(people))),
        "customer_id": labels.take(pa.array(known)),
    }


def sessions_table(rng: np.random.Generator, sessions: Sessions, orders: Orders) -> Columns:
    """Live sessions, with a target near the mean takings of the platform's sessions."""
    n = len(sessions.start)
    aired = orders.session >= 0
    taken = np.bincount(orders.platform[aired], weights=orders.cents[aired], minlength=len(world.PLATFORMS))
    held = np.maximum(np.bincount(sessions.platform, minlength=len(world.PLATFORMS)), 1)
    target = (taken / held)[sessions.platform] * rng.choice([0.8, 1.0, 1.2], n)
    return {
        "session_id": pa.array(sessions.labels),
        "started_at": Times(sessions.start),
        "ended_at": Times(sessions.end),
        "platform": Codes(sessions.platform, world.PLATFORMS),
        "host_id": Codes(sessions.host, world.HOSTS),
        "script": Codes(sessions.script, world.SCRIPTS),
        "topic": Codes(sessions.topic, world.CATEGORIES),
        "target_gmv": Money(np.maximum(np.round(target / 10_000), 1).astype(np.int64) * 10_000),
    }


def orders_table(sessions: Sessions, orders: Orders, after: Aftermath, labels: Any) -> Columns:
    """The order log, by time."""
    return {
        "order_id": Ids(np.arange(1, len(orders) + 1), "O", 6),
        "customer_id": labels.take(pa.array(orders.person)),
        "ordered_at": Times(orders.when),
        "amount": Money(orders.cents),
        "refunded_amount": Money(after.refunded_cents),
        "paid_at": Times(after.paid),
        "product_id": Codes(orders.product, world.PRODUCTS),
        "category": Codes(orders.category, world.CATEGORIES),
        "quantity": orders.quantity,
        "list_price": Money(orders.list_price),
        "discount": Money(orders.discount),
        "coupon_id": Codes(orders.coupon, world.COUPONS),
        "platform": Codes(orders.platform, world.PLATFORMS),
        "channel": Codes(orders.channel, world.CHANNELS),
        "session_id": Codes(orders.session, sessions.labels),
        "shipped_at": Times(after.shipped),
        "received_at": Times(after.received),
        "returned_at": Times(after.returned),
        "return_reason": Codes(after.reason, world.RETURN_REASONS),
    }
