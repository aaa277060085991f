"""Purchase models whose customers differ by what is known of them: gender, channel, city tier, age."""

# ruff: noqa: SLF001 - a model made of another one stands on its forms

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from clvlib.clv.cells import Cells, unit_of
from clvlib.clv.models.base import Border, Prior, spans_of
from clvlib.clv.models.beta_geo import BetaGeoModel
from clvlib.clv.models.encoding import Encoding, encode, learn_encoding, list_of
from clvlib.clv.models.modified_beta_geo import ModifiedBetaGeoModel
from clvlib.clv.models.nbd import NBDModel
from clvlib.clv.models.pareto_nbd import ParetoNBDModel
from clvlib.clv.models.purchases import PurchaseModel
from clvlib.clv.optimise import Derivatives, Objective
from clvlib.errors import ConvergenceWarning, ParameterError

__all__ = ["Base", "CovariateModel", "WithCovariates"]

Array = NDArray[np.float64]
Codes = NDArray[np.intp]
Base = PurchaseModel | type[PurchaseModel] | str

# the parameter that a multiplier divides
_LETTERS: Mapping[type[PurchaseModel], Mapping[str, str]] = {
    BetaGeoModel: {"purchase": "alpha", "dropout": "b"},
    ModifiedBetaGeoModel: {"purchase": "alpha", "dropout": "b"},
    ParetoNBDModel: {"purchase": "alpha", "dropout": "beta"},
    NBDModel: {"purchase": "alpha"},
}
_ONE_CLOCK = (BetaGeoModel, ModifiedBetaGeoModel, NBDModel)  # alpha alone carries time
_FEW = 16  # a numeric covariate of purchasing with more values than this stretches time instead of making patterns
_MOST = 10_000  # more patterns than this take minutes
_FARTHEST = 60.0  # no log-parameter of a pattern is tried beyond this


class Term(NamedTuple):
    """A coefficient: which process, which column, and which of its levels (None: a number)."""

    process: str
    column: str
    level: int | None
    label: str


class _Part(NamedTuple):
    """Histories that share the parameters of the model underneath, whose logs are ``matrix @ logs``."""

    where: Codes | slice
    cells: Cells
    matrix: Array


class WithCovariates(PurchaseModel):
    """What models with covariates share: the model underneath, coefficients by name, saving.

    A coefficient g is kept as its multiplier exp(g), positive as all parameters are, 1 without an effect.
    """

    encoding_: Encoding
    encoding: Mapping[str, Sequence[Any]] | None
    model: Base

    # ---- the model underneath

    @property
    def _base(self) -> PurchaseModel:
        """Return a fresh model of the kind underneath."""
        by_name = {kind.__name__: kind for kind in _LETTERS}
        name = self.model if isinstance(self.model, str) else getattr(self.model, "__name__", type(self.model).__name__)
        if name not in by_name:
            raise ParameterError(f"covariates go with {list_of(by_name)}; found {name}")
        return by_name[name]()

    @abstractmethod
    def _covariates(self) -> dict[str, list[str]]:
        """Return the columns by process."""

    def _terms(self) -> list[Term]:
        """Return the coefficients, in order."""
        encoding = getattr(self, "encoding_", {})
        terms = []
        for process, columns in self._covariates().items():
            for column in columns:
                known = encoding.get(column, [0.0, 1.0])
                if isinstance(known[0], str):
                    terms += [Term(process, column, i, f"{process}:{column}={known[i]}") for i in range(1, len(known))]
                else:
                    terms.append(Term(process, column, None, f"{process}:{column}"))
        return terms

    @property
    def _names(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self._base._names, *(term.label for term in self._terms()))

    @property
    def _borders(self) -> tuple[Border, ...]:  # type: ignore[override]
        ends = {
            ("purchase", -1): "hardly any of them buys again",
            ("dropout", -1): "none of them seems to leave",
            ("dropout", 1): "all of them seem to leave at the first chance",
        }
        advice = "merge the level with another one, or leave the covariate out"
        own = [
            Border({term.label: sign}, f"{says} where {term.label.partition(':')[2]} is high; {advice}")
            for term in self._terms()
            for (process, sign), says in ends.items()
            if term.process == process
        ]
        return (*own, *self._base._borders)

    def _begin(self) -> None:
        columns = dict.fromkeys(column for columns in self._covariates().values() for column in columns)
        given = self.encoding or {}
        self.encoding_ = {column: list(given.get(column, [0.0, 1.0])) for column in columns}

    def to_json(self, path: str | Path) -> None:
        """Write the fitted model to a JSON file that :func:`clvlib.load` reads."""
        kept = copy.copy(self)
        kept.model = type(self._base).__name__
        super(WithCovariates, kept).to_json(path)

    # ---- fitting

    def _check(self, cells: Cells) -> None:
        self._base._check(cells)

    def _usable(self, cells: Cells) -> Cells:
        return self._base._usable(cells)

    def _starts(self, cells: Cells) -> Sequence[Sequence[float]]:
        """Return the optimum without covariates, where there is a proper one, with multipliers 1."""
        base = self._base
        plain = replace(cells, columns={name: cells[name] for name in base._columns})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            base._fit_cells(plain, "")
        starts = [base._p()] if base.converged_ else base._starts(plain)
        ones = [1.0] * len(self._terms())
        return [[*start, *ones] for start in starts]

    def _derivatives(self, p: Array, cells: Cells) -> Derivatives:
        value, gradient, hessian = self._likelihood(cells)(np.log(p))
        return value, gradient / p, (hessian - np.diag(gradient)) / np.outer(p, p)


class CovariateModel(WithCovariates):
    """A purchase model whose customers differ by covariates that do not change with time (Fader & Hardie 2007).

    A customer with covariates z buys at λ·exp(g'z), where λ ~ Gamma(r, α) as before: his α is α·exp(−g'z). He leaves

    - in Pareto/NBD at μ·exp(h'z): his β is β·exp(−h'z);
    - in BG/NBD and MBG/NBD with odds of leaving a/b that are exp(h'z) times as high: his b is b·exp(−h'z).

    Fader & Hardie let a and b have a vector of coefficients each. One vector suffices to move the mean chance to leave;
    two of them also change how much customers of a group differ among each other, which a few purchases each hardly
    tell. (The same vector in both, as some programs have it, leaves the mean where it was.) b it is and not a, because
    the smaller the chances to leave, the nearer is the beta distribution to a gamma with shape a and rate b: a keeps
    the part of s in Pareto/NBD, and a coefficient means the same in all these models.

    Parameters
    ----------
    model : PurchaseModel, its class or its name
        BetaGeoModel, ModifiedBetaGeoModel, ParetoNBDModel, or NBDModel (which has no dropout).
    purchase, dropout : sequences of str
        Columns of the summary that purchasing and dropout depend on. Text is coded by level, against the most frequent
        one (the first in the alphabet among equals). A number enters in units of its standard deviation, from its mean;
        numbers that are only 0 and 1, and truth values, as they are.
    encoding : mapping of str to sequence, optional
        To have it otherwise: the levels of a text column, the reference first; centre and scale of a numeric column
        (``{"age": [40, 10]}``: per ten years, from 40). ``with_parameters`` takes a column that it does not name for a
        number with centre 0 and scale 1.
    prior : mapping of str to (float, float), optional
        See :class:`Estimator`; ``{"purchase:gender=f": (1.0, 0.3)}`` shrinks a multiplier towards 1.

    Attributes
    ----------
    encoding_ : dict of str to list
        What is in use, by column.

    Notes
    -----
    Besides those of the model underneath, the parameters are the multipliers exp(g), named ``purchase:gender=f`` for a
    level and ``purchase:age`` for a number: 1.2 means that such customers buy 1.2 times as often, 1 means no effect.
    The other parameters, ``expected_purchases_new`` and ``count_probability_new`` are of the reference customer: the
    first level of every text column, the centre of every number. For another new customer ask ``expected_purchases``
    with the history (0, 0, 0) and his covariates.

    Every parameter of a customer is log-linear in these, so likelihood, gradient and Hessian are sums of those of the
    model underneath over the distinct patterns of covariates. A numeric covariate of purchasing with many values makes
    no patterns in BG/NBD, MBG/NBD and NBD: buying twice as fast is the same as time running twice as fast. Elsewhere
    more than 10,000 patterns are refused; bin the column.

    Examples
    --------
    >>> params = {"r": 0.6, "alpha": 5.0, "a": 0.9, "b": 2.5, "purchase:gender=f": 1.5, "dropout:gender=f": 0.8}
    >>> levels = {"gender": ["m", "f"]}
    >>> model = CovariateModel.with_parameters(
    ...     params, unit="W", model=BetaGeoModel, purchase=["gender"], dropout=["gender"], encoding=levels)
    >>> who = pd.DataFrame({"frequency": 2, "recency": 20.0, "T": 30.0, "gender": ["m", "f"]}, index=["1", "2"])
    >>> model.expected_purchases(who, horizon=26).round(2).to_dict()
    {'1': 0.99, '2': 1.1}
    """

    def __init__(
        self,
        model: Base,
        purchase: Sequence[str] = (),
        dropout: Sequence[str] = (),
        encoding: Mapping[str, Sequence[Any]] | None = None,
        prior: Prior | None = None,
    ) -> None:
        super().__init__(prior)
        self.model, self.purchase, self.dropout, self.encoding = model, purchase, dropout, encoding

    def _covariates(self) -> dict[str, list[str]]:
        return {"purchase": list(self.purchase), "dropout": list(self.dropout)}

    @property
    def _covariate_columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self.purchase, *self.dropout]))

    @property
    def _columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*PurchaseModel._columns, *self._covariate_columns)

    def fit(self, summary: pd.DataFrame) -> Self:
        """Estimate the parameters by maximum likelihood.

        Parameters
        ----------
        summary : pandas.DataFrame
            A row per customer with the covariates, or per distinct row with the number of customers in ``n``.

        Returns
        -------
        Self
            The fitted model.

        Raises
        ------
        MissingColumnError, EmptyDataError, DataError, ParameterError
            When the summary, or the choice of covariates, cannot be used as it is.

        Warns
        -----
        ConvergenceWarning
            When the data do not hold all parameters; the text names the simpler model that suffices.
        """
        self._check_choice()
        plain = Cells.read(summary, PurchaseModel._columns)
        columns = self._covariate_columns
        self.encoding_ = learn_encoding(summary, columns, plain.rows, self.encoding or {})
        frame, numbers = self._coded(summary)
        cells = self._with_numbers(Cells.read(frame, self._columns), numbers)
        self._check(cells)
        patterns = len(np.unique(self._pattern(cells)[0]))
        if patterns > _MOST:
            raise ParameterError(
                f"{list_of(columns)} make {patterns:,} patterns of customers, each with a likelihood of its own; bin "
                "the columns with many values, as in pandas.qcut(column, 5).astype(str)"
            )
        return self._fit_cells(cells, unit_of(summary))

    def _check_choice(self) -> None:
        letters = _LETTERS[type(self._base)]
        for process, columns in self._covariates().items():
            if isinstance(getattr(self, process), str) or len(set(columns)) < len(columns):
                raise ParameterError(f"{process} is a list of different columns; found {getattr(self, process)!r}")
            if columns and process not in letters:
                raise ParameterError(
                    f"{type(self._base).__name__} has no {process} that {list_of(columns)} could change"
                )
        if not any(self._covariates().values()):
            raise ParameterError(
                "name at least one covariate, in purchase or dropout; without any, fit the model itself"
            )

    def _coded(self, summary: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Array]]:
        """Return the summary with the position of each covariate's number in place of its value, and the numbers."""
        coded = {c: np.unique(v, return_inverse=True) for c, v in encode(summary, self.encoding_).items()}
        return summary.assign(**{c: code for c, (_, code) in coded.items()}), {c: v for c, (v, _) in coded.items()}

    @staticmethod
    def _with_numbers(cells: Cells, numbers: dict[str, Array]) -> Cells:
        own = {column: values[cells[column].astype(np.intp)] for column, values in numbers.items()}
        return replace(cells, columns={**cells.columns, **own})

    def _read(self, summary: pd.DataFrame) -> Cells:
        self._p()
        frame, numbers = self._coded(summary)
        return self._with_numbers(super()._read(frame), numbers)

    # ---- patterns

    def _stretching(self, cells: Cells) -> list[int]:
        """Return which terms stretch time instead of making patterns."""
        if type(self._base) not in _ONE_CLOCK:
            return []
        wide = {
            term.column: term.level is None and term.column in cells.columns and _many(cells[term.column])
            for term in self._terms()
        }
        return [i for i, term in enumerate(self._terms()) if term.process == "purchase" and wide[term.column]]

    def _design(self, cells: Cells) -> list[Array]:
        """Return the value of each term's covariate per history; the reference customer where a column is absent."""
        zero = np.zeros(len(cells))
        values = ((cells.columns.get(term.column, zero), term.level) for term in self._terms())
        return [value if level is None else (value == level).astype(float) for value, level in values]

    def _pattern(self, cells: Cells) -> tuple[Codes, list[int], list[Array]]:
        """Return the pattern of each history, the terms that stretch time, and all terms' values."""
        stretching, design = self._stretching(cells), self._design(cells)
        code: Codes = np.zeros(len(cells), dtype=np.intp)
        for i, values in enumerate(design):
            if i not in stretching:
                levels, own = np.unique(values, return_inverse=True)
                code = np.unique(code * len(levels) + own, return_inverse=True)[1]
        return code, stretching, design

    def _parts(self, cells: Cells) -> Iterator[_Part]:
        """Yield the histories by pattern; what stretches time is their columns "stretch 0", "stretch 1", ..."""
        code, stretching, design = self._pattern(cells)
        names, letters = self._base._names, _LETTERS[type(self._base)]
        own = {f"stretch {i}": design[i] for i in stretching}
        cells = replace(cells, columns={**{name: cells[name] for name in PurchaseModel._columns}, **own})
        order = np.argsort(code, kind="stable")
        for where in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
            matrix = np.eye(len(names), len(names) + len(design))
            for i, term in enumerate(self._terms()):
                if i not in stretching:
                    matrix[names.index(letters[term.process]), len(names) + i] = -design[i][where[0]]
            yield _Part(where, cells.take(where), matrix)

    def _stretched(self, theta: Array, cells: Cells) -> tuple[Cells, Array | float]:
        """Return the histories in the time of the reference customer, and how much faster it runs."""
        own = {name: cells[name] for name in cells.columns if name.startswith("stretch ")}
        if not own:
            return cells, 1.0
        first = len(self._base._names)
        speed = sum(theta[first + int(name.removeprefix("stretch "))] * values for name, values in own.items())
        factor = np.exp(np.clip(speed, -_FARTHEST, _FARTHEST))
        times = {name: cells[name] * factor for name in ("recency", "T")}
        return replace(cells, columns={**cells.columns, **times}), factor

    def _likelihood(self, cells: Cells) -> Objective:
        parts = [(part.matrix, list(part.cells.blocks())) for part in self._parts(cells)]

        def evaluate(theta: Array) -> Derivatives:
            k = len(theta)
            value, gradient, hessian = 0.0, np.zeros(k), np.zeros((k, k))
            for matrix, blocks in parts:
                p = np.exp(np.clip(matrix @ theta, -_FARTHEST, _FARTHEST))
                for block in blocks:
                    v, g, h = self._of_block(p, theta, matrix, block)
                    value, gradient, hessian = value + v, gradient + g, hessian + h
            return value, gradient, hessian

        return evaluate

    def _of_block(self, p: Array, theta: Array, matrix: Array, cells: Cells) -> Derivatives:
        """Return value and derivatives in all log-parameters, from those in the log-parameters underneath.

        A term that stretches time changes a customer's log α by −z: sums over customers of z times a derivative are
        the model's own sums with z in the weights.
        """
        stretched, factor = self._stretched(theta, cells)
        value, own, bend = self._logged(p, stretched)
        value += float((cells.weight * cells["frequency"]) @ np.log(np.broadcast_to(factor, len(cells))))
        gradient, hessian = matrix.T @ own, matrix.T @ bend @ matrix
        names = [name for name in cells.columns if name.startswith("stretch ")]
        first, alpha = len(p), self._base._names.index("alpha")
        for place, name in enumerate(names):
            i = first + int(name.removeprefix("stretch "))
            weighted = cells.weight * cells[name]
            _, own, bend = self._logged(p, replace(stretched, weight=weighted))
            gradient[i] -= own[alpha]
            hessian[i] -= matrix.T @ bend[alpha]
            hessian[:, i] -= matrix.T @ bend[alpha]
            for other in names[place:]:
                j = first + int(other.removeprefix("stretch "))
                bent = self._logged(p, replace(stretched, weight=weighted * cells[other]))[2][alpha, alpha]
                hessian[i, j] += bent
                hessian[j, i] = hessian[i, j]
        return value, gradient, hessian

    def _logged(self, p: Array, cells: Cells) -> Derivatives:
        value, gradient, hessian = self._base._derivatives(p, cells)
        return value, gradient * p, hessian * np.outer(p, p) + np.diag(gradient * p)

    # ---- the forms, by pattern

    def _forms(self, p: Array, cells: Cells) -> Iterator[tuple[Codes | slice, Array, Cells, Array | float]]:
        """Yield histories, the parameters underneath, the histories in their own time, and how much faster it runs."""
        theta = np.log(p)
        for part in self._parts(cells):
            yield part.where, np.exp(part.matrix @ theta), *self._stretched(theta, part.cells)

    def _log_likelihood(self, p: Array, cells: Cells) -> Array:
        result = np.empty(len(cells))
        for where, q, part, speed in self._forms(p, cells):
            result[where] = self._base._log_likelihood(q, part) + part["frequency"] * np.log(speed)
        return result

    def _alive(self, p: Array, cells: Cells) -> Array:
        result = np.empty(len(cells))
        for where, q, part, _ in self._forms(p, cells):
            result[where] = self._base._alive(q, part)
        return result

    def _expected(self, p: Array, cells: Cells, horizon: Array) -> Array:
        result = np.empty(len(cells))
        for where, q, part, speed in self._forms(p, cells):
            result[where] = self._base._expected(q, part, horizon[where] * speed)
        return result

    def _tail(self, p: Array, cells: Cells, horizon: Array, n: Array) -> Array:
        result = np.empty(n.shape)
        for where, q, part, speed in self._forms(p, cells):
            result[..., where] = self._base._tail(q, part, horizon[where] * speed, n[..., where])
        return result

    def _draw(self, p: Array, cells: Cells, horizon: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        count, last = np.empty(len(cells)), np.empty(len(cells))
        for where, q, part, speed in self._forms(p, cells):
            count[where], drawn = self._base._draw(q, part, horizon[where] * speed, rng)
            last[where] = np.minimum(drawn / speed, horizon[where])
        return count, last

    def _pace(self, p: Array, cells: Cells) -> Array:
        result = np.empty(len(cells))
        for where, q, part, speed in self._forms(p, cells):
            result[where] = self._base._pace(q, part) / speed
        return result

    def simulate(
        self, n: int, T: ArrayLike, seed: int | np.random.Generator, covariates: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Draw new customers from the model.

        Parameters
        ----------
        n : int
            Customers.
        T : float or array of n
            How long each was observed after the first purchase.
        seed : int or numpy.random.Generator
        covariates : pandas.DataFrame, optional
            Their covariates, n rows; default: all are the reference customer.

        Returns
        -------
        pandas.DataFrame
            frequency, recency, T and the covariates by customer_id ("0", "1", ...), in the model's unit.

        Raises
        ------
        ParameterError
            When the covariates are not those of n customers.
        """
        if covariates is None:
            return super().simulate(n, T, seed)
        if len(covariates) != n:
            raise ParameterError(f"covariates describe {len(covariates):,} customers, n asks for {n:,}")
        index = pd.Index([str(i) for i in range(n)], name="customer_id")
        frame = pd.DataFrame({"frequency": 0.0, "recency": 0.0, "T": 0.0}, index=index)
        own = covariates.set_axis(index)[list(self._covariate_columns)]
        frame = pd.concat([frame, own], axis=1)
        frame["T"] = spans_of(n, T)
        new = self._read(frame.assign(T=0.0))
        cells = Cells.of(**{name: new.expand(new[name]) for name in self._columns})
        span = frame["T"].to_numpy()
        frame["frequency"], frame["recency"] = self._draw(self._p(), cells, span, np.random.default_rng(seed))
        frame.attrs["clvlib"] = {"unit": self.unit_}
        return frame


def _many(values: Array) -> bool:
    return len(pd.unique(values)) > _FEW
