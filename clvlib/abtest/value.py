"""The effect carried forward to customer value: what was seen so far, what models expect, and whether they can be held.

A projection is only as good as its models, so the same models, fitted to the first weeks of the test, are held against
what the arms brought in the last.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from clvlib.abtest.decision import amount
from clvlib.abtest.experiment import Experiment
from clvlib.abtest.query import fetch_members
from clvlib.data.engine import Table
from clvlib.errors import DataError, EmptyDataError, MissingColumnError, ParameterError
from clvlib.result import Result
from clvlib.stats.means import Moments, difference_error
from clvlib.words import mark, tr

__all__ = ["ValueCheck", "ValueEffect", "members", "value_check", "value_effect"]

PARTS = (mark("observed"), mark("projected"), mark("total"))


@dataclass(frozen=True)
class ValueEffect(Result):
    """An experiment's effect on what a person is worth.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per treatment ``arm`` and ``part`` (observed, projected, total): ``n``, ``control_n``, ``value``,
        ``control_value`` (per person), ``difference``, ``lower``, ``upper``, and ``from_model``: the share of the
        squared error that would go if the models' parameters were known.
    sentence : str
        The effect on the total, and how much of it was seen and how much is expected.
    """

    sentence: str


def value_effect(
    people: pd.DataFrame, model_errors: Mapping[str, float], *, control: str = "A", level: float = 0.95
) -> ValueEffect:
    """Compare what people brought so far, what models expect of them from now on, and both together.

    Parameters
    ----------
    people : pandas.DataFrame
        A row per person of the experiment: ``variant``; ``observed``, the money so far, as :func:`members` gives it;
        ``projected``, the expected value from now on by models fitted to their own arm alone (with one model for both
        arms, the effect on what is not yet seen would be assumed away), 0 for those who never bought.
    model_errors : mapping of str to float
        For each arm, the standard error of its mean ``projected`` that comes from the models' parameters: such as that
        of :meth:`clvlib.LifetimeValue.total` with ``uncertainty="parameters"``, over the number of people.
    control : str
        The arm that the others are compared with.
    level : float
        Of each interval.

    Raises
    ------
    DataError
        A value is missing or infinite; an arm has fewer than two people, or there is but one arm; nothing varies.
    MissingColumnError
        A column is absent.
    ParameterError
        The control is no arm; an arm's model error is absent or negative; a level outside (0, 1).

    Notes
    -----
    An arm's error has two sources: which people happened to be in it, and what its models do not know. They are added
    as they are and not as squares, since both come from the same people: an arm that bought much by luck has high
    expectations of each of its people, and parameters that are too high as well. Where a Poisson rate is shrunk to a
    gamma distribution's mean, whose error is known exactly, that is just right. A projection is no observation: it
    holds if the arms' habits last, which only weeks to come will show.

    Examples
    --------
    >>> people = pd.DataFrame({"variant": ["A", "B"] * 4, "observed": [1.0, 2, 0, 3, 2, 4, 1, 3], "projected": 10.0})
    >>> found = value_effect(people, {"A": 0.5, "B": 0.5})
    >>> found.table[["part", "difference"]].values.tolist()
    [['observed', 2.0], ['projected', 0.0], ['total', 2.0]]
    """
    frame, arms = _checked(people, model_errors, control, level)
    rows: list[dict[str, Any]] = []
    for arm in arms:
        if arm == control:
            continue
        for part in PARTS:
            sides = [Moments.of(frame.loc[frame["variant"] == name, part]) for name in (arm, control)]
            model = 0.0
            for name, side in zip((arm, control), sides, strict=True):
                unknown = 0.0 if part == "observed" else model_errors[name]
                model += unknown * (unknown + 2 * side.squared_error**0.5)
            rows.append({"arm": arm, "part": part} | _compared(sides[0], sides[1], model, level))
    table = pd.DataFrame(rows)
    return ValueEffect(table=table, sentence=_sentence(table, control, level))


def _checked(
    people: pd.DataFrame, model_errors: Mapping[str, float], control: str, level: float
) -> tuple[pd.DataFrame, list[str]]:
    missing = [column for column in ("variant", "observed", "projected") if column not in people]
    if missing:
        raise MissingColumnError(f"people: column {', '.join(missing)} is needed here")
    values = people[["observed", "projected"]].to_numpy(dtype=float)
    if not np.isfinite(values).all() or people["variant"].isna().any():
        raise DataError(f"people: {int((~np.isfinite(values)).sum())} values are missing or infinite, or a variant is")
    frame = people.assign(variant=people["variant"].astype(str), total=values.sum(axis=1))
    sizes = frame["variant"].value_counts()
    arms = sorted(sizes.index)
    if control not in arms:
        raise ParameterError(f"control: {control!r} is none of the arms {', '.join(arms)}")
    if len(arms) < 2 or sizes.min() < 2:
        raise DataError(f"people: two arms of two people at least are needed; found {sizes.to_dict()}")
    for arm in arms:
        if not (arm in model_errors and 0 <= model_errors[arm] < np.inf):
            raise ParameterError(f"model_errors: a standard error of arm {arm} is needed, not negative")
    if not 0 < level < 1:
        raise ParameterError(f"level: a share between 0 and 1 is needed, such as 0.95; found {level}")
    return frame, arms


def _compared(first: Moments, second: Moments, model: float, level: float) -> dict[str, float]:
    """Difference of two arms, with the squared error that their models add."""
    people, df = 0.0, np.inf
    if first.variance + second.variance > 0:
        people, df = difference_error(first, second, "guarded")
    error, estimate = people + model, first.mean - second.mean
    if error == 0:
        raise DataError(f"people: nobody differs within arms of {first.n:g} and {second.n:g}, so nothing can be told")
    half = float(-special.stdtrit(df, (1 - level) / 2)) * error**0.5
    return {
        "n": int(first.n),
        "control_n": int(second.n),
        "value": first.mean,
        "control_value": second.mean,
        "difference": estimate,
        "lower": estimate - half,
        "upper": estimate + half,
        "from_model": model / error,
    }


def _sentence(table: pd.DataFrame, control: str, level: float) -> str:
    """Put the arm whose total is highest into words."""
    totals = table[table["part"] == "total"]
    best = totals.iloc[int(totals["difference"].to_numpy().argmax())]
    parts = table[table["arm"] == best["arm"]].set_index("part")["difference"]
    limits = {key: amount(best[key], "money", sign=True) for key in ("difference", "lower", "upper")}
    text = mark(
        "A person of {arm} is worth {difference} against {control} ({level} interval {lower} to {upper}), which cannot "
        "be told from nothing: {observed} seen so far, {projected} expected from now on."
    )
    if best["lower"] > 0 or best["upper"] < 0:
        text = mark(
            "A person of {arm} is worth {difference} against {control} ({level} interval {lower} to {upper}): "
            "{observed} seen so far, {projected} expected from now on."
        )
    seen = {part: amount(parts[part], "money", sign=True) for part in ("observed", "projected")}
    return tr(text, arm=best["arm"], control=control, level=f"{100 * level:.4g}%", **limits, **seen)


@dataclass(frozen=True)
class ValueCheck(Result):
    """Whether models fitted to the first weeks of a test foresaw what its arms brought in the last.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per treatment ``arm``: ``n``, ``control_n``, ``expected`` and ``came`` (difference from the control, per
        person), ``surprise`` (what came less what was expected), ``lower``, ``upper``, ``fits``.
    fits : bool
        Whether no arm's surprise can be told from nothing.
    sentence : str
        What was expected and what came.
    """

    fits: bool
    sentence: str


def members(
    experiment: Experiment,
    assignments: Table | pd.DataFrame,
    orders: Table | pd.DataFrame,
    *,
    as_of: str | dt.date,
    until: str | dt.date | None = None,
) -> pd.DataFrame:
    """List the people of an experiment with what they brought since they were assigned.

    Parameters
    ----------
    experiment : Experiment
        Whose people.
    assignments, orders : Table or pandas.DataFrame
        As :meth:`Experiment.analyse` takes them.
    as_of : str or date
        Who was assigned by the end of that day, and what they brought by then.
    until : str or date, optional
        What they brought after ``as_of`` up to here is ``came``.

    Returns
    -------
    pandas.DataFrame
        By ``unit_id``: ``variant``, ``cluster_id``, ``observed``, ``came``.

    Raises
    ------
    DataError
        People were assigned by cluster: values of people are then not independent.
    EmptyDataError
        Nobody was assigned by then.
    """
    found = fetch_members(assignments, orders, name=experiment.name, as_of=as_of, until=until)
    if found.empty:
        raise EmptyDataError(tr("experiment {name!r}: nobody was assigned by {day}", name=experiment.name, day=as_of))
    if found["cluster_id"].notna().any():
        text = mark("experiment {name!r}: clusters were assigned, and values are compared between people")
        raise DataError(tr(text, name=experiment.name))
    return found


def value_check(
    people: pd.DataFrame, model_errors: Mapping[str, float], *, control: str = "A", level: float = 0.95
) -> ValueCheck:
    """Hold a projection from an earlier day against what came.

    Parameters
    ----------
    people : pandas.DataFrame
        A row per person as of the earlier day: ``variant``; ``projected``, what models fitted to the data of that day
        expected of the weeks since; ``came``, what these weeks brought.
    model_errors : mapping of str to float
        As :func:`value_effect` takes them.
    control : str
        The arm that the others are compared with.
    level : float
        Of each interval.

    Raises
    ------
    DataError, MissingColumnError, ParameterError
        As :func:`value_effect`.

    Notes
    -----
    The surprise of a person is what came less what was expected; its mean has the error of a mean, and that of the
    models' parameters. A projection that does not fit is worth nothing; one that fits may rest on a few weeks only.

    Examples
    --------
    >>> people = pd.DataFrame({"variant": ["A", "B"] * 4, "came": [1.0, 2, 0, 3, 2, 4, 1, 3], "projected": 2.0})
    >>> value_check(people, {"A": 0.5, "B": 0.5}).table[["expected", "came", "surprise"]].values.tolist()
    [[0.0, 2.0, 2.0]]
    """
    if "came" not in people:
        raise MissingColumnError("people: column came is needed here")
    frame, arms = _checked(people.assign(observed=people["came"]), model_errors, control, level)
    surprise = frame["observed"] - frame["projected"]
    groups = {arm: frame["variant"] == arm for arm in arms}
    means = {arm: frame.loc[rows, ["observed", "projected"]].mean() for arm, rows in groups.items()}
    moments = {arm: Moments.of(surprise[rows]) for arm, rows in groups.items()}
    rows = []
    for arm in arms:
        if arm != control:
            model = model_errors[arm] ** 2 + model_errors[control] ** 2
            found = _compared(moments[arm], moments[control], model, level)
            gap = means[arm] - means[control]
            fits = found["lower"] <= 0 <= found["upper"]
            shown = {key: found[key] for key in ("n", "control_n", "lower", "upper")}
            figures = {"expected": gap["projected"], "came": gap["observed"], "surprise": found["difference"]}
            rows.append({"arm": arm} | figures | shown | {"fits": fits})
    table = pd.DataFrame(rows)
    return ValueCheck(table=table, fits=bool(table["fits"].all()), sentence=_check_sentence(table, control))


def _check_sentence(table: pd.DataFrame, control: str) -> str:
    """Put the arm into words that surprised most."""
    first = table.iloc[int((table["surprise"].abs() / (table["upper"] - table["lower"])).to_numpy().argmax())]
    text = mark(
        "Checked on the weeks held out: per person {arm} was expected to bring {expected} against {control}, and "
        "brought {came}. That does not fit (surprise {surprise}, {lower} to {upper}), so nothing is carried forward."
    )
    if table["fits"].all():
        text = mark(
            "Checked on the weeks held out: per person {arm} was expected to bring {expected} against {control}, and "
            "brought {came}, which fits (surprise {surprise}, {lower} to {upper})."
        )
    names = ("expected", "came", "surprise", "lower", "upper")
    return tr(text, arm=first["arm"], control=control, **{k: amount(first[k], "money", sign=True) for k in names})
