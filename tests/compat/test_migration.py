"""The names on the page for those who move in exist, here and where they come from."""

from __future__ import annotations

import re
from functools import reduce
from pathlib import Path

import pytest

import clvlib
from clvlib.compat import lifetimes as compat
from tests.compat.conftest import quietly

PAGE = (Path(clvlib.__file__).parent / "MIGRATION.md").read_text(encoding="utf-8")
NAMES = sorted(set(re.findall(r"`((?:clv|clvlib|lifetimes)\.[\w.]+)`", PAGE)))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_exists(theirs, name):
    package, *path = name.split(".")
    if package == "lifetimes":
        quietly(reduce, getattr, path, theirs.top)
        assert reduce(getattr, path, compat)
    elif package == "clv":
        assert reduce(getattr, path, clvlib)
    else:
        module = __import__(".".join(name.split(".")[:-1]), fromlist=[path[-1]])
        assert getattr(module, path[-1])


def test_private_names_are_there_or_not_as_the_page_says(customers):
    gone, kept = PAGE.split("Not offered: ")[1].split("\n\n")[0].split("but for")
    fitter = compat.BetaGeoFitter()
    for name in re.findall(r"`(_\w+)`", gone):
        assert not hasattr(fitter, name)
        assert not hasattr(compat.ParetoNBDFitter, name)
    fitter.fit(customers["frequency"], customers["recency"], customers["T"])
    for name in re.findall(r"`(_\w+)`", kept):
        assert hasattr(fitter, name) or hasattr(compat.utils, name), name
