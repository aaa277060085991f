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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from clvlib.data import sample_world as world
from clvlib.data.sample_files import Columns, length, take, write_table
from clvlib.data.sample_plan import Plan
from clvlib.data.sample_trial import break_orders, plan_files
from clvlib.data.sample_truth import describe
from clvlib.data.sample_world import DAY
from clvlib.errors import ParameterError

if TYPE_CHECKING:
    from clvlib.data.connect import Shop

__all__ = ["sample_shop", "write_sample"]

Array = npt.NDArray[Any]
Format = Literal["mixed", "csv", "parquet"]
SMALL = 20_000  # customers up to which the event log is one file and files are squeezed; above, one file a week
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
    seed: int = 53,
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

    Notes
    -----
    The event log grows with the shop: about 90 rows a customer over 40 weeks (a shop of more than 20,000 customers
    has one file a week). 1,000,000 customers: 2.4 M orders, 90 M events, 1.2 GB on disk, 63 CPU seconds, of which
    42 on two cores at once, 2.3 GB of memory.

    Examples
    --------
    >>> import tempfile
    >>> truth = write_sample(tempfile.mkdtemp(), customers=20, weeks=2, seed=1)
    >>> truth["parameters"]["spend"]["p"]
    5.0
    """
    last = _checked(customers, weeks, seed, end, format)
    target = _emptied(Path(folder))
    plan = Plan.draw(int(customers), int(weeks), int(seed), last)
    small = customers <= SMALL
    rows = _write_tables(plan, target, format, squeeze=small)
    rows["events"], counts = _write_events(plan, target, "csv" if format == "csv" else "parquet", one_file=small)
    truth = describe(plan, dict(sorted(rows.items())), counts)
    (target / "truth.json").write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (target / "clvlib.toml").write_text(_CONFIG.format(as_of=last.isoformat()), encoding="utf-8")
    for name, text in plan_files(plan.season).items():
        (target / name).write_text(text, encoding="utf-8")
    return truth


def sample_shop(customers: int = 300, weeks: int = 40, seed: int = 53, end: str | dt.date = "2026-11-15") -> Shop:
    """Make a sample shop in a temporary folder and connect to it; the folder goes when the shop does.

    Parameters
    ----------
    customers, weeks, seed, end
        As in :func:`write_sample`.
    """
    from clvlib.data.connect import connect

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
        if path.suffix in {".csv", ".parquet", ".lock", ".yaml"} or path.name in {"truth.json", "clvlib.toml"}:
            path.unlink()
    return folder


def _write_tables(plan: Plan, folder: Path, kind: Format, *, squeeze: bool) -> dict[str, int]:
    """Write every table that has rows but the events; return rows by table."""
    epoch = plan.season.start_day.astype("datetime64[s]")
    rows: dict[str, int] = {}
    for name, columns in plan.tables():
        suffix = "csv" if kind == "csv" or (kind == "mixed" and name in _CSV_IN_MIXED) else "parquet"
        if not length(columns):
            continue
        if name == "orders":
            rows[name] = _write_orders(plan, folder, columns, suffix, squeeze=squeeze)
        else:
            rows[name] = write_table(folder / f"{name}.{suffix}", [columns], epoch, squeeze=squeeze)
    return rows


def _write_orders(plan: Plan, folder: Path, columns: Columns, suffix: str, *, squeeze: bool) -> int:
    """One file a month, the accident in one of them."""
    epoch = plan.season.start_day.astype("datetime64[s]")
    months = (plan.season.start_day + (plan.orders.when // DAY).astype("timedelta64[D]")).astype("datetime64[M]")
    written = 0
    for month in np.unique(months):
        low, high = (int(bound) for bound in np.searchsorted(months, [month, month + 1]))
        part = take(columns, np.arange(low, high))
        part = break_orders(part, plan.accident, low, as_text=suffix == "csv")
        written += write_table(folder / f"orders-{month}.{suffix}", [part], epoch, squeeze=squeeze)
    return written


def _write_events(plan: Plan, folder: Path, suffix: str, *, one_file: bool) -> tuple[int, Array]:
    """Write the event log; return its rows, and the count of each event by week."""
    epoch = plan.season.start_day.astype("datetime64[s]")
    counts = np.zeros((plan.season.weeks, len(world.EVENTS) + len(world.ACCIDENT_EVENTS)), np.int64)

    def made(week: int) -> Columns:
        events = plan.events(week)
        counts[week] = np.bincount(events["event"].codes, minlength=counts.shape[1])
        return events

    def one(week: int) -> int:
        year, number, _ = (plan.season.start + dt.timedelta(weeks=week)).isocalendar()
        return write_table(folder / f"events-{year}-W{number:02d}.{suffix}", [made(week)], epoch, squeeze=False)

    weeks = range(plan.season.weeks)
    if one_file:
        return write_table(folder / f"events.{suffix}", [made(week) for week in weeks], epoch, squeeze=True), counts
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(one, weeks)), counts
