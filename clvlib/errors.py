"""The errors that clvlib raises, all of them under :class:`ClvError`.

Each message says what was found, where, and what to do about it. They derive from ``ValueError`` (or
``RuntimeError``) too, so that code which knows nothing of clvlib can still catch them.
"""

from __future__ import annotations

__all__ = [
    "ClvError",
    "ConfigError",
    "ConvergenceWarning",
    "DataError",
    "EmptyDataError",
    "EngineError",
    "MissingColumnError",
    "MissingTableError",
    "NotFittedError",
    "ParameterError",
    "ReportError",
    "ThinDataWarning",
    "UnitMismatchError",
]


class ClvError(Exception):
    """Base of every error of ours."""


class ConfigError(ClvError, ValueError):
    """``clvlib.toml`` says something that cannot be."""


class DataError(ClvError, ValueError):
    """The data break the contract in a way that no quarantine can mend."""


class EmptyDataError(DataError):
    """There is nothing to compute from: no table, no row, no repeat customer."""


class MissingTableError(DataError):
    """An analysis asks for a table that this shop does not have.

    Attributes
    ----------
    tables : tuple of str
        Which, where that is known.
    """

    def __init__(self, message: str, *tables: str) -> None:
        super().__init__(message)
        self.tables = tables


class MissingColumnError(DataError):
    """A table lacks a column that is required, or that an analysis asks for.

    Attributes
    ----------
    columns : tuple of str
        Which, as ``table.column``, where that is known.
    """

    def __init__(self, message: str, *columns: str) -> None:
        super().__init__(message)
        self.columns = columns


class EngineError(ClvError, RuntimeError):
    """The query engine could not do its work (a full disk, a file that vanished)."""


class ParameterError(ClvError, ValueError):
    """An argument is outside what a function accepts."""


class UnitMismatchError(ParameterError):
    """A model fitted in one time unit was handed a summary in another."""


class NotFittedError(ClvError, RuntimeError):
    """Something learned was asked of an estimator before ``fit``."""


class ReportError(ClvError, RuntimeError):
    """The weekly report could not be made or published."""


class ConvergenceWarning(UserWarning):
    """A fit ended where its estimates cannot be taken at face value; the text says why."""


class ThinDataWarning(UserWarning):
    """Something is left out or widened because the data are too few; the text says what and why."""
