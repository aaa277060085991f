"""The font of the figures: ``python tests/font.py NotoSansCJK-Regular.ttc`` makes ``clvlib/fonts/`` anew.

Takes the simplified Chinese face of Noto Sans CJK (OFL-1.1), keeps what GB 2312 and Latin need, and gives it a family
name of its own, so that it neither replaces nor is replaced by a font of the machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection

FAMILY = "clvlib Sans SC"
TARGET = Path(__file__).parents[1] / "clvlib" / "fonts" / "clvlibSansSC-Regular.otf"
_FACE = "Noto Sans CJK SC"


def letters() -> set[int]:
    """Return the code points that the font has: GB 2312, Latin-1, and the signs that figures use."""
    rows, cells = range(0xA1, 0xF8), range(0xA1, 0xFF)
    pairs = (bytes((row, cell)).decode("gb2312", "ignore") for row in rows for cell in cells)
    more = "−–—…·×÷±≤≥≈→←↑↓▲▼◆●○■□¥€£₩₹‘’“”％，。；：！？（）《》、"
    return {ord(c) for c in "".join(pairs) + more} | set(range(0x20, 0x7F)) | set(range(0xA0, 0x180))


def main(collection: str) -> None:
    """Write the font."""
    fonts = TTCollection(collection).fonts
    font = next(f for f in fonts if f["name"].getDebugName(1) == _FACE)
    options = Options()
    options.layout_features = []
    options.hinting = False
    options.desubroutinize = True
    options.name_IDs = [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.notdef_outline = True
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=letters())
    subsetter.subset(font)
    names = font["name"]
    postscript = FAMILY.replace(" ", "") + "-Regular"
    for number, text in ((1, FAMILY), (3, f"clvlib;{postscript}"), (4, f"{FAMILY} Regular"), (6, postscript)):
        names.removeNames(nameID=number)
        names.setName(text, number, 3, 1, 0x409)
        names.setName(text, number, 1, 0, 0)
    top = font["CFF "].cff
    top.fontNames = [postscript]
    top[0].FullName, top[0].FamilyName = f"{FAMILY} Regular", FAMILY
    font["head"].modified = font["head"].created  # the same source makes the same bytes
    font.recalcTimestamp = False
    TARGET.parent.mkdir(exist_ok=True)
    font.save(TARGET)


if __name__ == "__main__":
    main(sys.argv[1])
