"""Figures as pictures: drawn once, in few colours, and small enough that a page of many travels by mail."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from clvlib.errors import ParameterError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DENSITY", "figure_of", "pictured", "repacked"]

Pixels = NDArray[np.uint32]

DENSITY: Final = 2  # pixels of a picture for one of the page, so that it is sharp on phones and on paper
_DPI = 80 * DENSITY  # 7.2 inches fill the page's column
_MARGIN = 0.1  # inches around what is drawn
_WHITE = np.uint32(0xFFFFFF)
_AREA = 8  # squares of four pixels of one colour from which on it is that of an area, and not of an edge between two
_STEPS = 7  # of each channel at edges, which are read as smooth
# areas below a size, which are scales of colours for the most part, take few steps before all of them do
_FITS = (*((steps, 1000) for steps in (255, 63, 31, 15)), *((steps, np.inf) for steps in (31, 15, _STEPS, 5)))


def figure_of(drawn: Any, name: str) -> Any:
    """Return the figure behind axes, an array or a list of axes, a seaborn grid or a figure.

    Raises
    ------
    ParameterError
        There is none.
    """
    figure = np.ravel(drawn)[0] if isinstance(drawn, (list, tuple, np.ndarray)) and np.size(drawn) else drawn
    while getattr(figure, "figure", figure) not in {figure, None}:
        figure = figure.figure
    if not hasattr(figure, "savefig"):
        raise ParameterError(f"figure {name}: expected Axes or a Figure of matplotlib, found {type(drawn).__name__}")
    return figure


def pictured(figure: Any) -> tuple[str, int, int]:
    """Draw a figure and close it; return a PNG in base64, and the size it has on the page.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Is left as it was drawn: with the labels of its ticks.
    """
    import matplotlib.pyplot as plt

    picture = _few_colours(_drawn(figure))
    plt.close(figure)
    file = io.BytesIO()
    picture.save(file, format="png")
    width, height = (round(side / DENSITY) for side in picture.size)
    return base64.b64encode(file.getvalue()).decode(), width, height


def _drawn(figure: Any) -> Pixels:
    """Draw and cut to what there is; savefig(bbox_inches="tight") does so too, and draws twice."""
    from PIL import Image

    from clvlib.report.canvas import Canvas

    figure.set_facecolor("white")
    before = figure.get_dpi()
    figure.set_dpi(_DPI)
    canvas: Any = Canvas(figure)  # whose base has no types
    canvas.draw()
    pixels = _packed(np.asarray(canvas.buffer_rgba()))
    ink = pixels != _WHITE
    edges = (ink[0], ink[-1], ink[:, 0], ink[:, -1])
    cut = (canvas.cuts_text() or any(edge.any() for edge in edges)) and _stands_out(figure, canvas)
    boxes = np.array([ax.bbox.extents for ax in figure.axes if ax.get_visible()]).reshape(-1, 4)
    figure.set_dpi(before)
    if cut:
        raw = io.BytesIO()
        figure.savefig(raw, format="png", dpi=_DPI, bbox_inches="tight", pil_kwargs={"compress_level": 0})
        return _packed(np.asarray(Image.open(raw).convert("RGBA")))
    height = len(ink)
    across = _span(ink.any(axis=0), boxes[:, 0], boxes[:, 2])
    down = _span(ink.any(axis=1), height - boxes[:, 3], height - boxes[:, 1])
    return np.ascontiguousarray(pixels[down, across])


def _stands_out(figure: Any, canvas: Any) -> bool:
    box, size = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    return bool((box.min < 0).any() or (box.max > size).any())


def _span(inked: Any, starts: Any, ends: Any) -> slice:
    """Return what reaches from the first to the last row, or column, that holds something, and the margins of it."""
    rows = np.flatnonzero(inked)
    first, last = min([*rows[:1], *starts], default=0), max([*rows[-1:] + 1, *ends], default=len(inked))
    return slice(max(round(first - _MARGIN * _DPI), 0), round(last + _MARGIN * _DPI))


def _few_colours(pixels: Pixels) -> Image:
    """Return a picture in at most 256 colours: those of areas as they are, those of edges in few steps."""
    from PIL import Image

    flat, alike = pixels.ravel(), np.zeros(pixels.shape, dtype=bool)
    corner = pixels[:-1, :-1]
    alike[:-1, :-1] = (corner == pixels[1:, :-1]) & (corner == pixels[:-1, 1:]) & (corner == pixels[1:, 1:])
    starts = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))  # of runs of one colour
    runs = flat[starts]
    colours = np.unique(runs)
    which = np.searchsorted(colours, runs)
    sizes = np.bincount(which, np.add.reduceat(alike.ravel(), starts, dtype=np.intp))
    exact, inked = colours.astype(np.int64), colours != _WHITE
    for steps, size in _FITS:
        fine = ~inked | ((sizes >= _AREA) & (sizes >= size))
        near = np.where(sizes < _AREA, _rounded(exact, min(steps, _STEPS)), _rounded(exact, steps))
        near[fine] = exact[fine]
        palette, place = np.unique(near, return_inverse=True)
        if len(palette) <= 256:
            break
    painted = np.repeat(place.astype(np.uint8)[which], np.diff(starts, append=flat.size))
    few = Image.fromarray(painted.reshape(pixels.shape))
    few.putpalette(_channels(palette).astype(np.uint8).tobytes())
    return few


def _packed(rgba: Any) -> Pixels:
    """Return one number for each pixel: red + 256 green + 65536 blue."""
    packed: Pixels = np.ascontiguousarray(rgba).view("<u4")[..., 0] & np.uint32(0xFFFFFF)
    return packed


def _channels(packed: Any) -> Any:
    return np.stack([packed & 255, packed >> 8 & 255, packed >> 16], axis=-1)


def _rounded(packed: Any, steps: int) -> Any:
    red, green, blue = np.rint(np.rint(_channels(packed) * (steps / 255)) * (255 / steps)).astype(np.int64).T
    return red | green << 8 | blue << 16


def repacked(png: bytes) -> tuple[str, bytes]:
    """Return a picture as its media type and content, the same pixels in fewer bytes: as lossless WebP where it can be.

    Notebooks keep PNG, which all of their readers know; every browser since 2020 knows WebP.
    """
    from PIL import Image, UnidentifiedImageError, features

    file = io.BytesIO()
    try:
        if features.check("webp"):
            picture = Image.open(io.BytesIO(png))
            colours = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
            colours.save(file, format="webp", lossless=True, method=2, quality=20)  # a sixth larger, in half the time
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError):
        return "image/png", png
    content = file.getvalue()
    return ("image/webp", content) if 0 < len(content) < len(png) else ("image/png", png)
