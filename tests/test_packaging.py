"""The wheel carries all that the command needs, wherever it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

from tests.conftest import ROOT

WITHOUT_A_USE = {".po", ".png"}  # what people edit and what the README shows


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what an installed wheel puts beside other packages, built from a copy of the checkout."""
    where = tmp_path_factory.mktemp("wheel")
    source = where / "source"
    bare = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for folder in ("clvlib", "notebooks"):
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=bare)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy2(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(where), str(source)], check=True, capture_output=True)
    (wheel,) = where.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(where / "installed")
    return where / "installed"


def _run(installed: Path, *command: str, at: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = (sys.executable, *command)
    return subprocess.run(command, check=False, cwd=at, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_the_library_reads(installed: Path) -> None:
    kept = {str(path.relative_to(installed)) for path in (installed / "clvlib").rglob("*") if path.is_file()}
    ours = [*(ROOT / "clvlib").rglob("*"), *(ROOT / "clvlib" / "notebooks").glob("*.ipynb")]
    wanted = {
        str(path.relative_to(ROOT))
        for path in ours
        if path.is_file() and path.suffix not in WITHOUT_A_USE and not {"__pycache__"} & set(path.parts)
    }
    assert wanted <= kept
    assert {"clvlib/notebooks/03_clv.ipynb", "clvlib/report/page.html", "clvlib/locale/zh.mo"} <= kept


@pytest.mark.slow
def test_an_installed_clvlib_reports_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    source = str(ROOT / "data" / "sample")
    done = _run(installed, "-m", "clvlib.cli", "report", "--source", source, "--notebooks", "04", at=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.strip()).is_file()
    where = _run(installed, "-c", "import clvlib.report.runner as r; print(r.NOTEBOOKS)", at=tmp_path)
    assert Path(where.stdout.strip()) == installed / "clvlib" / "notebooks"


def test_each_package_that_the_workbook_is_built_on_is_required_and_used() -> None:
    """The workbook promises these to analysts, who find them in its environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    required = {re.split(r"[<>=!\[; ]", requirement)[0] for requirement in wanted}
    ran = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "tests/run"))
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "clvlib").rglob("*.py"))
    for package in ("jupyterlab", "pandas", "matplotlib", "seaborn", "statsmodels", "lifetimes", "nbval", "papermill"):
        assert package in required
        imported = re.search(rf"^\s*(import|from) {package}\b", code, re.MULTILINE)
        assert imported or {"jupyterlab": "jupyter lab", "nbval": "--nbval"}.get(package, package + ".") in ran


def test_without_the_packages_of_reports_the_command_says_what_to_install(tmp_path: Path) -> None:
    bare = "import sys; sys.modules['nbformat'] = None; from clvlib.cli import main; sys.exit(main(sys.argv[1:]))"
    done = _run(ROOT, "-c", bare, "forget", "C000001", at=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("clvlib: nbformat is not installed, and reports need it: pip install ")
    assert len(done.stderr.splitlines()) == 1
