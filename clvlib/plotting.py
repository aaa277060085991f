"""One look for every figure: a restrained palette that colour-blind readers can tell apart, and axis formats.

Figures are read at arm's length in a browser, on a phone and on paper, so text is large against the figure, grids
are faint and the colours keep their contrast in grey. matplotlib is imported inside the functions: whoever only wants
numbers does not pay for it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from math import isfinite
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

__all__ = [
    "ACCENT",
    "FAINT",
    "INK",
    "MUTED",
    "PALETTE",
    "SEQUENTIAL",
    "WARN",
    "compact",
    "count_axis",
    "money_axis",
    "new_axes",
    "percent_axis",
    "points_axis",
    "shortened",
    "style",
    "styled",
    "wrapped",
]

# Okabe and Ito (2008), "Color Universal Design", in an order whose neighbours also differ in lightness; their yellow
# is left out because it vanishes on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#666666")
ACCENT = PALETTE[0]
WARN = PALETTE[3]
INK = "#1F2933"
MUTED = "#616E7C"
FAINT = "#D9DEE4"
SEQUENTIAL = "cividis"  # perceptually even, and the same to readers with and without red-green blindness

_LATIN, _HAN = "DejaVu Sans", "clvlib Sans SC"
_BIG = {"en": ((9, "B"), (6, "M"), (3, "K")), "zh": ((8, "亿"), (4, "万"))}
_spoken = "en"
# a Chinese letter, or a run of others, with the signs that may not begin a line behind it
_PIECE = re.compile(r"[（“《]?(?:[⺀-\uffff]|[^\s⺀-\uffff]+)[，。；：、！？）”》]*\s*")
_SETTINGS: dict[str, Any] = {
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,  # a name with two $ is a name
    "figure.figsize": (7.2, 4.0),
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.autolayout": True,  # the one layout that the figures of seaborn agree with
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": 10.5,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "patch.edgecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "image.cmap": SEQUENTIAL,
    "svg.hashsalt": "clvlib",  # the same figure is the same bytes
}


@cache
def _add_font() -> None:
    """Make the font that ships known to matplotlib, under its own name, for bold letters too."""
    from matplotlib.font_manager import fontManager

    fontManager.addfont(Path(__file__).parent / "fonts" / "clvlibSansSC-Regular.otf")
    fontManager.ttflist.append(replace(fontManager.ttflist[-1], weight=700))


def _settings() -> Any:
    from cycler import cycler

    _add_font()
    # names in the data may be Chinese in any language: what the first font lacks comes from the second
    fonts = [_HAN, _LATIN] if _spoken == "zh" else [_LATIN, _HAN]
    return {**_SETTINGS, "font.family": fonts, "font.sans-serif": fonts, "axes.prop_cycle": cycler(color=list(PALETTE))}


def style(language: str = "") -> None:
    """Give all figures of this process the one style; call it again after anything that resets matplotlib.

    seaborn's ``set_theme`` puts its own fonts and colours in place. Where seaborn is loaded already, its theme is
    set from ours, so that what it draws later keeps the style too; plots of clvlib use :func:`styled` and do not
    depend on who called what last.

    Parameters
    ----------
    language : {'en', 'zh'}, optional
        For whom figures are drawn from now on: ``zh`` sets Chinese letters first and writes large numbers with 万
        and 亿. Chinese names are drawn in either. Without it the language stays.

    Examples
    --------
    >>> style()
    >>> import matplotlib
    >>> matplotlib.rcParams["axes.spines.top"]
    False
    """
    import sys

    import matplotlib as mpl

    global _spoken  # noqa: PLW0603 - figures of one process speak one language
    _spoken = language or _spoken
    settings = _settings()
    if "seaborn" in sys.modules:
        import seaborn as sns

        sns.set_theme(style="white", palette=list(PALETTE), rc=settings)
    mpl.rcParams.update(settings)


@contextmanager
def styled() -> Iterator[None]:
    """Draw inside the one style, whatever the process was set to before, and leave that as it was."""
    import matplotlib as mpl

    with mpl.rc_context(_settings()):
        yield


def new_axes(width: float = 7.2, height: float = 4.0) -> Axes:
    """Return the axes of a new figure in the one style, which pyplot does not know and nobody has to close.

    Parameters
    ----------
    width, height : float
        In inches; 7.2 fills the page's column.
    """
    from matplotlib.figure import Figure

    with styled():
        return Figure(figsize=(width, height), layout="constrained").add_subplot()


def compact(value: float, symbol: str = "") -> str:
    """Write a number the short way, to three significant digits: 1,234,567 is ``1.23M``, in Chinese ``123万``.

    Parameters
    ----------
    value : float
        What to write; a value that is not finite becomes an em dash.
    symbol : str
        Currency sign, put in front.

    Examples
    --------
    >>> compact(1_234_567, "¥"), compact(-2500), compact(12), compact(0.5), compact(999_999)
    ('¥1.23M', '−2.5K', '12', '0.5', '1M')
    >>> compact(float("nan"))
    '—'
    """
    if not isfinite(value):
        return "—"
    sign, size = ("−" if value < 0 else ""), abs(value)
    for power, letter in (*_BIG[_spoken], (0, "")):
        scaled = float(f"{size / 10**power:.3g}")
        if scaled >= 1 or power == 0:
            return f"{sign}{symbol}{scaled:,g}{letter}"
    raise AssertionError("unreachable")  # pragma: no cover


def wrapped(text: str, width: int = 64) -> str:
    """Break a title into lines of so many letters; a Chinese one takes the room of two, and may end a line.

    Parameters
    ----------
    text : str
        The title.
    width : int
        Letters in a line, at most.

    Examples
    --------
    >>> print(wrapped("Most are lost between click and cart", 20))
    Most are lost
    between click and
    cart
    >>> print(wrapped("从点击到加购，转化率为14.2%", 16))
    从点击到加购，转
    化率为14.2%
    """
    if not re.search("[⺀-\uffff]", text):
        return fill(text, width)
    lines = [""]
    for piece in _PIECE.findall(text):
        if lines[-1] and _room((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def shortened(text: str, width: int = 30) -> str:
    """Cut a name that would leave no room for what is drawn; a Chinese letter takes the room of two.

    >>> shortened("Autumn sale of everything that is left over", 24)
    'Autumn sale of everythi…'
    >>> shortened("快手直播间", 8)
    '快手直…'
    """
    if _room(text) <= width:
        return text
    while _room(text) >= width:
        text = text[:-1]
    return text + "…"


def _room(text: str) -> int:
    return sum(1 + (letter >= "⺀") for letter in text)


def _formatter(ax: Axes, axis: Literal["x", "y"], write: Any) -> Axes:
    from matplotlib.ticker import FuncFormatter

    getattr(ax, f"{axis}axis").set_major_formatter(FuncFormatter(write))
    return ax


def _hundredths(ax: Axes, axis: Literal["x", "y"], decimals: int, form: str) -> Axes:
    """Write ticks as hundredths, with so many decimals that each stands where it says: 2.5% is no tick of 2%."""
    from matplotlib.ticker import FuncFormatter

    def written(value: float, few: int) -> str:
        return form.format(100 * value, few).replace("-", "−")

    class Hundredths(FuncFormatter):
        def format_ticks(self, values: Any) -> list[str]:
            exact = (n for n in (decimals, 1, 2) if all(abs(100 * v - round(100 * v, n)) < 1e-6 for v in values))
            few = max(next(exact, 2), decimals)
            return [written(value, few) for value in values]

    getattr(ax, f"{axis}axis").set_major_formatter(Hundredths(lambda value, _: written(value, decimals)))
    return ax


def percent_axis(ax: Axes, axis: Literal["x", "y"] = "y", decimals: int = 0) -> Axes:
    """Write an axis of shares as per cent: 0.25 becomes ``25%``; with more decimals where the ticks have them."""
    return _hundredths(ax, axis, decimals, "{:.{}f}%")


def points_axis(ax: Axes, axis: Literal["x", "y"] = "y", decimals: int = 0) -> Axes:
    """Write an axis of differences of shares as percentage points, which are no per cent: 0.02 becomes ``+2 pp``."""
    return _hundredths(ax, axis, decimals, "{:+.{}f} pp")


def money_axis(ax: Axes, axis: Literal["x", "y"] = "y", symbol: str = "") -> Axes:
    """Write an axis of money the short way: 1,500,000 becomes ``1.5M``, behind the currency sign if one is given."""
    return _formatter(ax, axis, lambda value, _: compact(value, symbol))


def count_axis(ax: Axes, axis: Literal["x", "y"] = "y") -> Axes:
    """Write an axis of counts the short way: 25,000 becomes ``25K``."""
    return _formatter(ax, axis, lambda value, _: compact(value))
