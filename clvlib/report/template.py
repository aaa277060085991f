"""How pages are filled in, and how those of different weeks lead to one another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from clvlib.words import language, tr, trn

__all__ = ["fill", "linked", "week_links"]

_BLOCK = re.compile(r'<nav class="weeks".*?</nav>', re.DOTALL)
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def fill(name: str, content: Mapping[str, Any]) -> str:
    """Return a template of this folder, filled in; text is escaped unless it is ``Markup``."""
    words = {"tr": tr, "trn": trn, "language": language()}
    return _PAGES.get_template(name).render({**content, **words, "safe": Markup})


def week_links(label: str, labels: Iterable[str]) -> Markup:
    """Return the links of a week's page to the one before, the one after and all weeks, among those that are there.

    >>> print(week_links("2026-W46", ["2026-W44", "2026-W46"]))
    <nav class="weeks" aria-label="Weeks"><a href="../2026-W44/index.html" rel="prev">← 2026-W44</a>
    <a href="../index.html">All weeks</a></nav>
    """
    known = sorted(labels)
    before, after = [n for n in known if n < label][-1:], [n for n in known if n > label][:1]
    links = [f'<a href="../{other}/index.html" rel="prev">← {other}</a>' for other in before]
    links += ['<a href="../index.html">All weeks</a>']
    links += [f'<a href="../{other}/index.html" rel="next">{other} →</a>' for other in after]
    return Markup('<nav class="weeks" aria-label="Weeks">' + "\n".join(links) + "</nav>")  # noqa: S704 - week labels


def linked(page: str, label: str, labels: Iterable[str]) -> str:
    """Return a page with its links to other weeks as they are now."""
    return _BLOCK.sub(lambda _: str(week_links(label, labels)), page, count=1)
