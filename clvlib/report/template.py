"""How pages are filled in, and how those of different weeks lead to one another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from clvlib.words import language, mark, speaking, tr, trn

__all__ = ["fill", "linked", "week_links"]

_BLOCK = re.compile(r'<nav class="weeks".*?</nav>', re.DOTALL)
# a mark that brings its own space, and one after it that only a template or Markdown needs
_WIDE = re.compile(r"([。，；：？！、])(</(?:strong|b|em)>)? +")
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


_SEVERE = {"high": mark("{n} high"), "medium": mark("{n} medium"), "low": mark("{n} low")}


def _severe(severity: str, n: int) -> str:
    """Return how many alerts of a severity there are, in words."""
    return tr(_SEVERE[severity], n=n) if severity in _SEVERE else str(n)


def fill(name: str, content: Mapping[str, Any]) -> str:
    """Return a template of this folder, filled in; text is escaped unless it is ``Markup``."""
    words = {"tr": tr, "trn": trn, "severe": _severe, "language": language()}
    page = _PAGES.get_template(name).render({**content, **words, "safe": Markup})
    return _WIDE.sub(r"\1\2", page) if language() == "zh" else page


def week_links(label: str, pages: Mapping[str, str], place: str = "") -> Markup:
    """Return the links of a week's page to the one before, the one after and all weeks, among those that are there.

    ``pages`` has the address of each week's page in the folder of the reports; ``place`` is the folder of the page
    inside that of its week.

    >>> print(week_links("2026-W46", {"2026-W44": "2026-W44/index.html"}))
    <nav class="weeks" aria-label="Weeks"><a href="../2026-W44/index.html" rel="prev">← 2026-W44</a>
    <a href="../index.html">All weeks</a></nav>
    """
    known, up = sorted(pages), "../../" if place else "../"
    before, after = [n for n in known if n < label][-1:], [n for n in known if n > label][:1]
    links = [f'<a href="{up}{pages[other]}" rel="prev">← {other}</a>' for other in before]
    links += [f'<a href="{up}index.html">{tr("All weeks")}</a>']
    links += [f'<a href="{up}{pages[other]}" rel="next">{other} →</a>' for other in after]
    return Markup(f'<nav class="weeks" aria-label="{tr("Weeks")}">' + "\n".join(links) + "</nav>")  # noqa: S704 - ours


def linked(page: str, label: str, pages: Mapping[str, str], place: str = "") -> str:
    """Return a page with its links to other weeks as they are now, in its own language."""
    with speaking("zh" if '<html lang="zh' in page[:200] else "en"):
        return _BLOCK.sub(lambda _: str(week_links(label, pages, place)), page, count=1)
