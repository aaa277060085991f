"""The Bayesian view of an experiment, for those who ask: beside its verdict and not instead of it."""

from __future__ import annotations

from dataclasses import dataclass

from clvlib.abtest.decision import amount
from clvlib.abtest.outcome import ExperimentResult
from clvlib.errors import EmptyDataError, ParameterError
from clvlib.result import Result
from clvlib.stats.posterior import posterior_means, posterior_proportions
from clvlib.words import mark, tr

__all__ = ["BayesianView", "bayesian", "expected_loss"]

MOST = 0.999  # what no prior should be asked to say more exactly


@dataclass(frozen=True)
class BayesianView(Result):
    """Which arm is best, and what choosing it costs should it not be.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per arm: ``arm``, ``n``, ``mean``, ``lower``, ``upper`` (central, at the experiment's level),
        ``probability_best``, ``expected_loss`` (by how much the best arm is expected to exceed this one).
    prior : str
        What was believed of each arm before.
    sentence : str
        The finding, with its prior.
    """

    prior: str
    sentence: str


def bayesian(
    result: ExperimentResult, metric: str = "", *, prior: tuple[float, float] | None = None, level: float = 0.95
) -> BayesianView:
    """Look at an experiment with a prior.

    Parameters
    ----------
    result : ExperimentResult
        What was found.
    metric : str
        Which; the primary one when left out.
    prior : pair of float, optional
        Of a share, the parameters of a beta distribution (uniform when left out); of a mean or a ratio, and of a share
        where clusters were assigned, mean and standard deviation of a normal one (flat when left out).
    level : float
        Of the credible intervals.

    Raises
    ------
    EmptyDataError
        In an arm nothing varies, so that its value has no error.
    ParameterError
        The experiment has no such metric, or the prior cannot be.

    Notes
    -----
    The figures are the same however often they were looked at before; so are the errors that follow from acting on them
    as soon as they please. Who needs to know how often that goes wrong reads the verdict.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from clvlib.abtest.experiment import Experiment
    >>> from clvlib.abtest.metrics import Proportion
    >>> people = pd.DataFrame({"variant": ["A", "B"] * 2000, "bought": 0})
    >>> people.loc[:399:2, "bought"], people.loc[1:528:2, "bought"] = 1, 1
    >>> experiment = Experiment("script", metrics=(Proportion("conversion", "bought = 1"),))
    >>> bayesian(experiment.analyse_people(people, as_of="2026-11-01")).table["probability_best"].round(4).tolist()
    [0.0008, 0.9992]
    """
    rows = result.rows(metric)
    first = rows.iloc[0]
    if first["family"] != "beta" and not (rows["error"] > 0).all():
        text = mark("experiment {name!r}: in an arm {metric} does not vary, so nothing is believed of it")
        raise EmptyDataError(tr(text, name=result.name, metric=tr(first["metric"])))
    try:
        if first["family"] == "beta":
            a, b = prior or (1.0, 1.0)
            belief = mark("uniform") if (a, b) == (1, 1) else f"beta({a:g}, {b:g})"
            found = posterior_proportions(rows["total"], rows["n"], prior=(a, b), level=level)
        else:
            belief = mark("flat") if prior is None else f"normal({prior[0]:g}, {prior[1]:g})"
            found = posterior_means(rows["value"], rows["error"], prior=prior, level=level)
    except ValueError as error:
        raise ParameterError(f"experiment {result.name!r}, {first['metric']}: {error}") from error
    table = rows[["arm", "n"]].join(found)
    best = table.iloc[int(table["probability_best"].to_numpy().argmax())]
    loss = amount(best["expected_loss"], str(first["unit"]))
    sure = best["probability_best"] >= MOST
    chance = tr("more than {share:.1%}", share=MOST) if sure else f"{best['probability_best']:.1%}"
    text = mark(
        "With a {belief} prior on each arm's {metric}, {arm} is best with a probability of {chance}; the expected loss "
        "from choosing it is {loss}."
    )
    if best["arm"] != result.control:
        text = mark(
            "With a {belief} prior on each arm's {metric}, {arm} is best with a probability of {chance}; the expected "
            "loss from choosing it is {loss}, from staying with {control} {stay}."
        )
    stay = float(table.loc[table["arm"] == result.control, "expected_loss"].iloc[0])
    names = {"arm": best["arm"], "control": result.control, "metric": tr(first["metric"])}
    costs = {"loss": loss, "stay": amount(stay, str(first["unit"]))}
    sentence = tr(text, belief=tr(belief), chance=chance, **names, **costs)
    return BayesianView(table=table, prior=belief, sentence=sentence)


def expected_loss(result: ExperimentResult) -> float:
    """What the verdict is expected to cost per person for the case that it is wrong, in the primary metric's unit.

    That of shipping the arm that is shipped, and of staying with the control otherwise, by :func:`bayesian` with the
    prior that says nothing. Small beside the effect worth having: the verdict may be wrong, but little is lost.

    Raises
    ------
    ParameterError
        As :func:`bayesian`.
    """
    table = bayesian(result).table.set_index("arm")
    return float(table["expected_loss"][result.arm or result.control])
