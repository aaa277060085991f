"""A livestream shop of any size, made up from known parameters that are written beside it.

The shop answers the question whether an analysis finds what is there: purchases follow BG/NBD, spend Gamma-Gamma, the
funnel has known step probabilities, one experiment has an effect and one has none, one segment's click-to-cart rate
falls in the last week, and one day's export is broken. ``truth.json`` holds all of it, with a description of each
field. Same arguments, same bytes.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from clvlib.data import sample_service as service
from clvlib.data import sample_traffic as traffic
from clvlib.data import sample_trial as trials
from clvlib.data import sample_world as world
from clvlib.data.sample_files import NEVER, Columns, length, take, write_events, write_table
from clvlib.data.sample_orders import (
    Aftermath,
    Orders,
    Sessions,
    follow_up,
    make_orders,
    make_sessions,
    merge,
    week_bounds,
)
from clvlib.data.sample_process import People, Season, make_people, make_season, purchase_times
from clvlib.data.sample_truth import describe
from clvlib.data.sample_world import DAY
from clvlib.errors import ParameterError

if TYPE_CHECKING:
    from clvlib.data.connect import Shop

__all__ = ["sample_shop", "write_sample"]

Array = npt.NDArray[Any]
Format = Literal["mixed", "csv", "parquet"]
ONE_EVENT_FILE = 20_000  # customers up to which the event log is one file; above, one file a week
_CSV_IN_MIXED = {"orders", "competitors", "complaints", "feedback", "referrals"}
_CONFIG = """# A made-up shop: see truth.json for what is true of it.
name = "Sample livestream shop"
source = "."
timezone = "Asia/Shanghai"
currency = "CNY"
language = "en"
as_of = {as_of}
sample = true

[thresholds]
click_to_cart = 0.12

[value]
margin = 0.3
annual_rate = 0.15

[targets]
gmv_net = 100000
repeat_rate = 0.35
satisfaction = 4.2

[funnel]
steps = ["exposure", "click", "cart", "order", "paid"]
"""


def write_sample(
    folder: Path | str,
    customers: int = 3000,
    weeks: int = 40,
    seed: int = 47,
    end: str | dt.date = "2026-11-15",
    format: Format = "mixed",  # noqa: A002 - the name that readers expect
) -> dict[str, Any]:
    """Write a sample shop and its true parameters.

    Parameters
    ----------
    folder : path
        Where to write; made when absent. It must be empty or hold an earlier sample, which is replaced.
    customers : int
        People who buy of themselves. Four times as many only watch.
    weeks : int
        Whole ISO weeks.
    seed : int
        Same arguments and seed, same bytes.
    end : str or datetime.date
        The last day, a Sunday.
    format : {"mixed", "csv", "parquet"}
        ``mixed``: orders by month and some small tables as CSV, the others as Parquet.

    Returns
    -------
    dict
        What ``truth.json`` says.

    Raises
    ------
    ParameterError
        A number below one, an end that is no Sunday, an unknown format, or a folder that holds something else.

    Examples
    --------
    >>> import tempfile
    >>> truth = write_sample(tempfile.mkdtemp(), customers=20, weeks=2, seed=1)
    >>> truth["parameters"]["spend"]["p"]
    5.0
    """
    last = _checked(customers, weeks, seed, end, format)
    target = _emptied(Path(folder))
    plan = _Plan.draw(customers, weeks, seed, last)
    rows = plan.write(target, format)
    truth = describe(plan, rows)
    (target / "truth.json").write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (target / "clvlib.toml").write_text(_CONFIG.format(as_of=last.isoformat()), encoding="utf-8")
    return truth


def sample_shop(customers: int = 300, weeks: int = 40, seed: int = 47, end: str | dt.date = "2026-11-15") -> Shop:
    """Make a sample shop in a temporary folder and connect to it; the folder goes when the shop does.

    Parameters
    ----------
    customers, weeks, seed, end
        As in :func:`write_sample`.
    """
    from clvlib.data.connect import connect  # noqa: PLC0415 - reading is not needed for writing

    folder = tempfile.mkdtemp(prefix="clvlib-sample-")
    try:
        write_sample(folder, customers, weeks, seed, end, "parquet")
        shop = connect(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(shop, shutil.rmtree, folder, ignore_errors=True)
    return shop


def _checked(customers: int, weeks: int, seed: int, end: str | dt.date, kind: str) -> dt.date:
    for name, value, least in (("customers", customers, 1), ("weeks", weeks, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ParameterError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if weeks > 520:
        raise ParameterError(f"weeks is {weeks}; a sample shop has at most 520, ten years")
    if kind not in ("mixed", "csv", "parquet"):
        raise ParameterError(f"format is {kind!r}; it may be 'mixed', 'csv' or 'parquet'")
    try:
        last = dt.date.fromisoformat(end) if isinstance(end, str) else end
    except ValueError:
        raise ParameterError(f"end is {end!r}; write the day like 2026-11-15") from None
    if last.isoweekday() != 7:
        raise ParameterError(f"end is {last}, a {last:%A}; the history is of whole ISO weeks, so it ends on a Sunday")
    return last


def _emptied(folder: Path) -> Path:
    """Make the folder, or clear an earlier sample out of it."""
    folder.mkdir(parents=True, exist_ok=True)
    present = sorted(p.name for p in folder.iterdir())
    if not present:
        return folder
    config = folder / "clvlib.toml"
    if not (config.is_file() and "sample = true" in config.read_text(encoding="utf-8")):
        raise ParameterError(f"{folder} holds {present[0]!r} and is no earlier sample; name an empty folder")
    for path in folder.iterdir():
        if path.suffix in {".csv", ".parquet"} or path.name in {"truth.json", "clvlib.toml"}:
            path.unlink()
    return folder


@dataclass
class _Plan:
    """Everything about a shop but its event log, which is made week by week while it is written."""

    seed: int
    season: Season
    people: People
    sessions: Sessions
    natural: Orders  # by time, as they happen without the script test
    extra: Orders  # won by script B
    orders: Orders  # both
    after: Aftermath
    contacts: Columns
    lost: int  # orders that did not happen because of a hold-out
    left: int  # people who left
    trial: trials.Trial
    first_click: Array
    accident: trials.Accident | None
    labels: Any  # customer ids, then ids of the home platform
    by_sign_up: Array

    @classmethod
    def draw(cls, customers: int, weeks: int, seed: int, last: dt.date) -> _Plan:
        """Draw people, orders, contacts and experiments."""
        season = make_season(last - dt.timedelta(days=7 * weeks - 1), weeks)
        rng = _stream(seed, 0)
        people = make_people(rng, season, customers)
        sessions = make_sessions(rng, season)
        person, when, left = purchase_times(rng, season, people)
        people.gone[:customers] = np.iinfo(np.int64).max
        people.gone[person[left]] = when[left]
        sorted_orders = make_orders(_stream(seed, 1), season, people, sessions, (person, when, left))
        rng = _stream(seed, 2)
        contacts, lost = service.plan_contacts(rng, season, sorted_orders)
        sorted_orders = sorted_orders.take(np.flatnonzero(~lost))
        service.use_coupons(rng, sorted_orders, contacts)
        natural = merge(sorted_orders)
        first_click = _first_clicks(seed, season, people, sessions, natural)
        rng = _stream(seed, 3)
        trial = trials.run_trial(rng, season, first_click, natural.person, natural.when)
        extra = _extra_orders(rng, season, people, sessions, natural, trial)
        orders = merge(natural, extra)
        after = follow_up(_stream(seed, 4), season, orders, season.seconds)
        accident = trials.plan_accident(_stream(seed, 5), season, orders.when)
        labels, by_sign_up = _labels(people)
        return cls(
            seed, season, people, sessions, natural, extra, orders, after, contacts, int(lost.sum()),
            int(left.sum()), trial, first_click, accident, labels, by_sign_up,
        )  # fmt: skip

    def write(self, folder: Path, kind: Format) -> dict[str, int]:
        """Write every table that has rows; return rows by table."""
        epoch = self.season.start_day.astype("datetime64[s]")
        rows: dict[str, int] = {}
        for name, columns in self._tables():
            if not length(columns):
                continue
            suffix = "csv" if kind == "csv" or (kind == "mixed" and name in _CSV_IN_MIXED) else "parquet"
            if name == "orders":
                rows[name] = self._write_orders(folder, columns, suffix, epoch)
            else:
                rows[name] = write_table(folder / f"{name}.{suffix}", columns, epoch)
        rows["events"] = self._write_events(folder, "csv" if kind == "csv" else "parquet", epoch)
        return dict(sorted(rows.items()))

    def _tables(self) -> Iterator[tuple[str, Columns]]:
        """Every table but the events."""
        season, people, orders, after, labels = self.season, self.people, self.orders, self.after, self.labels
        rng = [_stream(self.seed, 6, k) for k in range(10)]
        end = season.seconds
        yield "orders", service.orders_table(orders, after, labels)
        yield "customers", service.customers_table(rng[0], season, people, labels, self.by_sign_up)
        yield "sessions", service.sessions_table(rng[1], self.sessions, orders)
        yield "spend", service.spend_table(rng[2], season, people)
        yield "feedback", service.feedback_table(rng[3], orders, after, end, labels)
        yield "complaints", service.complaints_table(rng[4], orders, after, end, labels)
        yield "assignments", trials.assignments_table(rng[5], self.trial, self.first_click, labels)
        yield "contacts", service.contacts_table(rng[6], season, orders, self.contacts, labels)
        yield "competitors", service.competitors_table(rng[7], season)
        yield "identities", service.identities_table(rng[8], people, labels, self.by_sign_up)
        yield "referrals", service.referrals_table(rng[9], season, people, labels)[0]

    def _write_orders(self, folder: Path, columns: Columns, suffix: str, epoch: np.datetime64) -> int:
        """One file a month, the accident in one of them."""
        days = self.season.start_day + (self.orders.when // DAY).astype("timedelta64[D]")
        months = days.astype("datetime64[M]")
        written = 0
        for month in np.unique(months):
            low, high = np.searchsorted(months, [month, month + 1])
            part = take(columns, np.arange(low, high))
            part = trials.break_orders(part, self.accident, int(low), as_text=suffix == "csv")
            written += write_table(folder / f"orders-{month}.{suffix}", part, epoch)
        return written

    def _week(self, week: int) -> Columns:
        bounds = week_bounds(self.natural.when, self.season.weeks)
        natural = self.natural.take(np.arange(bounds[week], bounds[week + 1]))
        failed, chain = _natural_visits(self.seed, self.season, self.people, self.sessions, natural, week)
        rng = _stream(self.seed, 8, week)
        low, high = np.searchsorted(self.extra.when, np.array([week, week + 1]) * 7 * DAY)
        won = self.extra.take(np.arange(low, high))
        last = self.season.weeks - 1
        around = traffic.failed_visits(rng, self.people, self.sessions, won, week, last)
        won_chain = traffic.paid_visits(rng, self.sessions, won)
        rows = week_bounds(self.orders.when, self.season.weeks)
        here = np.arange(rows[week], rows[week + 1])
        mine = np.isin(self.orders.person[here] * 2**32 + self.orders.when[here], won.person * 2**32 + won.when)
        paid = np.concatenate([self.after.paid[here[~mine]], self.after.paid[here[mine]]])
        events = traffic.week_events(rng, (failed, around), (chain, won_chain), paid, self.labels)
        return trials.break_events(events, self.accident, week)

    def _write_events(self, folder: Path, suffix: str, epoch: np.datetime64) -> int:
        """One file for a small shop; one a week, two at a time, for a large one."""
        weeks = range(self.season.weeks)
        if self.people.buyers <= ONE_EVENT_FILE:
            return write_events(folder / f"events.{suffix}", [self._week(week) for week in weeks], epoch)

        def one(week: int) -> int:
            monday = self.season.start + dt.timedelta(weeks=week)
            year, number, _ = monday.isocalendar()
            return write_events(folder / f"events-{year}-W{number:02d}.{suffix}", [self._week(week)], epoch)

        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(one, weeks))


def _stream(*keys: int) -> np.random.Generator:
    """An independent stream of random numbers for each purpose."""
    return np.random.default_rng(list(keys))


def _labels(people: People) -> tuple[Any, Array]:
    """Customer ids in the order of sign-up, and platform ids that reveal nothing; and people by sign-up."""
    n = len(people)
    by_sign_up = np.argsort(people.signed_up, kind="stable")
    number = np.empty(n, np.int64)
    number[by_sign_up] = np.arange(1, n + 1)
    width = max(6, len(str(n)))
    own = pc.binary_join_element_wise("C", pc.utf8_lpad(pa.array(number).cast(pa.string()), width, "0"), "")
    scrambled = (number * 364_136_223 + 1_442_695) % 10**9
    digits = pc.utf8_lpad(pa.array(scrambled).cast(pa.string()), 9, "0")
    prefix = pa.array(["dy", "ks", "tb", "jd"]).take(pa.array(people.platform))
    return pa.concat_arrays([own, pc.binary_join_element_wise(prefix, digits, "")]), by_sign_up


def _natural_visits(
    seed: int, season: Season, people: People, sessions: Sessions, orders: Orders, week: int
) -> tuple[traffic.Visits, traffic.Visits]:
    """Visits of a week around the orders that happen without the script test; the same at every call."""
    rng = _stream(seed, 7, week)
    failed = traffic.failed_visits(rng, people, sessions, orders, week, season.weeks - 1)
    return failed, traffic.paid_visits(rng, sessions, orders)


def _first_clicks(seed: int, season: Season, people: People, sessions: Sessions, natural: Orders) -> Array:
    """Everybody's first click in the weeks of the experiments, ``NEVER`` for none."""
    latest = np.iinfo(np.int64).max
    first = np.full(len(people), latest)
    bounds = week_bounds(natural.when, season.weeks)
    for back in world.EXPERIMENT_WEEKS:
        week = season.weeks - back
        if week < 0:
            continue
        orders = natural.take(np.arange(bounds[week], bounds[week + 1]))
        for visits in _natural_visits(seed, season, people, sessions, orders, week):
            clicked = np.flatnonzero(visits.stage > 1)
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
    purchases = (person, when, np.zeros(len(person), bool))
    return make_orders(rng, season, people, sessions, purchases, before)
