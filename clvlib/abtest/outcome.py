"""What an experiment showed: its table, and how the parts of a report read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from clvlib.abtest.decision import amount, finding
from clvlib.errors import ParameterError
from clvlib.result import Result
from clvlib.stats.sampling import highest_baseline
from clvlib.words import mark, tr

__all__ = ["COLUMNS", "ExperimentResult"]

NAN = float("nan")
CAPS = {"p99": mark("{metric}, largest 1% cut"), "p99_9": mark("{metric}, largest 0.1% cut")}
COLUMNS = (
    *("metric", "role", "unit", "arm", "n", "total", "value", "value_lower", "value_upper"),
    *("control_n", "difference", "lower", "upper", "level", "p_value", "p_adjusted"),
    *("relative", "relative_lower", "relative_upper", "detectable", "reduction", "margin", "verdict"),
    *("error", "family", "better", "clusters", "control_clusters", "design_effect", "p_permutation"),
    *(f"{what}_{cap}" for cap in ("p99", "p99_9") for what in ("cap", "value", "difference", "lower", "upper")),
)


@dataclass(frozen=True)
class ExperimentResult(Result):
    """What an experiment showed and what to do about it.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per metric and arm: ``metric``, ``role`` (primary, guardrail or secondary), ``unit``, ``arm``, ``n``
        (people whose window is over), ``total``, ``value`` per person with ``value_lower``, ``value_upper``; then
        against the control, and blank in its own row: ``control_n``, ``difference``, ``lower``, ``upper``, ``level``,
        ``p_value``, ``p_adjusted``, ``relative`` (a share of the control's value), ``relative_lower``,
        ``relative_upper``, ``detectable`` (smallest difference found at the power asked for), ``reduction`` (share of
        the variance that an adjustment took away), ``margin`` (by how much a guardrail may get worse), ``verdict``
        (better, worse, not told apart; of a guardrail holds, broken, not shown; control), ``error`` (standard, of the
        value), ``family`` (its distribution to a Bayesian, beta or normal) and ``better`` (higher or lower).
        Where clusters were assigned:
        ``clusters``, ``control_clusters``, ``design_effect`` (how many times the variance is that of as many people
        assigned one by one) and ``p_permutation``, if asked for. Of a metric with a heavy tail also ``cap_p99``,
        ``value_p99``, ``difference_p99``, ``lower_p99``, ``upper_p99``, and the same with ``p99_9``: with all that
        exceeds what 99% (99.9%) of those who spend stay below counted as that much.
    gate : pandas.DataFrame
        A row per check of validity: ``check``, ``status``, ``found``, ``rule``.
    looks : pandas.DataFrame
        The primary metric at the end of each week so far, people's windows being over by then: ``look``, ``arm``,
        ``n``, ``control_n``, ``difference``, ``lower``, ``upper``. The intervals hold at all looks together, whatever
        the test itself is decided by; of several arms each has ``1 - (1 - level) / arms``.
    split : pandas.DataFrame
        What of the difference of revenue per person comes from more or fewer buyers and what from what a buyer spends,
        which together are all of it: ``metric``, ``arm``, ``part`` (buyers, spend per buyer), ``difference``,
        ``lower``, ``upper``. Buyers are not those who would have bought in the other arm, so the second part says what
        changed and not that anybody spends otherwise. Empty where revenue is not measured or an arm bought nothing.
    name, control, metric : str
        The experiment, its control arm, its primary metric.
    verdict : str
        ``ship``, ``do not ship``, ``keep running`` or ``invalid``.
    arm : str
        The arm to ship, if any.
    sentence : str
        The verdict and its reason, for the report.
    power : float
        At which the smallest detectable difference is stated.
    started : pandas.Timestamp or None
        When the first person was assigned; None if that is not known.
    """

    gate: pd.DataFrame = field(repr=False)
    looks: pd.DataFrame = field(repr=False)
    split: pd.DataFrame = field(repr=False)
    name: str
    control: str
    metric: str
    verdict: str
    arm: str
    sentence: str
    power: float
    started: pd.Timestamp | None = field(default=None, repr=False)

    @cached_property
    def primary(self) -> pd.DataFrame:
        """The treatment arms' rows of the primary metric."""
        return self.effects(self.metric)

    @cached_property
    def best(self) -> pd.Series:
        """The primary metric's row of the arm that is shipped, or else of the one that does best."""
        if self.arm:
            return self.primary[self.primary["arm"] == self.arm].iloc[0]
        return self.primary.iloc[int(self.primary["difference"].to_numpy().argmax())]

    def rows(self, metric: str = "") -> pd.DataFrame:
        """Return every arm's row of ``metric``, the primary one when left out.

        Raises
        ------
        ParameterError
            The experiment has no such metric.
        """
        name = metric or self.metric
        rows = self.table[self.table["metric"] == name]
        if rows.empty:
            raise ParameterError(f"metric: {name!r} is none of {', '.join(self.table['metric'].unique())}")
        return rows.reset_index(drop=True)

    def effects(self, metric: str = "") -> pd.DataFrame:
        """Return the treatment arms' rows of ``metric``, the primary one when left out."""
        rows = self.rows(metric)
        return rows[rows["arm"] != self.control].reset_index(drop=True)

    def overview(self, unit: str) -> pd.DataFrame:
        """Return every metric of a unit (share, money, number) arm by arm, with what a decision needs to be followed.

        Means without their largest values, where a metric has them, are rows of their own under the metric's.
        """
        shown = ["metric", "role", "arm", "n", "value", "difference", "lower", "upper", "relative", "p_adjusted"]
        rows = self.table[self.table["unit"] == unit]
        parts: list[pd.DataFrame] = []
        for name in rows["metric"].unique():
            own = rows[rows["metric"] == name]
            parts += [own, *(_capped(own, label) for label in CAPS if own[f"value_{label}"].notna().all())]
        table: pd.DataFrame = pd.concat(parts or [rows])[[*shown, "verdict"]]
        return table.reset_index(drop=True)

    def formats(self, metric: str = "") -> dict[str, str]:
        """Return the unit of each column of :meth:`overview` for the metrics of this one's unit, as the report does."""
        unit = str(self.rows(metric)["unit"].iloc[0])
        value, change = {"share": ("share", "points"), "money": ("money", "money")}.get(unit, ("number", "number"))
        units = {"n": "count", "value": value, "relative": "share", "p_adjusted": "p_value"}
        return units | dict.fromkeys(("difference", "lower", "upper"), change)

    def reach(self, effect: float, people: int) -> str:
        """Say up to which value of the control so many people an arm find a rise of a share, and what it is.

        Parameters
        ----------
        effect : float
            The rise, of the primary metric.
        people : int
            Per arm.

        Raises
        ------
        ParameterError
            The primary metric is no share, or clusters were assigned.
        """
        row = self.best
        if row["family"] != "beta":
            raise ParameterError(f"metric: {self.metric} is not a share of people who were assigned one by one")
        highest = highest_baseline(effect, people, people, self.power, 1 - float(row["level"]))
        text = mark(
            "{n:,} people per arm find {effect} with a chance of {power:.0%} as long as {control}'s {metric} is not "
            "above {highest:.1%}; it is {value:.1%}."
        )
        control = self.rows().set_index("arm").loc[self.control, "value"]
        names = {"effect": amount(effect, "share"), "control": self.control, "metric": tr(self.metric)}
        return tr(text, n=people, power=self.power, highest=highest, value=control, **names)

    def gain(self, margin: float) -> pd.Series:
        """Return what the best arm would have brought from the people of the control, within the window.

        Parameters
        ----------
        margin : float
            Share of revenue.

        Returns
        -------
        pandas.Series
            ``people`` of the control, and ``gain``, ``lower``, ``upper`` at ``level``: the difference of revenue per
            person, times margin and people; adjusted for what people spent before where that is measured.

        Raises
        ------
        ParameterError
            Revenue is not measured.
        """
        metric = "adjusted revenue" if (self.table["metric"] == "adjusted revenue").any() else "revenue"
        row = self.effects(metric).set_index("arm").loc[self.best["arm"]]
        times = margin * row["control_n"]
        money = {"gain": row["difference"], "lower": row["lower"], "upper": row["upper"]}
        figures = {"people": row["control_n"], "level": row["level"]}
        return pd.Series({**figures, **{key: times * value for key, value in money.items()}})

    def finding(self, metric: str = "") -> str:
        """Say in words what ``metric`` showed in each treatment arm, with interval and p-value."""
        found = [finding(row, self.control) for _, row in self.effects(metric).iterrows()]
        return tr("{text}.", text=tr("; ").join(found))


def _capped(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    """Rows of a metric without its largest values, as if they were a metric's own; they are not tested."""
    figures = {key: rows[f"{key}_{label}"] for key in ("value", "difference", "lower", "upper")}
    told = pd.Series("not told apart", index=rows.index).mask(figures["lower"] > 0, "better")
    told = told.mask(figures["upper"] < 0, "worse").mask(figures["difference"].isna(), rows["verdict"])
    relative = figures["difference"] / (figures["value"] - figures["difference"])
    names = [tr(CAPS[label], metric=tr(name)) for name in rows["metric"]]
    return rows.assign(**figures, metric=names, relative=relative, p_adjusted=NAN, verdict=told)
