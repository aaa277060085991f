"""``clvlib.toml``: where a shop's data lie and how to read them.

.. code-block:: toml

    name = "My shop"
    source = "exports"              # folder or DuckDB file, beside this file, or the URL of a database
                                    # ("postgresql+psycopg://ann:$SHOP_KEY@db/shop"); default: this folder
    timezone = "Asia/Shanghai"
    currency = "CNY"
    as_of = 2026-11-15              # the last day the data speak of; later rows are set aside. Default: today

    [value]
    margin = 0.3                    # share of the spend that is profit
    annual_rate = 0.15              # discount rate a year

    [thresholds]
    click_to_cart = 0.12            # a lower rate raises an alert

    [targets]                       # of key figures, by their names in the ledger
    gmv_net = 100000

    [funnel]
    steps = ["exposure", "click", "cart", "order", "paid"]

    [privacy]
    smallest_group = 10             # groups of fewer people are not shown
    recipients = ["age1…"]          # who may read lists of customers; then they are encrypted

    [tables.orders]                 # or [[tables.orders]], one entry per differing part
    files = "orders_*.csv"          # default: orders.csv, orders-*.csv, orders/ … and the same for .parquet; in a
                                    # database the table or view, such as "sales.orders_v"
    encoding = "gb18030"            # default: UTF-8, with or without a byte-order mark
    delimiter = ";"                 # default: found from the header
    header = ["id", "when", "sum"]  # names, for a file without a header line
    decimal = ","                   # default "."
    zero_orders = "count"           # or "drop"; see clvlib/OPINIONS.md
    duplicates = "quarantine"       # or "keep"
    unknown_reference = "quarantine"# or "keep"
    refunds = "order_id LIKE 'C%'"  # which rows with a negative amount are refunds, in the contract's columns
    where = "status <> 'test'"      # which rows to read, in the source's columns

    [tables.orders.columns]         # ours = theirs, or an expression over theirs
    customer_id = "Customer ID"
    amount = { sql = "quantity * unit_price" }

    [tables.orders.formats]         # strptime, a list of them, or epoch_s, epoch_ms
    ordered_at = "%d-%m-%Y %H:%M"

    [tables.orders.scale]
    amount = 0.01                   # theirs is in cents

    [tables.events.values.event]    # ours for theirs
    pv = "view"
"""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from clvlib.data.contract import CONTRACT
from clvlib.errors import ConfigError
from clvlib.words import mark

__all__ = ["Config", "TableConfig", "mapping_names", "parse_config", "read_config"]

_CLICK_TO_CART = 0.12
MAPPINGS = Path(__file__).parent / "mappings"


@dataclass(frozen=True)
class TableConfig:
    """How one part of a table is read; field by field as in the module's example."""

    files: str = ""
    encoding: str = ""
    delimiter: str = ""
    header: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    zero_orders: Literal["count", "drop"] = "count"
    duplicates: Literal["quarantine", "keep"] = "quarantine"
    unknown_reference: Literal["quarantine", "keep"] = "quarantine"
    refunds: str = ""
    where: str = ""
    columns: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    formats: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """A shop's settings.

    Attributes
    ----------
    name : str
        For titles.
    source : str
        Folder, DuckDB file or URL of a database, as written in the file; ``connect`` resolves it.
    timezone : str
        IANA name. A day, an hour and a week are those of this zone.
    currency : str
        ISO 4217 code.
    language : str
        ``en`` or ``zh``.
    as_of : datetime.date or None
        The last day that the data speak of.
    sample : bool
        Whether this is made-up data, which a report must say.
    margin, annual_rate : float
        Share of the spend that is profit, and the yearly discount rate.
    thresholds : Mapping
        By name: ``click_to_cart``, below which an alert is raised.
    targets : Mapping
        By the name of a key figure, such as ``gmv_net``.
    funnel_steps : tuple of str
        Event names of the funnel, in order.
    smallest_group : int
        Groups of fewer people are not shown in reports.
    recipients : tuple of str
        Public keys of age, for whom lists of customers are encrypted; none: the lists are their owner's alone.
    tables : Mapping
        Parts by table name.
    """

    name: str = ""
    source: str = "."
    timezone: str = "Asia/Shanghai"
    currency: str = "CNY"
    language: Literal["en", "zh"] = "en"
    as_of: dt.date | None = None
    sample: bool = False
    margin: float = 0.3
    annual_rate: float = 0.15
    thresholds: Mapping[str, float] = field(default_factory=lambda: {"click_to_cart": _CLICK_TO_CART})
    targets: Mapping[str, float] = field(default_factory=dict)
    funnel_steps: tuple[str, ...] = (
        mark("exposure"), mark("click"), mark("cart"), mark("order"), mark("paid"),
    )  # fmt: skip
    smallest_group: int = 10
    recipients: tuple[str, ...] = ()
    tables: Mapping[str, tuple[TableConfig, ...]] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, float]:
        """What the configuration says of parameters of notebooks, by their names."""
        threshold = self.thresholds.get("click_to_cart", _CLICK_TO_CART)
        return {"margin": self.margin, "annual_rate": self.annual_rate, "click_to_cart_min": threshold}

    def given(self, **values: float | None) -> tuple[float, ...]:
        """Return the values of parameters, those that are None as the configuration has them.

        >>> Config(margin=0.4).given(margin=None, annual_rate=0.1)
        (0.4, 0.1)
        """
        return tuple(self.parameters[name] if value is None else value for name, value in values.items())

    def parts(self, table: str) -> tuple[TableConfig, ...]:
        """Return how the parts of ``table`` are read; one with the defaults where nothing is said."""
        return self.tables.get(table, (TableConfig(),))


_CHOICES: dict[str, tuple[str, ...]] = {
    "decimal": (".", ","),
    "zero_orders": ("count", "drop"),
    "duplicates": ("quarantine", "keep"),
    "unknown_reference": ("quarantine", "keep"),
    "language": ("en", "zh"),
}


_KINDS = {
    str: 'text, such as "…"',
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: 'a list, such as ["…"]',
    dict: "keys of its own, in a [section]",
    dt.date: "a date, such as 2026-11-15",
}


def _choose(key: str, value: Any, where: str) -> None:
    allowed = _CHOICES.get(key)
    if allowed and value not in allowed:
        raise ConfigError(f"{where}: {key} is {value!r}; it may be {' or '.join(map(repr, allowed))}")


def _known(keys: Mapping[str, Any], allowed: list[str], where: str) -> None:
    for key in keys:
        if key not in allowed:
            near = get_close_matches(key, allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(allowed)}"
            raise ConfigError(f"{where}: {key!r} means nothing here{hint}")


def _typed(value: Any, kind: type | tuple[type, ...], key: str, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise ConfigError(f"{where}: {key} = {value!r} is of the wrong type; it takes {_KINDS[kinds[0]]}")
    return value


def _table(name: str, raw: Mapping[str, Any], where: str) -> TableConfig:
    where = f"{where}: [tables.{name}]"
    _known(raw, list(TableConfig.__dataclass_fields__), where)
    values: dict[str, Any] = {}
    for key, value in raw.items():
        _choose(key, value, where)
        if key in {"columns", "formats", "scale", "values"}:
            _known(_typed(value, dict, key, where), list(CONTRACT[name].by_name), f"{where}.{key}")
            values[key] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        elif key == "header":
            values[key] = tuple(_typed(value, list, key, where))
        else:
            values[key] = _typed(value, str, key, where)
    for column, spec in values.get("columns", {}).items():
        if not isinstance(spec, str) and set(spec) != {"sql"}:
            raise ConfigError(f'{where}.columns: {column} is a column\'s name or {{ sql = "…" }}, not {spec!r}')
    return TableConfig(**values)


def _privacy(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    _known(raw, ["smallest_group", "recipients"], where)
    values: dict[str, Any] = {}
    if "smallest_group" in raw:
        values["smallest_group"] = _typed(raw["smallest_group"], int, "smallest_group", where)
        if values["smallest_group"] < 1:
            raise ConfigError(f"{where}: smallest_group is at least 1; found {values['smallest_group']}")
    if "recipients" in raw:
        keys = _typed(raw["recipients"], list, "recipients", where)
        values["recipients"] = tuple(_typed(key, str, "recipients", where) for key in keys)
    return values


def _share(key: str, value: float, where: str) -> None:
    if not 0 <= value <= 1 or (key == "margin" and not value):
        raise ConfigError(f"{where}: {key} is a share, such as 0.15; found {value:g}")


def _sound(config: Config, where: str) -> None:
    """Refuse what would run and mean something else."""
    _share("margin", config.margin, f"{where}: [value]")
    _share("annual_rate", config.annual_rate, f"{where}: [value]")
    for name, value in config.thresholds.items():
        _share(name, value, f"{where}: [thresholds]")
    if config.currency and not re.fullmatch("[A-Z]{3}", config.currency):
        raise ConfigError(f"{where}: currency = {config.currency!r} is no ISO code of three letters, such as CNY")
    steps = config.funnel_steps
    if len(set(steps)) < len(steps) or len(steps) < 2 or not all(isinstance(step, str) for step in steps):
        raise ConfigError(f"{where}: [funnel]: steps are two or more different events, in order; found {list(steps)}")
    try:
        ZoneInfo(config.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise ConfigError(f"{where}: no time zone is called {config.timezone!r}; write it like Asia/Shanghai") from None


def parse_config(raw: Mapping[str, Any], where: str = "clvlib.toml") -> Config:
    """Turn the content of a ``clvlib.toml`` into a :class:`Config`.

    Raises
    ------
    ConfigError
        A key, a table, a column, a value or the time zone is not known; the message names the nearest one that is.
    """
    top = ["name", "source", "timezone", "currency", "language", "as_of", "sample"]
    _known(raw, [*top, "value", "thresholds", "targets", "funnel", "privacy", "tables"], where)
    values: dict[str, Any] = {}
    kinds: dict[str, type] = {"as_of": dt.date, "sample": bool}
    for key in top:
        if key in raw:
            _choose(key, raw[key], where)
            values[key] = _typed(raw[key], kinds.get(key, str), key, where)
    if isinstance(values.get("as_of"), dt.datetime):
        values["as_of"] = values["as_of"].date()
    value = _typed(raw.get("value", {}), dict, "[value]", where)
    _known(value, ["margin", "annual_rate"], f"{where}: [value]")
    values |= {key: float(_typed(v, (float, int), key, where)) for key, v in value.items()}
    for key in ("thresholds", "targets"):
        if key in raw:
            section = _typed(raw[key], dict, f"[{key}]", where)
            values[key] = {k: float(_typed(v, (float, int), k, where)) for k, v in section.items()}
    funnel = _typed(raw.get("funnel", {}), dict, "[funnel]", where)
    _known(funnel, ["steps"], f"{where}: [funnel]")
    if "steps" in funnel:
        values["funnel_steps"] = tuple(_typed(funnel["steps"], list, "steps", where))
    values |= _privacy(_typed(raw.get("privacy", {}), dict, "[privacy]", where), f"{where}: [privacy]")
    tables = _typed(raw.get("tables", {}), dict, "[tables]", where)
    _known(tables, list(CONTRACT), f"{where}: [tables]")
    values["tables"] = {
        name: tuple(_table(name, p, where) for p in (part if isinstance(part, list) else [part]))
        for name, part in tables.items()
    }
    _known(values.get("thresholds", {}), ["click_to_cart"], f"{where}: [thresholds]")
    config = Config(**values)
    _sound(config, where)
    return config


def mapping_names() -> list[str]:
    """Return the names of the mappings that ship as examples."""
    return sorted(path.stem for path in MAPPINGS.glob("*.toml"))


def read_config(path: Path | str) -> Config:
    """Read a ``clvlib.toml``, or one of the mappings that ship, by its name.

    Raises
    ------
    ConfigError
        The file is absent, is not TOML, or says something that cannot be.
    """
    file = Path(path)
    if not file.is_file():
        shipped = MAPPINGS / f"{path}.toml"
        if not shipped.is_file():
            raise ConfigError(f"{path}: no such file, and the mappings that ship are {', '.join(mapping_names())}")
        file = shipped
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file.name}: this is not TOML in UTF-8: {error}") from None
    return parse_config(raw, file.name)
