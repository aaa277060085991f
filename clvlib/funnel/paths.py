"""The paths by which people come to an order, and the credit that each touchpoint deserves (F5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from clvlib.data.engine import Table, as_table, identifier, literal
from clvlib.errors import EmptyDataError, MissingColumnError, ParameterError
from clvlib.funnel.context import derived
from clvlib.funnel.kernel import question
from clvlib.funnel.paths_draws import drawn_anew, kinds_of
from clvlib.result import Result
from clvlib.stats.resample import interval_of_draws
from clvlib.words import tr

__all__ = ["Credit", "alike", "credit", "journeys"]

Floats = NDArray[np.float64]
ARROW = " > "
_RUNS = ("person_id", "us", "touch", "won", "repeated", "journey")
_WRITTEN = ("person_id", "journey", "won", "path")


@dataclass(frozen=True)
class Credit(Result):
    """How many conversions each touchpoint is credited with, by several rules.

    ``table`` has a row per touchpoint (index ``touch``), those with most Markov credit first: ``journeys`` that it is
    part of, ``first``, ``last``, ``linear``, ``shapley`` and ``markov``: conversions credited, each of which adds up to
    all conversions; ``removal_effect``: by how much the share of journeys that convert falls without it; ``lower`` and
    ``upper``: bootstrap interval of ``markov``.

    Attributes
    ----------
    journeys, conversions : float
        In all.
    rate : float
        Share of journeys that convert.
    level : float
        Confidence level.
    paths : pandas.DataFrame
        The paths behind it.
    kinds : pandas.Series or None
        The people behind it, as :func:`alike` counts them.
    """

    journeys: float
    conversions: float
    rate: float
    level: float
    paths: pd.DataFrame = field(repr=False)
    kinds: pd.Series | None = field(repr=False, default=None)

    @property
    def sentence(self) -> str:
        """Who deserves most, in words."""
        top = self.table.iloc[0]
        last = self.table["last"].sort_values(ascending=False, kind="stable").index[0]
        told = {
            "touch": tr(str(self.table.index[0])),
            "share": top["markov"] / self.conversions,
            "orders": self.conversions,
        }
        if last == self.table.index[0]:
            return tr("{touch} is credited with {share:.0%} of {orders:,.0f} orders", **told)
        return tr(
            "{touch} is credited with {share:.0%} of {orders:,.0f} orders, though {last} comes last most often",
            **told,
            last=tr(str(last)),
        )


def journeys(
    events: Table | pd.DataFrame,
    goal: str,
    touch: str = "channel",
    window: str | pd.Timedelta = "7D",
    *,
    touches: Sequence[str] = (),
    as_of: Any,
    starts: tuple[Any, Any] | None = None,
) -> pd.DataFrame:
    """Collect the paths of touchpoints that lead to a goal, or to nothing.

    A journey is what one person does until the goal, or until nothing happens for longer than ``window``; the next
    touchpoint then begins another. A journey without the goal that might still go on at ``as_of`` is left out.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``occurred_at``, ``event`` and the column ``touch``.
    goal : str
        The event to reach.
    touch : str
        What a touchpoint is: ``channel``, ``platform`` …; a missing one is ``unknown``.
    window : str or pandas.Timedelta
        Longest pause.
    touches : sequence of str
        Events that are touchpoints; by default, all but the goal.
    as_of : date or time
        End of what has been observed; a date means the end of that day.
    starts : tuple, optional
        Earliest and latest (exclusive) time of a journey's first event; earlier events are not looked at.

    Returns
    -------
    pandas.DataFrame
        ``path`` (touchpoints joined by " > ", each run of the same one once), ``journeys``, ``conversions``; most
        frequent first.

    Raises
    ------
    EmptyDataError
        There is no touchpoint in the period.
    MissingColumnError
        ``touch`` is no column.

    Examples
    --------
    >>> log = pd.DataFrame({"person_id": list("aaabc"), "channel": ["x", "x", "y", "x", "y"],
    ...                     "event": ["view", "view", "order", "view", "view"],
    ...                     "occurred_at": pd.date_range("2026-11-02", periods=5, freq="h")})
    >>> journeys(log, "order", as_of="2026-11-30")
      path  journeys  conversions
    0    x         2            1
    1    y         1            0
    """
    _, written = asked(events, goal, touch, window, touches, as_of, starts)
    frame = written.query(
        "SELECT path, COUNT(*) AS journeys, SUM(won) AS conversions FROM {t} AS w WHERE path IS NOT NULL "
        "GROUP BY path ORDER BY journeys DESC, conversions DESC, path"
    )
    if frame.empty:
        raise EmptyDataError(tr("there is no journey in the period that is over"))
    return frame.astype({"journeys": np.int64, "conversions": np.int64})


def alike(
    events: Table | pd.DataFrame,
    goal: str,
    touch: str = "channel",
    window: str | pd.Timedelta = "7D",
    *,
    touches: Sequence[str] = (),
    as_of: Any,
    starts: tuple[Any, Any] | None = None,
) -> pd.Series:
    """Count the people behind the journeys, those together who made the same ones.

    Parameters
    ----------
    events, goal, touch, window, touches, as_of, starts
        As for :func:`journeys`, and errors too.

    Returns
    -------
    pandas.Series
        How many people there are of each kind, for ``kinds`` of :func:`credit`; the index says what they did.
    """
    return kinds_of(asked(events, goal, touch, window, touches, as_of, starts)[1])


def asked(
    events: Table | pd.DataFrame,
    goal: str,
    touch: str,
    window: str | pd.Timedelta,
    touches: Sequence[str],
    as_of: Any,
    starts: tuple[Any, Any] | None,
) -> tuple[Table, Table]:
    """Cut each person's events into journeys: a row per event, and a row per journey with its path as text."""
    query, _ = question([goal], window, as_of=as_of, starts=starts)
    table = as_table(events, "events").require("person_id", "occurred_at", "event")
    if touch not in table.columns:
        raise MissingColumnError(
            tr(
                "events: there is no column '{column}'; the table has {columns}",
                column=touch,
                columns=", ".join(table.columns),
            )
        )
    since, until = query.starts
    runs = derived(table, "events", _RUNS, _runs_sql(query.window, since, query.cut or 0, goal, touch, touches))
    return runs, derived(runs, "journeys", _WRITTEN, _written_sql(query.window, until, query.cut or 0))


def _runs_sql(window: int, since: int | None, cut: int, goal: str, touch: str, touches: Sequence[str]) -> str:
    aim, others = (literal(names).replace("{", "{{").replace("}", "}}") for names in (goal, [*touches]))
    wanted = f" AND (event = {aim} OR event IN {others})" if touches else ""
    later = "" if since is None else f" AND us >= {since}"
    return f"""
    WITH e AS (
        SELECT * FROM (
            SELECT CAST(person_id AS VARCHAR) AS person_id, epoch_us(CAST(occurred_at AS TIMESTAMP)) AS us,
                   COALESCE(CAST({identifier(touch)} AS VARCHAR), 'unknown') AS touch,
                   CASE WHEN event = {aim} THEN 1 ELSE 0 END AS won
            FROM {{t}} WHERE person_id IS NOT NULL AND isfinite(occurred_at){wanted}
        ) AS x WHERE us < {cut}{later}
    ), cuts AS (
        SELECT *, CASE WHEN LAG(won) OVER p = 1 OR us - LAG(us) OVER p > {window} THEN 1 ELSE 0 END AS begins,
               CASE WHEN won = 0 AND touch = LAG(touch) OVER p THEN 1 ELSE 0 END AS same
        FROM e WINDOW p AS (PARTITION BY person_id ORDER BY us, won, touch)
    )
    SELECT person_id, us, touch, won, same * (1 - begins) AS repeated,
           SUM(begins) OVER (PARTITION BY person_id ORDER BY us, won, touch ROWS UNBOUNDED PRECEDING) AS journey
    FROM cuts"""


def _written_sql(window: int, until: int | None, cut: int) -> str:
    begun = "" if until is None else f" AND MIN(us) < {until}"
    return f"""
    SELECT person_id, journey, MAX(won) AS won,
           string_agg(touch, '{ARROW}' ORDER BY us, touch) FILTER (WHERE won = 0 AND repeated = 0) AS path
    FROM {{t}} AS r GROUP BY person_id, journey
    HAVING (MAX(won) = 1 OR MAX(us) + {window} < {cut}){begun}"""


def credit(
    paths: pd.DataFrame, level: float = 0.95, draws: int = 200, seed: int = 0, kinds: pd.Series | None = None
) -> Credit:
    """Share the conversions out among the touchpoints.

    ``first``, ``last`` and ``linear`` (equally over a path's touchpoints) are rules of thumb. ``shapley`` is the exact
    Shapley value of the game in which a set of touchpoints is worth the conversions of the paths that need no other:
    each path's conversions equally over its distinct touchpoints (Zhao, Mahboobi & Bagheri 2018). ``markov`` follows
    the removal effect in a first-order Markov chain over all journeys, also those that lead to nothing: the relative
    fall of the chance to convert when everybody who would come to the touchpoint leaves instead (Anderl et al. 2016).
    It is solved exactly, not simulated. All of these describe; none says what would happen without the touchpoint.

    Parameters
    ----------
    paths : pandas.DataFrame
        ``path``, ``journeys``, ``conversions``, as :func:`journeys` returns them.
    level : float
        Confidence level.
    draws : int
        Bootstrap draws for the interval.
    seed : int
        Of the draws.
    kinds : pandas.Series, optional
        The people who made the journeys (:func:`alike`): they are what is drawn. Without, each journey counts as a
        person of its own, and intervals are too narrow where people come back.

    Returns
    -------
    Credit

    Raises
    ------
    EmptyDataError
        There is no path, or no conversion to share out.
    ParameterError
        More conversions than journeys, no draw, or a level that is none.

    Examples
    --------
    >>> paths = pd.DataFrame({"path": ["C1 > C2 > C3", "C1", "C2 > C3"], "journeys": 1, "conversions": [1, 0, 0]})
    >>> found = credit(paths)
    >>> found.table[["removal_effect", "markov"]].sort_index().round(2).values.tolist()
    [[0.5, 0.2], [1.0, 0.4], [1.0, 0.4]]
    """
    won = paths["conversions"].to_numpy(float)
    lost = paths["journeys"].to_numpy(float) - won
    if (lost < 0).any() or (won < 0).any() or draws < 1 or not 0 < level < 1:
        raise ParameterError("credit: each path needs 0 <= conversions <= journeys; draws >= 1 and 0 < level < 1")
    if not won.sum():
        raise EmptyDataError(tr("no journey ends in a conversion, so there is nothing to share out"))
    chain, names = chain_of(paths["path"])
    effects = chain.removal_effects(won, lost)
    shares = _heuristics(chain.walks, won, len(names))
    shares["markov"] = shared_out(effects, won.sum())
    table = pd.DataFrame(shares, index=pd.Index(names, name="touch"))
    table.insert(0, "journeys", chain.incidence @ (won + lost))
    table["removal_effect"] = effects
    table[["lower", "upper"]] = _bootstrap(chain, paths, kinds, level, draws, seed)
    table = table.sort_values("markov", ascending=False, kind="stable")
    total = float((won + lost).sum())
    return Credit(
        journeys=total, conversions=float(won.sum()), rate=float(won.sum() / total), level=level, paths=paths,
        kinds=kinds, table=table,
    )  # fmt: skip


def chain_of(paths: pd.Series) -> tuple[Chain, list[str]]:
    """Return the transitions of all paths, and the names of the touchpoints."""
    walks = [str(path).split(ARROW) for path in paths]
    names = sorted({touch for walk in walks for touch in walk})
    place = {name: k for k, name in enumerate(names)}
    return Chain([[place[touch] for touch in walk] for walk in walks], len(names)), names


class Chain:
    """Transitions of all paths: states are the start, the touchpoints, the goal and nothing."""

    def __init__(self, walks: list[list[int]], touches: int) -> None:
        self.walks, self.touches = walks, touches
        steps = [(i, a, b) for i, w in enumerate(walks) for a, b in zip([-1, *w[:-1]], w, strict=True)]
        self.path, self.source, self.target = np.array(steps).T  # the start is -1
        self.end = np.array([walk[-1] for walk in walks])
        self.incidence = np.zeros((touches, len(walks)))
        self.incidence[self.target, self.path] = 1
        moves = (self.source % (touches + 1)) * touches + self.target  # the start comes after the touchpoints
        self.moves = csr_array((np.ones(len(moves)), (moves, self.path)), ((touches + 1) * touches, len(walks)))
        self.ends = csr_array((np.ones(len(walks)), (self.end, np.arange(len(walks)))), (touches, len(walks)))

    def removal_effects(self, won: Floats, lost: Floats, worth: Floats | None = None) -> Floats:
        """Relative fall of what a journey brings without each touchpoint: conversions, or what they are worth.

        With N the inverse of I - moves, a journey is at touchpoint k (begin N)_k times on average, so it ever comes
        there with probability (begin N)_k / N_kk, and brings (N convert)_k from there on: what is lost without k.

        Parameters
        ----------
        won, lost, worth : ndarray, shape (..., paths)
            Journeys by path that convert and do not, and what those that convert are worth.

        Returns
        -------
        ndarray, shape (..., touches)
        """
        n, count = self.touches, won + lost
        flow = (self.moves @ count.T).T.reshape(*count.shape[:-1], n + 1, n)
        goal = (self.ends @ (won if worth is None else worth).T).T
        leaving = flow[..., :n, :].sum(axis=-1) + (self.ends @ count.T).T
        left = np.where(leaving > 0, leaving, 1.0)  # where nobody is, nobody goes
        stays = np.linalg.inv(np.eye(n) - flow[..., :n, :] / left[..., None])
        begin = flow[..., n, :] / flow[..., n, :].sum(axis=-1, keepdims=True)
        come = (begin[..., None, :] @ stays)[..., 0, :]
        bring = (stays @ (goal / left)[..., None])[..., 0]
        whole = (begin * bring).sum(axis=-1, keepdims=True)
        effects: Floats = come * bring / np.diagonal(stays, axis1=-2, axis2=-1) / whole
        return effects


def _heuristics(walks: list[list[int]], won: Floats, touches: int) -> dict[str, Floats]:
    result = {name: np.zeros(touches) for name in ("first", "last", "linear", "shapley")}
    for walk, conversions in zip(walks, won, strict=True):
        distinct = sorted(set(walk))
        result["first"][walk[0]] += conversions
        result["last"][walk[-1]] += conversions
        np.add.at(result["linear"], walk, conversions / len(walk))
        result["shapley"][distinct] += conversions / len(distinct)
    return result


def shared_out(effects: Floats, conversions: float | Floats) -> Floats:
    positive: Floats = np.maximum(effects, 0)
    shared: Floats = positive / positive.sum(axis=-1, keepdims=True) * conversions
    return shared


def _bootstrap(
    chain: Chain, paths: pd.DataFrame, kinds: pd.Series | None, level: float, draws: int, seed: int
) -> Floats:
    """Limits of the share of credit times the conversions that there were."""
    drawn = drawn_anew(paths, kinds, draws, seed)
    credited = shared_out(chain.removal_effects(drawn.won, drawn.lost), float(paths["conversions"].sum()))
    return interval_of_draws(credited, level)[["lower", "upper"]].to_numpy()
