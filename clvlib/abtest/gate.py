"""The gate: whether the data can carry a decision at all. A check that fails blocks the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy import stats

from clvlib.stats.sampling import sample_ratio

__all__ = ["BALANCE_FAIL", "BALANCE_WARN", "DOUBLE_FAIL", "FAIL", "PASS", "WARN", "check"]

PASS, WARN, FAIL = "pass", "warn", "fail"
BALANCE_FAIL = 0.001  # sample ratio and pre-period: so small a p-value is no chance (Fabijan et al. 2019)
BALANCE_WARN = 0.01
DOUBLE_FAIL = 0.01  # share of people in two arms above which leaving them out can no longer be neglected

Check = dict[str, Any]


def check(cells: pd.DataFrame, shares: Mapping[str, float], min_per_arm: int) -> pd.DataFrame:
    """Run every check on the aggregates of an experiment.

    Parameters
    ----------
    cells : pandas.DataFrame
        A row per ``variant`` and ``status`` (``mature``, ``open``, ``double``) with ``people``, ``extra_rows``,
        ``bought_before``, ``clusters`` and ``conversion_total``.
    shares : mapping
        Planned share per arm.
    min_per_arm : int
        People whose window is over that each arm needs.

    Returns
    -------
    pandas.DataFrame
        A row per check: ``check``, ``status`` (pass, warn or fail; a shortage of people is no fault of the data and
        shows as ``wait``), ``found``, ``rule``.
    """
    single = cells[cells["status"] != "double"]
    arms = single.groupby("variant")["people"].sum().reindex(list(shares), fill_value=0)
    mature = cells[cells["status"] == "mature"].set_index("variant").reindex(list(shares))
    people = mature["people"].fillna(0).astype(int)
    checks = [
        _sample_ratio(arms, shares),
        _double(cells, int(arms.sum())),
        _duplicates(cells),
        _before(mature, people),
        _order_of_time(mature),
        _size(people, min_per_arm),
        _maturity(single),
        *_clusters(single),
    ]
    return pd.DataFrame(checks)


def _row(name: str, status: str, found: str, rule: str) -> Check:
    return {"check": name, "status": status, "found": found, "rule": rule}


def _counts(people: pd.Series) -> str:
    return ", ".join(f"{arm} {int(n):,}" for arm, n in people.items())


def _judge(p_value: float) -> str:
    return FAIL if p_value < BALANCE_FAIL else WARN if p_value < BALANCE_WARN else PASS


def _sample_ratio(arms: pd.Series, shares: Mapping[str, float]) -> Check:
    test = sample_ratio(arms, [shares[str(arm)] for arm in arms.index])
    planned = ":".join(f"{shares[str(arm)]:g}" for arm in arms.index)
    found = f"{_counts(arms)} where {planned} was planned, p = {test.p_value:.4g}"
    rule = f"p below {BALANCE_FAIL:g} fails, below {BALANCE_WARN:g} warns"
    return _row("sample ratio", _judge(test.p_value), found, rule)


def _double(cells: pd.DataFrame, single: int) -> Check:
    double = int(cells.loc[cells["status"] == "double", "people"].sum())
    share = double / max(double + single, 1)
    status = FAIL if share > DOUBLE_FAIL else WARN if double else PASS
    found = f"{double:,} people were in two arms ({share:.2%}); they are left out"
    return _row("one arm per person", status, found, f"more than {DOUBLE_FAIL:.0%} fails, any warns")


def _duplicates(cells: pd.DataFrame) -> Check:
    extra = int(cells.loc[cells["status"] != "double", "extra_rows"].sum())
    found = f"{extra:,} repeated rows; the first of each person counts"
    return _row("one row per person", WARN if extra else PASS, found, "any warns")


def _before(mature: pd.DataFrame, people: pd.Series) -> Check:
    """Buyers and non-buyers of the window before assignment, by arm: a chi-square of homogeneity in two parts."""
    name, rule = "balance before the test", f"p below {BALANCE_FAIL:g} fails, below {BALANCE_WARN:g} warns"
    before = mature["bought_before"].fillna(0).astype(int)
    there = people > 0
    bought, total = before[there], people[there]
    if there.sum() < 2 or bought.sum() in {0, total.sum()}:
        found = "nobody" if bought.sum() == 0 else "everybody"
        return _row(name, PASS, f"{found} bought in the window before assignment", rule)
    # Pearson's statistic of the 2 x k table is the sum over buyers and non-buyers; sample_ratio gives each part
    statistic = sample_ratio(bought, total).chi2 + sample_ratio(total - bought, total).chi2
    p_value = float(stats.chi2.sf(statistic, int(there.sum()) - 1))
    rates = ", ".join(f"{arm} {rate:.1%}" for arm, rate in (bought / total).items())
    return _row(name, _judge(p_value), f"bought in the window before assignment: {rates}, p = {p_value:.4g}", rule)


def _order_of_time(mature: pd.DataFrame) -> Check:
    after, before = mature["conversion_total"].fillna(0).sum(), mature["bought_before"].fillna(0).sum()
    wrong = after == 0 and before > 0
    found = f"{int(after):,} people bought within their window, {int(before):,} in the window before it"
    rule = "orders before assignment and none after it fail: the assignment was recorded after its outcome"
    return _row("assignment before outcome", FAIL if wrong else PASS, found, rule)


def _size(people: pd.Series, min_per_arm: int) -> Check:
    enough = bool((people >= min_per_arm).all())
    found = f"{_counts(people)} people whose window is over"
    return _row("people per arm", PASS if enough else "wait", found, f"at least {min_per_arm:,} in each arm")


def _maturity(single: pd.DataFrame) -> Check:
    still = int(single.loc[single["status"] == "open", "people"].sum())
    found = f"{still:,} people's window is still open; they count neither as converted nor as lost"
    return _row("open windows", PASS, found, "left out until the window is over")


def _clusters(single: pd.DataFrame) -> list[Check]:
    """People assigned together are not independent; say so where a cluster id shows it."""
    clusters, people = int(single["clusters"].sum()), int(single["people"].sum())
    if not 0 < clusters < people / 2:
        return []
    found = f"{people:,} people were assigned in {clusters:,} clusters; intervals here treat people as independent"
    return [_row("independent people", WARN, found, "assignment by stream or store makes intervals too narrow")]
