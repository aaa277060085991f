"""One week under four definitions of conversion, so that two teams can stop arguing about whose figure is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from clvlib.data.engine import Table, as_table, identifier, literal
from clvlib.errors import EmptyDataError
from clvlib.funnel.kernel import funnel, question
from clvlib.stats.proportions import proportion_interval
from clvlib.words import mark, tr

__all__ = ["definitions"]

_BEST, _FIRST, _OPEN = mark("best start"), mark("first start"), mark("open as lost")
_SESSION, _TOTALS = mark("same session"), mark("event totals")


def definitions(
    events: Table | pd.DataFrame,
    steps: Sequence[str],
    window: str | pd.Timedelta = "7D",
    *,
    as_of: Any = None,
    starts: tuple[Any, Any] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """Compute the conversion from the first step to the last as different tools would.

    Parameters
    ----------
    events, steps, window, as_of, starts, level
        As for :func:`clvlib.funnel.kernel.funnel`.

    Returns
    -------
    pandas.DataFrame
        Index ``definition``, columns ``base``, ``converted``, ``rate``, ``lower``, ``upper`` and ``against_best``, the
        rate's difference to that of the best start. The definitions:

        - ``best start``: people, the start that leads furthest counts; this library's own;
        - ``first start``: people, only their first start counts, and later ones are not looked at;
        - ``open as lost``: as the best start, but people whose window is still open are counted, as lost;
        - ``same session``: a person in a session, the steps within it (where events have ``session_id``);
        - ``event totals``: last events over first events of the same time, whoever made them; above 1 at times, and no
          rate of anything, so without an interval.

    Raises
    ------
    EmptyDataError
        Nobody made the first step in the period with a window that is over.
    """
    table = as_table(events, "events")
    options: dict[str, Any] = {"as_of": as_of, "starts": starts, "level": level}
    found = {
        _BEST: funnel(table, steps, window, **options),
        _FIRST: funnel(table, steps, window, reentry=False, **options),
        _OPEN: funnel(table, steps, window, open_windows="so far", **options),
    }
    if "session_id" in table.columns:
        found[_SESSION] = funnel(table, steps, window, unit="session", **options)
    rows = {name: (r.total["people"].iloc[0], r.total["people"].iloc[-1]) for name, r in found.items()}
    if not rows[_BEST][0]:
        raise EmptyDataError(
            tr("nobody made the first step '{step}' in the period with a window that is over", step=tr(steps[0]))
        )
    rows[_TOTALS] = _totals(table, steps, as_of, starts)
    counts = pd.DataFrame.from_dict(rows, orient="index", columns=["base", "converted"]).rename_axis("definition")
    people = counts.drop(index=_TOTALS).query("base > 0")
    limits = proportion_interval(people["converted"], people["base"], level)
    counts["rate"] = counts["converted"] / counts["base"].where(counts["base"] > 0)
    counts = counts.join(limits[["lower", "upper"]])
    return counts.assign(against_best=counts["rate"] - counts["rate"].loc[_BEST])


def _totals(table: Table, steps: Sequence[str], as_of: Any, starts: tuple[Any, Any] | None) -> tuple[int, int]:
    """Events of the first and of the last step in the period."""
    query, _ = question(steps, "1D", as_of=as_of, starts=starts)
    low, high = query.starts
    conditions = [f"{identifier('occurred_at')} IS NOT NULL"]
    conditions += [] if low is None else [f"occurred_at >= {_moment(low)}"]
    conditions += [f"occurred_at < {_moment(end)}" for end in (high, query.cut) if end is not None]
    ends = [f"SUM(CASE WHEN event = {literal(str(step))} THEN 1 ELSE 0 END)" for step in (steps[0], steps[-1])]
    chosen = table.where(" AND ".join(conditions))
    row = chosen.engine.query(f"SELECT {ends[0]} AS a, {ends[1]} AS b FROM {chosen.relation} AS t").fillna(0).iloc[0]
    return int(row["a"]), int(row["b"])


def _moment(microseconds: int) -> str:
    return literal((pd.Timestamp(0) + pd.Timedelta(microseconds, "us")).to_pydatetime())
