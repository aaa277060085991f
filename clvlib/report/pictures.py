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
_AREA = 8  # squares of four pixels of one colour from which on it is that of an area, and not of an edge between two
_STEPS = 7  # of each channel at edges, which are read as smooth
# areas below a size, which are scales of colours for the most part, take few steps before all of them do
_FITS = (*((steps, 1000) for steps in (255, 63, 31, 15)), *((steps, np.inf) for steps in (31, 15, _STEPS)))


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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_facecolor("white")
    before = figure.get_dpi()
    figure.set_dpi(_DPI)
    canvas: Any = FigureCanvasAgg(figure)  # whose methods have no types
    canvas.draw()
    pixels = _packed(np.asarray(canvas.buffer_rgba()))
    box = figure.get_tightbbox(canvas.get_renderer()).padded(_MARGIN)
    figure.set_dpi(before)
    width, height = figure.get_size_inches()
    if min(box.x0, box.y0) < -_MARGIN or box.x1 > width + _MARGIN or box.y1 > height + _MARGIN:
        raw = io.BytesIO()  # something stands out of the figure
        figure.savefig(raw, format="png", dpi=_DPI, bbox_inches="tight", pil_kwargs={"compress_level": 0})
        return _packed(np.asarray(Image.open(raw).convert("RGBA")))
    left, top, right, bottom = (round(side * _DPI) for side in (box.x0, height - box.y1, box.x1, height - box.y0))
    return np.ascontiguousarray(pixels[max(top, 0) : bottom, max(left, 0) : right])


def _few_colours(pixels: Pixels) -> Image:
    """Return a picture in at most 256 colours: those of areas as they are, those of edges in few steps."""
    from PIL import Image

    corner = pixels[:-1, :-1]
    block = (corner == pixels[1:, :-1]) & (corner == pixels[:-1, 1:]) & (corner == pixels[1:, 1:])
    found, sizes = np.unique(corner[block], return_counts=True)
    areas, counts = found[sizes >= _AREA].astype(np.int64), sizes[sizes >= _AREA]
    index = np.zeros(1 << 24, dtype=np.uint8)
    index[pixels] = 1
    index[areas] = 0
    edges = np.flatnonzero(index.view(np.bool_))
    for steps, size in _FITS:
        near = np.where(counts < size, _rounded(areas, steps), areas)
        wanted = np.concatenate([near, _rounded(edges, _STEPS)])
        palette, place = np.unique(wanted, return_inverse=True)
        if len(palette) <= 256:
            break
    index[np.concatenate([areas, edges])] = place
    few = Image.fromarray(index[pixels])
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
