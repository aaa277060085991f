"""The decision: ship, do not ship, keep running or invalid, in one sentence that states the reason."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from clvlib.abtest.gate import FAIL

__all__ = ["DO_NOT_SHIP", "INVALID", "KEEP_RUNNING", "SHIP", "Decision", "Rule", "amount", "decide", "finding"]

SHIP, DO_NOT_SHIP, KEEP_RUNNING, INVALID = "ship", "do not ship", "keep running", "invalid"


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
    """

    control: str
    open_until: pd.Timestamp | None = None
    any_time: bool = False
    minimum_effect: float | None = None
    power: float = 0.8


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
    A failed check makes the experiment invalid whatever the effect; a shortage of people lets it run. Then an arm that
    is better and whose guardrails hold is shipped (the best of several). One that is better but for a broken guardrail
    is not; one for which a guardrail is not shown yet waits, as long as there is somebody to wait for. When every arm
    is worse or known to fall short of the smallest effect worth having, none is shipped. What cannot be told apart goes
    on while windows are open and is not shipped once they are over. Unless the intervals hold at every look, nothing is
    decided before the windows are over: an ordinary test that is looked at every week until it pleases rejects a true
    null not in 5% but in 21% of cases.
    """
    failed = gate[gate["status"] == FAIL]
    if len(failed):
        first = failed.iloc[0]
        return Decision(INVALID, "", f"Invalid: the check '{first['check']}' fails ({first['found']}).")
    size = gate[gate["check"] == "people per arm"].iloc[0]
    if size["status"] == "wait":
        return Decision(KEEP_RUNNING, "", f"Keep running: {size['found']}; {size['rule']} was asked for.")
    best = _best(primary)
    if rule.open_until is not None and not rule.any_time:
        until = f"windows are open until {rule.open_until:%Y-%m-%d %H:%M}, and the test is decided once, after that"
        return Decision(KEEP_RUNNING, "", f"Keep running: {until}. So far {finding(best, rule.control)}.")
    better = primary[primary["verdict"] == "better"]
    if len(better):
        return _with_guardrails(better, guardrails, rule)
    if _short(primary, rule).all() or rule.open_until is None:
        arms = " or ".join(primary["arm"].astype(str))
        return Decision(DO_NOT_SHIP, "", f"Do not ship {arms}: {_why_not(best, rule)}.")
    return Decision(KEEP_RUNNING, "", f"Keep running: {finding(best, rule.control)}{_reach(best, rule)}.")


def amount(value: float, unit: str, *, sign: bool = False) -> str:
    """Write a difference in the metric's unit.

    Examples
    --------
    >>> amount(0.032, "share"), amount(-1234.5, "money"), amount(0.25, "number", sign=True)
    ('3.20 points', '−1,234.50', '+0.250')
    """
    plus = "+" if sign else ""
    if unit == "share":
        text = f"{100 * value:{plus}.2f} points"
    elif unit == "money":
        text = f"{value:{plus},.2f}"
    else:
        text = f"{value:{plus},.3f}"
    return text.replace("-", "−")


def _with_guardrails(better: pd.DataFrame, guardrails: pd.DataFrame, rule: Rule) -> Decision:
    """Decide between arms that are better, by what they cost."""
    fallen = guardrails[guardrails["verdict"] != "holds"]
    clear = better[~better["arm"].isin(fallen["arm"])]
    if len(clear):
        best = _best(clear)
        kept = "".join(f"; {row['metric']} holds" for _, row in guardrails[guardrails["arm"] == best["arm"]].iterrows())
        return Decision(SHIP, str(best["arm"]), f"Ship {best['arm']}: {finding(best, rule.control)}{kept}.")
    best = _best(better)
    reasons = fallen[fallen["arm"] == best["arm"]]
    costs = "; ".join(_cost(row) for _, row in reasons.iterrows())
    sentence = f"{finding(best, rule.control)}, but {costs}."
    undecided = guardrails[guardrails["verdict"] == "broken"]["arm"]
    if rule.open_until is not None and not better["arm"].isin(undecided).all():
        return Decision(KEEP_RUNNING, "", f"Keep running: {sentence}")
    return Decision(DO_NOT_SHIP, "", f"Do not ship {' or '.join(better['arm'])}: {sentence}")


def _cost(row: pd.Series) -> str:
    margin = amount(row["margin"], str(row["unit"]))
    claim = "falls by more than" if row["verdict"] == "broken" else "is not shown to fall by less than"
    lower = amount(row["lower"], str(row["unit"]), sign=True)
    return f"{row['metric']} {claim} {margin} (its interval begins at {lower})"


def _best(rows: pd.DataFrame) -> pd.Series:
    return rows.iloc[int(rows["difference"].to_numpy().argmax())]


def _short(primary: pd.DataFrame, rule: Rule) -> pd.Series:
    worse = primary["verdict"] == "worse"
    return worse if rule.minimum_effect is None else worse | (primary["upper"] < rule.minimum_effect)


def finding(row: pd.Series, control: str) -> str:
    """Say in words what one row of an experiment's table shows against the control."""
    unit, metric = str(row["unit"]), f"{row['arm']}'s {row['metric']}"
    if row["verdict"] == "better":
        claim = f"{metric} is {amount(row['difference'], unit)} above {control}'s"
    elif row["verdict"] == "worse":
        claim = f"{metric} is {amount(-row['difference'], unit)} below {control}'s"
    else:
        claim = f"{metric} cannot be told from {control}'s, {amount(row['difference'], unit, sign=True)}"
    if not abs(row["upper"] - row["lower"]) < float("inf"):
        why = "nothing varies" if pd.isna(row["lower"]) else "it is too early"
        return f"{claim} ({why}, so there is no interval)"
    limits = f"{amount(row['lower'], unit, sign=True)} to {amount(row['upper'], unit, sign=True)}"
    people = f"{int(row['n']):,} against {int(row['control_n']):,} people"
    if pd.notna(row.get("clusters")):
        people += f" in {int(row['clusters']):,} and {int(row['control_clusters']):,} clusters"
    if pd.notna(row["reduction"]):
        people += f"; earlier spending explains {row['reduction']:.0%} of the variance"
    return f"{claim} ({100 * row['level']:.4g}% interval {limits}; p = {row['p_adjusted']:.2g}; {people})"


def _reach(row: pd.Series, rule: Rule) -> str:
    """Say what so many people can find, so that 'no effect' is not taken for 'could not tell'."""
    if not row["detectable"] < float("inf"):
        return ""
    return f"; so many people find {amount(row['detectable'], str(row['unit']))} with a chance of {rule.power:.0%}"


def _why_not(row: pd.Series, rule: Rule) -> str:
    found = finding(row, rule.control)
    if row["verdict"] == "worse":
        return found
    if rule.minimum_effect is not None and row["upper"] < rule.minimum_effect:
        return f"{found}, less than the {amount(rule.minimum_effect, str(row['unit']))} worth having"
    return f"the test is over and {found}{_reach(row, rule)}"
