"""The sample shop's experiments and its accident: what was planted to be found."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from clvlib.data import sample_world as world
from clvlib.data.sample_files import NEVER, Codes, Columns, Times, take, times_shifted
from clvlib.data.sample_process import Season
from clvlib.data.sample_world import DAY, WEEK

__all__: list[str] = []

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Trial:
    """The script test: who was enrolled when, in which arm, and the orders that the better script brought."""

    person: Array
    assigned: Array
    arm: Array  # 0 for A, 1 for B
    converts: Array  # ordered within 7 days without any help
    extra: Array  # rows of people who ordered because of script B
    extra_when: Array

    @property
    def baseline(self) -> float:
        """Share of the enrolled who order within 7 days without any help."""
        return float(self.converts.mean()) if len(self.converts) else 0.0


def orders_within(person: Array, start: Array, order_person: Array, order_when: Array, seconds: int) -> Array:
    """Whether each person orders at ``start`` or at most ``seconds`` after it."""
    span = 4 * 10**9
    keys = np.sort(order_person.astype(np.int64) * span + order_when)
    low = np.searchsorted(keys, person.astype(np.int64) * span + start)
    high = np.searchsorted(keys, person.astype(np.int64) * span + start + seconds)
    return high > low


def run_trial(
    rng: np.random.Generator, season: Season, first_click: Array, order_person: Array, order_when: Array
) -> Trial:
    """Enrol people at their first click of the period, draw arms, and let script B win orders.

    ``first_click`` holds everybody's first click of the period, ``NEVER`` for none. Of those in arm B who would not
    have ordered, a share orders that lifts the conversion by the true effect.
    """
    person = np.flatnonzero((first_click != NEVER) & (rng.random(len(first_click)) < world.ENROLMENT))
    assigned = first_click[person]
    arm = rng.integers(0, 2, len(person)).astype(np.int8)
    converts = orders_within(person, assigned, order_person, order_when, WEEK)
    base = converts.mean() if len(person) else 0.0
    won = (arm == 1) & ~converts & (rng.random(len(person)) < world.SCRIPT_EFFECT / max(1 - base, world.SCRIPT_EFFECT))
    extra = np.flatnonzero(won)
    low = season.operational(assigned[extra] + 1800.0)
    high = season.operational(assigned[extra] + WEEK - 1200.0)
    when = season.calendar(low + rng.random(len(extra)) * (high - low))
    return Trial(person, assigned, arm, converts, extra, when)


def assignments_table(rng: np.random.Generator, trial: Trial, first_click: Array, labels: Any) -> Columns:
    """Both experiments by time: the script test, and one of a cover image that changes nothing."""
    other = np.flatnonzero((first_click != NEVER) & (rng.random(len(first_click)) < world.ENROLMENT))
    person = np.concatenate([trial.person, other])
    experiment = np.repeat([0, 1], [len(trial.person), len(other)])
    variant = np.concatenate([trial.arm, 2 + rng.integers(0, 2, len(other))])
    assigned = np.concatenate([trial.assigned, first_click[other]])
    order = np.lexsort((person, assigned, experiment))
    return {
        "experiment": Codes(experiment[order], ("script", "cover_image")),
        "variant": Codes(variant[order], ("A", "B", "control", "treatment")),
        "unit_id": labels.take(pa.array(person[order])),
        "assigned_at": Times(assigned[order]),
    }


# what the script test's plan says; in the plan's file with its comments, in the lock with its digest
PLAN: dict[str, Any] = {
    "experiment": "script",
    "hypothesis": "A professional review (B) converts better than a flash sale (A).",
    "primary": "conversion",
    "smallest_effect": world.SCRIPT_EFFECT,
    "people_per_arm": 2100,
    "control": "A",
    "shares": {"A": 1.0, "B": 1.0},
    "guardrails": {"refund share": 0.06, "complaint rate": 0.01},
    "power": 0.8,
    "alpha": 0.05,
    "looks": "once",
    "window": "7D",
    "history": "28D",
    "baseline": 0.1,
    "deviation": None,
    "least_per_arm": None,
}
_COMMENTS = {
    "experiment": "as in the table of assignments",
    "primary": "the metric that decides",
    "smallest_effect": "smallest difference worth having, in the metric's unit",
    "guardrails": "by how much each may get worse at most",
    "looks": "once, weekly or any",
    "baseline": "the control's share as known beforehand; of a mean, give its deviation",
}


def plan_files(season: Season) -> dict[str, str]:
    """Text by name of file: the script test's plan, and its lock of the day before the test begins."""
    lines = ["# The plan of experiment script, written and locked before it began."]
    for key, value in PLAN.items():
        comment = f"  # {_COMMENTS[key]}" if key in _COMMENTS else ""
        lines += [f"{key}: {json.dumps(value).replace(chr(34), '')}{comment}"] if value is not None else []
    said = json.dumps(PLAN, sort_keys=True, ensure_ascii=False)
    start = season.start + dt.timedelta(weeks=season.weeks - max(world.EXPERIMENT_WEEKS))
    locked = dt.datetime.combine(start - dt.timedelta(days=3), dt.time(18))
    lock = {"digest": hashlib.sha256(said.encode()).hexdigest(), "locked_at": locked.isoformat(), "plan": PLAN}
    return {
        "script.plan.yaml": "\n".join(lines) + "\n",
        "script.plan.lock": json.dumps(lock, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
    }


@dataclass(frozen=True)
class Accident:
    """One day's broken export: rows of the order table that were doubled or damaged."""

    day: int
    doubled: Array
    unparsable: Array
    nameless: Array
    future: Array
    events: int

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind."""
        return {
            "duplicates": len(self.doubled),
            "unparsable_amount": len(self.unparsable),
            "missing_customer": len(self.nameless),
            "future_time": len(self.future),
            "unknown_events": self.events,
        }


def plan_accident(rng: np.random.Generator, season: Season, when: Array) -> Accident | None:
    """Draw the rows that break, different ones for each fault; orders are sorted by time."""
    week = season.weeks - world.ACCIDENT_WEEKS_FROM_END
    if week < 0:
        return None
    day = 7 * week + 2
    low, high = np.searchsorted(when, [day * DAY, (day + 1) * DAY])
    rows = low + rng.permutation(int(high - low))
    if len(rows) < len(world.ACCIDENT_SHARE):
        return None
    sizes = [max(1, int(share * len(rows))) for share in world.ACCIDENT_SHARE.values()]
    doubled, unparsable, nameless, future = (np.sort(part) for part in np.split(rows, np.cumsum(sizes))[:4])
    return Accident(day, doubled, unparsable, nameless, future, max(2, len(rows) // 5))


def break_orders(columns: Columns, accident: Accident | None, first_row: int, *, as_text: bool) -> Columns:
    """Damage the rows of one file, whose first row is row ``first_row`` of all orders."""
    size = len(columns["amount"][0])

    def local(rows: Array) -> Array:
        return rows[(rows >= first_row) & (rows < first_row + size)] - first_row

    if accident is None or not sum(len(local(r)) for r in (accident.doubled, accident.unparsable)):
        return columns
    mask = np.zeros(size, bool)
    mask[local(accident.unparsable)] = True
    amount = pa.array(columns["amount"].cents / 100.0)
    damaged = pa.scalar("n/a") if as_text else pa.scalar(None, pa.float64())
    amount = pa.compute.if_else(pa.array(mask), damaged, amount.cast(pa.string()) if as_text else amount)
    nameless = np.zeros(size, bool)
    nameless[local(accident.nameless)] = True
    customer = pa.compute.if_else(pa.array(nameless), pa.scalar(None, pa.string()), columns["customer_id"])
    broken = {**columns, "amount": amount, "customer_id": customer}
    broken["ordered_at"] = times_shifted(columns["ordered_at"], local(accident.future), 365 * DAY)
    return take(broken, np.sort(np.concatenate([np.arange(size), local(accident.doubled)])))


def break_events(columns: Columns, accident: Accident | None, week: int) -> Columns:
    """Repeat the accident day's first events of one week under names that nobody knows."""
    if accident is None or accident.day // 7 != week:
        return columns
    times, codes = columns["occurred_at"].seconds, columns["event"].codes
    rows = np.flatnonzero(times // DAY == accident.day)[: accident.events]
    if len(rows) < accident.events:
        return columns
    order = np.argsort(np.concatenate([np.arange(len(times)), rows]), kind="stable")
    index = np.concatenate([np.arange(len(times)), rows])
    broken = take({**columns}, index[order])
    unknown = len(world.EVENTS) + np.arange(len(rows)) % len(world.ACCIDENT_EVENTS)
    renamed = np.concatenate([codes, unknown])[order]
    return {**broken, "event": Codes(renamed, (*world.EVENTS, *world.ACCIDENT_EVENTS))}
