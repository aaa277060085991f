"""What the report writes otherwise in another language, beside its words: dates, headings of tables, text cells."""

from __future__ import annotations

import datetime as dt
import re

from clvlib.words import language, tr

__all__ = ["day", "days", "paragraphs", "translated"]

_LOCALES = {"en": "en_GB", "zh": "zh_Hans_CN"}
_BLOCK = re.compile(r"(?P<mark>#+ +|[-*] +|)(?P<text>.*\S)(?P<end>\s*)", re.DOTALL)


def day(date: dt.date) -> str:
    """Write a day in full.

    >>> day(dt.date(2026, 11, 15))
    '15 November 2026'
    """
    from babel.dates import format_date

    return str(format_date(date, "long", locale=_LOCALES[language()]))


def days(first: dt.date, last: dt.date) -> str:
    """Write a span of days, saying month and year once where they are the same.

    >>> days(dt.date(2026, 11, 9), dt.date(2026, 11, 15)), days(dt.date(2026, 12, 28), dt.date(2027, 1, 3))
    ('9–15 Nov 2026', '28 Dec 2026 – 3 Jan 2027')
    """
    from babel.dates import format_interval

    # the locale's data put thin spaces around the dash; those are kept out of names and tests
    text = format_interval(first, last, "yMMMMd", locale=_LOCALES[language()])
    return re.sub(r"[\u2009\u202f]", " ", str(text))


def paragraphs(markdown: str) -> list[str]:
    r"""Return the messages of a text cell: its headings, list items and paragraphs, without their marks.

    >>> paragraphs("## Why\n\nOne line\nand another.\n")
    ['Why', 'One line\nand another.']
    """
    found = (_BLOCK.fullmatch(block) for block in re.split(r"\n{2,}", markdown))
    return [block["text"] for block in found if block]


def translated(markdown: str) -> str:
    """Return a text cell in the language spoken now."""

    def one(block: str) -> str:
        found = _BLOCK.fullmatch(block)
        return f"{found['mark']}{tr(found['text'])}{found['end']}" if found else block

    return "\n\n".join(one(block) for block in re.split(r"\n{2,}", markdown))
