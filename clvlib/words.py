"""The words that readers see, in their language.

Source and catalogue follow gettext: what is written in the code is English and is the key to its translation, in
``locale/<language>.po``. Sentences are whole templates with named fields, so that a language can put the fields in its
own order.
"""

from __future__ import annotations

import gettext
import re
import string
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, Final

from clvlib.errors import ParameterError

__all__ = [
    "LANGUAGES", "MODELS", "begun", "cents", "currency_symbol", "in_words", "language", "mark", "money", "paragraph",
    "price_in", "speak", "speaking", "stopped", "tr", "trn",
]  # fmt: skip

LANGUAGES: Final = {"en": "English", "zh": "中文"}
_FOLDER = Path(__file__).parent / "locale"
_SYMBOLS: Final = {
    "CNY": "¥", "JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "INR": "₹", "KRW": "₩", "VND": "₫",
}  # fmt: skip
_WHOLE: Final = {"JPY", "KRW", "VND"}  # ISO 4217 gives them no smaller unit
_ROUND: Final = 99.995  # an amount from which cents are written no longer
_spoken = "en"
_priced = ""
_inside: ContextVar[str] = ContextVar("language")  # of a block, in the thread that it runs in


class _Formatter(string.Formatter):
    """Fill in templates; numbers get a minus sign, which no line break can cut off, and not a hyphen."""

    def format_field(self, value: Any, format_spec: str) -> str:
        text: str = super().format_field(value, format_spec)
        return re.sub("(?<!e)-", "−", text) if isinstance(value, Real) else text  # 1e-06 stays as it is copied


_FORMATTER: Final = _Formatter()


@cache
def _catalogue(code: str) -> gettext.NullTranslations:
    if code == "en":
        return gettext.NullTranslations()
    with (_FOLDER / f"{code}.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def language() -> str:
    """Return the code of the language spoken now: one of :data:`LANGUAGES`."""
    return _inside.get(_spoken)


def speak(code: str) -> None:
    """Speak another language from now on, in all of this process; inside :func:`speaking`, until the block ends.

    Parameters
    ----------
    code : str
        One of :data:`LANGUAGES`.

    Raises
    ------
    ParameterError
        It is none of these.
    """
    global _spoken  # noqa: PLW0603 - a notebook speaks one language; a context variable is lost between cells
    if code not in LANGUAGES:
        raise ParameterError(f"language {code!r} is none of {', '.join(LANGUAGES)}")
    if _inside.get(""):
        _inside.set(code)
    else:
        _spoken = code


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak another language inside a ``with`` block, whatever other threads speak meanwhile.

    >>> with speaking("zh"):
    ...     language()
    'zh'
    """
    token = _inside.set(language())
    try:
        speak(code)
        yield
    finally:
        _inside.reset(token)


def tr(message: str, /, **values: Any) -> str:
    """Return a message in the language spoken now, its fields filled in.

    Parameters
    ----------
    message : str
        In English; with ``values`` a template of :meth:`str.format`. What the catalogue lacks stays as it is.
    **values
        The fields of the template.

    Examples
    --------
    >>> tr("{n:,} of {total:,} customers", n=1200, total=5000)
    '1,200 of 5,000 customers'
    >>> tr("{change:+.1%}", change=-0.034)
    '−3.4%'
    >>> tr("p = {p:.3g}", p=1.8e-6)
    'p = 1.8e-06'
    """
    found = _catalogue(language()).gettext(message) if message else ""
    return _FORMATTER.vformat(found, (), values) if values else found


def trn(one: str, many: str, n: int, /, **values: Any) -> str:
    """Return the form of a message that fits the number ``n``, which is a field of it too.

    Parameters
    ----------
    one, many : str
        In English, for one and for any other number.
    n : int
        The number.
    **values
        Further fields.

    Examples
    --------
    >>> trn("{n:,} customer", "{n:,} customers", 1), trn("{n:,} customer", "{n:,} customers", 2000)
    ('1 customer', '2,000 customers')
    """
    return _FORMATTER.vformat(_catalogue(language()).ngettext(one, many, n), (), {"n": n, **values})


def paragraph(*sentences: str) -> str:
    """Put sentences one after the other, as the language spoken now does: in Chinese no space stands between them.

    >>> paragraph("It rose.", "", "Nobody knows why.")
    'It rose. Nobody knows why.'
    """
    told = ""
    for sentence in filter(None, sentences):
        told = tr("{told} {more}", told=told, more=sentence) if told else sentence
    return told


def price_in(currency: str) -> None:
    """Write amounts in sentences and figures in a currency (ISO 4217) from now on, in all of this process; '': without.

    >>> price_in("USD"), money(1234.5), price_in("")
    (None, '$1,234', None)
    """
    global _priced  # noqa: PLW0603 - as the language
    _priced = currency


def currency_symbol(code: str | None = None) -> str:
    """Return the sign of a currency, or its ISO code and a space; without a code, of the one that prices are in.

    >>> currency_symbol("CNY"), currency_symbol("BRL"), currency_symbol("")
    ('¥', 'BRL ', '')
    """
    code = _priced if code is None else code
    return _SYMBOLS.get(code, f"{code} " if code else "")


def cents(amount: float, code: str | None = None) -> int:
    """Return with how many decimals an amount is written: none where it is large, or its currency has no cents.

    >>> cents(99.5, "CNY"), cents(1234.5, "CNY"), cents(99.5, "JPY"), cents(8.25, "JPY")
    (2, 0, 0, 1)
    """
    if (_priced if code is None else code) in _WHOLE:
        # a mean, such as a cost per click, keeps a digit where it is small
        return 1 if 1 <= abs(amount) < 10 and round(amount, 1) != round(amount) else 0
    return 0 if abs(amount) >= _ROUND else 2


def money(amount: float, *, sign: bool = False) -> str:
    """Write an amount inside a sentence, in the currency that prices are in; ``sign``: a gain with its plus.

    >>> money(1234.5), money(-4.8), money(7.66, sign=True)
    ('1,234', '−4.80', '+7.66')
    """
    before = "−" if amount < 0 else "+" if sign and amount > 0 else ""
    return f"{before}{currency_symbol()}{abs(amount):,.{cents(amount)}f}"


def begun(text: str) -> str:
    """Return a text as it stands at the beginning of a line.

    >>> begun("click to cart fell")
    'Click to cart fell'
    """
    return text[:1].upper() + text[1:]


def stopped(text: str) -> str:
    """Return a sentence with its full stop.

    >>> stopped("It rose by 3%"), stopped("It rose."), stopped("")
    ('It rose by 3%.', 'It rose.', '')
    """
    whole = not text or text.endswith((".", "。", "!", "?", "！", "？", "…"))
    return text if whole else tr("{sentence}.", sentence=text)


def in_words(name: str) -> str:
    """Return a name that data or the library have, such as that of a column or a model, as readers say it.

    >>> in_words("age_band"), in_words("host_id"), in_words("ModifiedBetaGeoModel")
    ('age band', 'host', 'MBG/NBD')
    """
    return tr(MODELS.get(name, name)).removesuffix("_id").replace("_", " ")


def mark(message: str) -> str:
    """Return a message as it is, and have it in the catalogue: for what is translated later, by :func:`tr`."""
    return message


# class -> what its authors, and so the field, call the model
MODELS: Final = {
    "BetaGeoModel": "BG/NBD",
    "ModifiedBetaGeoModel": "MBG/NBD",
    "BetaGeoCNBDkModel": "BG/CNBD-k",
    "ModifiedBetaGeoCNBDkModel": "MBG/CNBD-k",
    "ParetoNBDModel": "Pareto/NBD",
    "ParetoGGGModel": "Pareto/GGG",
    "GammaGompertzNBDModel": "GG/NBD",
    "BetaGeoBetaBinomModel": "BG/BB",
    "NBDModel": mark("NBD (nobody leaves)"),
    "GammaGammaModel": "Gamma-Gamma",
}
