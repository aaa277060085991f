"""What a chapter stores of what it shows, for whoever compares it later: the cells of a table, the data of a figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from clvlib.report.form import is_absent

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

__all__ = ["MOST", "cells_shown", "drawn", "exact", "sketch"]

MOST: Final = 2_000  # numbers that are stored of a figure
_LEAST = 8  # of them for each coordinate of an artist
_TOGETHER = 60  # artists of a kind, from which on they are stored as one


def exact(value: Any) -> float | int | None:
    """Return a number that survives JSON, without the last digits, which differ between machines.

    >>> exact(1234567.891), exact(2.0), exact(float("nan"))
    (1234567.9, 2, None)
    """
    if is_absent(value):
        return None
    number = float(value)
    return int(number) if number == int(number) and abs(number) < 2**53 else float(f"{number:.8g}")


def cells_shown(frame: pd.DataFrame, cells: list[list[str]], numeric: list[bool]) -> list[list[Any]]:
    """Return the cells of a table with their numbers as they are, and the rest as it is shown.

    Parameters
    ----------
    frame : pandas.DataFrame
        The rows that are shown.
    cells, numeric : list
        What :func:`clvlib.report.form.frame_cells` made of it.
    """
    levels = len(numeric) - frame.shape[1]  # of the index, which come first where they say something
    columns: list[Iterable[Any]] = [frame.index.get_level_values(i) for i in range(levels)]
    columns += [column for _, column in frame.items()]
    values = [
        [exact(value) for value in column] if number else [row[i] for row in cells]
        for i, (column, number) in enumerate(zip(columns, numeric, strict=True))
    ]
    return [list(row) for row in zip(*values, strict=True)]


def sketch(values: Any, longest: int) -> Any:
    """Return numbers as a list, or, of more than ``longest`` of them, what still tells when one of them moves.

    Parameters
    ----------
    values : array_like
        Of any shape; what is masked is absent.
    longest : int
        At least 4.

    Returns
    -------
    list or dict
        The numbers; or how many there are, how many absent, the largest in size, and of each run of neighbours its
        mean and its slope, the mean of the products with weights that rise from -1 to 1, so that two numbers that
        change places are seen.

    Examples
    --------
    >>> sketch([1.5, float("nan")], 8)
    [1.5, None]
    >>> sketch(range(8), 4)
    {'count': 8, 'absent': 0, 'largest': 7, 'means': [1.5, 5.5], 'slopes': [0.83333333, 0.83333333]}
    """
    flat = _flat(values)
    if flat.size <= longest:
        return [exact(value) for value in flat]
    absent = ~np.isfinite(flat)
    runs = np.array_split(np.where(absent, 0.0, flat), longest // 2)
    return {
        "count": int(flat.size),
        "absent": int(absent.sum()),
        "largest": exact(max(abs(run).max() for run in runs)),
        "means": [exact(run.mean()) for run in runs],
        "slopes": [exact((run * np.linspace(-1, 1, run.size)).mean()) for run in runs],
    }


def _flat(values: Any) -> Any:
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan).ravel()


def drawn(figure: Figure) -> dict[str, Any]:
    """Return the data behind a figure that has been drawn: what its axes say, and what lies in them.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Drawn, as the labels of ticks are known only then.

    Returns
    -------
    dict
        ``axes 1`` and so on, each with title, axes x and y (label, scale, limits, ticks), legend and texts, and its
        artists: ``line 1``, ``bars 1``, ``shape 1``, ``collection 1``, ``image 1`` …, each with its label and its
        numbers to 8 digits, in the units of the axes. A figure stores some :data:`MOST` numbers (see :func:`sketch`),
        and very many artists of a kind as one.
    """
    found = [(ax, _artists(ax)) for ax in figure.axes if ax.get_visible()]
    arrays = sum(len(data) for _, artists in found for _, data in artists.values())
    longest = max(_LEAST, MOST // max(arrays, 1))
    panels: dict[str, Any] = {}
    for number, (ax, artists) in enumerate(found, 1):
        panel = {name: _stored(label, data, longest) for name, (label, data) in artists.items()}
        panels[f"axes {number}"] = _frame(ax) | panel
    texts = [text.get_text() for text in figure.texts if text.get_visible() and text.get_text()]
    return panels | ({"texts": texts} if texts else {})


def _stored(label: str, data: Mapping[str, Any], longest: int) -> dict[str, Any]:
    numbers = {name: sketch(values, longest) for name, values in data.items()}
    return {"label": label, **numbers} if label else numbers


def _frame(ax: Axes) -> dict[str, Any]:
    """Return what stands around and upon the data."""
    titles = [ax.get_title(where) for where in ("left", "center", "right")]
    said: dict[str, Any] = {"title": " ".join(filter(None, titles)), "x": _axis(ax.xaxis), "y": _axis(ax.yaxis)}
    legend = ax.get_legend()
    if legend is not None:
        said["legend"] = [text.get_text() for text in (legend.get_title(), *legend.get_texts()) if text.get_text()]
    texts = [text.get_text() for text in ax.texts if text.get_visible() and text.get_text()]
    return said | ({"texts": texts} if texts else {})


def _axis(axis: Axis) -> dict[str, Any]:
    limits = [exact(end) for end in axis.get_view_interval()]
    scale, label = axis.get_scale(), axis.get_label_text()
    lower, upper = sorted(axis.get_view_interval())
    ticks = [
        tick.label1.get_text()
        for tick in axis.get_major_ticks()
        if lower <= tick.get_loc() <= upper and tick.label1.get_visible() and tick.label1.get_text()
    ]
    shown = {"ticks": ticks} if axis.get_visible() and axis.axes.axison else {}
    return {"label": label, "scale": scale, "limits": limits, **shown}


def _label(artist: Any) -> str:
    """Return the name that an artist was given; those that begin with _ are matplotlib's own."""
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else label


def _artists(ax: Axes) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return label and numbers of all that is drawn into the axes, by kind and order."""
    if ax.get_label() == "<colorbar>":  # a scale: its ticks say it
        return {}
    from matplotlib.container import BarContainer
    from matplotlib.patches import Rectangle

    bars = [group for group in ax.containers if isinstance(group, BarContainer)]
    held = {id(patch) for group in bars for patch in group}
    alone = [patch for patch in ax.patches if id(patch) not in held and patch.get_visible()]
    boxes = [patch for patch in alone if isinstance(patch, Rectangle)]
    found = {f"bars {i}": (_label(group), _boxes(list(group))) for i, group in enumerate(bars, 1)}
    if boxes:
        found["boxes"] = ("", _boxes(boxes))
    kinds: list[tuple[str, Iterable[Artist], Any]] = [
        ("line", ax.lines, lambda line: _points(line.get_xydata())),
        ("shape", [patch for patch in alone if not isinstance(patch, Rectangle)], _shape),
        ("collection", ax.collections, _collection),
        ("image", ax.images, lambda image: {"values": image.get_array(), "extent": image.get_extent()}),
    ]
    for kind, artists, numbers in kinds:
        seen = [artist for artist in artists if artist.get_visible()]
        if len(seen) > _TOGETHER:
            found[f"{kind}s"] = ("", _joined([numbers(artist) for artist in seen]))
        else:
            found |= {f"{kind} {i}": (_label(artist), numbers(artist)) for i, artist in enumerate(seen, 1)}
    return found


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: np.concatenate([_flat(part[name]) for part in parts if name in part]) for name in parts[0]}


def _points(xy: Any) -> dict[str, Any]:
    points: Any = np.ma.asarray(xy, dtype=float).reshape(-1, 2)
    return {"x": points[:, 0], "y": points[:, 1]}


def _boxes(patches: list[Any]) -> dict[str, Any]:
    names = ("x", "y", "width", "height")
    return {name: [getattr(patch, f"get_{name}")() for patch in patches] for name in names}


def _shape(patch: Any) -> dict[str, Any]:
    return _points(patch.get_path().transformed(patch.get_patch_transform()).vertices)


def _collection(collection: Any) -> dict[str, Any]:
    """Points by their places and sizes, lines and areas by their corners, and the values that give them colours."""
    from matplotlib.collections import PathCollection, QuadMesh

    values = collection.get_array()
    found = {} if values is None else {"values": values}
    if isinstance(collection, QuadMesh):  # a grid: its corners are told by the axes
        return found
    places: Any = np.ma.asarray(collection.get_offsets(), dtype=float)
    if isinstance(collection, PathCollection):
        return _points(places) | {"size": collection.get_sizes()} | found
    corners = [path.vertices for path in collection.get_paths()]
    found = (_points(np.concatenate(corners)) if corners else {}) | found
    return found | ({"offsets": places} if len(places) > 1 else {})
