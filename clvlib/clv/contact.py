"""Who to contact next week (V8): rules say who may be, an optimiser who is, and a keyed draw who is held out."""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from clvlib.clv.contact_choice import Choice, choose
from clvlib.clv.contact_effects import ContactEffects, contact_effects
from clvlib.clv.contact_history import Channels, allowed, known_customers, past_contacts, usual
from clvlib.clv.contact_rules import RULES, Known, Rule, week_start, within_hours
from clvlib.data.calendar import Week, as_date
from clvlib.data.engine import Table
from clvlib.errors import MissingColumnError, ParameterError
from clvlib.result import Result
from clvlib.words import begun, mark, money, paragraph, tr, trn

__all__ = ["ContactPlan", "contact_plan", "held_out"]

_LIST = ["action", "channel", "reason", "gain", "lower", "upper", "earliest", "deadline", "cost", "is_holdout"]


@dataclass(frozen=True)
class ContactPlan(Result):
    """Who to contact next week with what; ``table`` has a row per action.

    ``table`` columns: ``candidates`` (by its rule), ``possible`` (of these, whom the limits of frequency and quiet
    hours leave, and whose spend is known), ``chosen``, ``held_out`` (of the chosen), ``cost`` and ``gain`` (expected
    extra margin less cost, of those who are not held out) with ``lower`` and ``upper``, ``effect`` (extra buyers per
    contact), ``channel`` and ``basis``.

    Attributes
    ----------
    week : str
        The ISO week in which to contact, in the shop's time zone like all times here.
    customers, held_out : int
        To be contacted, and chosen but held out.
    cost, gain, lower, upper : float
        Of all lists together; the interval is at ``level`` and holds what is not known of the effects.
    level : float
    gap : float
        How much more the best possible choice could be expected to gain at most, as a share.
    unknown : int
        Candidates left out because the frame of values has no expected spend for them.
    actions : pandas.DataFrame
        By customer_id, all chosen, the greatest gain first: action, channel, reason, gain with lower and upper,
        earliest, deadline, cost, is_holdout.
    lists : dict of str to pandas.DataFrame
        Those to be contacted, by action; who is held out is not on them.
    effects : ContactEffects
        What gains rest on.
    sentence : str
    """

    week: str
    customers: int
    held_out: int
    cost: float
    gain: float
    lower: float
    upper: float
    level: float
    gap: float
    unknown: int
    actions: pd.DataFrame = field(repr=False)
    lists: dict[str, pd.DataFrame] = field(repr=False)
    effects: ContactEffects = field(repr=False)
    sentence: str = field(repr=False)

    @property
    def kept_back(self) -> pd.DataFrame:
        """Who is held out, by customer_id, as rows of the table ``contacts``: without them nothing can be measured."""
        rows = self.actions[self.actions["is_holdout"]]
        return rows[["earliest", "action", "channel", "is_holdout"]].rename(columns={"earliest": "sent_at"})

    def to_do(self, action: str) -> str:
        """Say in a sentence how many to contact with what, by which channel and until when."""
        rows = self.lists[action]
        name = tr(action).replace("_", " ")
        if rows.empty:
            return tr("{action}: nobody in {week}.", action=name, week=self.week)
        first, last = rows["deadline"].min(), rows["deadline"].max()
        named = {
            "action": begun(name),
            "channel": tr(str(rows["channel"].iloc[0])),
            "first": first,
            "last": last,
        }
        if first < last:
            return tr(
                "{action}: contact {n:,} customers by {channel}, the first of them before {first:%Y-%m-%d %H:%M}, the "
                "last before {last:%Y-%m-%d %H:%M}.",
                n=len(rows),
                **named,
            )
        return trn(
            "{action}: contact {n:,} customer by {channel}, at the latest on {last:%Y-%m-%d %H:%M}.",
            "{action}: contact {n:,} customers by {channel}, at the latest on {last:%Y-%m-%d %H:%M}.",
            len(rows),
            **named,
        )


def contact_plan(
    orders: Table | pd.DataFrame,
    as_of: str | dt.date,
    value: pd.DataFrame,
    contacts: Table | pd.DataFrame | None = None,
    risk: pd.DataFrame | None = None,
    *,
    rules: Sequence[Rule] = RULES,
    budget: float | None = None,
    capacity: Mapping[str, float] | None = None,
    quiet: tuple[float, float] | None = (22, 9),
    rest_days: float = 7,
    holdout: float = 0.1,
    key: str = "hold-out",
    margin: float = 0.3,
    window_days: int = 14,
    level: float = 0.9,
) -> ContactPlan:
    """Propose at most one contact for each customer in the week after a day.

    Parameters
    ----------
    orders : Table or pandas.DataFrame
        ``customer_id``, ``ordered_at`` and ``net_amount``; where there is a column ``is_purchase`` only its rows count.
    as_of : str or date
        The last day that is known; the week to plan begins with the next.
    value : pandas.DataFrame
        By customer_id (index or column): ``expected_spend`` per purchase, and what the rules ask for.
    contacts : Table or pandas.DataFrame, optional
        ``customer_id``, ``sent_at``, ``action``, and ``is_holdout``, ``channel``, ``cost`` where they are known.
    risk : pandas.DataFrame, optional
        By customer_id, with the columns that the rules ask for (the usual win-back: ``risk``, a probability).
    rules : sequence of Rule
        Who may be contacted with what.
    budget : float, optional
        The most that all chosen contacts may cost, those held out among them.
    capacity : mapping of str to float, optional
        The most contacts by channel.
    quiet : pair of float, optional
        Hours of the day, in the shop's time zone, from which and until which nobody is contacted.
    rest_days : float
        Days between two contacts of one customer, by whatever action.
    holdout : float
        Share of the chosen who are not contacted, so that the effect can be measured.
    key : str
        Key of that draw. The same key, customer, action and week: the same draw.
    margin : float
        Share of spend that is kept.
    window_days : int
        Days after a contact in which purchases count.
    level : float
        Of the intervals.

    Returns
    -------
    ContactPlan

    Raises
    ------
    ParameterError
        Two rules for one action, a share that is none, a negative budget, capacity or cost.
    MissingColumnError
        A table or frame lacks a column.

    Notes
    -----
    The gain of a contact is extra buyers per contact × purchases per buyer in the window × expected spend × margin,
    less its cost and what lower prices (a coupon) take from the margin of all who buy, where past orders show it. A
    purchase that merely comes sooner than it would have counts, if it would have come after the window. The choice is
    blind to the draw of the hold-out, which follows it, and past contacts limit further ones whether they were sent or
    held out: otherwise the two groups could not be compared.

    Examples
    --------
    >>> sold = pd.DataFrame({"customer_id": ["a", "b"], "net_amount": 80.0,
    ...                      "ordered_at": pd.to_datetime(["2026-11-15 21:00", "2026-09-20 20:00"])})
    >>> spend = pd.DataFrame({"expected_spend": [90.0, 60.0], "value": [40.0, 9.0]}, index=["a", "b"])
    >>> plan = contact_plan(sold, "2026-11-15", spend, rules=RULES[:3], holdout=0)
    >>> plan.actions["gain"].round(2).to_dict()  # 0.01 × 90 × 0.3 and 0.01 × 60 × 0.3
    {'a': 0.27, 'b': 0.18}
    >>> plan.actions["reason"].tolist()
    ['First order on 2026-11-15', 'No order for 56 days']
    """
    _check(rules, holdout, margin, level, rest_days)
    last = as_date(as_of)
    worth = _by_customer(value, "value", "expected_spend")
    risky = None if risk is None else _by_customer(risk, "risk")
    known = Known(known_customers(orders, last), worth, risky, week_start(last))
    assumed = {rule.action: rule.assumed for rule in rules}
    effects = contact_effects(orders, contacts, last, window_days=window_days, margin=margin, assumed=assumed)
    settled = usual(contacts, rules, last)
    found, spans = _candidates(known, contacts, rules, quiet, rest_days)
    spend = known.value["expected_spend"].astype(float)
    lost = ~found.index.isin(spend.index[np.isfinite(spend) & (spend >= 0)])
    unknown = int(found.index[lost].nunique())
    found = found[~lost]
    rows = _gains(found, spend, rules, effects, settled, margin, level)
    chosen, choice = _chosen(rows, rules, settled, budget, capacity)
    week = Week.containing(last + dt.timedelta(days=1)).label
    chosen["is_holdout"] = held_out(chosen.index, chosen["action"], week, holdout, key)
    plan = _plan(chosen, choice, spans, found, rules, effects, settled, week, level, unknown)
    if contacts is not None or chosen.empty:
        return plan
    text = mark("Without a table of contacts nobody knows who was contacted lately: take those off the lists by hand.")
    return replace(plan, sentence=paragraph(plan.sentence, tr(text)))


def held_out(
    customers: pd.Index, actions: pd.Series | Sequence[str], week: str, share: float, key: str = "hold-out"
) -> NDArray[np.bool_]:
    """Draw who is held out, by a keyed hash of customer, action and week: HMAC-SHA256 (RFC 2104) as a number below 1.

    Parameters
    ----------
    customers, actions : sequences of length n
    week : str
    share : float
        Who is held out at a share is so at every greater one.
    key : str

    Examples
    --------
    >>> drawn = held_out(pd.RangeIndex(10_000), ["call"] * 10_000, "2026-W47", 0.1)
    >>> bool(abs(drawn.mean() - 0.1) < 0.01)
    True
    """
    secret, limit = key.encode(), round(share * 2**64)
    rows = zip(customers, actions, strict=True)
    drawn = (hmac.digest(secret, f"{customer}\x1f{action}\x1f{week}".encode(), "sha256") for customer, action in rows)
    return np.array([int.from_bytes(digest[:8], "big") < limit for digest in drawn], dtype=bool)


def _candidates(
    known: Known,
    contacts: Table | pd.DataFrame | None,
    rules: Sequence[Rule],
    quiet: tuple[float, float] | None,
    rest_days: float,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return whom the rules and the limits of frequency leave, by customer and action; and the rules' candidates."""
    parts, spans = [], {}
    past = past_contacts(contacts, rules, known.start)
    for place, rule in enumerate(rules):
        named = rule.candidates(known)
        spans[rule.action] = len(named)
        left = within_hours(allowed(named, past, rule, known.start, rest_days), quiet)
        parts.append(left.assign(place=place)[["place", "fact", "earliest", "deadline"]].astype({"fact": object}))
    found = pd.concat([part for part in parts if len(part)] or parts[:1])
    found.index.name = "customer_id"
    return found, spans


def _gains(
    found: pd.DataFrame,
    spend: pd.Series,
    rules: Sequence[Rule],
    effects: ContactEffects,
    settled: Channels,
    margin: float,
    level: float,
) -> pd.DataFrame:
    """Add the expected gain of each candidate for each action, with its interval."""
    actions = [rule.action for rule in rules]
    learnt = effects.table.loc[actions]
    place = found["place"].to_numpy(dtype=np.intp)
    worth = margin * spend.reindex(found.index).to_numpy() * learnt["purchases_per_buyer"].to_numpy()[place]
    mean, error = (learnt[name].to_numpy(dtype=float)[place] for name in ("kept", "kept_error"))
    cost = settled.costs[place]
    half = float(stats.norm.ppf((1 + level) / 2)) * error
    return found.assign(
        action=np.array(actions, dtype=object)[place],
        channel=np.array(settled.channels, dtype=object)[place],
        gain=worth * mean - cost,
        lower=worth * (mean - half) - cost,
        upper=worth * (mean + half) - cost,
        worth=worth,
        cost=cost,
    )


def _chosen(
    rows: pd.DataFrame,
    rules: Sequence[Rule],
    settled: Channels,
    budget: float | None,
    capacity: Mapping[str, float] | None,
) -> tuple[pd.DataFrame, Choice]:
    """Return the rows that are chosen, the greatest gain first; customers stand in the order of their ids before."""
    ids = rows.index.unique()
    ids = ids[np.argsort(ids.astype(str), kind="stable")]
    who, place = ids.get_indexer(rows.index), rows["place"].to_numpy(dtype=np.intp)
    gains = np.full((len(ids), len(rules)), -np.inf)
    gains[who, place] = rows["gain"]
    choice = choose(gains, settled.costs, settled.channels, budget, capacity)
    taken = rows[choice.action[who] == place] if len(rows) else rows
    order = np.lexsort((taken.index.astype(str), -taken["gain"].to_numpy(dtype=float)))
    chosen = taken.iloc[order].copy()
    chosen["reason"] = [rules[i].reason(fact) for i, fact in zip(chosen["place"], chosen["fact"], strict=True)]
    return chosen, choice


def _plan(
    chosen: pd.DataFrame,
    choice: Choice,
    spans: Mapping[str, int],
    found: pd.DataFrame,
    rules: Sequence[Rule],
    effects: ContactEffects,
    settled: Channels,
    week: str,
    level: float,
    unknown: int,
) -> ContactPlan:
    sent = chosen[~chosen["is_holdout"]]
    table = _table(chosen, sent, spans, found, rules, effects, settled)
    half = float(stats.norm.ppf((1 + level) / 2)) * table.pop("error")
    table["lower"], table["upper"] = table["gain"] - half, table["gain"] + half
    gain, wide = float(table["gain"].sum()), float(np.sqrt((half**2).sum()))
    figures = {"cost": float(table["cost"].sum()), "gain": gain, "lower": gain - wide, "upper": gain + wide}
    columns = ["candidates", "possible", "chosen", "held_out", "cost", "gain", "lower", "upper", "effect", "channel"]
    table = table[[*columns, "basis"]]
    return ContactPlan(
        week=week,
        customers=len(sent),
        held_out=len(chosen) - len(sent),
        **figures,
        level=level,
        gap=choice.gap,
        unknown=unknown,
        actions=chosen[_LIST],
        lists={rule.action: sent.loc[sent["action"] == rule.action, _LIST[1:-1]] for rule in rules},
        effects=effects,
        sentence=_sentence(week, len(sent), len(chosen) - len(sent), figures, table, effects),
        table=table,
    )


def _table(
    chosen: pd.DataFrame,
    sent: pd.DataFrame,
    spans: Mapping[str, int],
    found: pd.DataFrame,
    rules: Sequence[Rule],
    effects: ContactEffects,
    settled: Channels,
) -> pd.DataFrame:
    """Return a row per action; ``error`` is that of its gain, whose effect all its customers share."""
    actions = pd.Index([rule.action for rule in rules], name="action", dtype=object)
    learnt = effects.table.loc[actions]
    sums = sent.groupby("action")[["cost", "gain", "worth"]].sum().reindex(actions, fill_value=0.0).astype(float)
    return pd.DataFrame(
        {
            "candidates": [spans[name] for name in actions],
            "possible": np.bincount(found["place"].astype(np.intp), minlength=len(actions)),
            "chosen": np.bincount(chosen["place"].astype(np.intp), minlength=len(actions)),
            "held_out": np.bincount(chosen.loc[chosen["is_holdout"], "place"].astype(np.intp), minlength=len(actions)),
            "cost": sums["cost"].to_numpy(),
            "gain": sums["gain"].to_numpy(),
            "error": (sums["worth"] * learnt["kept_error"]).to_numpy(),
            "effect": learnt["expected"].to_numpy(),
            "channel": settled.channels,
            "basis": learnt["basis"].to_numpy(),
        },
        index=actions,
    )


def _sentence(
    week: str, customers: int, held: int, figures: Mapping[str, float], table: pd.DataFrame, effects: ContactEffects
) -> str:
    if not customers + held:
        return tr("In {week} nobody is to be contacted: no contact is expected to bring more than it costs.", week=week)
    sentences = [
        trn(
            "In {week} {n:,} customer is to be contacted and {held:,} held out; this costs {cost} and is expected "
            "to bring {gain} of extra margin after cost ({lower} to {upper}).",
            "In {week} {n:,} customers are to be contacted and {held:,} held out; this costs {cost} and is "
            "expected to bring {gain} of extra margin after cost ({lower} to {upper}).",
            customers,
            week=week,
            held=held,
            **{name: money(figure) for name, figure in figures.items()},
        )
    ]
    guessed = [name for name in table.index[table["chosen"] > 0] if np.isnan(effects.table.loc[name, "effect"])]
    if guessed:
        sentences.append(
            tr(
                "The gain of {actions} is an assumption: nobody was held out yet.",
                actions=tr(", ").join(map(tr, guessed)),
            )
        )
    return paragraph(*sentences)


def _by_customer(frame: pd.DataFrame, name: str, *required: str) -> pd.DataFrame:
    if "customer_id" in frame:
        frame = frame.set_index("customer_id")
    missing = [column for column in required if column not in frame]
    if missing:
        raise MissingColumnError(
            f"{name}: column {', '.join(missing)} is needed here; the frame has {', '.join(map(str, frame.columns))}"
        )
    if not frame.index.is_unique:
        raise ParameterError(f"{name}: one row for each customer; {frame.index.duplicated().sum()} rows repeat one")
    return frame


def _check(rules: Sequence[Rule], holdout: float, margin: float, level: float, rest_days: float) -> None:
    names = [rule.action for rule in rules]
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"there is one rule or more, each for an action of its own; found {names}")
    if not 0 <= holdout < 1:
        raise ParameterError(f"the share that is held out is 0 or more and below 1; found {holdout}")
    if not 0 < margin <= 1 or not 0 < level < 1 or not rest_days >= 0:
        raise ParameterError(
            f"margin and level are shares and rest_days 0 or more; found {margin}, {level} and {rest_days}"
        )
