"""Pictures: what is drawn is in them, areas in their own colours, and few bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from clvlib.plotting import PALETTE, new_axes
from clvlib.report.page import LIMIT
from clvlib.report.pictures import DENSITY, pictured, repacked


@pytest.fixture(autouse=True)
def as_matplotlib_comes() -> Iterator[None]:
    """What other tests have set does not matter here."""
    with plt.rc_context():
        plt.rcdefaults()
        yield


def opened(figure) -> Image.Image:
    data, width, height = pictured(figure)
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (width, height) == (round(picture.width / DENSITY), round(picture.height / DENSITY))
    return picture


def reference(figure) -> np.ndarray:
    """The same by matplotlib alone, in full colour."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, facecolor="white")
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def bars(title: str = "A title"):
    ax = new_axes()
    ax.bar(range(len(PALETTE)), range(1, 1 + len(PALETTE)), color=PALETTE)
    ax.plot([0, 6], [6, 1], color="black")
    ax.set_title(title)
    if not title:
        ax.tick_params(labelleft=False, labelbottom=False)
    return ax.figure


def inked(picture: np.ndarray) -> np.ndarray:
    """Without the white around it."""
    ink = (picture != 255).any(axis=2)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_a_picture_is_what_matplotlib_saves():
    """Areas have their very colours, edges are within half a step, and there is a margin and no more."""
    ours, theirs = np.asarray(opened(bars("")).convert("RGB")).astype(int), reference(bars(""))
    margins = np.array(ours.shape) - inked(ours).shape
    assert ((margins[:2] >= 5) & (margins[:2] <= 2 * 16)).all()
    difference = np.abs(inked(ours) - inked(theirs))
    assert difference.max() <= 19  # 255 / 7 / 2
    assert difference.mean() < 0.1
    found = {f"#{r:02X}{g:02X}{b:02X}" for _, (r, g, b) in opened(bars()).convert("RGB").getcolors(1 << 20)}
    assert {colour.upper() for colour in PALETTE} <= found


def test_few_colours_and_few_bytes():
    rng = np.random.default_rng(0)
    ax = new_axes()
    ax.imshow(rng.random((24, 24)), cmap="cividis", aspect="auto")  # more areas than there are colours in a picture
    painting = new_axes()
    painting.imshow(rng.random((24, 24, 3)), aspect="auto")  # and more than a few steps of each channel leave
    for figure in (ax.figure, painting.figure):
        picture = opened(figure)
        assert picture.mode == "P"
        assert len(picture.getcolors()) <= 256
    data, *_ = pictured(bars())
    media, content = repacked(base64.b64decode(data))
    assert media == "image/webp"
    assert len(content) < 0.8 * len(base64.b64decode(data))
    assert len(content) * 4 / 3 * 90 < LIMIT  # a report of ninety such figures


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_what_stands_out_of_a_figure_is_not_cut(where: str):
    figure, ax = plt.subplots(figsize=(4, 3))
    at = (0.5, 0.5) if where == "inside" else (1.6, 1.4)
    ax.annotate("█", at, xycoords="axes fraction", color="#ff0000", annotation_clip=False, in_layout=False)
    ax.figure.text(0.5, 1.2 if where == "outside" else 0.5, "█", color="#ff0000")
    picture = np.asarray(opened(figure).convert("RGB"))
    red = (picture == (255, 0, 0)).all(axis=2)
    assert red.sum() > 100
    assert not red[:5].any()


def test_repacking_keeps_every_pixel():
    rng = np.random.default_rng(1)
    noise = Image.fromarray(rng.integers(0, 256, (40, 60, 4), dtype=np.uint8))
    smooth = Image.new("RGBA", (300, 200), (10, 20, 30, 128))
    for picture in (smooth, noise.convert("RGB"), noise):
        file = io.BytesIO()
        picture.save(file, format="png")
        media, content = repacked(file.getvalue())
        assert media in {"image/webp", "image/png"}
        back = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(int)
        seen = np.asarray(picture.convert("RGBA")).astype(int)
        assert (back[..., 3] == seen[..., 3]).all()
        assert (back[..., :3] * (seen[..., 3:] > 0) == seen[..., :3] * (seen[..., 3:] > 0)).all()


def test_what_cannot_be_read_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    broken = b"\x89PNG\r\n\x1a\n" + b"0" * 60
    assert repacked(broken) == ("image/png", broken)
    file = io.BytesIO()
    Image.new("RGB", (300, 200)).save(file, format="png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # a bomb
    assert repacked(file.getvalue()) == ("image/png", file.getvalue())
