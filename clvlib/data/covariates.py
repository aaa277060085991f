"""What is known of customers, joined to what they did."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from clvlib.data.engine import Table, as_table, identifier
from clvlib.errors import DataError

__all__ = ["add_covariates"]


def add_covariates(
    summary: pd.DataFrame, customers: pd.DataFrame | Table, columns: Sequence[str], missing: str = "unknown"
) -> pd.DataFrame:
    """Join what is known of customers to their summary.

    Parameters
    ----------
    summary : pandas.DataFrame
        By customer_id.
    customers : pandas.DataFrame or Table
        With ``customer_id`` and the columns, such as ``shop.table("customers")``.
    columns : sequence of str
        What to join.
    missing : str
        The level of customers of whom a text column says nothing. Numbers that are missing stay missing.

    Returns
    -------
    pandas.DataFrame
        The summary with the columns added.

    Raises
    ------
    MissingColumnError, DataError
        A column is absent, or a customer has several rows.

    Examples
    --------
    >>> summary = pd.DataFrame({"frequency": [2, 0]}, index=pd.Index(["a", "b"], name="customer_id"))
    >>> add_covariates(summary, pd.DataFrame({"customer_id": ["a"], "gender": ["f"]}), ["gender"])["gender"].to_dict()
    {'a': 'f', 'b': 'unknown'}
    """
    table = as_table(customers, "customers", "customer_id", *columns)
    known = table.query(f"SELECT customer_id, {', '.join(map(identifier, columns))} FROM {{t}}").set_index(
        "customer_id"
    )
    if known.index.has_duplicates:
        twice = known.index[known.index.duplicated()][0]
        raise DataError(f"customers: {twice!r} has several rows; keep one per customer")
    found = known.reindex(summary.index)
    for column in columns:
        if not pd.api.types.is_numeric_dtype(found[column]):
            found[column] = found[column].astype(object).where(found[column].notna(), missing)
    joined = summary.assign(**{column: found[column] for column in columns})
    joined.attrs = dict(summary.attrs)
    return joined
