"""The catalogue of words: ``python tests/catalogue.py`` brings ``clvlib/locale/zh.po`` up to date and compiles it.

Messages are the literals given to ``tr``, ``trn`` and ``mark`` in the library and its templates, those that notebooks
hand to their chapter, and the paragraphs of their text cells. With ``--merge FILE``, translations are taken from a JSON
object of message and translation.
"""

from __future__ import annotations

import argparse
import ast
import datetime as dt
import io
import json
import string
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import jinja2
import nbformat
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import extract_from_ast

from clvlib.report.locale import paragraphs

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "clvlib" / "locale"
_CALLS = {"tr": 1, "trn": 2, "mark": 1}
_CHAPTER = {"say": 1, "alert": 3, "section": 1}  # methods of a chapter whose first arguments are words
_WORDS = {"caption", "label", "alt", "section", "why", "rule", "text", "segment"}  # and keyword arguments, in any
Message = str | tuple[str, str]


def _literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _of_call(call: ast.Call, *, notebook: bool) -> Iterator[Message]:
    name = (
        call.func.id
        if isinstance(call.func, ast.Name)
        else call.func.attr
        if isinstance(call.func, ast.Attribute)
        else ""
    )
    if name in _CALLS:
        found = [_literal(arg) for arg in call.args[: _CALLS[name]]]
        if None in found:
            if name == "mark":
                raise ValueError(f"line {call.lineno}: mark() takes a literal")
            return
        yield (found[0], found[1]) if name == "trn" else found[0]  # type: ignore[misc]
    of_chapter = isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
    if notebook and of_chapter and call.func.value.id == "chapter":  # type: ignore[attr-defined]
        words = [*call.args[: _CHAPTER.get(name, 0)], *(k.value for k in call.keywords if k.arg in _WORDS)]
        yield from filter(None, map(_literal, words))


def _of_python(source: str, *, notebook: bool = False) -> Iterator[Message]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield from _of_call(node, notebook=notebook)


def _of_template(source: str) -> Iterator[Message]:
    for _, name, found in extract_from_ast(jinja2.Environment(autoescape=True).parse(source), tuple(_CALLS)):
        texts = [found] if isinstance(found, str) else [text for text in found or () if text]
        if texts:
            yield (texts[0], texts[1]) if name == "trn" else texts[0]


def messages() -> Iterator[Message]:
    """Yield every message of the product."""
    for path in sorted((ROOT / "clvlib").rglob("*.py")):
        yield from _of_python(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "clvlib").rglob("*.html")):
        yield from _of_template(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in nbformat.read(path, 4).cells:
            if cell.cell_type == "markdown":
                yield from paragraphs(cell.source)
            elif "parameters" not in cell.metadata.get("tags", []):
                yield from _of_python(cell.source, notebook=True)


def fields(text: str) -> set[tuple[str, str]]:
    """Return the fields of a template, with their formats."""
    return {(name, spec or "") for _, name, spec, _ in string.Formatter().parse(text) if name is not None}


def _key(message: Message) -> str:
    return message if isinstance(message, str) else message[0]


def updated(old: Catalog, merged: dict[str, str], found: Iterable[Message]) -> Catalog:
    """Return the catalogue of the messages found, with the translations there are."""
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    new = Catalog("zh_Hans", project="clvlib", fuzzy=False, creation_date=moment, revision_date=moment, charset="utf-8")
    new.header_comment = "# The words of clvlib in Chinese. Made by `make words`; the translations are edited here."
    for message in found:
        before = old.get(_key(message))
        text = merged.get(_key(message)) or (before.string if before else "")
        plain = text[0] if isinstance(text, (tuple, list)) else text
        new.add(message, plain if isinstance(message, str) else (plain,))
    return new


def compiled(catalogue: Catalog) -> bytes:
    """Return the catalogue as gettext reads it."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def written(catalogue: Catalog) -> bytes:
    """Return the catalogue as people edit it."""
    file = io.BytesIO()
    write_po(file, catalogue, width=0, sort_output=True, omit_header=False)
    return file.getvalue()


def stored() -> Catalog:
    """Return the catalogue as it lies in the project."""
    path = FOLDER / "zh.po"
    if not path.exists():
        return Catalog("zh_Hans")
    with path.open("rb") as file:
        return read_po(file, locale="zh_Hans")


def main() -> int:
    """Bring the catalogue up to date; return 1 where translations are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--merge", action="append", default=[], type=Path)
    merged: dict[str, str] = {}
    for path in parser.parse_args().merge:
        merged |= json.loads(path.read_text(encoding="utf-8"))
    new = updated(stored(), merged, messages())
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "zh.po").write_bytes(written(new))
    (FOLDER / "zh.mo").write_bytes(compiled(new))
    missing = [m.id for m in new if m.id and not (m.string if isinstance(m.string, str) else m.string[0])]
    sys.stdout.write(f"{len(new)} messages, {len(missing)} of them not translated\n")
    sys.stdout.writelines(f"  {text!r}\n" for text in missing)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
