"""The gate: whether the data can carry a decision at all. A check that fails blocks the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from clvlib.stats.sampling import sample_ratio, sample_ratios
from clvlib.words import mark, tr

__all__ = ["BALANCE_FAIL", "BALANCE_WARN", "DOUBLE_FAIL", "FAIL", "FEW_CLUSTERS", "PASS", "WARN", "check"]

PASS, WARN, FAIL, WAIT = mark("pass"), mark("warn"), mark("fail"), mark("wait")
_ANY_WARNS = mark("any warns")
BALANCE_FAIL = 0.001  # sample ratio and pre-period: so small a p-value is no chance (Fabijan et al. 2019)
BALANCE_WARN = 0.01
FEW_CLUSTERS = 30  # an arm, below which cluster-robust errors tend to be too small (Cameron & Miller 2015)
FEW_EXPECTED = 5  # of an arm on a day, below which a chi-square says nothing
UNCOVERED_FAIL = 0.01  # share of people whose window lies outside of the time of all orders
DOUBLE_FAIL = 0.01  # share of people in two arms above which leaving them out can no longer be neglected

Check = dict[str, Any]


def check(
    cells: pd.DataFrame,
    shares: Mapping[str, float],
    min_per_arm: int,
    assigned: pd.DataFrame,
    shared: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Run every check on the aggregates of an experiment.

    Parameters
    ----------
    cells : pandas.DataFrame
        A row per ``variant`` and ``status`` (``mature``, ``open``, ``double``) with ``people``, ``extra_rows``,
        ``bought_before``, ``uncovered`` (people whose whole window lies before the first order that was read, or after
        the last), and ``conversion_total`` if conversion is measured; with clusters also ``clusters``,
        ``freedom`` and ``before_variance``. Without ``bought_before``, what assignments and orders alone can tell is
        left out.
    shares : mapping
        Planned share per arm.
    min_per_arm : int
        People whose window is over that each arm needs.
    assigned : pandas.DataFrame
        Rows of ``variant`` and ``people``, without those of two arms, with the ``day`` of assignment and the
        ``segment`` if they are known; and with ``cluster_id`` where clusters were assigned, which are then held against
        the planned shares instead.
    shared : pandas.DataFrame, optional
        People who are in ``other`` experiments too, by ``variant`` and ``other_variant``; people of clusters are no lot
        of their own, so nothing is checked there.

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
    clusters = _number(assigned).reindex(list(shares), fill_value=0) if "cluster_id" in assigned else None
    checks = [_sample_ratio(arms, shares) if clusters is None else _sample_ratio(clusters, shares, clustered=True)]
    if "day" in assigned:
        checks.append(_by_day(assigned, shares))
    if "segment" in assigned and assigned["segment"].notna().any():
        checks.append(_by_segment(assigned, shares))
    if shared is not None and clusters is None:
        checks.append(_others(shared))
    if "bought_before" in cells:
        checks += [_double(cells, int(arms.sum())), _duplicates(cells)]
        checks.append(_before(mature, people, clustered=clusters is not None))
        checks += [_order_of_time(mature)] if "conversion_total" in mature else []
        checks += [_covered(mature, int(people.sum()))] if "uncovered" in cells else []
    checks += [_size(people, min_per_arm), _maturity(single)]
    if clusters is not None:
        checks += _clusters(clusters, mature["freedom"] + 1, assigned)
    return pd.DataFrame(checks)


def _row(name: str, status: str, found: str, rule: str) -> Check:
    return {"check": name, "status": status, "found": found, "rule": rule}


def _counts(people: pd.Series) -> str:
    return tr(", ").join(f"{arm} {int(n):,}" for arm, n in people.items())


def _judge(p_value: float) -> str:
    return FAIL if p_value < BALANCE_FAIL else WARN if p_value < BALANCE_WARN else PASS


def _number(assigned: pd.DataFrame, *by: str) -> pd.Series:
    """Count the people of each arm, or the clusters where there are any, people without one being their own."""
    keys = [*by, "variant"]
    if "cluster_id" not in assigned:
        return assigned.groupby(keys)["people"].sum()
    alone = assigned["cluster_id"].isna()
    clusters = assigned[~alone].groupby(keys)["cluster_id"].nunique()
    return clusters.add(assigned[alone].groupby(keys)["people"].sum(), fill_value=0).astype(int)


def _sample_ratio(arms: pd.Series, shares: Mapping[str, float], *, clustered: bool = False) -> Check:
    test = sample_ratio(arms, [shares[str(arm)] for arm in arms.index])
    planned = ":".join(f"{shares[str(arm)]:g}" for arm in arms.index)
    text = mark("{counts} where {planned} was planned, p = {p_value:.4g}")
    if clustered:
        text = mark("{counts} clusters where {planned} was planned, p = {p_value:.4g}")
    found = tr(text, counts=_counts(arms), planned=planned, p_value=test.p_value)
    return _row(mark("sample ratio"), _judge(test.p_value), found, _p_rule())


def _p_rule() -> str:
    return tr("p below {fail:g} fails, below {warn:g} warns", fail=BALANCE_FAIL, warn=BALANCE_WARN)


def _worst(assigned: pd.DataFrame, shares: Mapping[str, float], by: str) -> tuple[int, float, str, str]:
    """Look for the part whose split is least by chance: number of parts, p times that number, its name and counts."""
    found = _number(assigned, by).rename("n").reset_index()
    counts = found.pivot_table("n", by, "variant", aggfunc="sum", fill_value=0)
    counts = counts.reindex(columns=list(shares), fill_value=0)
    counts = counts[min(shares.values()) / sum(shares.values()) * counts.sum(axis=1) >= FEW_EXPECTED]
    if counts.empty:
        return 0, 1.0, "", ""
    p_values = sample_ratios(counts, list(shares.values()))
    worst = int(p_values.argmin())
    part = counts.index[worst]
    named = f"{pd.Timestamp(part):%Y-%m-%d}" if by == "day" else str(part)
    return len(counts), min(1.0, float(p_values[worst]) * len(counts)), named, _counts(counts.iloc[worst])


def _by_day(assigned: pd.DataFrame, shares: Mapping[str, float]) -> Check:
    """Hold each day against the plan; a broken hour is lost in the sum of a month."""
    n, p_value, worst, counts = _worst(assigned, shares, "day")
    text = mark("the worst day, p times days below {fail:g} fails, below {warn:g} warns")
    rule = tr(text, fail=BALANCE_FAIL, warn=BALANCE_WARN)
    if not n:
        return _row(mark("sample ratio by day"), PASS, tr("no day has enough people to tell"), rule)
    text = mark("{n} days; the worst, {day}, has {counts}, p = {p_value:.4g}")
    found = tr(text, n=n, day=worst, counts=counts, p_value=p_value)
    return _row(mark("sample ratio by day"), _judge(p_value), found, rule)


def _by_segment(assigned: pd.DataFrame, shares: Mapping[str, float]) -> Check:
    """Hold each segment against the plan; a browser that never shows one arm is lost in the sum of all."""
    n, p_value, worst, counts = _worst(assigned, shares, "segment")
    text = mark("the worst segment, p times segments below {fail:g} fails, below {warn:g} warns")
    rule = tr(text, fail=BALANCE_FAIL, warn=BALANCE_WARN)
    if not n:
        return _row(mark("sample ratio by segment"), PASS, tr("no segment has enough people to tell"), rule)
    text = mark("{n} segments; the worst, {segment}, has {counts}, p = {p_value:.4g}")
    found = tr(text, n=n, segment=tr(worst), counts=counts, p_value=p_value)
    return _row(mark("sample ratio by segment"), _judge(p_value), found, rule)


def _others(shared: pd.DataFrame) -> Check:
    """Look for the other experiment whose arms go most with ours: then its effect is taken for ours."""
    text = mark(
        "p times experiments below {fail:g} fails, below {warn:g} warns: arms of two tests must not go together"
    )
    rule = tr(text, fail=BALANCE_FAIL, warn=BALANCE_WARN)
    name, found = mark("other experiments"), []
    for other, rows in shared.groupby("other"):
        counts = rows.pivot_table("people", "variant", "other_variant", aggfunc="sum", fill_value=0).to_numpy(
            dtype=float
        )
        expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
        if min(counts.shape) > 1 and expected.min() >= FEW_EXPECTED:
            statistic, df = ((counts - expected) ** 2 / expected).sum(), (counts.shape[0] - 1) * (counts.shape[1] - 1)
            found.append((float(special.chdtrc(df, statistic)), str(other), int(counts.sum())))
    if not found:
        return _row(name, PASS, tr("none shares people enough to tell"), rule)
    p_value, other, people = min(found)
    p_value = min(1.0, p_value * len(found))
    text = mark(
        "of {n} that share people, {other} has {people:,} of ours and the arms that go with ours most, p = "
        "{p_value:.4g}"
    )
    return _row(name, _judge(p_value), tr(text, n=len(found), other=other, people=people, p_value=p_value), rule)


def _double(cells: pd.DataFrame, single: int) -> Check:
    double = int(cells.loc[cells["status"] == "double", "people"].sum())
    share = double / max(double + single, 1)
    status = FAIL if share > DOUBLE_FAIL else WARN if double else PASS
    found = tr("{n:,} people were in two arms ({share:.2%}); they are left out", n=double, share=share)
    rule = tr("more than {share:.0%} fails, any warns", share=DOUBLE_FAIL)
    return _row(mark("one arm per person"), status, found, rule)


def _duplicates(cells: pd.DataFrame) -> Check:
    extra = int(cells.loc[cells["status"] != "double", "extra_rows"].sum())
    found = tr("{n:,} repeated rows; the first of each person counts", n=extra)
    return _row(mark("one row per person"), WARN if extra else PASS, found, tr(_ANY_WARNS))


def _before(mature: pd.DataFrame, people: pd.Series, *, clustered: bool) -> Check:
    """Compare shares of buyers in the window before assignment by a chi-square, those of clusters by Welch's test."""
    name, rule = mark("balance before the test"), _p_rule()
    before = mature["bought_before"].fillna(0).astype(int)
    there = people > 0
    bought, total = before[there], people[there]
    if there.sum() < 2 or bought.sum() in {0, total.sum()}:
        text = mark("everybody bought in the window before assignment")
        if bought.sum() == 0:
            text = mark("nobody bought in the window before assignment")
        return _row(name, PASS, tr(text), rule)
    if clustered:
        p_value = _welch(bought / total, mature["before_variance"][there] / total, mature["freedom"][there])
    else:
        # Pearson's statistic of the 2 x k table is the sum over buyers and non-buyers; sample_ratio gives each part
        statistic = sample_ratio(bought, total).chi2 + sample_ratio(total - bought, total).chi2
        p_value = float(special.chdtrc(int(there.sum()) - 1, statistic))
    rates = tr(", ").join(f"{arm} {rate:.1%}" for arm, rate in (bought / total).items())
    text = mark("bought in the window before assignment: {rates}, p = {p_value:.4g}")
    return _row(name, _judge(p_value), tr(text, rates=rates, p_value=p_value), rule)


def _welch(means: pd.Series, squared_errors: pd.Series, freedom: pd.Series) -> float:
    """P-value of Welch's (1951) test that several means are equal; 1 where an arm shows no error to hold against."""
    if not ((squared_errors > 0) & (freedom > 0)).all():
        return 1.0
    k, weights = len(means), 1 / squared_errors
    shares = weights / weights.sum()
    distance = float((weights * (means - (shares * means).sum()) ** 2).sum())
    lack = float(((1 - shares) ** 2 / freedom).sum()) / (k * k - 1)
    return float(special.fdtrc(k - 1, 1 / (3 * lack), distance / (k - 1) / (1 + 2 * (k - 2) * lack)))


def _order_of_time(mature: pd.DataFrame) -> Check:
    after, before = mature["conversion_total"].fillna(0).sum(), mature["bought_before"].fillna(0).sum()
    wrong = after == 0 and before > 0
    text = mark("{after:,} people bought within their window, {before:,} in the window before it")
    found = tr(text, after=int(after), before=int(before))
    rule = tr("orders before assignment and none after it fail: the assignment was recorded after its outcome")
    return _row(mark("assignment before outcome"), FAIL if wrong else PASS, found, rule)


def _covered(mature: pd.DataFrame, people: int) -> Check:
    """Orders that were not read look like people who did not buy."""
    n = int(mature["uncovered"].fillna(0).sum())
    share = n / max(people, 1)
    found = tr("of {people:,} people {n:,} have a window without any order in the data, by anybody", people=people, n=n)
    rule = tr("more than {share:.0%} fails, any warns", share=UNCOVERED_FAIL)
    return _row(mark("orders cover the windows"), FAIL if share > UNCOVERED_FAIL else WARN if n else PASS, found, rule)


def _size(people: pd.Series, min_per_arm: int) -> Check:
    enough = bool((people >= min_per_arm).all())
    found = tr("{counts} people whose window is over", counts=_counts(people))
    rule = tr("at least {n:,} in each arm", n=min_per_arm)
    return _row(mark("people per arm"), PASS if enough else WAIT, found, rule)


def _maturity(single: pd.DataFrame) -> Check:
    still = int(single.loc[single["status"] == "open", "people"].sum())
    found = tr("{n:,} people's window is still open; they count neither as converted nor as lost", n=still)
    return _row(mark("open windows"), PASS, found, tr("left out until the window is over"))


def _clusters(clusters: pd.Series, worth: pd.Series, assigned: pd.DataFrame) -> list[Check]:
    """People assigned together are not independent: how many clusters there are, and whether any is split."""
    few = not bool((worth.round(1) >= FEW_CLUSTERS).all())
    even = ", ".join(f"{number:.3g}" for number in worth.fillna(0))
    text = mark("{counts} clusters of people, worth {even} of one size; intervals allow for it")
    found = tr(text, counts=_counts(clusters), even=even)
    rule = tr("worth fewer than {n} in an arm warn", n=FEW_CLUSTERS)
    checks = [_row(mark("clusters per arm"), WARN if few else PASS, found, rule)]
    pairs = assigned.dropna(subset="cluster_id").drop_duplicates(["cluster_id", "variant"])
    split = int((pairs["cluster_id"].value_counts() > 1).sum())
    if split:
        found = tr("{n:,} clusters have people in several arms and count once in each", n=split)
        rule = tr("any warns: was it people who were assigned?")
        checks.append(_row(mark("one arm per cluster"), WARN, found, rule))
    return checks
