"""The plan of an experiment: written down before it starts, locked, and held against what was done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from clvlib.abtest.decision import amount
from clvlib.abtest.experiment import Experiment
from clvlib.abtest.looks import price
from clvlib.abtest.outcome import ExperimentResult
from clvlib.abtest.query import length
from clvlib.errors import DataError, ParameterError
from clvlib.stats.sampling import sample_size_means, sample_size_proportions
from clvlib.words import mark, tr, trn

__all__ = ["Lock", "Plan"]

_WORDS = {  # how readers call what a plan or an experiment says
    "name": mark("experiment"),
    "experiment": mark("experiment"),
    "hypothesis": mark("hypothesis"),
    "primary": mark("what decides"),
    "metric": mark("what decides"),
    "smallest_effect": mark("smallest effect worth having"),
    "minimum_effect": mark("smallest effect worth having"),
    "people_per_arm": mark("people per arm"),
    "planned_per_arm": mark("people per arm"),
    "least_per_arm": mark("people per arm before anything is decided"),
    "min_per_arm": mark("people per arm before anything is decided"),
    "control": mark("control"),
    "shares": mark("arms"),
    "guardrails": mark("may get worse at most"),
    "power": mark("power"),
    "alpha": mark("error"),
    "level": mark("confidence level"),
    "looks": mark("looks"),
    "window": mark("window"),
    "history": mark("history"),
    "baseline": mark("baseline"),
    "deviation": mark("deviation"),
}
LONGER = 1.1  # so many times the planned people are more than a last day's surplus


@dataclass(frozen=True)
class Plan:
    """What is going to be tested, and how it will be decided.

    Attributes
    ----------
    experiment, hypothesis : str
        Its name in the assignments, and what is expected, in a sentence.
    primary : str
        The metric that decides.
    smallest_effect : float
        Smallest difference worth having, in the metric's unit.
    people_per_arm : int
        Planned size.
    least_per_arm : int, optional
        People per arm before which nothing is decided, for tests that may be decided earlier than at their planned size
        (looks weekly or any); the planned size when left out.
    control : str
        The arm that the others are compared with.
    shares : mapping
        Planned share or weight of each arm.
    guardrails : mapping
        Metrics that must not fall, each with its margin.
    power, alpha : float
        Chance to find the smallest effect, and of any false verdict.
    looks, window, history : str
        As :class:`~clvlib.abtest.experiment.Experiment` takes them.
    baseline, deviation : float, optional
        The control's share, or a person's standard deviation, as known beforehand; from it follows how many people the
        smallest effect needs.

    Examples
    --------
    >>> plan = Plan.parse('''
    ... experiment: script
    ... hypothesis: A professional review converts better than a flash sale.
    ... primary: conversion
    ... smallest_effect: 0.032
    ... people_per_arm: 2000
    ... shares: {A: 1, B: 1}
    ... baseline: 0.1
    ... ''')
    >>> round(plan.people_needed, 1), plan.build().minimum_effect
    (1570.8, 0.032)
    """

    experiment: str
    hypothesis: str
    primary: str
    smallest_effect: float
    people_per_arm: int
    control: str = "A"
    shares: Mapping[str, float] = field(default_factory=lambda: {"A": 1.0, "B": 1.0})
    guardrails: Mapping[str, float] = field(default_factory=dict)
    power: float = 0.8
    alpha: float = 0.05
    looks: str = "once"
    window: str = "7D"
    history: str = "28D"
    baseline: float | None = None
    deviation: float | None = None
    least_per_arm: int | None = None

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """Read a YAML file.

        Raises
        ------
        ParameterError
            There is no such file, it is no YAML, or it says what a plan cannot say.
        """
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ParameterError(f"{file}: no plan can be read here ({error})") from error
        return cls.parse(text, name=str(file))

    @classmethod
    def parse(cls, text: str, name: str = "plan") -> Plan:
        """Read YAML; see :meth:`read`."""
        try:
            said, node = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError as error:
            raise ParameterError(f"{name}: this is no YAML ({' '.join(str(error).split())})") from error
        if not isinstance(said, dict):
            raise ParameterError(f"{name}: a plan has a line 'key: value' for each of {', '.join(_names(cls))}")
        keys = [key.value for key, _ in node.value]
        unknown = sorted({str(key) for key in said} - set(_names(cls)))
        missing = [f.name for f in fields(cls)[:5] if f.name not in said]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        for what, found in (("unknown", unknown), ("missing", missing), ("there twice", twice)):
            if found:
                raise ParameterError(f"{name}: {what}: {', '.join(found)}; a plan says {', '.join(_names(cls))}")
        plan = cls(**{key: _value(name, key, value) for key, value in said.items()})
        plan.build()
        return plan

    def build(self) -> Experiment:
        """Return the experiment that the plan describes.

        Raises
        ------
        ParameterError
            The plan says what an experiment cannot be.
        """
        if self.control not in self.shares or len(self.shares) < 2:
            raise ParameterError(f"shares: two arms are needed, one of them {self.control}; found {dict(self.shares)}")
        if self.baseline is not None and not (self.baseline > 0 and self.baseline + self.smallest_effect < 1):
            raise ParameterError(
                f"baseline: a share above 0 is needed that stays below 1 with {self.smallest_effect} more; found "
                f"{self.baseline}"
            )
        if self.deviation is not None and not 0 < self.deviation < float("inf"):
            raise ParameterError(f"deviation: a positive number is needed; found {self.deviation}")
        return Experiment(
            self.experiment,
            control=self.control,
            metric=self.primary,
            window=self.window,
            level=1 - self.alpha,
            min_per_arm=self.people_per_arm if self.least_per_arm is None else self.least_per_arm,
            planned_per_arm=self.people_per_arm,
            shares=self.shares,
            minimum_effect=self.smallest_effect,
            power=self.power,
            looks=self.looks,
            guardrails=self.guardrails,
            history=self.history,
        )

    @property
    def people_needed(self) -> float:
        """People in the smallest arm that find the smallest effect; missing if nothing is known beforehand.

        With several treatments each is given the smallest level that Holm's correction may ask of it, and who may look
        more than once pays for it (:func:`clvlib.abtest.looks.price`).
        """
        alpha = self.alpha / max(len(self.shares) - 1, 1)
        control, least = self.shares[self.control], min(self.shares.values())
        ratios = [share / control for arm, share in self.shares.items() if arm != self.control]
        if self.baseline is not None:
            rates = self.baseline, self.baseline + self.smallest_effect
            alone = max(sample_size_proportions(*rates, self.power, alpha, ratio) for ratio in ratios)
        elif self.deviation is not None:  # the variance of a difference is that of arms of one size, times this
            even = sample_size_means(self.smallest_effect, self.deviation**2, self.power, alpha)
            alone = even * max((1 + 1 / ratio) / 2 for ratio in ratios)
        else:
            return float("nan")
        return alone * least / control * price(self.looks, self.power, alpha)

    @property
    def digest(self) -> str:
        """SHA-256 of what the plan says, whatever its order, layout and comments."""
        return _digest(asdict(self))

    @property
    def table(self) -> pd.DataFrame:
        """What was planned in words, a row per ``item`` with ``planned``."""
        unit = next(m.unit for m in self.build().metrics if m.name == self.primary)
        units = {m.name: m.unit for m in self.build().metrics}
        split = tr(", ").join(f"{arm} {share:g}" for arm, share in self.shares.items())
        guards = [
            tr("{metric} by {margin}", metric=tr(name), margin=amount(margin, units[name]))
            for name, margin in self.guardrails.items()
        ]
        rows = {
            mark("hypothesis"): self.hypothesis,
            mark("what decides"): tr("{metric} within {window}", metric=tr(self.primary), window=length(self.window)),
            mark("arms"): tr("{split}; {control} is the control", split=split, control=self.control),
            mark("smallest effect worth having"): amount(self.smallest_effect, unit),
            mark("people per arm"): f"{self.people_per_arm:,}",
            mark("people per arm before anything is decided"): f"{self.build().min_per_arm:,}",
            mark("people needed"): self._needed(),
            mark("may get worse at most"): tr("; ").join(guards) or tr("nothing is guarded"),
            mark("looks"): tr(self.looks),
            mark("error and power"): tr("{alpha:.4g} and {power:.4g}", alpha=self.alpha, power=self.power),
        }
        return pd.DataFrame({"item": [tr(item) for item in rows], "planned": list(rows.values())})

    def _needed(self) -> str:
        if not self.people_needed < float("inf"):
            return tr("not known: neither baseline nor deviation was stated")
        text = mark("{n:,.0f} per arm find the smallest effect with a chance of {power:.0%}")
        if len(set(self.shares.values())) > 1:
            text = mark("{n:,.0f} in the smallest arm find the smallest effect with a chance of {power:.0%}")
        return tr(text, n=-(-self.people_needed // 1), power=self.power)

    def lock(self, path: str | Path, at: pd.Timestamp) -> Lock:
        """Lock the plan in a file, or find the lock that is there already; it is never written again.

        Parameters
        ----------
        path : str or Path
            Where the lock lies or is to lie, best beside the plan and under version control.
        at : pandas.Timestamp
            The time now.

        Raises
        ------
        DataError
            The lock was edited.
        """
        file = Path(path)
        said = {"digest": self.digest, "locked_at": pd.Timestamp(at).isoformat(), "plan": asdict(self)}
        try:
            with file.open("x", encoding="utf-8") as out:
                out.write(json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        except FileExistsError:
            pass
        return Lock.read(file)

    def departures(self, lock: Lock, experiment: Experiment, result: ExperimentResult | None) -> pd.DataFrame:
        """List what is not as it was locked.

        Parameters
        ----------
        lock : Lock
            What :meth:`lock` returned.
        experiment : Experiment
            What the result was analysed by.
        result : ExperimentResult or None
            What was found; None where nothing can be yet.

        Returns
        -------
        pandas.DataFrame
            A row per departure: ``what``, ``planned``, ``found``; none if the plan was kept.
        """
        then, now = asdict(lock.plan), asdict(self)
        rows = [
            (tr("plan: {key}", key=tr(_WORDS.get(key, key))), then[key], now[key])
            for key in then
            if then[key] != now[key]
        ]
        should, does = lock.plan.build(), experiment
        same = ("name", "control", "metric", "window", "level", "minimum_effect", "min_per_arm", "planned_per_arm")
        rows += [
            (tr("analysis: {key}", key=tr(_WORDS.get(key, key))), getattr(should, key), getattr(does, key))
            for key in (*same, "power", "looks", "history")
            if getattr(should, key) != getattr(does, key)
        ]
        for key in ("shares", "guardrails"):
            planned, found = (dict(getattr(e, key) or {}) for e in (should, does))
            if planned != found:
                rows.append((tr("analysis: {key}", key=tr(_WORDS[key])), planned, found))
        if result is not None and result.started is not None and lock.locked_at > result.started:
            start = tr("before {start:%Y-%m-%d %H:%M}", start=result.started)
            rows.append((tr("locked before the start"), start, f"{lock.locked_at:%Y-%m-%d %H:%M}"))
        rows += _size(lock.plan, result) if result is not None else []
        return pd.DataFrame([(what, str(p), str(f)) for what, p, f in rows], columns=["what", "planned", "found"])


@dataclass(frozen=True)
class Lock:
    """A plan as it was locked.

    Attributes
    ----------
    plan : Plan
        What was planned.
    digest : str
        Its SHA-256; printed in every report, so that a lock that is replaced shows.
    locked_at : pandas.Timestamp
        When.
    """

    plan: Plan
    digest: str
    locked_at: pd.Timestamp

    @classmethod
    def read(cls, path: str | Path) -> Lock:
        """Read a lock.

        Raises
        ------
        DataError
            It is none, or what it says does not have the digest that it says.
        """
        try:
            said = json.loads(Path(path).read_text(encoding="utf-8"))
            lock = cls(Plan(**said["plan"]), said["digest"], pd.Timestamp(said["locked_at"]))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}: this is no lock of a plan ({error})") from error
        if _digest(said["plan"]) != lock.digest:  # of what was said then, whatever plans can say today
            raise DataError(f"{path}: the locked plan was edited: its digest is no longer {lock.digest[:12]}…")
        return lock

    def sentence(self, departures: pd.DataFrame, *, begun: bool = True) -> str:
        """Say whether the plan was kept, or that nothing can depart from it yet."""
        names = {"at": self.locked_at, "digest": self.digest[:12]}
        if departures.empty:
            text = mark(
                "The plan locked on {at:%Y-%m-%d %H:%M} (SHA-256 {digest}…) is unchanged and was kept. It said: "
                "{hypothesis}"
            )
            if not begun:
                text = mark(
                    "The plan locked on {at:%Y-%m-%d %H:%M} (SHA-256 {digest}…) is unchanged, and nobody's days are "
                    "over yet. It says: {hypothesis}"
                )
            return tr(text, hypothesis=self.plan.hypothesis, **names)
        rows = zip(departures["what"], departures["planned"], departures["found"], strict=True)
        text = mark("{what}, planned {planned}, found {found}")
        listed = tr("; ").join(tr(text, what=what, planned=planned, found=found) for what, planned, found in rows)
        return trn(
            "The plan locked on {at:%Y-%m-%d %H:%M} (SHA-256 {digest}…) was not kept in {n} respect: {listed}.",
            "The plan locked on {at:%Y-%m-%d %H:%M} (SHA-256 {digest}…) was not kept in {n} respects: {listed}.",
            len(departures),
            listed=listed,
            **names,
        )


def _size(plan: Plan, result: ExperimentResult) -> list[tuple[str, Any, Any]]:
    """Whether as many people as planned decide, and whether that many can."""
    rows: list[tuple[str, Any, Any]] = []
    people = int(result.rows()["n"].min())
    if people > LONGER * plan.people_per_arm:
        rows.append((tr("people per arm"), f"{plan.people_per_arm:,}", f"{people:,}"))
    effect = max(1.0, float(result.rows()["design_effect"].fillna(1.0).max()))
    if plan.people_needed > plan.people_per_arm:
        rows.append((tr("people needed"), plan._needed(), f"{plan.people_per_arm:,}"))  # noqa: SLF001 - its own words
    elif plan.people_needed * effect > plan.people_per_arm:
        text = mark("{n:,.0f}, as people of one cluster are alike (design effect {effect:.3g})")
        needed = tr(text, n=-(-plan.people_needed * effect // 1), effect=effect)
        rows.append((tr("people needed"), needed, f"{plan.people_per_arm:,}"))
    return rows


def _digest(said: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _names(cls: type[Plan]) -> list[str]:
    return [f.name for f in fields(cls)]


def _value(name: str, key: str, value: Any) -> Any:
    """Bring a value into the form that its key has, or say which that is."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key in {"shares", "guardrails"}:
        if not isinstance(value, dict) or not all(isinstance(part, str) for part in value):
            raise ParameterError(
                f"{name}: {key}: names with numbers are needed, such as {{A: 1, B: 1}}; found {value!r}"
            )
        return {part: _value(name, f"{key}.{part}", share) for part, share in value.items()}
    if key in {"people_per_arm", "least_per_arm"}:
        if not (number and value == int(value)):
            raise ParameterError(f"{name}: {key}: a whole number is needed; found {value!r}")
        return int(value)
    if key in {"smallest_effect", "power", "alpha", "baseline", "deviation"} or "." in key:
        if not number:
            raise ParameterError(f"{name}: {key}: a number such as 0.05 is needed; found {value!r}")
        return float(value)
    if not isinstance(value, str):
        raise ParameterError(f"{name}: {key}: text is needed; found {value!r} (put it in quotes)")
    return value
