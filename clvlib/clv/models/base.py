"""What every model has in common: fitting, standard errors, checks, summaries, saving.

A model file holds its parameters, its log-likelihood with derivatives, and its closed forms; the rest is here, once.
All parameters are positive, so that every fit, every interval and every border lives on the log scale.
"""

from __future__ import annotations

import inspect
import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from clvlib.clv.cells import Cells, unit_of
from clvlib.clv.optimise import Derivatives, Objective, Optimum, flat_direction, maximise, newton
from clvlib.errors import ConvergenceWarning, NotFittedError, ParameterError, UnitMismatchError
from clvlib.words import mark, tr

__all__ = ["Border", "Estimator", "Penalty", "Prior", "check_level", "load", "normal_quantile", "spans_of"]

Array = NDArray[np.float64]
Prior = Mapping[str, Sequence[float]]
Penalty = Callable[[Array, Cells], Derivatives]  # of log-parameters, with its derivatives in them

_REACH = 25.0  # the box: a factor e^25 to either side of the first guess
_PARTS = (5_000, 50_000)  # of very many histories: the starts compete on the one, the other leads near the optimum
_WIDEST = 3.0  # no direction counts as less certain than this on the log scale when intervals are made


class Border(NamedTuple):
    """A direction in which a model degenerates, and what is left of it there.

    Attributes
    ----------
    direction : mapping of str to float
        Parameters that go to infinity (+1) or to zero (−1) together.
    meaning : str
        What the data then say, naming the nested model that suffices: a message for :func:`clvlib.words.tr`.
    """

    direction: Mapping[str, float]
    meaning: str


class Estimator(ABC):
    """Base of all models. Subclasses document their own parameters.

    Parameters
    ----------
    prior : mapping of str to (float, float), optional
        What is known of parameters before the data are seen: for each letter its median and the standard deviation of
        its log, as in ``{"a": (1.0, 0.7)}``. Estimates are then where likelihood × prior is highest on the log scale,
        standard errors follow its curvature, and a prior holds what thin data do not.

    Attributes
    ----------
    params_ : pandas.Series
        Estimates, by the letters of the paper.
    standard_errors_ : pandas.Series
        Their standard errors (delta method from the log scale).
    covariance_ : pandas.DataFrame
        Their covariance matrix, from the Hessian.
    log_likelihood_, aic_, bic_ : float
        Of the data alone, also where there is a prior.
    converged_ : bool
        Whether the estimates are a proper, interior maximum; when False, a ConvergenceWarning said why.
    n_customers_ : float
        Customers that took part in the fit.
    unit_ : str
        Time unit of the summary; empty when it did not say.
    """

    _names: ClassVar[tuple[str, ...]]
    _columns: ClassVar[tuple[str, ...]]
    _borders: ClassVar[tuple[Border, ...]] = ()
    _poolable: ClassVar[bool] = False  # whether Cells.pooled is worth a try
    _penalties: Sequence[Penalty] = ()  # what is taken off the log-likelihood besides the prior

    prior: Prior | None
    params_: pd.Series
    standard_errors_: pd.Series
    covariance_: pd.DataFrame
    log_likelihood_: float
    aic_: float
    bic_: float
    converged_: bool
    n_customers_: float
    unit_: str
    _log_covariance: Array | None
    _near: Array | None = None  # log-parameters from where the next fit begins

    # ---- what a model file provides

    @abstractmethod
    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        """Return the log-likelihood of one customer of each history; ``p`` in the order of ``_names``."""

    @abstractmethod
    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        """Return the weighted log-likelihood of all customers, its gradient and Hessian in the parameters."""

    @abstractmethod
    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        """Return starting values, the best guess first."""

    def _check(self, cells: Cells) -> None:  # noqa: B027 - most models can have any history
        """Refuse histories that this model cannot have; raises DataError."""

    def _usable(self, cells: Cells) -> Cells:
        """Return the histories that take part in the fit; a model may raise EmptyDataError here."""
        return cells

    # ---- scikit-learn's habits

    def __init__(self, prior: Prior | None = None) -> None:
        self.prior = prior

    @classmethod
    def _arguments(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name not in {"self", "args", "kwargs"}]

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - scikit-learn's signature
        """Return the constructor's arguments."""
        return {name: getattr(self, name) for name in self._arguments()}

    def set_params(self, **arguments: Any) -> Self:
        """Change constructor arguments; returns self.

        Raises
        ------
        ParameterError
            When an argument is not one of the constructor's.
        """
        for name, value in arguments.items():
            if name not in self._arguments():
                raise ParameterError(f"{type(self).__name__} has no argument {name!r}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        default = inspect.signature(type(self).__init__).parameters
        given = {name: value for name, value in self.get_params().items() if value is not default[name].default}
        inside = ", ".join(f"{name}={value!r}" for name, value in given.items())
        if hasattr(self, "params_"):
            learned = ", ".join(f"{name} {value:.4g}" for name, value in self.params_.items())
            return f"<{type(self).__name__}({inside}): {learned}>"
        return f"{type(self).__name__}({inside})"

    # ---- fitting

    def fit(self, summary: pd.DataFrame) -> Self:
        """Estimate the parameters by maximum likelihood.

        Parameters
        ----------
        summary : pandas.DataFrame
            A row per customer, or per distinct history with the number of customers in ``n``.

        Returns
        -------
        Self
            The fitted model.

        Raises
        ------
        MissingColumnError, EmptyDataError, DataError
            When the summary cannot be used as it is.

        Warns
        -----
        ConvergenceWarning
            When the data do not hold all parameters; the text names the simpler model that suffices.
        """
        cells = Cells.read(summary, self._columns)
        self._check(cells)
        cells = self._usable(cells)
        return self._fit_cells(cells, unit_of(summary))

    def _beginning(self, near: Estimator | None) -> Self:
        """Let the next fit begin where one of this model to similar data ended, if that was a proper maximum.

        Where it leads to no proper maximum, the fit takes its own starts.
        """
        if near is not None and near.converged_ and tuple(near.params_.index) == tuple(self._names):
            self._near = np.log(near.params_.to_numpy(dtype=float))
        return self

    def _fit_cells(self, cells: Cells, unit: str) -> Self:
        starts = [np.log(np.asarray(start, dtype=float)) for start in self._starts(cells)]
        lower, upper = starts[0] - _REACH, starts[0] + _REACH
        whole = self._objective(cells.pooled() if self._poolable else cells)
        near, self._near = self._near, None
        optimum = None if near is None else newton(whole, near, lower, upper)
        if optimum is None or not optimum.proper:
            parts = [cells.part(size) for size in _PARTS if len(cells) > 4 * size]
            rough = [self._objective(part.pooled() if self._poolable else part) for part in parts]
            optimum = maximise(whole, starts, lower, upper, rough)
        if self._poolable and not self._pools_well(cells.part(_PARTS[-1]), optimum.theta):
            optimum = maximise(self._objective(cells), [optimum.theta], lower, upper)
        self._learn(np.exp(optimum.theta), cells, unit, optimum)
        if not self.converged_:
            warnings.warn(self._trouble(optimum), ConvergenceWarning, stacklevel=3)
        return self

    def _pools_well(self, cells: Cells, theta: Array) -> bool:
        """Return whether pooling histories changes neither the log-likelihood nor where its maximum lies."""
        pooled = cells.pooled()
        if pooled is cells:
            return True
        value, gradient, hessian = self._objective(cells)(theta)
        other = self._objective(pooled)(theta)
        shift = gradient - other[1]
        return abs(value - other[0]) < 1e-10 * abs(value) and float(shift @ _inverse(-hessian) @ shift) < 1e-6

    def _adopt(self, params: Mapping[str, float], summary: pd.DataFrame) -> Self:
        """Take over parameters that another program estimated from the summary, and judge them as our own."""
        cells = self._usable(Cells.read(summary, self._columns))
        given = self.with_parameters(params, **self.get_params())  # checks them
        theta = np.log(given.params_.to_numpy(dtype=float))
        value, gradient, hessian = self._objective(cells)(theta)
        reached = float(gradient @ _inverse(-hessian) @ gradient) / 2  # nats that a Newton step would still gain
        flat = flat_direction(theta, theta, hessian, theta - _REACH, theta + _REACH)
        self._learn(
            np.exp(theta), cells, unit_of(summary), Optimum(theta, value, gradient, hessian, reached < 0.01, flat)
        )
        if not self.converged_:
            text = mark("{model}: the other program stopped where the log-likelihood still rises or is flat")
            warnings.warn(tr(text, model=type(self).__name__), ConvergenceWarning, stacklevel=4)
        return self

    def _objective(self, cells: Cells) -> Objective:
        """Return what a fit climbs, as a function of log-parameters: the log-likelihood less the penalty."""
        likelihood, penalties = self._likelihood(cells), self._taken_off()
        if not penalties:
            return likelihood

        def evaluate(theta: Array) -> Derivatives:
            value, gradient, hessian = likelihood(theta)
            for penalty in penalties:
                v, g, h = penalty(theta, cells)
                value, gradient, hessian = value - v, gradient - g, hessian - h
            return value, gradient, hessian

        return evaluate

    def _taken_off(self) -> list[Penalty]:
        return [*self._penalties, *([_log_normal(self.prior, self._names)] if self.prior else [])]

    def _likelihood(self, cells: Cells) -> Objective:
        """Return the log-likelihood as a function of log-parameters."""
        blocks = list(cells.blocks())

        def evaluate(theta: Array) -> Derivatives:
            p = np.exp(theta)
            k = len(p)
            value, gradient, hessian = 0.0, np.zeros(k), np.zeros((k, k))
            for block in blocks:
                v, g, h = self._derivatives(p, block)
                value, gradient, hessian = value + v, gradient + g, hessian + h
            return value, gradient * p, hessian * np.outer(p, p) + np.diag(gradient * p)

        return evaluate

    def _learn(self, p: Array, cells: Cells, unit: str, optimum: Optimum) -> None:
        names = list(self._names)
        self.unit_ = unit
        self.n_customers_ = cells.customers
        self.log_likelihood_ = optimum.value + sum(taken(optimum.theta, cells)[0] for taken in self._taken_off())
        self.aic_ = 2 * len(p) - 2 * self.log_likelihood_
        self.bic_ = len(p) * float(np.log(self.n_customers_)) - 2 * self.log_likelihood_
        self.converged_ = optimum.proper
        self._log_covariance = _inverse(-optimum.hessian)
        self.params_ = pd.Series(p, index=names, name="estimate")
        covariance = self._log_covariance * np.outer(p, p)
        self.covariance_ = pd.DataFrame(covariance, index=names, columns=names)
        self.standard_errors_ = pd.Series(np.sqrt(np.diag(covariance)), index=names, name="standard_error")

    def _trouble(self, optimum: Optimum) -> str:
        name = type(self).__name__
        if optimum.flat is None:
            text = mark("{model}: the search stopped before the log-likelihood was flat; do not use these estimates")
            return tr(text, model=name)
        flat = optimum.flat
        found = ", ".join(f"{n} = {v:.3g}" for n, v in self.params_.items())
        best, score = None, 0.0
        for border in self._borders:
            pattern = np.array([border.direction.get(n, 0.0) for n in self._names])
            cosine = float(pattern @ flat) / float(np.linalg.norm(pattern))
            if cosine > score:
                best, score = border, cosine
        if best is not None and score > 0.75:
            text = mark("{model}: the maximum lies at a border ({found}): {meaning}")
            return tr(text, model=name, found=found, meaning=tr(best.meaning))
        moving = ", ".join(n for n, part in zip(self._names, flat, strict=True) if abs(part) > 0.3)
        text = mark("{model}: the data do not hold {names} ({found}); only combinations of them are estimated")
        return tr(text, model=name, names=moving, found=found)

    @classmethod
    def with_parameters(cls, params: Mapping[str, float] | pd.Series, unit: str = "", **arguments: Any) -> Self:
        """Return a model with given parameters: published ones, or those of another program.

        Its intervals know nothing of parameter uncertainty.

        Parameters
        ----------
        params : mapping of str to float
            A positive value per letter.
        unit : str
            Time unit that they belong to; empty: not said.
        **arguments
            For the constructor.

        Raises
        ------
        ParameterError
            When a letter is missing, unknown, or its value is not a positive number.
        """
        model = cls(**arguments)
        model._begin()
        names = model._names
        if set(params.keys()) != set(names):
            raise ParameterError(
                f"{cls.__name__} has the parameters {', '.join(names)}; found {', '.join(map(str, params.keys()))}"
            )
        values = np.array([float(params[name]) for name in names])
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise ParameterError(f"{cls.__name__}: parameters are positive numbers; found {dict(params)}")
        model.params_ = pd.Series(values, index=list(names), name="estimate")
        model.unit_, model._log_covariance = unit, None
        return model

    def _begin(self) -> None:  # noqa: B027 - the letters of most models depend on nothing
        """Settle, from the constructor's arguments, what the names of the parameters depend on."""

    # ---- what was learned

    def _p(self) -> Array:
        if not hasattr(self, "params_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted yet; call fit(summary) first")
        return self.params_.to_numpy(dtype=float)

    def _read(self, summary: pd.DataFrame) -> Cells:
        """Check a summary that predictions are asked for, its unit included."""
        self._p()
        unit = unit_of(summary) if isinstance(summary, pd.DataFrame) else ""
        if unit and self.unit_ and unit != self.unit_:
            raise UnitMismatchError(
                f"{type(self).__name__} was fitted with time in {self.unit_!r}, the summary has time in {unit!r}; "
                f"make it with customer_summary(unit={self.unit_!r})"
            )
        cells = Cells.read(summary, self._columns)
        self._check(cells)
        return cells

    def _points(self) -> Array:
        """Return parameter sets whose equal-weight averages are those over the estimates' distribution.

        They are the third-degree cubature rule (Arasaratnam & Haykin 2009, eq. 20) of the normal distribution of the
        log-parameters: 2k sets replace hundreds of draws, and the same call gives the same answer.
        """
        if self._log_covariance is None:
            raise ParameterError(
                f"this {type(self).__name__} was given its parameters, so their uncertainty is not known; "
                "ask for uncertainty='customer'"
            )
        values, vectors = np.linalg.eigh(self._log_covariance)
        spread = np.minimum(np.sqrt(np.maximum(values, 0.0)), _WIDEST)
        arms = np.sqrt(len(values)) * vectors * spread
        theta = np.log(self._p())
        return np.asarray(np.exp(np.vstack([theta + arms.T, theta - arms.T])))

    def log_likelihood(self, summary: pd.DataFrame) -> pd.Series:
        """Return each customer's log-likelihood under the fitted parameters (a density in the model's time unit)."""
        cells = self._read(summary)
        return self._series(cells, self._log_likelihood(self._p(), cells), "log_likelihood")

    def summary(self, level: float = 0.95) -> pd.DataFrame:
        """Return estimates, standard errors and intervals (Wald on the log scale), a row per parameter.

        Examples
        --------
        >>> import pandas as pd
        >>> from clvlib.clv.models.beta_geo import BetaGeoModel
        >>> model = BetaGeoModel.with_parameters({"r": 0.25, "alpha": 4.0, "a": 0.8, "b": 2.5}, unit="W")
        >>> model.summary()["estimate"].to_dict()
        {'r': 0.25, 'alpha': 4.0, 'a': 0.8, 'b': 2.5}
        """
        frame = self._p(), self._log_covariance
        table = pd.DataFrame({"estimate": frame[0]}, index=pd.Index(self._names, name="parameter"))
        if frame[1] is not None:
            error = np.sqrt(np.diag(frame[1]))
            width = np.minimum(normal_quantile(level) * error, 300.0)
            table["standard_error"] = self.standard_errors_.to_numpy()
            table["lower"] = frame[0] * np.exp(-width)
            table["upper"] = frame[0] * np.exp(width)
        return table

    @staticmethod
    def _series(cells: Cells, values: Array, name: str) -> pd.Series:
        return pd.Series(cells.expand(values), index=cells.index, name=name)

    # ---- keeping it

    def to_json(self, path: str | Path) -> None:
        """Write the fitted model to a JSON file that :func:`clvlib.load` reads."""
        self._p()
        kept = {
            "model": f"{type(self).__module__}:{type(self).__name__}",
            "arguments": self.get_params(),
            "names": list(self._names),
            "learned": {name: _plain(value) for name, value in vars(self).items() if name.endswith("_")},
            "log_covariance": None if self._log_covariance is None else self._log_covariance.tolist(),
        }
        Path(path).write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def _restore(self, kept: Mapping[str, Any]) -> Self:
        names = kept["names"]
        for name, value in kept["learned"].items():
            setattr(self, name, value)
        self.params_ = pd.Series(kept["learned"]["params_"], index=names, name="estimate")
        self._log_covariance = None
        if kept["log_covariance"] is not None:
            self._log_covariance = np.array(kept["log_covariance"])
            self.covariance_ = pd.DataFrame(kept["learned"]["covariance_"], index=names, columns=names)
            self.standard_errors_ = pd.Series(kept["learned"]["standard_errors_"], index=names, name="standard_error")
        return self


def load(path: str | Path) -> Estimator:
    """Read a model that ``to_json`` wrote.

    Raises
    ------
    ParameterError
        When the file is not one of ours.
    """
    try:
        kept = json.loads(Path(path).read_text(encoding="utf-8"))
        module, name = kept["model"].split(":")
        if not module.startswith("clvlib.clv."):
            raise ParameterError(f"{path}: {module} is not a module of clvlib's models")
        model: Estimator = getattr(import_module(module), name)(**kept["arguments"])
        return model._restore(kept)  # noqa: SLF001 - the two halves of saving
    except (
        KeyError,
        AttributeError,
        TypeError,
        json.JSONDecodeError,
        UnicodeDecodeError,
        ModuleNotFoundError,
    ) as error:
        raise ParameterError(f"{path}: not a model that clvlib saved ({error})") from error


def _log_normal(prior: Prior, names: Sequence[str]) -> Penalty:
    """Return minus the log of independent normal densities of log-parameters, but for a constant."""
    centre, weight = np.zeros(len(names)), np.zeros(len(names))
    for name, pair in prior.items():
        if name not in names or len(pair) != 2 or not (np.isfinite(pair).all() and min(pair) > 0):
            raise ParameterError(
                f"a prior gives a parameter ({', '.join(names)}) a positive median and a positive standard deviation "
                f"of its log; found {name}: {pair}"
            )
        i = list(names).index(name)
        centre[i], weight[i] = np.log(pair[0]), 1 / float(pair[1]) ** 2

    def penalty(theta: Array, _: Cells) -> Derivatives:
        away = theta - centre
        return float(weight @ away**2) / 2, weight * away, np.diag(weight)

    return penalty


def _plain(value: Any) -> Any:
    """Return a learned attribute as JSON can hold it."""
    if isinstance(value, pd.DataFrame):
        return value.to_numpy().tolist()
    if isinstance(value, pd.Series):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value


def _inverse(information: Array) -> Array:
    """Return the inverse of an information matrix; directions without information get a huge, finite variance."""
    values, vectors = np.linalg.eigh(information)
    floor = max(1e-14 * float(np.abs(values).max()), 1e-12)
    return np.asarray((vectors / np.maximum(values, floor)) @ vectors.T)


def spans_of(n: int, T: ArrayLike) -> Array:
    """Return a span of observation for each of n customers."""
    if not isinstance(n, int | np.integer) or n < 0:
        raise ParameterError(f"n is a number of customers, whole and not negative; found {n!r}")
    span = np.asarray(T, dtype=float)
    if span.shape not in {(), (1,), (n,)}:
        raise ParameterError(f"T is one span of time, or one for each of {n:,} customers; found {span.size:,} of them")
    if not (np.isfinite(span) & (span >= 0)).all():
        raise ParameterError("T is a span of time: finite and not negative")
    return np.broadcast_to(span, (n,)).copy()


def check_level(level: float) -> None:
    """Refuse what is no level of an interval."""
    if not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise ParameterError(f"an interval's level lies between 0 and 1, such as 0.9; found {level!r}")


def normal_quantile(level: float) -> float:
    """Return z such that a standard normal lies within ±z with the given probability."""
    check_level(level)
    return float(special.ndtri(0.5 + level / 2))
