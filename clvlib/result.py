"""What every result that is more than a number has in common."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from html import escape
from typing import Any

import pandas as pd

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """Base of the result dataclasses: a ``table`` behind the figures, and a form for notebooks.

    Subclasses are frozen dataclasses that document their own fields. In a notebook a result shows the scalar fields
    as one line above its table.

    Attributes
    ----------
    table : pandas.DataFrame
        The frame behind the result.
    """

    table: pd.DataFrame = field(repr=False, kw_only=True)

    def _scalars(self) -> dict[str, Any]:
        return {
            f.name: value
            for f in fields(self)
            if f.repr and isinstance(value := getattr(self, f.name), (str, int, float, bool))
        }

    def _repr_html_(self) -> str:
        def show(value: Any) -> str:
            return escape(f"{value:.4g}" if isinstance(value, float) else str(value))

        head = " · ".join(f"<b>{escape(name.replace('_', ' '))}</b> {show(v)}" for name, v in self._scalars().items())
        frame = self.table.to_html(border=0, float_format=lambda v: f"{v:.4g}")
        return f"<div class='clv-result'><p>{head}</p>{frame}</div>" if head else frame
