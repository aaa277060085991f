"""Refunds meet the orders that they undo.

``refunded_amount`` and refund rows that carry the order's number are netted against that order. A refund row without
one is netted, by rule, against the customer's latest earlier purchase of the same product that still has something
left to refund. What finds no purchase is kept in ``refunds`` as ``unmatched`` and lowers the revenue of its own week.
Why so: ``clvlib/OPINIONS.md``.
"""

from __future__ import annotations

import duckdb

__all__ = ["net_orders"]


def net_orders(connection: duckdb.DuckDBPyConnection, columns: list[str], *, count_zero: bool) -> None:
    """Turn the staged order rows into the tables ``orders`` and ``refunds``.

    ``orders`` has the columns of the source and three more: ``day`` (of ``ordered_at``), ``net_amount`` (``amount``
    less what was refunded, never below zero; zero while unpaid) and ``is_purchase`` (paid, and not refunded in full).

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        With the table ``_stage``.
    columns : list of str
        Columns of the contract that the source has.
    count_zero : bool
        Whether an order whose amount is zero from the start is a purchase.
    """
    refunded = "least(coalesce(refunded_amount, 0), amount)" if "refunded_amount" in columns else "0"
    paid = "paid_at IS NOT NULL" if "paid_at" in columns else "TRUE"
    order_id = "order_id" if "order_id" in columns else "NULL"
    product_id = "coalesce(product_id, '')" if "product_id" in columns else "''"
    keys = f"customer_id, ordered_at, CAST({order_id} AS VARCHAR) AS order_id, {product_id} AS product_id"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE _refund AS SELECT row_number() OVER (ORDER BY _file, _row) AS id, {keys}, "
        "CAST(-amount AS DECIMAL(18,4)) AS amount, CAST(-amount AS DECIMAL(18,4)) AS due, "
        "CAST(NULL AS BIGINT) AS target FROM _stage WHERE _reason IS NULL AND amount < 0"
    )
    # Only the orders that a refund could touch, so that a shop without refund rows pays nothing.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE _bought AS SELECT row_number() OVER (ORDER BY _file, _row) AS id, {keys}, "
        f"CAST(amount - {refunded} AS DECIMAL(18,4)) AS room, CAST(0 AS DECIMAL(18,4)) AS given, _file, _row "
        f"FROM _stage WHERE _reason IS NULL AND amount >= 0 AND {paid} AND (customer_id IN (SELECT customer_id FROM "
        f"_refund) OR {order_id} IN (SELECT order_id FROM _refund))"
    )
    _allocate(connection, "order_id, product_id")
    _allocate(connection, "order_id")
    _match(connection)
    _allocate(connection, "target")
    _write(connection, columns, paid, refunded, count_zero=count_zero)


def _match(connection: duckdb.DuckDBPyConnection) -> None:
    """Point each refund that is left at the customer's latest earlier purchase of that product with room."""
    connection.execute(
        "UPDATE _refund SET target = m.target FROM ("
        "  SELECT r.id, b.id AS target FROM (SELECT * FROM _refund WHERE due > 0) AS r"
        "  ASOF JOIN (SELECT * FROM _bought WHERE room > 0 QUALIFY row_number() OVER ("
        "    PARTITION BY customer_id, product_id, ordered_at ORDER BY room DESC, id) = 1) AS b"
        "  ON r.customer_id = b.customer_id AND r.product_id = b.product_id AND r.ordered_at >= b.ordered_at) AS m "
        "WHERE _refund.id = m.id"
    )


def _allocate(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    """Share the refunds of each key over its purchases, in order, up to what each has room for."""
    bought = "(SELECT *, id AS target FROM _bought)" if key == "target" else "_bought"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE _pool AS WITH "
        f"r AS (SELECT {key}, sum(due) AS due FROM _refund WHERE due > 0 GROUP BY {key}), "
        f"b AS (SELECT {key}, sum(room) AS room FROM {bought} GROUP BY {key}) "
        f"SELECT {key}, least(due, room) AS pool FROM r JOIN b USING ({key}) WHERE least(due, room) > 0"
    )
    window = f"OVER (PARTITION BY {key} ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)"

    def shares(rows: str, size: str) -> str:
        part = f"greatest(least({size}, pool - coalesce(sum({size}) {window}, 0)), 0)"
        return f"(SELECT id, CAST({part} AS DECIMAL(18,4)) AS part FROM {rows} JOIN _pool USING ({key})) AS s"

    connection.execute(
        f"UPDATE _bought SET room = room - s.part, given = given + s.part FROM {shares(bought, 'room')} "
        "WHERE _bought.id = s.id"
    )
    refunds = "(SELECT * FROM _refund WHERE due > 0)"
    connection.execute(f"UPDATE _refund SET due = due - s.part FROM {shares(refunds, 'due')} WHERE _refund.id = s.id")


def _write(
    connection: duckdb.DuckDBPyConnection, columns: list[str], paid: str, refunded: str, *, count_zero: bool
) -> None:
    net = f"CASE WHEN {paid} THEN amount - {refunded} - coalesce(b.given, 0) ELSE 0 END"
    zero = "amount = 0" if count_zero else "FALSE"
    connection.execute(
        f"CREATE TABLE orders AS SELECT {', '.join(columns)}, CAST(ordered_at AS DATE) AS day, "
        f"CAST({net} AS DECIMAL(18,4)) AS net_amount, {paid} AND (net_amount > 0 OR {zero}) AS is_purchase "
        "FROM _stage LEFT JOIN (SELECT _file, _row, given FROM _bought WHERE given > 0) AS b USING (_file, _row) "
        "WHERE _reason IS NULL AND amount >= 0"
    )
    named = "".join(f"{name}, " for name in ("order_id", "product_id") if name in columns)
    connection.execute(
        "CREATE TABLE refunds AS SELECT customer_id, ordered_at AS refunded_at, CAST(ordered_at AS DATE) AS day, "
        f"{named}amount, amount - due AS matched, due AS unmatched FROM _refund"
    )
