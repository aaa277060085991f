"""Databases by their URL, and backends of Ibis: the same rows make the same shop as files do, and no password shows."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import duckdb
import ibis
import pandas as pd
import pytest

import clvlib as clv
from clvlib.cli import main
from clvlib.data import remote
from clvlib.data.remote import without_password
from clvlib.errors import ConfigError, DataError, EngineError

# what a shop's export holds: broken values, a refund in full cents, an empty text, a comma and a quote in a text
ORDERS = [
    ("007", "2026-01-05 20:15:00", "12.50", 1),
    ("007", "2026-01-19 08:00:00", "1000", 2),
    ("8", "yesterday", "9", 1),
    ("9", "2026-01-07 00:00:00", "n/a", 1),
    (None, "2026-01-08 00:00:00", "3.3333", 1),
    ('a,"b', "2026-01-09 00:00:00", "0.1", None),
]


def sqlite(path: Path, rows: list[tuple] = ORDERS, name: str = "orders") -> str:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            f"CREATE TABLE {name} (customer_id TEXT, ordered_at DATETIME, amount NUMERIC(12, 4), quantity INTEGER)"
        )
        database.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
    return f"sqlite:///{path}"


def csv(folder: Path, rows: list[tuple] = ORDERS) -> Path:
    folder.mkdir()
    lines = ["customer_id,ordered_at,amount,quantity"]
    lines += [",".join("" if v is None else '"' + str(v).replace('"', '""') + '"' for v in row) for row in rows]
    (folder / "orders.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def told(shop: clv.Shop) -> tuple:
    """Everything that a shop says, but for where it lies."""
    quality = shop.quality()
    reasons = shop.query('SELECT "table", what, reason, "rows", first_row, example FROM _reasons ORDER BY ALL')
    return shop.fingerprint(), quality.table.drop(columns="files").to_dict(), reasons.to_dict()


def test_a_database_says_what_files_say(tmp_path: Path):
    files = clv.connect(csv(tmp_path / "files"), as_of="2026-02-01")
    database = clv.connect(sqlite(tmp_path / "shop.db"), as_of="2026-02-01")
    assert told(database) == told(files)
    row = database.quality().table.iloc[0]
    assert (row["rows_read"], row["rows_kept"], row["rows_quarantined"]) == (6, 3, 3)
    assert database.name == "shop"


# Ibis asks pandas for an option that pandas is about to drop
ibis_and_pandas = pytest.mark.filterwarnings("ignore:The 'future.infer_string' option")


@ibis_and_pandas
def test_an_ibis_backend_says_what_its_rows_say(tmp_path: Path):
    path = tmp_path / "shop.db"
    sqlite(path, ORDERS[:2] + ORDERS[-1:])
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE customers AS SELECT '007' AS customer_id, 'female' AS gender")
    backend = ibis.sqlite.connect(path)
    through, direct = clv.connect(backend, as_of="2026-02-01"), clv.connect(f"sqlite:///{path}", as_of="2026-02-01")
    assert through.tables == ("orders", "customers", "refunds")
    assert through.fingerprint() == direct.fingerprint()
    kept = through.quality().table.set_index("table").loc["orders", "amount_kept"]
    assert kept == 12.5 + 1000  # the third order is of nobody among the customers
    backend.disconnect()


@ibis_and_pandas
def test_a_backend_that_keeps_tables_in_schemas(tmp_path: Path):
    """Only what a backend of Ibis is asked for: names of tables in a database, and their rows in batches."""

    rows = [("a", "2026-01-05 20:00:00", 5.5, 1), ("b", "2026-01-05 20:00:00", 7, 1)]
    sqlite(tmp_path / "shop.db", rows, "orders_v")
    held = ibis.sqlite.connect(tmp_path / "shop.db")

    class Backend:
        name = "warehouse"
        asked: ClassVar[set[str]] = set()

        def list_tables(self, *, database: str = "main") -> list[str]:
            self.asked.add(database)
            return ["orders_v"] if database == "sales" else []

        def table(self, name: str, *, database: str = "main") -> ibis.expr.types.Table:
            assert (name, database) == ("orders_v", "sales")
            return held.table(name)

    settings = tmp_path / "clvlib.toml"
    settings.write_text('[tables.orders]\nfiles = "sales.orders_v"\n', "utf-8")
    shop = clv.connect(Backend(), mapping=settings, as_of="2026-02-01")
    assert shop.name == "warehouse"
    assert shop.query("SELECT sum(amount) AS total FROM orders")["total"].tolist() == [12.5]
    assert Backend.asked == {"main", "sales"}
    held.disconnect()


@pytest.mark.parametrize("open_it", [duckdb.connect, ibis.duckdb.connect], ids=["plain", "Ibis"])
def test_a_connection_to_duckdb_that_is_open(tmp_path: Path, open_it):
    rows = ORDERS[:2] + ORDERS[-1:]
    frame = pd.DataFrame(rows, columns=["customer_id", "ordered_at", "amount", "quantity"])
    with duckdb.connect(tmp_path / "shop.duckdb") as made:
        made.register("frame", frame)
        made.sql("CREATE TABLE orders AS SELECT * FROM frame")
        made.sql('CREATE SCHEMA sales; CREATE VIEW sales."the orders" AS SELECT * FROM orders LIMIT 1')
    owned = open_it(tmp_path / "shop.duckdb")
    shop = clv.connect(owned, as_of="2026-02-01")
    assert shop.fingerprint() == clv.connect(csv(tmp_path / "files", rows), as_of="2026-02-01").fingerprint()
    (tmp_path / "clvlib.toml").write_text('[tables.orders]\nfiles = "sales.the orders"\n', "utf-8")
    assert len(clv.connect(owned, mapping=tmp_path / "clvlib.toml").table("orders").query("FROM {t}")) == 1
    (tmp_path / "clvlib.toml").write_text('[tables.orders]\nfiles = "nowhere"\n', "utf-8")
    with pytest.raises(DataError, match="the database has no table 'nowhere'"):
        clv.connect(owned, mapping=tmp_path / "clvlib.toml")
    (owned.con if hasattr(owned, "con") else owned).close()


def test_a_file_of_sqlite_is_read_as_its_url_is(tmp_path: Path):
    url = sqlite(tmp_path / "shop.db")
    assert told(clv.connect(tmp_path / "shop.db", as_of="2026-02-01")) == told(clv.connect(url, as_of="2026-02-01"))


def test_more_rows_than_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "_BATCH", 1000)
    rows = [(f"c{i % 700}", "2026-01-05", f"{i}.25", 1) for i in range(3500)]
    shop = clv.connect(sqlite(tmp_path / "many.db", rows), as_of="2026-02-01")
    # 0 + 1 + … + 3499, and a quarter for each
    assert shop.query("SELECT count(*) AS n, sum(amount) AS total FROM orders").to_numpy().tolist() == [
        [3500, 3499 * 3500 / 2 + 3500 / 4]
    ]


def test_names_of_tables_and_views(tmp_path: Path):
    url = sqlite(tmp_path / "shop.db", name="bestellungen")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("CREATE VIEW paid AS SELECT * FROM bestellungen WHERE amount <> 'n/a'")
    settings = tmp_path / "clvlib.toml"
    settings.write_text(f'source = "{url}"\nas_of = 2026-02-01\n[tables.orders]\nfiles = "main.paid"\n', "utf-8")
    assert clv.connect(settings).quality().table["rows_read"].tolist() == [5]
    settings.write_text(f'source = "{url}"\n[tables.orders]\nfiles = "orders_2026"\n', "utf-8")
    with pytest.raises(DataError, match="orders: the database has no table 'orders_2026'"):
        clv.connect(settings)
    with pytest.raises(DataError, match="no table of the contract"):
        clv.connect(url)


def test_an_empty_table_is_said(tmp_path: Path):
    with pytest.raises(DataError, match="orders"):
        clv.connect(sqlite(tmp_path / "none.db", []))


def test_variables_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sqlite(tmp_path / "shop.db")
    monkeypatch.setenv("SHOP_PLACE", str(tmp_path))
    assert clv.connect("sqlite:///${SHOP_PLACE}/shop.db", as_of="2026-02-01").has("orders")
    monkeypatch.delenv("SHOP_PLACE")
    with pytest.raises(ConfigError, match="no variable SHOP_PLACE"):
        clv.connect("sqlite:///$SHOP_PLACE/shop.db")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:s3cret@host:5432/shop", "postgresql://ann:***@host:5432/shop"),
        ("mysql+pymysql://:s3cret@host/shop", "mysql+pymysql://:***@host/shop"),
        ("postgresql://ann:$KEY@host/shop", "postgresql://ann:$KEY@host/shop"),
        ("postgresql://ann:a$KEY@host/shop", "postgresql://ann:***@host/shop"),
        ("postgresql://ann@host/shop?x=1", "postgresql://ann@host/shop?x=1"),
        ("sqlite:///a@b:c@d.db", "sqlite:///a@b:c@d.db"),
        ("data/sample", "data/sample"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str):
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        ("postgresql+asyncpg9://ann:s3cret@host/shop", ConfigError, "is no URL of a database|not installed"),
        ("mysql+mysqlconnector://ann:s3cret@host/shop", ConfigError, "driver of the database is not installed"),
        ("nothing://", ConfigError, "is no URL of a database|not installed"),
        ("sqlite:////no/such/place/shop.db", EngineError, "unable to open database file"),
    ],
)
def test_what_cannot_be_reached(url: str, error: type[Exception], says: str):
    with pytest.raises(error, match=says) as raised:
        clv.connect(url)
    assert "s3cret" not in str(raised.value)


def test_without_sqlalchemy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(ConfigError, match=r"install clvlib-livestream\[sql\]"):
        clv.connect("sqlite:///shop.db")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", sqlite(tmp_path / "shop.db")]) == 1  # three of six rows are broken
    assert "not a time: 1 of 6 rows" in capsys.readouterr().out
