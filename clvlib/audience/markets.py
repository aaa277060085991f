"""Target markets (A10): segments ranked by size, spending, conversion, growth and value, under weights of one's own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, special

from clvlib.audience.bands import BANDS, edges_of
from clvlib.audience.markets_people import FEATURES, people_of
from clvlib.audience.period import days
from clvlib.data.engine import Table
from clvlib.data.together import together
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.ranks import rank_intervals
from clvlib.words import in_words, mark, tr, trn

__all__ = ["CRITERIA", "Markets", "markets"]

Array = NDArray[np.float64]
CRITERIA = {
    "size": mark("size"),
    "spending": mark("spending power"),
    "conversion": mark("conversion"),
    "growth": mark("growth"),
    "value": mark("value"),
}
_RATIOS = {  # each criterion is a sum over people, by another one
    "size": ("people", ""),
    "spending": ("spend", "bought"),
    "conversion": ("converted", "seen"),
    "growth": ("late", "early"),
    "value": ("value", "valued"),
}
_ENDS = {"": 0, "_lower": -1, "_upper": 1}
_PODIUM = 3  # segments of a feature, or features, of which a reader is told first


@dataclass(frozen=True)
class Markets(Result):
    """Segments of people, ranked within each feature.

    ``table`` has a row per ``feature`` and ``segment``, the highest score first: ``people`` (seen or buying in the
    period), ``buyers``; ``rank`` with ``rank_lower`` and ``rank_upper``, of ``segments`` ranked; ``score`` (100: as the
    shop, and of mean size) and each criterion, all with ``_lower`` and ``_upper``: ``size`` (people), ``spending`` (net
    spend per buyer), ``conversion`` (of those seen, the share that bought), ``growth`` (buyers of the period's second
    half over those of the first, less one), ``value`` (mean of what was handed in, of the buyers). Segments of fewer
    than ``fewest`` buyers have counts and nothing else.

    Attributes
    ----------
    first, middle, last : str
        First day, first day of the second half, last day.
    level : float
        Of the intervals; the ranks of all segments of all features lie in theirs at once.
    weights : dict of str to float
        Of the criteria that could be had, adding up to one.
    absent : tuple of str
        Criteria with a weight that could not be had.
    fewest : int
        Buyers that a segment needs to be ranked.
    nameless : int
        People without a row in the table of customers, who are in no segment.
    unknown : dict of str to int
        By feature, people of whom it is not known.
    rivals : pandas.DataFrame
        How safe each first place is from other weights, by ``feature`` and ``criterion``: ``weight``, the ``rival`` who
        would take it over if the criterion weighed ``needed`` (the others keeping their proportions), both missing
        where no weight between 0 and 1 would do.
    """

    first: str
    middle: str
    last: str
    level: float
    weights: dict[str, float] = field(repr=False)
    absent: tuple[str, ...] = field(repr=False)
    fewest: int
    nameless: int
    unknown: dict[str, int] = field(repr=False)
    rivals: pd.DataFrame = field(repr=False)

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """The rows of ``table`` that have a rank."""
        return self.table[self.table["rank"].notna()]

    @cached_property
    def told_apart(self) -> list[str]:
        """Features of which some segments surely rank before others, those with the most such segments first."""
        narrow = self.ranked["rank_upper"] - self.ranked["rank_lower"] + 1 < self.ranked["segments"]
        share = narrow.groupby(level="feature", sort=False).mean().sort_values(ascending=False, kind="stable")
        return share[share > 0].index.tolist()

    def leader(self, feature: str) -> pd.Series:
        """Return the row of the first segment of a feature, its name in ``name``."""
        rows = self.ranked.xs(feature, level="feature")
        return rows.iloc[0]

    @property
    def sentence(self) -> str:
        """Which segments lead, as far as they can be told apart, in words."""
        features = self.ranked.index.get_level_values("feature").unique()
        sure = self.told_apart
        if not sure:
            return trn(
                "Under these weights the segments of {n} feature cannot be told apart: their order may be chance.",
                "Under these weights the segments of {n} features cannot be told apart: their order may be chance.",
                len(features),
            )
        parts = [self._leads(feature) for feature in sure[:_PODIUM]]
        text = tr("Under these weights {parts}.", parts=tr("; ").join(parts))
        rest = [in_words(str(name)) for name in features if name not in sure]
        if rest:
            more = tr("By {names} no segment can be told from the others.", names=tr(", ").join(rest))
            text = tr("{text} {more}", text=text, more=more)
        return text

    def _leads(self, feature: str) -> str:
        row = self.leader(feature)
        told = {"segment": tr(str(row.name)), "feature": in_words(feature), "n": int(row["segments"])}
        if row["rank_upper"] == 1:
            return tr("{segment} ranks first of {n} by {feature}", **told)
        if row["rank_upper"] < row["segments"]:
            return tr(
                "{segment} ranks among the first {upper} of {n} by {feature}", upper=int(row["rank_upper"]), **told
            )
        rows = self.ranked.xs(feature, level="feature")
        last = rows[rows["rank_lower"] > 1].iloc[-1]
        return tr("{segment} ranks {lower} or later of {n} by {feature}", **told | {"segment": tr(str(last.name))},
                  lower=int(last["rank_lower"]))  # fmt: skip

    @property
    def weights_sentence(self) -> str:
        """What other weights would change, in words, of the feature that is told apart best."""
        feature = next(iter(self.told_apart), str(self.ranked.index[0][0]))
        told = {"segment": tr(str(self.leader(feature).name)), "feature": in_words(feature)}
        rows = pd.DataFrame(self.rivals.xs(feature, level="feature")).dropna(subset=["needed"])
        if rows.empty:
            return tr("By {feature} {segment} stays first whatever a single criterion weighs.", **told)
        row = rows.iloc[(rows["needed"] - rows["weight"]).abs().argmin()]
        return tr(
            "By {feature} {segment} would lose the first place to {rival} if {criterion} weighed {needed:.0%} and not "
            "{weight:.0%}.",
            rival=tr(str(row["rival"])),
            criterion=tr(CRITERIA[str(row.name)]),
            needed=row["needed"],
            weight=row["weight"],
            **told,
        )

    @property
    def left_out_sentence(self) -> str:
        """Who is in no rank, in words; empty where everybody is."""
        small, most = int(self.table["rank"].isna().sum()), max(self.unknown.values())
        if not (small or self.nameless or most):
            return ""
        return tr(
            "Not ranked: {small:,} segments of fewer than {fewest:,} buyers, {nameless:,} people without a row among "
            "the customers, and up to {most:,} of whom a feature is not known.",
            small=small,
            fewest=self.fewest,
            nameless=self.nameless,
            most=most,
        )

    @property
    def ranking(self) -> pd.DataFrame:
        """What a reader looks at first: places and scores; the first three of each feature, then all others."""
        table = self._leaders_first()
        frame = table[["buyers", "rank"]].assign(ranks=_spans(table, "rank"), score=table["score"])
        return frame.assign(score_interval=_spans(table, "score")).astype({"rank": "Int64"})

    @property
    def criteria(self) -> pd.DataFrame:
        """What each criterion comes to, with its interval; the first three of each feature, then all others."""
        table = self._leaders_first()
        parts: dict[str, pd.Series] = {}
        for name in [name for name in CRITERIA if name in table and name != "size"]:
            shown = "expected_value" if name == "value" else name
            parts |= {shown: table[name], f"{name}_interval": _spans(table, name)}
        return table[["buyers"]].assign(**parts)

    @property
    def formats(self) -> dict[str, str]:
        """How a notebook writes the columns of :attr:`criteria`."""
        forms = {"spending": "money", "conversion": "share", "growth": "share", "value": "money"}
        return {str(name): form for name in self.criteria for key, form in forms.items() if key in str(name)}

    def _leaders_first(self) -> pd.DataFrame:
        place = self.table.groupby(level="feature", sort=False).cumcount()
        first = (place < _PODIUM) & self.table["rank"].notna()
        return pd.concat([self.table[first], self.table[~first]])


def _spans(table: pd.DataFrame, name: str) -> pd.Series:
    """Two columns of limits as one of intervals; none where there is no limit."""
    spans = pd.arrays.IntervalArray.from_arrays(table[f"{name}_lower"], table[f"{name}_upper"], closed="both")
    return pd.Series(spans, index=table.index)


def markets(
    customers: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    period: tuple[Any, Any],
    events: Table | pd.DataFrame | None = None,
    value: pd.Series | None = None,
    *,
    weights: Mapping[str, float] | None = None,
    features: Sequence[str] = (),
    bands: Sequence[int] = BANDS,
    viewing: Sequence[str] = (),
    fewest: int = 30,
    level: float = 0.95,
) -> Markets:
    """Rank the segments of each feature by a weighted product of criteria.

    Parameters
    ----------
    customers, orders, events : Table or pandas.DataFrame
        Tables of one shop, or frames; ``events`` may be None, and then there is no conversion.
    period : tuple
        First day, and the day after the last.
    value : pandas.Series, optional
        By customer_id, what each is expected to bring, not negative.
    weights : mapping of str to float, optional
        By criterion, not negative; they are scaled to add up to one. By default, all alike.
    features : sequence of str
        By default those of age_band, gender, region, city_tier, income_band and interests that there are. A customer
        with several interests (separated by ``|``) is in several segments.
    bands : sequence of int
        Ages at which bands begin.
    viewing : sequence of str
        Events by which a person is seen; by default, any.
    fewest : int
        Buyers that a segment needs to be ranked.
    level : float
        Confidence level.

    Returns
    -------
    Markets

    Raises
    ------
    EmptyDataError
        No feature has two segments large enough.
    MissingColumnError, DataError
        ``customers`` has none of the features; a customer stands there twice.
    ParameterError
        A weight is unknown, negative, or none is positive; a value is negative; the period holds no day.

    Notes
    -----
    The score is ``100 * prod((x_c / X_c) ** w_c)``: a weighted product of the segment's criteria by those of the shop
    (for size: the mean of the segments). A product knows no units (Bridgman 1922), so another currency changes nothing,
    and the score of a segment does not depend on which others there are, as it would with criteria scaled to [0, 1].
    Errors are those of the logs of sums over a Poisson number of people (delta method): so they know that one person
    counts in several criteria, and in several segments. Ranks: :func:`clvlib.stats.ranks.rank_intervals`, within each
    feature at a share of ``1 - level``, so that in all features together nobody is told apart by chance more often.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> who = pd.DataFrame({"customer_id": range(200), "gender": ["female", "male"] * 100})
    >>> sold = pd.DataFrame({"customer_id": range(200), "ordered_at": pd.Timestamp("2026-11-02"),
    ...     "amount": np.where(who["gender"] == "female", 200.0, 100.0) + rng.random(200)})
    >>> again = sold.assign(ordered_at=pd.Timestamp("2026-11-12"))
    >>> found = markets(who, pd.concat([sold, again]), ("2026-11-02", "2026-11-16"), weights={"spending": 1})
    >>> found.table[["rank", "rank_lower", "rank_upper", "score"]].round(0).values.tolist()
    [[1.0, 1.0, 1.0, 133.0], [2.0, 2.0, 2.0, 67.0]]
    """
    first, end = days(period)
    middle = first + dt.timedelta(days=(end - first).days // 2)
    if not 0 < level < 1 or fewest < 2:
        raise ParameterError(f"level is a share between 0 and 1 and fewest at least 2; found {level} and {fewest}")
    tables = together(customers=customers, orders=orders, events=events)
    people = people_of(tables, (first, middle, end), features, edges_of(bands), viewing)
    people, absent = _valued(people, value, watched=events is not None)
    shares = _weights(weights, absent)
    nameless = int((~people["found"]).sum())
    people = people[people["found"]].reset_index(drop=True)
    chosen = [name for name in FEATURES if name in people] if not features else [*features]
    parts = {feature: _segments(people, feature, shares, fewest) for feature in chosen}
    ranked = {feature: part for feature, part in parts.items() if len(part.logs) > 1}
    if not ranked:
        last = end - dt.timedelta(days=1)
        raise EmptyDataError(
            tr(
                "no feature has two segments of {n} buyers or more from {first} to {last}",
                n=fewest,
                first=first,
                last=last,
            )
        )
    within = 1 - (1 - level) / len(ranked)
    return Markets(
        first=str(first),
        middle=str(middle),
        last=str(end - dt.timedelta(days=1)),
        level=level,
        weights=shares,
        absent=tuple(absent),
        fewest=fewest,
        nameless=nameless,
        unknown={feature: int(people[feature].isna().sum()) for feature in ranked},
        rivals=pd.concat({f: _rivals(part.logs, shares) for f, part in ranked.items()}, names=["feature"]),
        table=pd.concat({f: part.table(level, within) for f, part in ranked.items()}, names=["feature"]),
    )


def _weights(weights: Mapping[str, float] | None, absent: Sequence[str]) -> dict[str, float]:
    """Weights of the criteria that can be had, adding up to one; a criterion that is not named has none."""
    given = dict.fromkeys(CRITERIA, 1.0) if weights is None else dict(weights)
    unknown = [name for name in given if name not in CRITERIA]
    if unknown:
        raise ParameterError(f"weights: there is no criterion {', '.join(unknown)}; there are {', '.join(CRITERIA)}")
    if not all(np.isfinite(weight) and weight >= 0 for weight in given.values()):
        raise ParameterError(f"weights: they are finite and not negative; found {given}")
    had = {name: float(given.get(name, 0.0)) for name in CRITERIA if name not in absent}
    total = sum(had.values())
    if not total > 0:
        raise ParameterError(f"weights: no criterion that can be had has a weight; there are {', '.join(had)}")
    return {name: weight / total for name, weight in had.items()}


def _valued(people: pd.DataFrame, value: pd.Series | None, *, watched: bool) -> tuple[pd.DataFrame, list[str]]:
    """Add what each buyer is expected to bring; return also which criteria cannot be had."""
    absent = [] if watched else ["conversion"]
    if value is None:
        return people, [*absent, "value"]
    known = value.set_axis(value.index.astype(str)).reindex(people["id"]).to_numpy(dtype=float)
    if np.isinf(known).any() or (known < 0).any():
        raise ParameterError("value: some are negative or not finite; what is expected is 0 or more")
    valued = ~np.isnan(known) & people["bought"].eq(1).to_numpy()
    return people.assign(value=np.where(valued, known, 0.0), valued=valued.astype(float)), absent


@dataclass(frozen=True)
class _Part:
    """The segments of one feature: counts of all of them; logs, errors, raw figures and covariance of those ranked."""

    counts: pd.DataFrame
    raw: pd.DataFrame
    logs: pd.DataFrame
    errors: pd.DataFrame
    scores: pd.Series
    covariance: Array

    def table(self, level: float, within: float) -> pd.DataFrame:
        """Rows as :attr:`Markets.table` has them; ranks at their own level."""
        z = float(-special.ndtri((1 - level) / 2))
        ranks = rank_intervals(self.scores, self.covariance, within)
        columns: dict[str, NDArray[Any]] = {
            name: ranks[name].to_numpy() for name in ("rank", "rank_lower", "rank_upper")
        }
        columns["segments"] = np.full(len(ranks), len(ranks))
        score, half = self.scores.to_numpy(), z * np.sqrt(np.diag(self.covariance))
        for end, sign in _ENDS.items():
            columns[f"score{end}"] = 100 * np.exp(score + sign * half)
        for name in self.raw:
            raw, error = self.raw[name].to_numpy(), self.errors[name].to_numpy()
            less = 1.0 if name == "growth" else 0.0
            columns |= {f"{name}{end}": raw * np.exp(sign * z * error) - less for end, sign in _ENDS.items()}
        frame = self.counts.join(pd.DataFrame(columns, index=self.raw.index), how="left")
        return frame.sort_values(["score", "buyers"], ascending=False, kind="stable", na_position="last")


def _segments(people: pd.DataFrame, feature: str, shares: Mapping[str, float], fewest: int) -> _Part:
    """Measure the segments of a feature: sums over their people, and how each person moves the logs."""
    named = people[feature].dropna()
    if feature == "interests":
        which, texts = pd.factorize(named)
        parts = pd.Series([list(dict.fromkeys(map(str.strip, str(text).split("|")))) for text in texts], dtype=object)
        named = pd.Series(parts.to_numpy()[which], index=named.index, dtype=object).explode()
        named = named[named.ne("")]
    code, names = pd.factorize(named.to_numpy(dtype=object), sort=True)
    person = named.index.to_numpy()
    ratios = {name: _RATIOS[name] for name in shares}
    columns = sorted({column for pair in ratios.values() for column in pair if column} | {"people", "bought"})
    did = {column: people[column].to_numpy(dtype=float) for column in columns}
    sums: dict[str, Array] = {
        column: np.bincount(code, values[person], minlength=len(names)).astype(float) for column, values in did.items()
    }
    index = pd.Index(names, name="segment")
    counts = pd.DataFrame({"people": sums["people"], "buyers": sums["bought"]}, index=index).astype(int)
    large = (sums["bought"] >= fewest) & np.logical_and.reduce([total > 0 for total in sums.values()])
    person, code = person[large[code]], (np.cumsum(large) - 1)[code[large[code]]]
    sums = {column: total[large] for column, total in sums.items()}
    raw, logs, errors, score = {}, {}, {}, np.zeros(len(person))
    for name, (top, bottom) in ratios.items():
        moves = did[top][person] / sums[top][code]
        raw[name], shop = sums[top], sums[top].mean() if large.any() else np.nan
        if bottom:
            moves = moves - did[bottom][person] / sums[bottom][code]
            raw[name], shop = sums[top] / sums[bottom], did[top].sum() / did[bottom].sum()
        logs[name] = np.log(raw[name] / shop)
        errors[name] = np.sqrt(np.bincount(code, moves**2, minlength=len(raw[name])))
        score += shares[name] * moves
    influence = sparse.csr_matrix((score, (person, code)), shape=(len(people), int(large.sum())))
    frame = pd.DataFrame(logs, index=index[large])
    return _Part(
        counts,
        pd.DataFrame(raw, index=index[large]),
        frame,
        pd.DataFrame(errors, index=index[large]),
        frame @ pd.Series(shares, dtype=float),
        np.asarray((influence.T @ influence).todense(), dtype=float),
    )


def _rivals(logs: pd.DataFrame, shares: Mapping[str, float]) -> pd.DataFrame:
    """For each criterion, the nearest weight at which another segment would come first, and which."""
    figures, weights = logs[[*shares]].to_numpy(), np.array([*shares.values()])
    lead = int((figures @ weights).argmax())
    apart = figures[lead] - figures  # of the leader to each segment, by criterion
    rows: list[tuple[str, float, str | None, float]] = []
    for place, (name, weight) in enumerate(shares.items()):
        others = np.delete(weights, place)
        spread = others / others.sum() if others.sum() > 0 else np.full(len(others), 1 / max(len(others), 1))
        by, rest = apart[:, place], np.delete(apart, place, axis=1) @ spread  # the lead is w * by + (1 - w) * rest
        turns = np.divide(rest, rest - by, out=np.full(len(by), np.nan), where=rest != by)
        inside = np.flatnonzero((turns > 1e-9) & (turns < 1 - 1e-9))  # at the very ends it is a tie
        if len(inside):
            nearest = inside[np.abs(turns[inside] - weight).argmin()]
            rows.append((name, weight, str(logs.index[nearest]), float(turns[nearest])))
        else:
            rows.append((name, weight, None, np.nan))
    return pd.DataFrame(rows, columns=["criterion", "weight", "rival", "needed"]).set_index("criterion")
