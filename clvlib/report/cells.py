"""Executed notebooks as parts of a page: everything escaped, no script, no address outside the file."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any, Final

import mistune

from clvlib.report.chapter import ALERT, HEADER, MISSING, TABLE
from clvlib.report.pictures import repacked
from clvlib.words import begun, tr, trn

__all__ = ["ChapterPage", "Part", "chapter_page", "within"]

_TAGS: Final = {
    *("p", "div", "span", "strong", "em", "b", "i", "u", "br", "hr", "ul", "ol", "li", "code", "pre", "sub", "sup"),
    *("small", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td"),
}
_ATTRIBUTES: Final = {
    "*": ["class", "title"],
    "div": ["class", "role", "tabindex", "aria-label"],
    "th": ["class", "scope", "colspan", "rowspan"],
    "td": ["class", "colspan", "rowspan"],
}
_VOID = {"br", "hr"}
_PAIR = re.compile(r' [a-z-]+="[^"<>]*"')
_PIECE = re.compile(rf"([^<>]+)|<(/?)([a-z]+)((?:{_PAIR.pattern})*)>")
_LONGEST_HTML = 100_000
_LONGEST_TEXT = 4_000
_FRAME = 200  # bytes around a part on the page
_FEW = 3  # of what is left out: from so many on, one line says it for the chapter
_LONG = 8  # rows of a table: with more of them the first stand, and the rest at a click (page.css says how many)
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Part:
    """A piece of a chapter.

    Attributes
    ----------
    kind : {'html', 'picture', 'code'}
        What it is.
    html : str
        Safe HTML; of a picture, what stands in its place where it must go.
    data, alt, media : str
        Of a picture: base64, what it says, and its media type.
    width, height : int
        Of a picture, on the page; 0 where unknown.
    """

    kind: str
    html: str = ""
    data: str = ""
    alt: str = ""
    media: str = "image/png"
    width: int = 0
    height: int = 0


@dataclass
class ChapterPage:
    """A chapter, ready for the template.

    Attributes
    ----------
    name, title, anchor : str
        Of the notebook; its first heading; where links point to.
    sections : list of (anchor, title)
        Headings below the title.
    parts : list of Part
        In the notebook's order.
    error, traceback : str
        Why it failed, if it did.
    """

    name: str
    title: str = ""
    sections: list[tuple[str, str]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    error: str = ""
    traceback: str = ""

    @property
    def anchor(self) -> str:
        """Where links point to."""
        return f"chapter-{self.name}"


class _Markdown(mistune.HTMLRenderer):
    """Text cells: headings shifted below the page's, links and pictures reduced to their words."""

    def __init__(self, chapter: ChapterPage) -> None:
        super().__init__(escape=True)
        self._chapter = chapter
        self._level = 2

    def heading(self, text: str, level: int, **_: Any) -> str:
        plain = re.sub(r"<[^>]+>", "", text)
        if level == 1 and not self._chapter.title:
            self._chapter.title = plain
            return ""
        self._level = min(max(level, 2) + 1, self._level + 1, 6)  # no level is skipped, whatever the notebook does
        anchor = f"{self._chapter.anchor}-{len(self._chapter.sections) + 1}"
        if self._level == 3:
            self._chapter.sections.append((anchor, plain))
            return f'<h3 id="{anchor}">{text}</h3>\n'
        return f"<h{self._level}>{text}</h{self._level}>\n"

    def link(self, text: str, *_: Any, **__: Any) -> str:
        return text

    def image(self, text: str, *_: Any, **__: Any) -> str:
        return text


@cache
def _tag(name: str, attributes: str) -> str:
    allowed = {*_ATTRIBUTES["*"], *_ATTRIBUTES.get(name, ())}
    kept = (pair for pair in _PAIR.findall(attributes) if pair.partition("=")[0].strip() in allowed)
    return f"<{name}{''.join(kept)}>"


def _harmless(html: str) -> str | None:
    """Return HTML of ours without its inline styles; None for any in which a parser could read something else.

    All of it is text without angle brackets, and tags that are allowed, written plainly and closed in order.
    """
    place, inside, kept = 0, [""], []
    for piece in _PIECE.finditer(html):
        text, end, name, attributes = piece.groups()
        if piece.start() != place or not (text or name in _TAGS):
            return None
        if end and (attributes or inside.pop() != name):
            return None
        if not (text or end or name in _VOID):
            inside.append(name)
        kept.append(text or (f"</{name}>" if end else _tag(name, attributes)))
        place = piece.end()
    return "".join(kept) if place == len(html) and inside == [""] else None


def _clean(html: str) -> str:
    plain = _harmless(html)  # a parser takes a hundred times as long
    if plain is not None:
        return plain
    import bleach  # type: ignore[import-untyped]

    return str(bleach.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, strip=False, strip_comments=True))


def _text(text: str) -> Part:
    more = len(text) - _LONGEST_TEXT
    cut = text if more <= 0 else text[:_LONGEST_TEXT] + "\n" + tr("… {n:,} more letters", n=more)
    return Part("html", f'<pre tabindex="0">{escape(cut)}</pre>')  # it scrolls, so the keyboard must reach it


def _picture(output: Any, where: str) -> Part | None:
    data = "".join(output["data"]["image/png"].split())
    try:
        png = base64.b64decode(data, validate=True)
    except binascii.Error:
        return None
    if not png.startswith(_PNG):
        return None
    media, content = repacked(png)
    meta = output.get("metadata", {}).get("image/png", {})
    alt = str(meta.get("alt", "")) or tr("Figure of the section {where}", where=where)
    size = [n if isinstance(n, int) and n > 0 else 0 for n in (meta.get("width"), meta.get("height"))]
    data = base64.b64encode(content).decode()
    return Part("picture", data=data, alt=alt, media=media, width=size[0], height=size[1])


def _output(output: Any, where: str) -> Part | None:
    """Return what one output of a cell becomes on the page, or None for what the page says elsewhere."""
    if output.output_type == "stream":
        return _text(output.text) if output.name == "stdout" and output.text.strip() else None
    if output.output_type == "error":
        return None
    data = output.data
    if HEADER in data or ALERT in data:
        return None
    if "image/png" in data:
        return _picture(output, where)
    html = data.get("text/html", "")
    # a style sheet or a script cannot be kept, and without it the rest would be a mess: the plain text is better
    if html and len(html) <= _LONGEST_HTML and not re.search(r"<\s*(style|script|svg|iframe)\b", html, re.IGNORECASE):
        rows = len(data[TABLE].get("cells", ())) if TABLE in data else 0
        return Part("html", _folded(_clean(html), rows) if rows > _LONG else _clean(html))
    text = data.get("text/plain", "")
    return None if not text or text.startswith("<Figure size") else _text(text)


def _folded(table: str, rows: int) -> str:
    """Put a switch below a long table, for the rows that are not among the first."""
    words = (tr("All {n} rows", n=rows), tr("The first rows only"))
    summary = "".join(f"<span>{escape(text)}</span>" for text in words)
    end = "</table></div>"
    return table.replace(end, f'{end}<details class="rows"><summary>{summary}</summary></details>', 1)


@dataclass
class _Section:
    """What stands below one heading: its text, what its cells show, what they leave out, and their code."""

    anchor: str = ""
    title: str = ""
    text: list[Part] = field(default_factory=list)
    shown: list[Part] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether nothing of it is there but what is left out."""
        return bool(self.missing) and len(self.missing) == len(self.shown)


def _waiting(sections: list[_Section]) -> str:
    """Say in one line which questions wait for data, with the analyses and their reasons at a click."""
    missing = [one for section in sections for one in section.missing]
    names = [section.title for section in sections if section.waits and section.title]
    named = names or [one["section"] for one in missing]
    text = trn(
        "{n} question of this chapter waits for data: {questions}.",
        "{n} questions of this chapter wait for data: {questions}.",
        len(named),
        questions=tr("; ").join(named),
    )
    tables = dict.fromkeys(table for one in missing for table in one["tables"])
    if tables:
        text = tr("{told} {more}", told=text, more=tr("Tables that would help: {tables}.", tables=", ".join(tables)))
    by_reason: dict[str, list[str]] = {}
    for one in missing:
        by_reason.setdefault(one["reason"], []).append(one["section"])
    lines = (
        tr("{reason}: {sections}.", reason=begun(reason), sections=tr(", ").join(dict.fromkeys(named)))
        for reason, named in by_reason.items()
    )
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    summary = trn("What is left out, {n} analysis", "What is left out, {n} analyses", len(missing))
    return (
        f'<p class="clv-missing">{escape(text)}</p>'
        f'<details class="wait"><summary>{escape(summary)}</summary><ul>{listed}</ul></details>'
    )


def _code(sources: list[str]) -> list[Part]:
    """Put the code of a section behind one click at its end, where it does not come between figure and table."""
    return [Part("code", "".join(f"<pre><code>{escape(source)}</code></pre>" for source in sources))] if sources else []


def chapter_page(name: str, node: Any, error: str = "", traceback: str = "") -> ChapterPage:
    """Turn an executed notebook into the parts of a chapter."""
    chapter = ChapterPage(name, error=error, traceback=traceback)
    markdown = mistune.create_markdown(renderer=_Markdown(chapter), plugins=["table", "strikethrough"])
    sections = [_Section()]
    for cell in node.cells:
        if cell.cell_type == "markdown":
            html = str(markdown(cell.source)).strip()
            if "<h3" in html:
                sections.append(_Section(*chapter.sections[-1]))
            sections[-1].text += [Part("html", html)] if html and not sections[-1].shown else []
            sections[-1].shown += [Part("html", html)] if html and sections[-1].shown else []
        elif cell.cell_type == "code":
            now = sections[-1]
            where = now.title or chapter.title
            now.shown += [part for output in cell.outputs if (part := _output(output, where))]
            now.missing += [output.data[MISSING] for output in cell.outputs if MISSING in output.get("data", ())]
            now.code += [cell.source] if cell.source.strip() and cell.execution_count else []
    _laid_out(chapter, sections)
    chapter.title = chapter.title or name.replace("_", " ")
    return chapter


def _laid_out(chapter: ChapterPage, sections: list[_Section]) -> None:
    """Put the parts of the sections one after the other; where much is left out, one line stands for all of it."""
    told = sum(len(section.missing) for section in sections) >= _FEW
    for place, section in enumerate(sections):
        if told and section.waits and section.title:
            continue
        shown = [part for part in section.shown if not (told and 'class="clv-missing"' in part.html)]
        chapter.parts += [*section.text, *shown]
        if told and not place:
            chapter.parts.append(Part("html", _waiting(sections)))
        chapter.parts += _code(section.code)
    gone = {section.anchor for section in sections if told and section.waits}
    chapter.sections = [(anchor, title) for anchor, title in chapter.sections if anchor not in gone]


def within(chapters: list[ChapterPage], limit: int) -> None:
    """Leave out what does not fit into ``limit`` bytes: words beyond a chapter's share, then the largest pictures.

    Words may take three quarters, in equal shares, so that one chapter does not crowd out the others.
    """
    for chapter in chapters:
        _shorten(chapter, 3 * limit // (4 * len(chapters)))
    pictures = sorted((p for c in chapters for p in c.parts if p.kind == "picture"), key=lambda p: len(p.data))
    total = sum(_size(part) for chapter in chapters for part in chapter.parts)
    while pictures and total > limit:
        largest = pictures.pop()
        total -= _size(largest)
        largest.kind, largest.data = "html", ""
        words = tr("Left out to keep this page small: {alt}", alt=largest.alt)
        largest.html = f'<p class="clv-missing">{escape(words)}</p>'
        total += _size(largest)


def _size(part: Part) -> int:
    return len(part.html.encode()) + len(part.data) + len(part.alt) + _FRAME


def _shorten(chapter: ChapterPage, share: int) -> None:
    kept: list[Part] = []
    for part in chapter.parts:
        share -= _size(part) - len(part.data)
        if share < 0:
            left = len(chapter.parts) - len(kept)
            words = tr(
                "The rest of this chapter, {n:,} pieces, is left out to keep this page small; its notebook has all.",
                n=left,
            )
            kept.append(Part("html", f'<p class="clv-missing">{words}</p>'))
            break
        kept.append(part)
    chapter.parts = kept
    there = "".join(part.html for part in kept)
    chapter.sections = [(anchor, title) for anchor, title in chapter.sections if f'id="{anchor}"' in there]
