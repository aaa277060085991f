"""What the checks found, as a result that a person can read."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field

import pandas as pd

from clvlib.data.engine import Engine
from clvlib.errors import DataError
from clvlib.result import Result
from clvlib.words import tr

__all__ = ["Quality", "read_quality"]


@dataclass(frozen=True)
class Quality(Result):
    """What was read, kept and set aside.

    Attributes
    ----------
    ok : bool
        There is an order table, no row was quarantined and no value set aside.
    table : pandas.DataFrame
        A row per table: table, files, rows_read, rows_kept, rows_quarantined, rows_left_out (by the configuration's
        ``where``), amount_read, amount_kept, amount_quarantined (sum of the table's amounts), first, last,
        days_behind (how many days its last row lies before the last day of the data).
    reasons : pandas.DataFrame
        A row per reason: table, what (row or value), reason, rows, share, file, first_row, example.
    notes : tuple of str
        What else there is to know about the files.
    """

    ok: bool
    reasons: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """Say each finding in a sentence."""
        read = dict(zip(self.table["table"], self.table["rows_read"], strict=True))
        said = []
        for row in self.reasons.to_dict("records"):
            example = f" ({row['example']!r})" if isinstance(row["example"], str) else ""
            fate = "the rows were quarantined" if row["what"] == "row" else "the values were set aside, the rows kept"
            said.append(
                f"{row['table']}: {row['reason']}: {row['rows']:,} of {read[row['table']]:,} rows, first at row "
                f"{row['first_row']:,} of {row['file']}{example}; {fate}"
            )
        return said


def read_quality(engine: Engine, until: dt.date) -> Quality:
    """Read the records of the checks and reconcile them.

    Parameters
    ----------
    engine : Engine
        Where the records lie.
    until : datetime.date
        The last day that the data speak of.

    Raises
    ------
    DataError
        Rows or sums do not add up: read is not kept and quarantined. That would be a fault of ours.
    """
    table = engine.query('SELECT * FROM _quality ORDER BY "table" <> \'orders\', "table"')
    behind = (pd.Timestamp(until) - table["last"].dt.normalize()).dt.days.clip(lower=0)  # plans lie ahead
    table["days_behind"] = behind.astype("Int64")
    reasons = engine.query('SELECT * FROM _reasons ORDER BY "table", what, "rows" DESC, reason')
    kept = engine.query('SELECT "table", message, fields FROM _notes').itertuples(index=False)
    notes = sorted(f"{table}: {tr(message, **json.loads(fields))}" for table, message, fields in kept)
    wrong = engine.query(
        'SELECT "table" FROM _quality WHERE rows_read <> rows_kept + rows_quarantined OR coalesce(amount_read, 0) <> '
        "coalesce(amount_kept, 0) + coalesce(amount_quarantined, 0)"
    )["table"]
    if len(wrong):
        raise DataError(f"{', '.join(wrong)}: rows read are not rows kept and quarantined; please report this")
    ok = reasons.empty and "orders" in set(table["table"])
    return Quality(table=table, ok=ok, reasons=reasons, notes=tuple(notes))
