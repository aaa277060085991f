"""Time on the product page, and how it goes together with what comes after (F4)."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import special, stats

from clvlib.data.engine import Table, as_table, literal
from clvlib.errors import EmptyDataError, ParameterError, ThinDataWarning
from clvlib.result import Result
from clvlib.stats.order_statistics import Counted, quantile_interval
from clvlib.stats.proportions import proportion_interval
from clvlib.words import tr

__all__ = ["Dwell", "dwell"]

_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_FEWEST = 10  # clicks that went on, and that did not, for a relation to be fitted
_FINE = 8  # steps of a doubling in which time is counted


@dataclass(frozen=True)
class Dwell(Result):
    """Time on the page by band, with the share that went on to the next step.

    ``table`` has a row per band, index ``seconds`` (text): ``clicks``, ``share`` of them, ``went_on`` (made the step
    before the next click on the same product, within ``within``), ``rate`` with ``lower`` and ``upper`` (Wilson, for as
    many clicks as those of people who click often are worth), and ``alike``: the rate that the regression below
    expects at the band's clicks in the mix of all clicks.

    Attributes
    ----------
    step, before : str
        The step, and that whose events hold the time.
    quantiles : pandas.DataFrame
        Index ``share``; ``quantile`` (seconds), ``lower``, ``upper``.
    clicks, people : int
        With a time that is looked at.
    zero, too_long, missing : int
        Clicks of no time, of more than ``longest`` seconds, and without a time; they are in no figure.
    longest : float
        Above it, a page was left open rather than looked at.
    longest_tenth : float
        Share of all time that the longest tenth of clicks makes up.
    odds_ratio, odds_lower, odds_upper, p_value : float
        Of the step, for twice the time, adjusted for ``adjusted``; missing where it cannot be fitted.
    bend : float
        p-value of the hypothesis that this is the same at all times.
    adjusted : tuple of str
        The columns that are held fixed.
    level : float
        Confidence level.
    """

    step: str
    before: str
    quantiles: pd.DataFrame = field(repr=False)
    clicks: int
    people: int
    zero: int
    too_long: int
    missing: int
    longest: float
    longest_tenth: float
    odds_ratio: float
    odds_lower: float
    odds_upper: float
    p_value: float
    bend: float
    adjusted: tuple[str, ...]
    level: float

    @property
    def sentence(self) -> str:
        """How long people stay, and how that goes with the step, in words."""
        told = {"median": float(self.quantiles["quantile"].loc[0.5]), "step": tr(self.step)}
        if not np.isfinite(self.odds_ratio):
            return tr("Half of the clicks stay for {median:.0f} seconds or more.", median=told["median"])
        if self.p_value > 1 - self.level:
            return tr(
                "Half of the clicks stay for {median:.0f} seconds or more; whether {step} follows does not go with the "
                "time by more than chance explains.",
                **told,
            )
        return tr(
            "Half of the clicks stay for {median:.0f} seconds or more; where they stay twice as long, the odds of "
            "{step} are {odds:.2f} times as high ({lower:.2f} to {upper:.2f}).",
            odds=self.odds_ratio,
            lower=self.odds_lower,
            upper=self.odds_upper,
            **told,
        )

    @property
    def set_apart(self) -> str:
        """What is in no figure, in words."""
        return tr(
            "{clicks:,} clicks of {people:,} people; set apart: {zero:,} of no time, {long:,} of more than "
            "{longest:.0f} minutes, {missing:,} without a time. The longest tenth makes up {share:.0%} of all time.",
            clicks=self.clicks,
            people=self.people,
            zero=self.zero,
            long=self.too_long,
            longest=self.longest / 60,
            missing=self.missing,
            share=self.longest_tenth,
        )


def dwell(
    events: Table | pd.DataFrame,
    period: tuple[dt.date, dt.date],
    *,
    before: str = "click",
    step: str = "cart",
    by: Sequence[str] = ("platform", "category"),
    edges: Sequence[float] = (5, 10, 20, 40, 80, 160),
    longest: float = 1800.0,
    within: str | pd.Timedelta = "30min",
    level: float = 0.95,
) -> Dwell:
    """Describe the time on the page and the share that goes on, by time.

    Time and the step go together for more than one reason: who is interested stays and adds to the cart, and adding to
    the cart takes time on the page itself. So the relation is an association, and does not say what longer pages do.

    Parameters
    ----------
    events : Table or pandas.DataFrame
        ``person_id``, ``occurred_at``, ``event``, ``dwell_s``; ``product_id`` and the columns of ``by`` where known.
    period : tuple of datetime.date
        First day, and the day after the last, of the clicks.
    before, step : str
        The events that hold the time, and what may follow them.
    by : sequence of str
        Columns to hold fixed; those that the events lack are left out.
    edges : sequence of float
        Ends of the bands, in seconds, rising.
    longest : float
        Longer times are set apart.
    within : str or Timedelta
        How soon the step follows.
    level : float
        Confidence level.

    Returns
    -------
    Dwell

    Raises
    ------
    MissingColumnError
        The events have no ``dwell_s``.
    EmptyDataError
        No click of the period has a time.
    ParameterError
        Edges that do not rise, or a parameter out of range.

    Warns
    -----
    ThinDataWarning
        The relation cannot be fitted.
    """
    gap = pd.Timedelta(within)
    rising = list(edges) == sorted(set(edges)) and bool(edges) and edges[0] > 0 and edges[-1] < longest
    if not rising or gap <= pd.Timedelta(0) or not 0 < level < 1:
        raise ParameterError(f"dwell: rising edges below {longest}, a time, a level in (0, 1): {edges}, {gap}, {level}")
    log = as_table(events, "events").require("person_id", "occurred_at", "event", "dwell_s")
    columns = tuple(c for c in by if c in log.columns)
    clicks = _clicks(log, period, (before, step), columns, gap, longest)
    valid = clicks.where("kind = 'valid'")
    counted = clicks.query("SELECT kind, COUNT(*) AS n, COUNT(DISTINCT person_id) AS people FROM {t} GROUP BY 1")
    n = dict(zip(counted["kind"], counted["n"].astype(int), strict=True))
    if "valid" not in n:
        first, last = period[0], period[1] - dt.timedelta(days=1)
        text = tr("no '{step}' from {first} to {last} says how long it took", step=tr(before), first=first, last=last)
        raise EmptyDataError(text)
    seconds = valid.query("SELECT CEIL(dwell) AS seconds, COUNT(*) AS n FROM {t} GROUP BY 1 ORDER BY 1")
    counts = _counts(valid, columns)
    fit, expected = _relation(counts, columns, level)
    table = _bands(valid, [0.0, *edges, longest], level)
    return Dwell(
        table=table.join(_expected_by_band(counts, expected, [0.0, *edges, longest], table.index)),
        step=step,
        before=before,
        quantiles=_quantiles(seconds, level),
        clicks=n["valid"],
        people=int(counted.loc[counted["kind"] == "valid", "people"].iloc[0]),
        zero=n.get("zero", 0),
        too_long=n.get("long", 0),
        missing=n.get("missing", 0),
        longest=longest,
        longest_tenth=_share_of_longest(seconds),
        adjusted=columns,
        level=level,
        **fit,
    )


def _clicks(
    log: Table,
    period: tuple[dt.date, dt.date],
    pair: tuple[str, str],
    by: tuple[str, ...],
    gap: pd.Timedelta,
    longest: float,
) -> Table:
    """The clicks of the period: person, kind of time, time, what is held fixed, and whether the step came next."""
    before, step = pair
    end = pd.Timestamp(period[1]) + gap
    product = "COALESCE(CAST(product_id AS VARCHAR), '')" if "product_id" in log.columns else "''"
    session = "COALESCE(CAST(session_id AS VARCHAR), '')" if "session_id" in log.columns else "''"
    known = ", ".join(f"COALESCE(CAST({c} AS VARCHAR), 'unknown') AS {c}" for c in by)
    fixed = f", {known}" if known else ""
    names = "".join(f", {c}" for c in by)
    window = "OVER (PARTITION BY person_id, product, session ORDER BY occurred_at, is_step)"
    relation = f"""(SELECT person_id, dwell{names}, CASE WHEN dwell IS NULL THEN 'missing' WHEN dwell <= 0 THEN 'zero'
            WHEN dwell > {longest} THEN 'long' ELSE 'valid' END AS kind,
            CASE WHEN next_is_step = 1 AND date_diff('second', occurred_at, next_at) <= {gap.total_seconds()}
                 THEN 1 ELSE 0 END AS went_on
        FROM (SELECT *, LEAD(is_step) {window} AS next_is_step, LEAD(occurred_at) {window} AS next_at
            FROM (SELECT person_id, occurred_at, {product} AS product, {session} AS session,
                         CASE WHEN event = {literal(step)} THEN 1 ELSE 0 END AS is_step,
                         CAST(dwell_s AS DOUBLE) AS dwell{fixed}
                  FROM {log.relation} AS e WHERE event IN {literal([before, step])} AND person_id IS NOT NULL
                  AND occurred_at >= {literal(period[0])} AND occurred_at < {literal(end.to_pydatetime())}) AS e) AS c
        WHERE is_step = 0 AND occurred_at < {literal(period[1])})"""
    return Table(log.engine, "clicks", relation, ("person_id", "dwell", *by, "kind", "went_on"))


def _counts(valid: Table, by: tuple[str, ...]) -> pd.DataFrame:
    """Clicks and those that went on, by fine steps of the logarithm of time and by what is held fixed."""
    keys = ", ".join(["doublings", *by])
    return valid.query(
        f"SELECT {keys}, COUNT(*) AS n, SUM(went_on) AS went_on FROM (SELECT *, ROUND(LOG2(dwell) * {_FINE}) / {_FINE}"
        f" AS doublings FROM {{t}} AS v) AS v GROUP BY {keys} ORDER BY {keys}"
    ).astype({"n": float, "went_on": float})


def _bands(valid: Table, ends: list[float], level: float) -> pd.DataFrame:
    """Rates by band; a person's clicks belong together, which makes the clicks worth fewer."""
    cases = " ".join(f"WHEN dwell <= {end} THEN {k}" for k, end in enumerate(ends[1:]))
    sums = valid.query(
        f"SELECT band, SUM(n) AS n, SUM(x) AS x, SUM(x * x) AS xx, SUM(x * n) AS xn, SUM(n * n) AS nn FROM (SELECT"
        f" CASE {cases} END AS band, person_id, COUNT(*) AS n, SUM(went_on) AS x FROM {{t}} AS v GROUP BY 1, 2) AS p"
        " GROUP BY 1 ORDER BY 1"
    ).set_index("band")
    sums = sums.reindex(range(len(ends) - 1), fill_value=0).astype(float)
    n, x = sums["n"].where(sums["n"] > 0), sums["x"]
    rate = x / n
    spread = (sums["xx"] - 2 * rate * sums["xn"] + rate**2 * sums["nn"]) / (n * rate * (1 - rate))
    effect = spread.where(np.isfinite(spread), 1.0).clip(lower=1.0)
    some = n.notna()
    limits = proportion_interval((x / effect)[some], (n / effect)[some], level).reindex(sums.index)
    labels = [f"{low:g}–{high:g}" for low, high in pairwise(ends)]
    labels[-1] = f"> {ends[-2]:g}"
    table = pd.DataFrame({
        "clicks": sums["n"].astype(np.int64), "share": sums["n"] / sums["n"].sum(), "went_on": x.astype(np.int64),
        "rate": rate, "lower": limits["lower"], "upper": limits["upper"],
    })  # fmt: skip
    return table.set_axis(pd.Index(labels, name="seconds"))


def _relation(counts: pd.DataFrame, by: tuple[str, ...], level: float) -> tuple[dict[str, float], np.ndarray | None]:
    """Odds ratio of a doubling, a test whether it bends, and the rate expected at each count in the mix of all."""
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    names = ("odds_ratio", "odds_lower", "odds_upper", "p_value", "bend")
    nothing = dict.fromkeys(names, float("nan"))
    x, n, won = (counts[c].to_numpy() for c in ("doublings", "n", "went_on"))
    mean = np.average(x, weights=n)
    if min(won.sum(), (n - won).sum()) < _FEWEST or np.ptp(x) == 0:
        warnings.warn(
            tr("time on the page: hardly anybody went on, or hardly anybody did not, so nothing can be said"),
            ThinDataWarning,
            stacklevel=3,
        )
        return nothing, None
    fixed = [pd.get_dummies(counts[c], drop_first=True).to_numpy(float) for c in by]
    design = np.column_stack([np.ones(len(x)), x - mean, *fixed])
    family = Binomial()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a rare category that nobody goes on from has no finite odds of its own
        fit = GLM(np.column_stack([won, n - won]), design, family=family).fit()
        bent = GLM(np.column_stack([won, n - won]), np.column_stack([design, (x - mean) ** 2]), family=family).fit()
    z = float(stats.norm.isf((1 - level) / 2))
    slope, error = float(fit.params[1]), float(fit.bse[1])
    odds = np.exp([slope, slope - z * error, slope + z * error])
    bend = float(stats.chi2.sf(max(2 * (bent.llf - fit.llf), 0), 1))
    figures = [*odds, float(fit.pvalues[1]), bend]
    rest = design @ np.asarray(fit.params) - slope * x  # the log odds but for the time
    levels, place = np.unique(x, return_inverse=True)
    alike = special.expit(rest + slope * levels[:, None]) @ n / n.sum()
    return dict(zip(names, map(float, figures), strict=True)), alike[place]


def _expected_by_band(
    counts: pd.DataFrame, expected: np.ndarray | None, ends: list[float], index: pd.Index
) -> pd.Series:
    if expected is None:
        return pd.Series(np.nan, index=index, name="alike")
    band = np.searchsorted(np.log2(ends[1:]), counts["doublings"].to_numpy() - 1e-9).clip(max=len(index) - 1)
    total = np.bincount(band, counts["n"], len(index))
    mean = np.bincount(band, counts["n"] * expected, len(index)) / np.where(total > 0, total, np.nan)
    return pd.Series(mean, index=index, name="alike")


def _quantiles(seconds: pd.DataFrame, level: float) -> pd.DataFrame:
    sample = Counted.of(seconds["seconds"], seconds["n"])
    rows = [quantile_interval(sample, share, level) for share in _SHARES]
    table = pd.DataFrame(rows, columns=["quantile", "lower", "upper"], index=pd.Index(_SHARES, name="share"))
    return table.replace([-np.inf, np.inf], np.nan)  # too few clicks for a limit


def _share_of_longest(seconds: pd.DataFrame, share: float = 0.1) -> float:
    """Share of all time that the longest clicks make up."""
    t, n = seconds["seconds"].to_numpy(float)[::-1], seconds["n"].to_numpy(float)[::-1]
    most = np.clip(share * n.sum() - (np.cumsum(n) - n), 0, n)
    return float((most @ t) / (n @ t))
