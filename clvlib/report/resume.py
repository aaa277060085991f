"""What of a published report can be taken over as it is, because nothing that it was made from has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from clvlib.report.facts import Facts, digest, versions

__all__ = ["take_over"]


def take_over(published: Path, staged: Path, facts: Facts, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Copy the tables of the chapters that need not run again, and return their executed notebooks.

    Parameters
    ----------
    published, staged : pathlib.Path
        The report that stands, and the folder of the one in the making.
    facts : Facts
        The data; all of them, their hashes, the settings, the key of the pseudonyms and the versions of all libraries
        must be those of the report that stands.
    wanted : mapping
        By notebook, the hash of its source and its parameters, as ``manifest.json`` has them.

    Returns
    -------
    dict
        Executed notebooks by name; chapters that failed, or whose files are not what was written, are not among them.
    """
    try:
        manifest = json.loads((published / "manifest.json").read_text(encoding="utf-8"))
        same = {"shop": facts.name, "tables": dict(facts.fingerprint), "versions": versions()}
        same |= {"settings": dict(facts.settings), "pseudonyms": facts.pseudonyms}
        if json.loads(json.dumps(same, default=str)) != {field: manifest[field] for field in same}:
            return {}
        books = manifest["notebooks"]
        good = [
            name for name, book in wanted.items() if _stands(books.get(name, {}), book, published / f"{name}.ipynb")
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no report of ours, or a broken one
        return {}
    for name in good:
        if (published / "tables" / name).is_dir():
            shutil.copytree(published / "tables" / name, staged / "tables" / name)
    return {name: nbformat.read(published / f"{name}.ipynb", as_version=4) for name in good}


def _stands(made: Mapping[str, Any], wanted: Mapping[str, Any], file: Path) -> bool:
    same = {"status": "ok", **wanted}
    return {field: made.get(field) for field in same} == same and made["executed_sha256"] == digest(file)
