"""The decision: ship, do not ship, keep running or invalid, in one sentence that states the reason."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from clvlib.abtest.gate import FAIL
from clvlib.words import mark, money, tr

__all__ = ["DO_NOT_SHIP", "INVALID", "KEEP_RUNNING", "SHIP", "Decision", "Rule", "amount", "decide", "finding"]

SHIP, DO_NOT_SHIP = mark("ship"), mark("do not ship")
KEEP_RUNNING, INVALID = mark("keep running"), mark("invalid")
_GUARDED = {
    "holds": mark("{arm}'s {metric} holds, {size} against {control}'s"),
    "broken": mark("{arm}'s {metric} is worse by more than is borne, {size} against {control}'s"),
    "not shown": mark("{arm}'s {metric} is not shown to hold, {size} against {control}'s"),
}


@dataclass(frozen=True)
class Decision:
    """What to do, about which arm, and why.

    Attributes
    ----------
    verdict : str
        ``ship``, ``do not ship``, ``keep running`` or ``invalid``.
    arm : str
        The arm to ship; empty for any other verdict.
    sentence : str
        The verdict with its reason.
    """

    verdict: str
    arm: str
    sentence: str


@dataclass(frozen=True)
class Rule:
    """How an experiment is decided, fixed before it is looked at.

    Attributes
    ----------
    control : str
        Name of the control arm.
    open_until : pandas.Timestamp or None
        When the last open window ends; None when all are over.
    any_time : bool
        Whether a decision may fall while windows are open; only with intervals that hold at every look.
    minimum_effect : float or None
        Smallest effect worth having; an arm is dropped once its interval lies below.
    power : float
        At which the detectable effect is stated.
    enough_by : pandas.Timestamp or None
        When each arm has the people asked for, if people go on coming as they have; None if that is not known.
    stopped : pandas.Timestamp or None
        When the last person was assigned, where the test has ended; None while it may go on.
    planned : bool
        Whether each arm has been given the people asked for, their windows over or not.
    """

    control: str
    open_until: pd.Timestamp | None = None
    any_time: bool = False
    minimum_effect: float | None = None
    power: float = 0.8
    enough_by: pd.Timestamp | None = None
    stopped: pd.Timestamp | None = None
    planned: bool = False


def decide(primary: pd.DataFrame, guardrails: pd.DataFrame, gate: pd.DataFrame, rule: Rule) -> Decision:
    """Decide from the rows of the primary metric.

    Parameters
    ----------
    primary : pandas.DataFrame
        A row per treatment arm with ``arm``, ``metric``, ``unit``, ``n``, ``control_n``, ``difference``, ``lower``,
        ``upper``, ``level``, ``p_adjusted``, ``verdict``, ``detectable``.
    guardrails : pandas.DataFrame
        Likewise a row per guardrail and treatment arm, with ``margin``.
    gate : pandas.DataFrame
        What :func:`clvlib.abtest.gate.check` returned.
    rule : Rule
        What was agreed beforehand.

    Notes
    -----
    A failed check makes the experiment invalid whatever the effect; a shortage of people lets it run, or where nobody
    comes any more ends it without anything to ship. Then an arm that
    is better, may have the smallest effect worth having and whose guardrails hold is shipped (the best of several). One
    that is better but for a broken guardrail is not; one for which a guardrail is not shown yet waits, as long as there
    is somebody to wait for. When every arm is worse or known to fall short of the smallest effect worth having, none is
    shipped. What cannot be told apart goes on while windows are open and is not shipped once they are over. Unless the
    intervals hold at every look, nothing is decided before the windows are over: an ordinary test that is looked at
    every week until it pleases rejects a true null not in 5% but in 21% of cases.
    """
    failed = gate[gate["status"] == FAIL]
    if len(failed):
        first = failed.iloc[0]
        text = mark("Invalid: the check '{check}' fails ({found}).")
        return Decision(INVALID, "", tr(text, check=tr(first["check"]), found=first["found"]))
    size = gate[gate["check"] == "people per arm"].iloc[0]
    best = _best(primary)
    if size["status"] == "wait":
        return _too_few(primary, size, rule)
    if rule.open_until is not None and not rule.any_time:
        text = mark(
            "Keep running: windows are open until {until:%Y-%m-%d %H:%M}, and the test is decided once, after that. So "
            "far {finding}."
        )
        if rule.planned:
            text = mark(
                "Keep running, but assign nobody else: every arm has the people that were asked for. Windows are open "
                "until {until:%Y-%m-%d %H:%M}, and the test is decided once, after that. So far {finding}."
            )
        return Decision(KEEP_RUNNING, "", tr(text, until=rule.open_until, finding=finding(best, rule.control)))
    better = primary[(primary["verdict"] == "better") & ~_short(primary, rule)]
    if len(better):
        return _with_guardrails(better, guardrails, rule)
    if _short(primary, rule).all() or rule.open_until is None:
        arms = tr(" or ").join(primary["arm"].astype(str))
        return Decision(DO_NOT_SHIP, "", tr("Do not ship {arms}: {reason}.", arms=arms, reason=_why_not(best, rule)))
    reason = tr("; ").join([finding(best, rule.control), *_reach(best, rule)])
    return Decision(KEEP_RUNNING, "", tr("Keep running: {reason}.", reason=reason))


def _too_few(primary: pd.DataFrame, size: pd.Series, rule: Rule) -> Decision:
    """Wait for the people asked for, as long as there is somebody to wait for."""
    names = {"found": size["found"], "rule": size["rule"]}
    if rule.stopped is not None:
        arms = tr(" or ").join(primary["arm"].astype(str))
        text = mark(
            "Do not ship {arms}: the test ended too small to decide, as nobody has been assigned since {day:%Y-%m-%d} "
            "({found}; {rule} was asked for). {finding}."
        )
        told = finding(_best(primary), rule.control)
        return Decision(DO_NOT_SHIP, "", tr(text, arms=arms, day=rule.stopped, finding=told, **names))
    text = mark("Keep running: {found}; {rule} was asked for.")
    if rule.enough_by is not None:
        text = mark("Keep running: {found}; {rule} was asked for, which the pace so far gives on {day:%Y-%m-%d}.")
    return Decision(KEEP_RUNNING, "", tr(text, day=rule.enough_by, **names))


def amount(value: float, unit: str, *, sign: bool = False) -> str:
    """Write a difference in the metric's unit.

    Examples
    --------
    >>> amount(0.032, "share"), amount(-1234.5, "money"), amount(0.25, "number", sign=True)
    ('3.20 points', '−1,234', '+0.250')
    """
    plus = "+" if sign else ""
    if unit == "share":
        return tr("{number} points", number=f"{100 * value:{plus}.2f}".replace("-", "−"))
    return money(value, sign=sign) if unit == "money" else f"{value:{plus},.3f}".replace("-", "−")


def _with_guardrails(better: pd.DataFrame, guardrails: pd.DataFrame, rule: Rule) -> Decision:
    """Decide between arms that are better, by what they cost."""
    fallen = guardrails[guardrails["verdict"] != "holds"]
    clear = better[~better["arm"].isin(fallen["arm"])]
    if len(clear):
        best = _best(clear)
        kept = guardrails.loc[guardrails["arm"] == best["arm"], "metric"]
        held = [tr("{metric} holds", metric=tr(name)) for name in kept]
        reason = tr("; ").join([finding(best, rule.control), *held])
        return Decision(SHIP, str(best["arm"]), tr("Ship {arm}: {reason}.", arm=best["arm"], reason=reason))
    best = _best(better)
    reasons = fallen[fallen["arm"] == best["arm"]]
    costs = tr("; ").join(_cost(row) for _, row in reasons.iterrows())
    reason = tr("{finding}, but {costs}", finding=finding(best, rule.control), costs=costs)
    undecided = guardrails[guardrails["verdict"] == "broken"]["arm"]
    if rule.open_until is not None and not better["arm"].isin(undecided).all():
        return Decision(KEEP_RUNNING, "", tr("Keep running: {reason}.", reason=reason))
    arms = tr(" or ").join(better["arm"])
    return Decision(DO_NOT_SHIP, "", tr("Do not ship {arms}: {reason}.", arms=arms, reason=reason))


def _cost(row: pd.Series) -> str:
    """Say that a guardrail does not hold, and where the interval ends that says so."""
    texts = {
        ("higher", "broken"): mark("{metric} falls by more than {margin} (its interval begins at {lower})"),
        ("lower", "broken"): mark("{metric} rises by more than {margin} (its interval ends at {upper})"),
        ("lower", "not shown"): mark(
            "{metric} is not shown to rise by less than {margin} (its interval ends at {upper})"
        ),
        ("higher", "not shown"): mark(
            "{metric} is not shown to fall by less than {margin} (its interval begins at {lower})"
        ),
    }
    unit = str(row["unit"])
    limits = {end: amount(row[end], unit, sign=True) for end in ("lower", "upper")}
    return tr(
        texts[row["better"], row["verdict"]], metric=tr(row["metric"]), margin=amount(row["margin"], unit), **limits
    )


def _best(rows: pd.DataFrame) -> pd.Series:
    return rows.iloc[int(rows["difference"].to_numpy().argmax())]


def _short(primary: pd.DataFrame, rule: Rule) -> pd.Series:
    worse = primary["verdict"] == "worse"
    return worse if rule.minimum_effect is None else worse | (primary["upper"] < rule.minimum_effect)


def finding(row: pd.Series, control: str) -> str:
    """Say in words what one row of an experiment's table shows against the control."""
    unit, change = str(row["unit"]), row["difference"]
    names = {"arm": row["arm"], "metric": tr(row["metric"]), "control": control}
    told = row["lower"] > 0 or row["upper"] < 0
    if row.get("role") == "guardrail":
        claim = tr(_GUARDED[row["verdict"]], size=amount(change, unit, sign=True), **names)
    elif told and change > 0:
        claim = tr("{arm}'s {metric} is {size} above {control}'s", size=amount(change, unit), **names)
    elif told:
        claim = tr("{arm}'s {metric} is {size} below {control}'s", size=amount(-change, unit), **names)
    else:
        size = amount(change, unit, sign=True)
        claim = tr("{arm}'s {metric} cannot be told from {control}'s, {size}", size=size, **names)
    if not abs(row["upper"] - row["lower"]) < float("inf"):
        if pd.isna(row["lower"]) and 1 in {row.get("clusters"), row.get("control_clusters")}:
            return tr(
                "{claim} (an arm of one cluster does not show how much clusters differ: no interval)", claim=claim
            )
        if pd.isna(row["lower"]):
            return tr("{claim} (nothing varies, so there is no interval)", claim=claim)
        return tr("{claim} (it is too early, so there is no interval)", claim=claim)
    limits = {end: amount(row[end], unit, sign=True) for end in ("lower", "upper")}
    limits |= {"level": f"{100 * row['level']:.4g}%", "people": _people(row)}
    if row.get("role") == "guardrail":  # its p-value is that of a loss by the margin
        text = mark("{claim} ({level} interval {lower} to {upper}; {margin} worse would be borne; {people})")
        return tr(text, claim=claim, margin=amount(row["margin"], unit), **limits)
    text = mark("{claim} ({level} interval {lower} to {upper}; p = {p_value:.2g}; {people})")
    return tr(text, claim=claim, p_value=row["p_adjusted"], **limits)


def _people(row: pd.Series) -> str:
    """Say whom a finding rests on."""
    people = tr("{n:,} against {control_n:,} people", n=int(row["n"]), control_n=int(row["control_n"]))
    if pd.notna(row.get("clusters")):
        clusters = {"clusters": int(row["clusters"]), "control_clusters": int(row["control_clusters"])}
        people = tr("{people} in {clusters:,} and {control_clusters:,} clusters", people=people, **clusters)
    if pd.notna(row["reduction"]):
        text = mark("{people}; earlier spending explains {share:.0%} of the variance")
        people = tr(text, people=people, share=row["reduction"])
    return people


def _reach(row: pd.Series, rule: Rule) -> list[str]:
    """Say what so many people can find, so that 'no effect' is not taken for 'could not tell'."""
    if not row["detectable"] < float("inf"):
        return []
    reach = amount(row["detectable"], str(row["unit"]))
    return [tr("so many people find {reach} with a chance of {power:.0%}", reach=reach, power=rule.power)]


def _why_not(row: pd.Series, rule: Rule) -> str:
    found = finding(row, rule.control)
    if row["verdict"] == "worse":
        return found
    if rule.minimum_effect is not None and row["upper"] < rule.minimum_effect:
        effect = amount(rule.minimum_effect, str(row["unit"]))
        return tr("{found}, less than the {effect} worth having", found=found, effect=effect)
    return tr("; ").join([tr("the test is over and {found}", found=found), *_reach(row, rule)])
