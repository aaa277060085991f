"""The sample shop's people and their orders: who comes when, how often they buy, when and why they leave."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from clvlib.data import sample_world as world
from clvlib.data.sample_world import DAY, WEEK

__all__: list[str] = []

Array = npt.NDArray[Any]
SPRING_FESTIVAL = {2025: dt.date(2025, 1, 29), 2026: dt.date(2026, 2, 17), 2027: dt.date(2027, 2, 6)}


def choose(rng: np.random.Generator, weights: Array, rows: Array | int) -> Array:
    """Draw a column per row: ``weights`` is one row of weights, or one row per key with ``rows`` the keys."""
    table = np.cumsum(np.atleast_2d(weights), axis=1)
    table /= table[:, -1:]
    size = rows if isinstance(rows, int) else len(rows)
    keys = np.zeros(size, np.int64) if isinstance(rows, int) else rows
    u = rng.random(size)
    drawn = np.zeros(size, np.int16)
    for column in range(table.shape[1] - 1):
        drawn += u > table[keys, column]
    return drawn


@dataclass(frozen=True)
class Season:
    """The intensity of orders over the shop's hours, which averages to one, and the operational time that it makes.

    Attributes
    ----------
    start : datetime.date
        The first Monday.
    weeks : int
        Whole weeks.
    daily : ndarray, shape (7 * weeks,)
        Factor of each day.
    hourly : ndarray, shape (168 * weeks,)
        Factor of each hour.
    """

    start: dt.date
    weeks: int
    daily: Array
    hourly: Array
    clock: Array = field(repr=False)  # operational seconds at each full hour, from 0 to 7 * weeks days

    @property
    def start_day(self) -> np.datetime64:
        """The first Monday, for arithmetic."""
        return np.datetime64(self.start, "D")

    @property
    def seconds(self) -> int:
        """Length of the shop's history."""
        return self.weeks * WEEK

    def operational(self, seconds: Array) -> Array:
        """Operational seconds at calendar seconds."""
        hours = np.arange(len(self.clock)) * 3600.0
        return np.asarray(np.interp(seconds, hours, self.clock))

    def calendar(self, operational: Array) -> Array:
        """Calendar seconds, whole, at operational seconds."""
        hours = np.arange(len(self.clock)) * 3600.0
        seconds: Array = np.interp(operational, self.clock, hours).astype(np.int64)
        return np.minimum(seconds, self.seconds - 1)


def _holiday(day: dt.date) -> float:
    factor = 1.0
    for first, last, value in world.HOLIDAY_FACTOR.values():
        if first <= (day.month, day.day) <= last:
            factor *= value
    festival = SPRING_FESTIVAL.get(day.year)
    if festival and -2 <= (day - festival).days <= 4:
        factor *= world.SPRING_FESTIVAL_FACTOR
    return factor


def make_season(start: dt.date, weeks: int) -> Season:
    """Weekday, payday and holiday factors by day and a fixed profile over the day, scaled to average one."""
    days = [start + dt.timedelta(days=k) for k in range(7 * weeks)]
    daily = np.array(
        [world.WEEKDAY_FACTOR[d.weekday()] * world.PAYDAY_FACTOR.get(d.day, 1.0) * _holiday(d) for d in days]
    )
    daily /= daily.mean()
    profile = world.HOUR_WEIGHT / world.HOUR_WEIGHT.mean()
    hourly = np.outer(daily, profile).ravel()
    return Season(start, weeks, daily, hourly, np.concatenate([[0.0], np.cumsum(hourly) * 3600.0]))


@dataclass
class People:
    """Everybody whom the shop can name: buyers first, then viewers who never buy of themselves. Arrays by person."""

    buyers: int
    rate: Array  # purchases per week of operational time, buyers
    dropout: Array  # probability to leave after a repeat purchase, buyers
    spend_rate: Array  # nu of Gamma-Gamma, all
    first: Array  # calendar seconds of the first order, buyers
    persona: Array
    channel: Array
    platform: Array
    signed_up: Array
    activity: Array  # weight of visits without a purchase
    gone: Array  # calendar seconds after which visits become rare

    def __len__(self) -> int:
        return len(self.persona)


def arrivals(rng: np.random.Generator, season: Season, n: int) -> Array:
    """Calendar seconds of ``n`` first orders, in order: a launch burst that fades, times the season."""
    hours = np.arange(len(season.hourly))
    growth = 1 + world.LAUNCH["burst"] * np.exp(-hours / 168.0 / world.LAUNCH["decay_weeks"])
    cumulative = np.concatenate([[0.0], np.cumsum(growth * season.hourly)])
    u = np.sort(rng.random(n)) * cumulative[-1]
    times: Array = np.interp(u, cumulative, np.arange(len(cumulative)) * 3600.0).astype(np.int64)
    return np.clip(times, 3600, season.seconds - 1)


def _personas(rng: np.random.Generator, rate: Array, spend_rate: Array) -> Array:
    """Personas that go with spend and rate, drawn given both, so that their marginal laws stay exact."""
    bg, gg = world.BG, world.GAMMA_GAMMA
    u_rate = 2 * special.gammainc(bg["r"], rate * bg["alpha"]) - 1
    u_spend = 1 - 2 * special.gammainc(gg["q"], spend_rate * gg["gamma"])
    score = (
        np.log(world.PERSONA_SHARE)
        + np.outer(u_spend, world.PERSONA_SPEND_TILT)
        + np.outer(u_rate, world.PERSONA_RATE_TILT)
    )
    drawn: Array = np.argmax(score + rng.gumbel(size=score.shape), axis=1).astype(np.int16)
    return drawn


def _channels(rng: np.random.Generator, rate: Array, dropout: Array) -> Array:
    """Channels that go with the purchase rate and the dropout probability; the first few cannot be referred."""
    bg = world.BG
    u_rate = 2 * special.gammainc(bg["r"], rate * bg["alpha"]) - 1
    u_drop = 2 * special.betainc(bg["a"], bg["b"], dropout) - 1
    share = world.CHANNEL_SHARE * (1 - world.K_FACTOR)
    share[world.REFERRAL] = world.K_FACTOR
    n = len(rate)
    drawn = np.empty(n, np.int16)
    for start in range(0, n, 100_000):  # in blocks: eleven scores a person
        rows = slice(start, start + 100_000)
        score = np.log(share) + np.outer(u_rate[rows], world.CHANNEL_RATE_TILT)
        score += np.outer(u_drop[rows], world.CHANNEL_DROPOUT_TILT)
        drawn[rows] = np.argmax(score + rng.gumbel(size=score.shape), axis=1)
    early = np.flatnonzero(drawn[:20] == world.REFERRAL)
    drawn[early] = 0
    return drawn


def make_people(rng: np.random.Generator, season: Season, buyers: int) -> People:
    """Draw everybody's true parameters and attributes that matter to behaviour."""
    bg, gg = world.BG, world.GAMMA_GAMMA
    viewers = world.VIEWERS_PER_CUSTOMER * buyers
    n = buyers + viewers
    rate = rng.gamma(bg["r"], 1 / bg["alpha"], buyers)
    dropout = rng.beta(bg["a"], bg["b"], buyers)
    spend_rate = rng.gamma(gg["q"], 1 / gg["gamma"], n)
    persona = np.concatenate(
        [_personas(rng, rate, spend_rate[:buyers]), choose(rng, world.VIEWER_PERSONA_SHARE, viewers)]
    )
    viewer_share = world.CHANNEL_SHARE * np.where(np.array(world.CHANNELS) == "KOL", 1.8, 1.0)
    channel = np.concatenate([_channels(rng, rate, dropout), choose(rng, viewer_share, viewers)])
    platform = choose(rng, world.CHANNEL_PLATFORM, channel)
    first = arrivals(rng, season, buyers)
    wait = np.where(
        rng.random(buyers) < 0.5, rng.integers(3000, 9000, buyers), rng.exponential(10 * DAY, buyers) + 3600
    )
    wait[channel[:buyers] == world.REFERRAL] = 3000  # who is invited buys at once, so that the invitation explains it
    early = rng.random(viewers) < 0.25  # registered in the four weeks before the first stream
    signed_up = np.concatenate(
        [
            np.maximum(first - wait.astype(np.int64), -28 * DAY),
            np.where(early, rng.integers(-28 * DAY, 0, viewers), rng.permutation(arrivals(rng, season, viewers))),
        ]
    )
    activity = rng.lognormal(0.0, 0.9, n).astype(np.float32)
    gone = signed_up + rng.exponential(14 * WEEK, n).astype(np.int64)
    return People(buyers, rate, dropout, spend_rate, first, persona, channel, platform, signed_up, activity, gone)


def purchase_times(rng: np.random.Generator, season: Season, people: People) -> tuple[Array, Array, Array]:
    """BG/NBD in operational time: person, calendar seconds and whether the person left after it, for every order.

    Each round draws the next purchase of all who may still buy; a person is free to leave after every repeat
    purchase, never after the first one.
    """
    who = np.arange(people.buyers)
    now = season.operational(people.first.astype(float))
    orders = [(who, people.first, np.zeros(len(who), bool))]
    while len(who):
        now = now + rng.standard_exponential(len(who)) * WEEK / people.rate[who]
        inside = now < season.clock[-1]
        who, now = who[inside], now[inside]
        leaves = rng.random(len(who)) < people.dropout[who]
        orders.append((who, season.calendar(now), leaves))
        who, now = who[~leaves], now[~leaves]
    person, when, left = (np.concatenate(parts) for parts in zip(*orders, strict=True))
    order = np.lexsort((when, person))
    return person[order], when[order], left[order]
