"""Arms against the control: the rows of an experiment's table, each by its metric's test at the level that counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from clvlib.abtest.looks import AnyTime, Look, Once, Planned, TooEarly
from clvlib.abtest.metric import Metric, Row
from clvlib.errors import ParameterError
from clvlib.stats.effect import Effect
from clvlib.stats.multiplicity import adjust, agreeing_alpha
from clvlib.stats.resample import permutation_p_value
from clvlib.words import mark

__all__ = ["Comparing"]

MANY, TINY = 10, 1e-15  # a look at which a tenth of alpha allows a level below this can tell nothing


@dataclass(frozen=True)
class Comparing:
    """How arms are compared.

    Attributes
    ----------
    control : str
        The arm that the others are compared with.
    level : float
        Confidence level.
    power : float
        At which the smallest detectable effect is stated.
    looks : str
        As :class:`clvlib.abtest.experiment.Experiment` takes it.
    planned : int
        People per arm that the test is planned for.
    """

    control: str
    level: float
    power: float
    looks: str
    planned: int

    def fraction(self, there: Mapping[str, Row], arms: Sequence[str]) -> float:
        """How many times the planned people the smallest arm has."""
        return min(float(there[arm]["people"]) if arm in there else 0.0 for arm in arms) / self.planned

    def family(
        self, arms: Mapping[str, Row], role: str, metrics: list[Metric], fractions: Sequence[float]
    ) -> list[dict[str, Any]]:
        """Rows of metrics that are corrected together: Holm for what decides, Benjamini and Hochberg for the rest."""
        method, how = ("holm", self.looks) if role == "primary" else ("benjamini-hochberg", "once")
        control, alpha = arms[self.control], 1 - self.level
        pairs = [(m, arm) for m in metrics for arm in arms if arm != self.control]
        looks = [self._look(how, (arms[arm], control), fractions) for _, arm in pairs]
        first = [m.difference(arms[arm], control, self.level) for m, arm in pairs]
        p_values = [look.p_value(effect.p_value) for look, effect in zip(looks, first, strict=True)]
        adjusted, levels = adjust(p_values, method), agreeing_alpha(p_values, alpha, method)
        judged = {}
        for (m, arm), effect, look, p, q, a in zip(pairs, first, looks, p_values, adjusted, levels, strict=True):
            row = self._comparison(m, (arms[arm], control), effect, 1 - look.alpha(float(a)))
            judged[m.name, arm] = row | {"level": 1 - float(a), "p_value": p, "p_adjusted": float(q)}
        return [
            self._value(m, row, role, arm) | judged.get((m.name, arm), {"verdict": mark("control")})
            for m in metrics
            for arm, row in arms.items()
        ]

    def guardrail(
        self, arms: Mapping[str, Row], metric: Metric, margin: float, fractions: Sequence[float]
    ) -> list[dict[str, Any]]:
        """Rows of a metric that may get worse by less than ``margin``: its test is that of a loss of ``margin``."""
        rows = []
        for arm, row in arms.items():
            compared: dict[str, Any] = {"verdict": "control"}
            if arm != self.control:
                pair = (row, arms[self.control])
                look = self._look(self.looks, pair, fractions)
                bound = margin if metric.better == "lower" else -margin
                effect = metric.difference(*pair, self.level, null=bound)
                compared = self._comparison(metric, pair, effect, 1 - look.alpha(1 - self.level))
                p = look.p_value(effect.p_value)
                compared |= {"level": self.level, "p_value": p, "p_adjusted": p, "margin": margin}
                compared["verdict"] = _kept(compared["lower"], compared["upper"], bound, metric.better)
            rows.append(self._value(metric, row, mark("guardrail"), arm) | compared)
        return rows

    def _look(self, how: str, pair: tuple[Row, Row], fractions: Sequence[float]) -> Look:
        """Return the rule by which this look's p-values and levels are read."""
        look: Look = Once()
        if how == "any":
            n = sum(float(row["people"]) for row in pair)
            look = AnyTime(n, 2.0 * self.planned, 1 - self.level)
        elif how == "weekly":
            look = Planned(tuple(fractions)) if fractions else TooEarly()
        return look if look.alpha((1 - self.level) / MANY) > TINY else TooEarly()

    def at_looks(self, metric: Metric, weeks: Mapping[Any, Mapping[str, Row]], arms: list[str]) -> pd.DataFrame:
        """Effect of the primary metric at each look, with intervals that hold at all of them."""
        how = "weekly" if self.looks == "weekly" else "any"
        alpha = (1 - self.level) / max(len(arms) - 1, 1)
        rows, fractions = [], [0.0]
        for look, there in weeks.items():
            seen = self.fraction(there, arms)
            over = how == "weekly" and fractions[-1] >= 1
            if len(there) < len(arms) or over or (seen <= fractions[-1] and (how == "weekly" or seen < 1)):
                continue  # nobody new, or the plan is complete
            fractions.append(seen)
            ready = metric.prepare(there)
            for arm in arms[1:]:
                pair = (ready[arm], ready[self.control])
                level = 1 - self._look(how, pair, fractions[1:]).alpha(alpha)
                if level == 1 or not metric.varies(*pair):
                    continue
                effect = metric.difference(*pair, level)
                counts = {"n": int(pair[0]["people"]), "control_n": int(pair[1]["people"])}
                limits = {"difference": effect.estimate, "lower": effect.lower, "upper": effect.upper}
                rows.append({"look": look, "arm": arm} | counts | limits)
        return pd.DataFrame(rows, columns=["look", "arm", "n", "control_n", "difference", "lower", "upper"])

    def split(self, metrics: Sequence[Metric], arms: Mapping[str, Row]) -> pd.DataFrame:
        """Split each treatment's differences at our own level."""
        rows = []
        for metric in metrics:
            for arm, row in arms.items():
                pair = (row, arms[self.control])
                if arm == self.control or metric.per is None or not metric.per.varies(*pair):
                    continue
                for part, effect in metric.per.split(*pair, self.level).items():
                    limits = {"difference": effect.estimate, "lower": effect.lower, "upper": effect.upper}
                    rows.append({"metric": metric.name, "arm": arm, "part": part} | limits)
        return pd.DataFrame(rows, columns=["metric", "arm", "part", "difference", "lower", "upper"])

    def permuted(
        self, metrics: Sequence[Metric], cells: pd.DataFrame, arms: Mapping[str, Row], table: pd.DataFrame, draws: int
    ) -> list[float]:
        """For each row of the table, the p-value over ways to assign the clusters anew; missing for the control."""
        if cells["cluster_id"].isna().any():
            raise ParameterError("permutations: whole clusters are permuted, and some people here belong to none")
        tests = {}
        for metric in metrics:
            total, size = metric.totals(cells, arms[self.control])
            sums = pd.DataFrame({"total": total, "size": size}).groupby([cells["variant"], cells["cluster_id"]]).sum()
            control = sums.loc[self.control]
            for arm in set(arms) - {self.control}:
                both = [(group["total"], group["size"]) for group in (sums.loc[arm], control)]
                tests[metric.name, arm] = permutation_p_value(*both, draws=draws)
        return [tests.get((m, arm), np.nan) for m, arm in zip(table["metric"], table["arm"], strict=True)]

    def _value(self, metric: Metric, row: Row, role: str, arm: str) -> dict[str, Any]:
        value = metric.arm(row, self.level)
        named = {"metric": metric.name, "role": role, "unit": metric.unit, "arm": arm, "n": value.n}
        limits = {"value_lower": value.lower, "value_upper": value.upper}
        named |= {"error": value.error, "family": metric.family, "better": metric.better}
        clusters = {"clusters": row.get("clusters", 0) or np.nan}
        clusters["design_effect"] = row.get(f"{metric.name}_design_effect", np.nan)
        for label, capped in metric.capped.items():
            named |= {f"cap_{label}": row[f"{capped.name}_cap"], f"value_{label}": capped.arm(row, self.level).value}
        return named | {"total": value.total, "value": value.value} | limits | clusters

    def _comparison(self, metric: Metric, pair: tuple[Row, Row], effect: Effect, level: float) -> dict[str, Any]:
        """Treatment against control at an ordinary test's ``level``; ``effect`` is what they showed at our own."""
        treatment, control = pair
        if level == 1:  # so early that nothing is left out
            effect = replace(effect, lower=-np.inf, upper=np.inf, p_value=1.0, level=level)
            relative = replace(metric.ratio(*pair, self.level), lower=0.0, upper=np.inf)
        else:
            if level != effect.level and np.isfinite(effect.lower):
                effect = metric.difference(*pair, level)
            relative = metric.ratio(*pair, effect.level)
        beside: dict[str, float] = {}
        for label, capped in metric.capped.items():
            if level < 1 and capped.varies(*pair):
                other = capped.difference(*pair, level)
                limits = {f"lower_{label}": other.lower, f"upper_{label}": other.upper}
                beside |= {f"difference_{label}": other.estimate} | limits
        verdict = mark("not told apart")
        if effect.significant:
            rose = effect.estimate > 0
            verdict = mark("better") if rose == (metric.better == "higher") else mark("worse")
        return {
            "difference": effect.estimate,
            "lower": effect.lower,
            "upper": effect.upper,
            "relative": relative.estimate - 1,
            "relative_lower": relative.lower - 1,
            "relative_upper": relative.upper - 1,
            "detectable": metric.detectable(*pair, self.power, 1 - effect.level) if level < 1 else np.inf,
            "control_n": int(control["people"]),
            "control_clusters": control.get("clusters", 0) or np.nan,
            "reduction": treatment.get(f"{metric.name}_reduction", np.nan),
            "verdict": verdict,
        } | beside


def _kept(lower: float, upper: float, bound: float, better: str) -> str:
    """Whether an interval shows that an effect lies on the good side of ``bound``, on the other, or neither."""
    if better == "lower":
        lower, upper, bound = -upper, -lower, -bound
    return mark("holds") if lower > bound else mark("broken") if upper < bound else mark("not shown")
