"""The data contract, in one place: checks, messages, the README's table and ``clvlib check`` all read it here."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["CONTRACT", "Column", "Kind", "TableContract", "markdown"]

Kind = Literal["id", "text", "time", "date", "money", "number", "integer", "flag"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name : str
        Its name in the contract.
    kind : str
        ``id`` and ``text`` are text; ``time`` a timestamp in the shop's time zone; ``date`` a day; ``money`` a
        decimal to 1/10,000 of the currency; ``number``, ``integer`` and ``flag`` what they say.
    required : bool
        A row without it goes to quarantine; a table without it is refused.
    about : str
        One line for people.
    minimum : float, optional
        Smaller values are set aside. Money columns other than ``orders.amount`` may not be negative.
    maximum : float, optional
        Larger values are set aside.
    references : str, optional
        Table whose key it must name, when that table is there.
    """

    name: str
    kind: Kind
    about: str = ""
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    references: str | None = None


@dataclass(frozen=True)
class TableContract:
    """One table: its columns, the columns that identify a row, the column that orders it in time.

    Attributes
    ----------
    name : str
        Its name.
    about : str
        One line for people.
    columns : tuple of Column
        In the order of the contract.
    key : tuple of str
        Columns that make a row a keyed row. An exact copy of a keyed row is a duplicate.
    unique : bool
        Whether the key may occur once only.
    time : str
        The column that orders the table in time, or "".
    plans : bool
        Whether rows may be of the coming year: what is announced is known before it happens.
    """

    name: str
    about: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    unique: bool = False
    time: str = ""
    plans: bool = False
    by_name: MappingProxyType[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", MappingProxyType({c.name: c for c in self.columns}))

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the required columns."""
        return tuple(c.name for c in self.columns if c.required)


def _customer(*, required: bool = True) -> Column:
    return Column("customer_id", "id", "who", required=required, references="customers")


_PLATFORM = Column("platform", "text", "Douyin, Kuaishou, Taobao Live …")
_CHANNEL = Column("channel", "text", "where the person came from")
_SESSION = Column("session_id", "id", "the live session", references="sessions")

_TABLES = (
    TableContract(
        "orders",
        "what was bought: a row per order, or per line of an order",
        (
            Column("customer_id", "id", "who bought", required=True, references="customers"),
            Column("ordered_at", "time", "when the order was placed", required=True),
            Column("amount", "money", "what it cost; negative only for a refund", required=True),
            Column("order_id", "id", "the order; lines of one order share it"),
            Column("refunded_amount", "money", "what was paid back of it", minimum=0),
            Column("paid_at", "time", "when it was paid; where the column is there, an order without it is unpaid"),
            Column("product_id", "id", "the product"),
            Column("category", "text", "the product's category"),
            Column("quantity", "number", "how many"),
            Column("list_price", "money", "price before discounts", minimum=0),
            Column("discount", "money", "what was taken off", minimum=0),
            Column("coupon_id", "id", "the coupon used"),
            _PLATFORM,
            _CHANNEL,
            _SESSION,
            Column("shipped_at", "time", "when it left"),
            Column("received_at", "time", "when it arrived"),
            Column("returned_at", "time", "when it came back"),
            Column("return_reason", "text", "why it came back"),
        ),
        key=("order_id",),
        time="ordered_at",
    ),
    TableContract(
        "customers",
        "who they are",
        (
            Column("customer_id", "id", "who", required=True),
            Column("signed_up_at", "time", "when they joined"),
            Column("gender", "text", "as the shop records it"),
            Column("birth_year", "integer", "four digits", minimum=1900, maximum=2100),
            Column("region", "text", "province or state"),
            Column("city", "text", "city"),
            Column("city_tier", "text", "tier 1, tier 2, tier 3, rural"),
            Column("income_band", "text", "as the shop records it"),
            _CHANNEL,
            Column("interests", "text", "separated by |"),
        ),
        key=("customer_id",),
        unique=True,
    ),
    TableContract(
        "events",
        "what people did",
        (
            Column("person_id", "id", "who; a customer_id where known", required=True),
            Column("occurred_at", "time", "when", required=True),
            Column("event", "text", "exposure, click, cart, order, paid …", required=True),
            Column("session_id", "id", "the visit or live session"),
            Column("product_id", "id", "the product"),
            _PLATFORM,
            _CHANNEL,
            Column("dwell_s", "number", "seconds spent", minimum=0),
        ),
        time="occurred_at",
    ),
    TableContract(
        "sessions",
        "live sessions",
        (
            Column("session_id", "id", "the live session", required=True),
            Column("started_at", "time", "when it began", required=True),
            Column("ended_at", "time", "when it ended"),
            _PLATFORM,
            Column("host_id", "id", "who presented"),
            Column("script", "text", "the script used"),
            Column("topic", "text", "what it was about"),
            Column("target_gmv", "money", "what it should sell", minimum=0),
        ),
        key=("session_id",),
        unique=True,
        time="started_at",
        plans=True,
    ),
    TableContract(
        "spend",
        "what was spent on advertising",
        (
            Column("channel", "text", "where it was spent", required=True),
            Column("date", "date", "the day", required=True),
            Column("cost", "money", "how much", required=True, minimum=0),
            _PLATFORM,
            Column("impressions", "number", "how often shown", minimum=0),
            Column("clicks", "number", "how often clicked", minimum=0),
        ),
        key=("channel", "date"),
        time="date",
    ),
    TableContract(
        "feedback",
        "what customers say",
        (
            _customer(),
            Column("created_at", "time", "when", required=True),
            Column("rating", "number", "1 to 5", minimum=1, maximum=5),
            Column("comment", "text", "in their words"),
            Column("topic", "text", "price, product, brand …"),
            _SESSION,
            Column("label", "text", "a hand label: positive, negative"),
        ),
        time="created_at",
    ),
    TableContract(
        "complaints",
        "complaints and how they were handled",
        (
            Column("complaint_id", "id", "the complaint", required=True),
            Column("opened_at", "time", "when it was opened", required=True),
            _customer(required=False),
            Column("first_response_at", "time", "when it was first answered"),
            Column("resolved_at", "time", "when it was solved; empty while open"),
            Column("severity", "text", "as the shop records it"),
            Column("topic", "text", "what it is about"),
        ),
        key=("complaint_id",),
        unique=True,
        time="opened_at",
    ),
    TableContract(
        "assignments",
        "who saw which variant of an experiment",
        (
            Column("experiment", "text", "the experiment", required=True),
            Column("variant", "text", "the arm", required=True),
            Column("unit_id", "id", "the person", required=True),
            Column("assigned_at", "time", "when", required=True),
            Column("cluster_id", "id", "stream, store or household, where those were randomised"),
        ),
        key=("experiment", "variant", "unit_id"),
        time="assigned_at",
    ),
    TableContract(
        "contacts",
        "messages sent to customers, and those held back",
        (
            _customer(),
            Column("sent_at", "time", "when", required=True),
            Column("action", "text", "thank-you, coupon, win-back …", required=True),
            _CHANNEL,
            Column("is_holdout", "flag", "true where the message was held back on purpose"),
            Column("cost", "money", "what it cost", minimum=0),
        ),
        time="sent_at",
    ),
    TableContract(
        "competitors",
        "what competitors do",
        (
            Column("brand", "text", "who", required=True),
            Column("started_at", "time", "when it began", required=True),
            Column("ended_at", "time", "when it ended"),
            _PLATFORM,
            Column("promotion", "text", "its name"),
            Column("strength", "number", "how strong"),
            Column("traffic_source", "text", "where their visitors come from"),
        ),
        time="started_at",
        plans=True,
    ),
    TableContract(
        "identities",
        "which ids are one person",
        (
            Column("source", "text", "the channel that gave the id", required=True),
            Column("source_id", "id", "the id there", required=True),
            Column("customer_id", "id", "the customer", required=True, references="customers"),
        ),
        key=("source", "source_id"),
    ),
    TableContract(
        "referrals",
        "who invited whom",
        (
            Column("referrer_id", "id", "who invited", required=True),
            Column("sent_at", "time", "when", required=True),
            _customer(required=False),
            Column("accepted_at", "time", "when the invitation was taken up"),
            _CHANNEL,
            Column("is_kol", "flag", "true where the referrer is an opinion leader"),
        ),
        time="sent_at",
    ),
)

CONTRACT: MappingProxyType[str, TableContract] = MappingProxyType({t.name: t for t in _TABLES})
"""Every table of the contract by its name."""


def markdown() -> str:
    """Return the contract as the README's table, required columns in bold.

    >>> print(markdown().splitlines()[2][:64])
    | orders | what was bought: a row per order, or per line of an o
    """
    rows = ["| table | what | columns (required in bold) |", "|---|---|---|"]
    for table in _TABLES:
        columns = ", ".join(f"**{c.name}**" if c.required else c.name for c in table.columns)
        rows.append(f"| {table.name} | {table.about} | {columns} |")
    return "\n".join(rows)
