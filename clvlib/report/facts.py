"""What the report knows of the data and the code it was made from."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import clvlib
from clvlib.data.privacy import names_for

__all__ = ["Facts", "digest", "facts_of", "versions"]

_LIBRARIES = ("duckdb", "numpy", "pandas", "scipy", "statsmodels", "matplotlib", "seaborn", "papermill", "lifetimes")


@dataclass(frozen=True)
class Facts:
    """The shop behind a report.

    Attributes
    ----------
    name, currency, timezone, language : str
        From its configuration.
    sample : bool
        Whether it is made up.
    first, last, until : datetime.date
        Days of the first and the last order, and the last day that the data speak of.
    quality, reasons : pandas.DataFrame
        What was read, kept and set aside, and why.
    notes : tuple of str
        What else there is to know about the files.
    fingerprint : mapping
        Rows, range and hash per table.
    targets : mapping
        By the name of a key figure.
    configured : mapping
        What its configuration says of parameters of notebooks, by their names.
    settings : mapping
        What else in its configuration changes what a chapter says.
    pseudonyms : str
        What tells the key of its pseudonyms from another.
    """

    name: str
    currency: str
    timezone: str
    language: str
    sample: bool
    first: dt.date
    last: dt.date
    until: dt.date
    quality: pd.DataFrame
    reasons: pd.DataFrame
    notes: tuple[str, ...]
    fingerprint: Mapping[str, Any]
    targets: Mapping[str, float]
    configured: Mapping[str, float]
    settings: Mapping[str, Any]
    pseudonyms: str


def facts_of(shop: Any) -> Facts:
    """Ask a shop all that the report needs of it, once."""
    first, last = shop.date_range
    quality = shop.quality()
    config = shop.config
    return Facts(
        name=str(shop.name or "Shop"),
        currency=config.currency,
        timezone=config.timezone,
        language=config.language,
        sample=bool(shop.is_sample),
        first=first,
        last=last,
        until=shop.data_until,
        quality=quality.table,
        reasons=quality.reasons,
        notes=tuple(quality.notes),
        fingerprint=shop.fingerprint(),
        targets=config.targets,
        configured=config.parameters,
        settings={
            "timezone": config.timezone,
            "currency": config.currency,
            "funnel_steps": list(config.funnel_steps),
            "smallest_group": config.smallest_group,
            "recipients": list(config.recipients),
        },
        pseudonyms=names_for(shop).fingerprint,
    )


def digest(*files: Path) -> str:
    """Return one hash over the content of files, in the order given."""
    total = hashlib.sha256()
    for file in files:
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def versions() -> dict[str, str]:
    """Return what computed the figures: Python, clvlib with a hash of its code, and the libraries under it."""
    code = sorted(Path(clvlib.__file__).parent.rglob("*.py"))
    own = {"python": platform.python_version(), "clvlib": clvlib.__version__, "clvlib_code": digest(*code)[:16]}
    return own | {name: _version(name) for name in _LIBRARIES}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
