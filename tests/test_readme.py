"""The README tells what the code does: the contract's table, the commands, the names."""

from __future__ import annotations

import re
import tomllib

import clvlib as clv
from clvlib.data.contract import markdown
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_contract_in_the_readme_is_the_one_in_the_code() -> None:
    between = README.split("<!-- contract -->")[1].split("<!-- /contract -->")[0]
    assert between.strip() == markdown()


def test_names_and_files_in_the_readme_exist() -> None:
    for name in set(re.findall(r"clv\.([A-Za-z_]+)\(", README)):
        assert callable(getattr(clv, name)), name
    for path in re.findall(r"`((?:clvlib|data|reports|notebooks)/[^`<*]*)`", README):
        assert (ROOT / path).exists() or path.startswith("reports/<"), path
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_public_name_can_be_reached() -> None:
    for name in clv.__all__:
        assert getattr(clv, name) is not None


def test_the_version_is_one() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == clv.__version__
