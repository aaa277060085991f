"""Several tables in one query: the tables of one shop, or frames side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clvlib.data.engine import DuckDBEngine, Table, register
from clvlib.errors import ParameterError

__all__ = ["a_shop", "together"]


def together(**data: Table | pd.DataFrame | None) -> dict[str, Table]:
    """Make tables that one query can join of tables of one shop, or of frames.

    Parameters
    ----------
    **data : Table or pandas.DataFrame or None
        By name; None is left out. Frames are scanned in place, not copied.

    Returns
    -------
    dict of str to Table

    Raises
    ------
    ParameterError
        Tables of two shops, or tables and frames together, which no engine holds at once.

    Examples
    --------
    >>> tables = together(left=pd.DataFrame({"a": [1, 2]}), right=pd.DataFrame({"a": [2, 3]}))
    >>> tables["left"].query("SELECT COUNT(*) AS n FROM {t} JOIN {right} USING (a)", right=tables["right"])
       n
    0  1
    """
    given = {name: value for name, value in data.items() if value is not None}
    tables = {name: value for name, value in given.items() if isinstance(value, Table)}
    for name, value in given.items():
        if not isinstance(value, (Table, pd.DataFrame)):
            raise ParameterError(
                f"{name}: expected a table of a shop or a pandas.DataFrame, found {type(value).__name__}"
            )
    if tables:
        if len(tables) < len(given) or len({id(table.engine) for table in tables.values()}) > 1:
            raise ParameterError(f"{', '.join(given)}: give tables of one shop, or frames for all of them")
        return _Tables(tables)
    engine = DuckDBEngine()
    frames = {name: value for name, value in given.items() if isinstance(value, pd.DataFrame)}
    for name, frame in frames.items():
        register(engine.connection, f"frame_{name}", frame)
    return _Tables(
        {n: Table(engine, n, f"frame_{n}", tuple(str(c) for c in frame.columns)) for n, frame in frames.items()}
    )


class _Tables(dict[str, Table]):
    """Tables by name; one that is asked for although it was not given is missed in words."""

    def __missing__(self, name: str) -> Table:
        raise ParameterError(f"{name}: expected a table of a shop or a pandas.DataFrame, found None")


def a_shop(shop: Any) -> None:
    """Refuse what is no shop."""
    if not hasattr(shop, "customer_summary"):
        raise ParameterError(f"a shop is needed, which clv.connect() makes of tables; found {type(shop).__name__}")
