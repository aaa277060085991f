"""What a parameter can be beyond its type: its range, and what only the library or the shop's data know.

What a name means is the same in every notebook, so one table for each kind of limit holds for all. A notebook's default
is never refused: a shop without experiments has a report too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from clvlib.errors import ParameterError

if TYPE_CHECKING:
    from clvlib.report.parameters import Notebook

__all__ = ["within_data", "within_range"]

_SHARES: Final = {
    *("alive_below", "budget_change", "click_to_cart_min", "hit_threshold", "hold_out", "in_time_min", "interval"),
    "level",
}
_SPANS: Final = ("weeks", "_days", "_minutes", "ship_hours", "receive_hours", "escalate_hours")
_DAYS: Final = {"calibration_end", "holdout_end"}
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "annual_rate": (0, 1),
    "comment_sample": (1, inf),
    "contact_budget": (0, inf),
    "evening_from": (1, 23),
    "gold": (0, inf),
    "market_weights": (0, inf),
    "min_per_arm": (1, inf),
    "phone_calls": (0, inf),
    "quiet_hours": (0, 23),
    "recommend": (1, inf),
    "risk_list": (1, inf),
    "silver": (0, inf),
    "vip_score": (0, 10),
}
_TIERS: Final = {"silver", "gold"}
_PAIRS: Final = {"quiet_hours", *_TIERS}
_LISTED: Final = 20  # of what there is, in a message


def within_range(name: str, value: Any, default: Any) -> None:
    """Refuse a value of the right type that makes no sense under its name.

    Parameters
    ----------
    name : str
        Of the parameter.
    value, default : Any
        What is passed, and what the notebook has, which is always in order.

    Raises
    ------
    ParameterError
        A share that is none, a span of no time, a day that the calendar lacks, or a number outside its range.

    Examples
    --------
    >>> within_range("level", 0.9, 0.95)
    >>> within_range("evening_from", 24, 21)
    Traceback (most recent call last):
    clvlib.errors.ParameterError: parameter evening_from: 24 lies outside 1 to 23
    """
    if value == default:
        return
    parts = value if isinstance(value, list) else [*value.values()] if isinstance(value, dict) else [value]
    numbers = [part for part in parts if isinstance(part, (int, float))]  # a notebook of one's own may mean a text
    lower, upper = _RANGES.get(name, (-inf, inf))
    if name == "margin" and not all(0 < part <= 1 for part in numbers):
        raise _refusal(name, value, "is no share above 0 and up to 1, such as 0.3")
    if name in _SHARES and not all(0 < part < 1 for part in numbers):
        raise _refusal(name, value, "is no share between 0 and 1, such as 0.9")
    if name.endswith(_SPANS) and not all(part > 0 for part in numbers):
        raise _refusal(name, value, "is no span of time, which is above 0")
    if name in _PAIRS and len(parts) != len(default):
        raise _refusal(name, value, f"is not {len(default)} numbers such as {default}")
    if name in _RANGES and not all(lower <= part <= upper for part in numbers):
        raise _refusal(name, value, f"lies outside {lower:g} to {upper:g}" if upper < inf else f"is below {lower:g}")
    if name in _DAYS:
        try:
            dt.date.fromisoformat(value)
        except ValueError:
            raise _refusal(name, value, "is no day such as 2026-11-15") from None


def within_data(notebooks: Iterable[Notebook], given: Mapping[str, Mapping[str, Any]], shop: Any) -> None:
    """Refuse what names something that the library, or this shop, does not have, and say what there is.

    Parameters
    ----------
    notebooks : iterable of Notebook
        Those that will run.
    given : mapping
        What :func:`clvlib.report.parameters.checked` returned.
    shop : Shop
        Whose report it is.

    Raises
    ------
    ParameterError
        There is no such experiment, model, step, part of the shop and so on, or a day lies beyond the data.
    """
    for book in notebooks:
        values = {name: parameter.default for name, parameter in book.parameters.items()} | dict(given[book.name])
        for name in given[book.name]:
            if values[name] != book.parameters[name].default:
                _known(name, values, shop)


def _known(name: str, values: Mapping[str, Any], shop: Any) -> None:
    value = values[name]
    if name in _DAYS and dt.date.fromisoformat(value) > shop.data_until:
        raise _refusal(name, value, f"lies beyond the data, which end on {shop.data_until}")
    if name == "only":
        shop.where(**value)
    if name in _TIERS and values.keys() >= _TIERS and not _rises(values["silver"], values["gold"]):
        raise _refusal(name, value, f"does not let tiers rise: silver {values['silver']}, gold {values['gold']}")
    if name in _THERE:
        _refuse(name, value if isinstance(value, (dict, list)) else [value], _THERE[name](values, shop))
    if name == "across_teams":
        for column, named in value.items():
            _refuse(name, named, _distinct(shop, "complaints", column))


def _refuse(name: str, named: Iterable[str], there: Sequence[str]) -> None:
    for one in named:
        if one not in there:
            raise _refusal(name, one, _none_of(one, there))


def _rises(lower: Sequence[float], upper: Sequence[float]) -> bool:
    return lower != upper and all(a <= b for a, b in zip(lower, upper, strict=True))


def _models(values: Mapping[str, Any], _: Any) -> Sequence[str]:
    from clvlib.clv.valuation import AUTO, MODELS

    return [AUTO, *_fitted_by(values.get("engine", ""), MODELS)]


def _spend_models(values: Mapping[str, Any], _: Any) -> Sequence[str]:
    from clvlib.clv.valuation import SPEND_MODELS

    return _fitted_by(values.get("engine", ""), SPEND_MODELS)


def _fitted_by(engine: str, models: Iterable[str]) -> list[str]:
    from clvlib.clv.engine import FITTERS

    return [model for model in models if model in FITTERS or engine != "lifetimes"]


def _engines(*_: Any) -> Sequence[str]:
    from clvlib.clv.engine import Engine

    return get_args(Engine)


def _metrics(*_: Any) -> Sequence[str]:
    from clvlib.abtest.metrics import METRICS

    return list(METRICS)


def _looks(*_: Any) -> Sequence[str]:
    from clvlib.abtest.looks import LOOKS

    return LOOKS


def _criteria(*_: Any) -> Sequence[str]:
    from clvlib.audience.markets import CRITERIA

    return list(CRITERIA)


def _plans(values: Mapping[str, Any], shop: Any) -> Sequence[str]:
    folder = shop.folder or Path()
    asked = [values["plan"]] if (folder / values["plan"]).is_file() else []  # it may lie elsewhere
    return asked or sorted(path.name for path in folder.glob("*.plan.yaml"))


def _columns(shop: Any, table: str, *names: str) -> list[str]:
    """Return the columns of a table, or those of some that it has."""
    there = shop.table(table).columns if shop.has(table) else ()
    return [name for name in there if name in names] if names else [name for name in there if name != "customer_id"]


def _distinct(shop: Any, table: str, column: str, **where: str) -> list[str]:
    """Return what a column holds, in order; nothing where the shop does not have it."""
    if not shop.has(f"{table}.{column}"):
        return []
    rows = shop.query(f"SELECT DISTINCT {', '.join([column, *where])} FROM {table}")
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return sorted(str(one) for one in rows[column].dropna())


# parameter -> what there is of what it names, by the values of all parameters and the shop
_THERE: Final[Mapping[str, Callable[[Mapping[str, Any], Any], Sequence[str]]]] = {
    "across_teams": lambda _, shop: _columns(shop, "complaints", "topic", "severity"),
    "control": lambda values, shop: _distinct(shop, "assignments", "variant", experiment=values.get("experiment", "")),
    "engine": _engines,
    "experiment": lambda _, shop: _distinct(shop, "assignments", "experiment"),
    "looks": _looks,
    "market_weights": _criteria,
    "metric": _metrics,
    "model": _models,
    "plan": _plans,
    "segment": lambda _, shop: _columns(shop, "customers"),
    "spend_model": _spend_models,
    "step": lambda _, shop: shop.config.funnel_steps[1:],  # the first has no rate
}


def _none_of(one: str, there: Sequence[str]) -> str:
    if not there:
        return "is not here: this shop has none"
    near = get_close_matches(one, there, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    more = f" and {len(there) - _LISTED} more" if len(there) > _LISTED else ""
    return f"is none of {', '.join(there[:_LISTED])}{more}{hint}"


def _refusal(name: str, value: Any, why: str) -> ParameterError:
    return ParameterError(f"parameter {name}: {value!r} {why}")
