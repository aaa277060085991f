"""lifetimes.fitters: what all fitters share. One engine model estimates, this shows the result as lifetimes does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.cells import Cells
from clvlib.clv.models.base import Estimator, Penalty
from clvlib.compat.lifetimes.fitters.penalty import ridge
from clvlib.errors import ParameterError

__all__ = ["BaseFitter", "Values", "elementwise"]

Array = NDArray[np.float64]
Values = Any  # a float, an array or a Series: what came in goes out


class BaseFitter:
    """Base of all fitters.

    Parameters
    ----------
    penalizer_coef : float
        What the sum of squared parameters (in time scaled to a greatest T of 1) is multiplied with, before it is added
        to the mean negative log-likelihood (Pareto/NBD: to its sum).

    Attributes
    ----------
    params_ : pandas.Series
        Estimates; may be set by hand in place of ``fit``.
    standard_errors_ : pandas.Series
    variance_matrix_ : pandas.DataFrame
    confidence_intervals_ : pandas.DataFrame
        95%: estimate ± 1.96 standard errors.
    data : pandas.DataFrame
        What ``fit`` was given.
    """

    _model: ClassVar[type[Estimator]]
    _letters: ClassVar[tuple[str, ...]]  # lifetimes' names of the model's parameters, in the model's order
    _times: ClassVar[tuple[str, ...]] = ()  # those in units of time
    _per_customer: ClassVar[bool] = True  # whether lifetimes' objective is a mean, not a sum

    params_: pd.Series
    standard_errors_: pd.Series
    variance_matrix_: pd.DataFrame
    confidence_intervals_: pd.DataFrame
    data: Any
    generate_new_data: Callable[..., pd.DataFrame] | None
    _scale: float

    def __init__(self, penalizer_coef: float = 0.0) -> None:
        self.penalizer_coef = penalizer_coef

    def __repr__(self) -> str:
        name = f"<lifetimes.{type(self).__name__}"
        if not hasattr(self, "params_"):
            return f"{name}>"
        data = getattr(self, "data", None)
        subjects = "" if data is None else f"fitted with {len(data)} subjects, "
        return f"{name}: {subjects}{', '.join(f'{k}: {v:.2f}' for k, v in sorted(self.params_.items()))}>"

    def _unload_params(self, *args: str) -> list[float]:
        """Return parameters by name.

        Raises
        ------
        ParameterError
            A ValueError: there are none yet.
        """
        if not hasattr(self, "params_"):
            raise ParameterError(f"{type(self).__name__} is not fitted yet: call fit, or set params_")
        return [float(self.params_[name]) for name in args]

    def _p(self) -> Array:
        return np.array(self._unload_params(*self._letters))

    def _named(self, names: tuple[str, ...]) -> dict[str, float]:
        return dict(zip(names, self._unload_params(*self._letters), strict=True))

    def engine(self) -> Any:
        """Return clvlib's own model with these parameters: the way on, to intervals and all else that it can do."""
        return self._model.with_parameters(self._named(self._model._names))  # noqa: SLF001

    # ---- fitting

    def _estimate(self, data: pd.DataFrame, index: ArrayLike | None, penalties: Sequence[Penalty] = ()) -> None:
        """Fit the engine's model to ``data`` (its columns, and weights) and learn what lifetimes' fitters learn."""
        summary = data.rename(columns={"weights": "n", "n_periods": "T"})
        if self._times:
            self._scale = 1.0 / max(float(summary["T"].max()), 1e-300) if len(summary) else 1.0
            summary[["recency", "T"]] = summary[["recency", "T"]] * self._scale
        model = self._model()
        penalties = list(penalties)
        if self.penalizer_coef:
            penalties.append(ridge(self.penalizer_coef, per_customer=self._per_customer))
        model._penalties = penalties  # noqa: SLF001 - their form is not that of a prior
        model.fit(summary)
        cells = model._usable(Cells.read(summary, model._columns))  # noqa: SLF001
        names = list(self._letters)
        unit = np.array([1.0 / self._scale if name in self._times else 1.0 for name in names])
        covariance = model.covariance_.to_numpy() * np.outer(unit, unit)
        self.params_ = pd.Series(model.params_.to_numpy() * unit, index=names)
        self.variance_matrix_ = pd.DataFrame(covariance, index=names, columns=names)
        self.standard_errors_ = pd.Series(np.sqrt(np.diag(covariance)), index=names)
        self.confidence_intervals_ = pd.DataFrame(
            {
                "lower 95% bound": self.params_ - 1.96 * self.standard_errors_,
                "upper 95% bound": self.params_ + 1.96 * self.standard_errors_,
            }
        )
        share = model.n_customers_ if self._per_customer else 1.0
        taken = sum(penalty(np.log(model.params_.to_numpy()), cells)[0] for penalty in penalties)
        self._negative_log_likelihood_ = (taken - model.log_likelihood_) / share
        self.data = data if index is None else data.set_axis(np.asarray(index), axis=0)
        self._offer()

    def _offer(self) -> None:
        """Set the attributes that lifetimes makes in ``fit``: predict, generate_new_data."""

    @property
    def summary(self) -> pd.DataFrame:
        """Estimates, standard errors and 95% limits, a row per parameter."""
        self._unload_params()
        table = pd.DataFrame({"coef": self.params_, "se(coef)": self.standard_errors_})
        return table.join(self.confidence_intervals_)

    # ---- keeping it

    def save_model(
        self,
        path: str | Path,
        save_data: bool = True,  # noqa: FBT001, FBT002 - lifetimes' signature
        save_generate_data_method: bool = True,  # noqa: FBT001, FBT002 - likewise
        values_to_save: Sequence[Any] | None = None,
    ) -> None:
        """Write the fitter to a JSON file.

        Parameters
        ----------
        path : str or Path
            Where to.
        save_data : bool
            Whether to keep ``data``.
        save_generate_data_method : bool
            Whether the loaded fitter has ``generate_new_data``.
        values_to_save : sequence, optional
            What stands in for each of the two that are not kept, in this order; None where there is nothing.
        """
        left_out = [
            name for name, kept in (("data", save_data), ("generate_new_data", save_generate_data_method)) if not kept
        ]
        stand_ins = dict(zip(left_out, values_to_save or [None] * len(left_out), strict=True))
        kept = {name: _plain(value) for name, value in vars(self).items() if not callable(value)}
        text = json.dumps({"fitter": type(self).__name__, "learned": kept | stand_ins}, default=str)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def load_model(self, path: str | Path) -> None:
        """Take over what ``save_model`` wrote.

        Raises
        ------
        ParameterError
            The file is not one of this fitter's; those of the lifetimes package hold program code, which is not run.
        """
        try:
            kept = json.loads(Path(path).read_text(encoding="utf-8"))
            fitter, learned = kept["fitter"], {name: _restored(value) for name, value in kept["learned"].items()}
        except (KeyError, TypeError, ValueError) as error:
            raise ParameterError(f"{path}: not a file that save_model of clvlib.compat.lifetimes wrote") from error
        if fitter != type(self).__name__:
            raise ParameterError(f"{path} holds a {fitter}, not a {type(self).__name__}")
        if "params_" in learned:
            self._offer()
        vars(self).update(learned)


def _plain(value: Any) -> Any:
    """Return an attribute as JSON can hold it."""
    if isinstance(value, pd.DataFrame):
        return {"frame": {str(name): column.tolist() for name, column in value.items()}, "index": value.index.tolist()}
    if isinstance(value, pd.Series):
        return {"series": value.tolist(), "index": value.index.tolist()}
    return value.item() if isinstance(value, np.generic) else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and "frame" in value:
        return pd.DataFrame(value["frame"], index=value["index"])
    if isinstance(value, dict) and "series" in value:
        return pd.Series(value["series"], index=value["index"])
    return value


def elementwise(function: Callable[..., Array], *inputs: Any) -> Values:
    """Evaluate a function of flat arrays for numbers, arrays of any shape or Series, and answer in kind.

    Series are matched by their index, as in arithmetic; where an input is missing, so is the result.
    """
    if any(isinstance(values, pd.Series) for values in inputs):
        frame = pd.DataFrame(dict(enumerate(inputs)))
        return pd.Series(elementwise(function, *(frame[i].to_numpy(dtype=float) for i in frame)), index=frame.index)
    arrays = np.broadcast_arrays(*(np.asarray(values, dtype=float) for values in inputs))
    flat = [array.ravel() for array in arrays]
    known = ~np.isnan(np.array(flat)).any(axis=0)
    result = np.full(flat[0].shape, np.nan)
    if known.any():
        result[known] = function(*(values[known] for values in flat))
    return result.reshape(arrays[0].shape)[()]
