"""Whether an effect is the same for everybody: the effect in each segment, and a test that it differs between them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from scipy import special

from clvlib.abtest.decision import amount
from clvlib.abtest.experiment import Experiment
from clvlib.abtest.metric import Metric, Row
from clvlib.abtest.query import fetch, merged, span
from clvlib.data.engine import Table
from clvlib.errors import EmptyDataError
from clvlib.result import Result
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.words import mark, tr

__all__ = ["SegmentResult", "segments"]

COLUMNS = (
    *("segment", "arm", "n", "control_n", "value", "control_value"),
    *("difference", "lower", "upper", "level", "p_value", "p_adjusted", "verdict"),
)


@dataclass(frozen=True)
class SegmentResult(Result):
    """The effect by segment.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per segment and treatment arm: ``segment``, ``arm``, ``n``, ``control_n``, ``value``, ``control_value``,
        ``difference``, ``lower``, ``upper``, ``level``, ``p_value``, ``p_adjusted`` (Benjamini and Hochberg over all
        rows, with intervals that agree), ``verdict``.
    interaction : pandas.DataFrame
        A row per treatment arm: ``arm``, ``segments``, ``statistic``, ``p_value`` of the hypothesis that the effect is
        the same in all segments (Cochran 1954), ``p_adjusted`` (Holm over the arms).
    by, metric, unit : str
        What the segments are, what is compared, and its unit.
    level : float
        Of the tests together.
    left_out : str
        Segments that an arm is absent from or in which nothing varies.
    sentence : str
        Whether the effect differs.
    """

    interaction: pd.DataFrame
    by: str
    metric: str
    unit: str
    level: float
    left_out: str
    sentence: str


def segments(
    experiment: Experiment,
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    customers: Table | pd.DataFrame,
    by: str,
    *,
    as_of: str | dt.date | None = None,
) -> SegmentResult:
    """Compare the primary metric in each segment.

    Parameters
    ----------
    experiment : Experiment
        What is analysed; its level and metric count, its looks do not.
    assignments, orders, as_of
        As :meth:`Experiment.analyse` takes them.
    customers : Table or pandas.DataFrame
        Has ``customer_id`` and the column ``by``, as known before the test; people that it lacks are ``unknown``.
    by : str
        A column of ``customers``.

    Raises
    ------
    EmptyDataError
        No segment has people of all arms whose windows are over, or fewer than two have outcomes that vary.
    MissingColumnError
        ``customers`` has no such column.

    Notes
    -----
    Twenty segments show one effect at the 5% level where there is none, and a true effect misses significance in most
    small segments; so first the interaction is tested, and the segments are read when that is significant.
    """
    window, history = span(experiment.window, "window"), span(experiment.history, "history")
    metric = next(m for m in experiment.metrics if m.name == experiment.metric)
    cells = fetch(
        assignments, orders, [metric], name=experiment.name, window=window, history=history, as_of=as_of,
        segments=(customers, by),
    )  # fmt: skip
    if "cluster_id" in cells:
        metric = metric.clustered()
    mature = cells[(cells["status"] == "mature") & (cells["people"] > 0)]
    groups, left_out = _groups(metric, mature, experiment.control)
    if not groups:
        text = mark("experiment {name!r}: in no {by} are there people of every arm who can be told")
        raise EmptyDataError(tr(text, name=experiment.name, by=tr(by)))
    interaction = _interaction(metric, groups, experiment)
    if interaction["segments"].max() < 2:
        text = mark("experiment {name!r}: fewer than two segments by {by} have outcomes to compare")
        raise EmptyDataError(tr(text, name=experiment.name, by=tr(by)))
    table = _table(metric, groups, experiment)
    return SegmentResult(
        table=table,
        interaction=interaction,
        by=by,
        metric=metric.name,
        unit=metric.unit,
        level=experiment.level,
        left_out=", ".join(left_out),
        sentence=_sentence(table, interaction, metric, by, 1 - experiment.level),
    )


def _groups(metric: Metric, mature: pd.DataFrame, control: str) -> tuple[dict[str, dict[str, Row]], list[str]]:
    """Each segment's arms, and the segments that cannot be told."""
    arms = set(mature["variant"].astype(str))
    found: dict[str, dict[str, Row]] = {}
    for row in merged(mature, ["segment", "variant"], [metric]).to_dict("records"):
        of_arm = {str(key): value for key, value in row.items() if key != "segment"}
        found.setdefault(str(row["segment"]), {})[str(row["variant"])] = of_arm
    groups: dict[str, dict[str, Row]] = {}
    left_out = []
    for segment, there in sorted(found.items()):
        ready = metric.prepare(there) if arms == set(there) else {}
        if ready and all(metric.varies(ready[arm], ready[control]) for arm in arms - {control}):
            groups[segment] = ready
        else:
            left_out.append(segment)
    return groups, left_out


def _table(metric: Metric, groups: Mapping[str, Mapping[str, Row]], experiment: Experiment) -> pd.DataFrame:
    control = experiment.control
    pairs = [(name, arm, arms[arm], arms[control]) for name, arms in groups.items() for arm in arms if arm != control]
    first = [metric.difference(treated, row, experiment.level) for _, _, treated, row in pairs]
    p_values = [effect.p_value for effect in first]
    adjusted = adjust(p_values, "benjamini-hochberg")
    levels = agreeing_alpha(p_values, 1 - experiment.level, "benjamini-hochberg")
    rows = []
    for (name, arm, treated, row), p, alpha in zip(pairs, adjusted, levels, strict=True):
        effect = metric.difference(treated, row, 1 - float(alpha))
        values = [metric.arm(side, experiment.level) for side in (treated, row)]
        told = "better" if effect.estimate > 0 else "worse"
        figures = (effect.estimate, effect.lower, effect.upper, effect.level, effect.p_value, float(p))
        verdict = told if effect.significant else "not told apart"
        rows.append((name, arm, values[0].n, values[1].n, values[0].value, values[1].value, *figures, verdict))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _interaction(metric: Metric, groups: Mapping[str, Mapping[str, Row]], experiment: Experiment) -> pd.DataFrame:
    """Weigh the spread of the segments' effects against their errors, for each arm."""
    rows = []
    for arm in next(iter(groups.values())):
        if arm == experiment.control:
            continue
        sides = [(metric.arm(g[arm], 0.95), metric.arm(g[experiment.control], 0.95)) for g in groups.values()]
        effects = pd.DataFrame([(t.value - c.value, t.error**2 + c.error**2) for t, c in sides], columns=["d", "v"])
        effects = effects[effects["v"] > 0]
        weights = 1 / effects["v"]
        spread = effects["d"] - (weights * effects["d"]).sum() / (float(weights.sum()) or 1.0)
        statistic, df = float((weights * spread**2).sum()), len(effects) - 1
        p_value = float(special.chdtrc(df, statistic)) if df > 0 else 1.0
        rows.append({"arm": arm, "segments": len(effects), "statistic": statistic, "p_value": p_value})
    frame = pd.DataFrame(rows)
    return frame.assign(p_adjusted=adjust(frame["p_value"]))


def _sentence(table: pd.DataFrame, interaction: pd.DataFrame, metric: Metric, by: str, alpha: float) -> str:
    """Name the segments between which the effect differs most, if it differs."""
    first = interaction.iloc[int(interaction["p_adjusted"].to_numpy().argmin())]
    names = {"metric": tr(metric.name), "by": tr(by), "p_value": first["p_adjusted"], "n": int(first["segments"])}
    if first["p_adjusted"] >= alpha:
        text = mark(
            "No difference of the effect on {metric} between segments by {by} can be told (p = {p_value:.2g}, {n} "
            "segments)."
        )
        return tr(text, **names)
    rows = table[table["arm"] == first["arm"]]
    ends = [rows.iloc[int(place)] for place in (rows["difference"].argmax(), rows["difference"].argmin())]
    most, least = (
        tr("{size} in {segment}", size=amount(row["difference"], metric.unit, sign=True), segment=tr(row["segment"]))
        for row in ends
    )
    text = mark("{arm}'s effect on {metric} differs by {by} (p = {p_value:.2g}, {n} segments): from {least} to {most}.")
    return tr(text, arm=first["arm"], least=least, most=most, **names)
