"""The examples of scheduling in reports/README.md are well formed, and call what there is."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest
import yaml

from clvlib import cli
from clvlib.report.parameters import checked, read_notebook
from tests.conftest import ROOT

BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "reports" / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for name, text in BLOCKS if name == language]


def is_a_report(command: str) -> None:
    """The arguments of ``clvlib report`` are those that it takes."""
    words = shlex.split(command)
    arguments = words[next(i for i, word in enumerate(words) if word.endswith("/clvlib")) + 1 :]
    parsed = cli._parser().parse_args(arguments)
    assert parsed.does is cli._report
    assert parsed.resume


def test_cron():
    (table,) = blocks("cron")
    zone, line = table.strip().splitlines()
    assert zone == "CRON_TZ=Asia/Shanghai"
    *when, command = line.split(maxsplit=5)
    assert when == ["30", "6", "*", "*", "1"]
    assert "%" not in command  # cron would take it for the end of the line
    is_a_report(command.partition("&& ")[2].partition(">>")[0])
    subprocess.run(["/bin/sh", "-n", "-c", command], check=True)


def test_systemd(tmp_path: Path):
    units = {re.match(r"# .*/(.*)\n", text)[1]: text for text in blocks("ini")}  # type: ignore[index]
    assert set(units) == {"clvlib-report.service", "clvlib-report.timer"}
    command = re.search(r"ExecStart=(.*)", units["clvlib-report.service"])
    assert command
    is_a_report(command[1])
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd here")
    for name, text in units.items():  # it looks for the program and the folders
        here = text.replace(command[1].split()[0], "/bin/true").replace("User=clvlib\n", "").replace("/srv/", "/")
        (tmp_path / name).write_text(here, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_github_actions():
    (text,) = blocks("yaml")
    work = yaml.safe_load(text)
    steps = work["jobs"]["report"]["steps"]
    (command,) = [step["run"] for step in steps if "run" in step]
    assert command == "make report SOURCE=shop ARGS=--resume"
    shown = subprocess.run(
        ["make", "--dry-run", "--always-make", *shlex.split(command)[1:]],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    is_a_report(next(line for line in shown.splitlines() if "clvlib report" in line))
    (upload,) = [step["with"]["path"] for step in steps if "upload" in step.get("uses", "")]
    assert "tables" not in upload
    (when,) = work[True]["schedule"]  # YAML reads the word "on" as true
    days = [int(day) for day in when["cron"].split()[4].split(",")]
    assert max((later - day) % 7 or 7 for day, later in zip(days, [*days[1:], days[0]], strict=True)) < 7
    caches = {step["uses"].split("@")[0]: step for step in steps if "actions/cache" in step.get("uses", "")}
    restored, saved = caches["actions/cache/restore"], caches["actions/cache/save"]
    assert saved["if"] == "always()"  # a chapter that failed is no reason to lose the ledger
    assert saved["with"]["key"].startswith(restored["with"]["key"])
    assert saved["with"]["path"] == restored["with"]["path"] == "reports"


def test_airflow(monkeypatch: pytest.MonkeyPatch):
    """Airflow is not here: its three names are taken by stand-ins that keep what they were given."""
    made: dict[str, dict[str, Any]] = {}

    class Stand:
        def __init__(self, **given: Any) -> None:
            made[given.get("task_id", "dag")] = given

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def __rshift__(self, other: Stand) -> Stand:
            return other

    names = {
        "airflow": "DAG",
        "airflow.providers.papermill.operators.papermill": "PapermillOperator",
        "airflow.providers.standard.operators.bash": "BashOperator",
        "pendulum": "datetime",
    }
    for module, name in names.items():
        stand = ModuleType(module)
        setattr(stand, name, Stand if name != "datetime" else lambda *a, **k: (a, k))
        monkeypatch.setitem(sys.modules, module, stand)
    (code,) = blocks("python")
    exec(compile(code, "reports/README.md", "exec"), {})  # noqa: S102
    is_a_report(made["report"]["bash_command"])
    clv = made["clv"]
    book = read_notebook(ROOT / "notebooks" / Path(clv["input_nb"]).name)
    ours = {"source", "week", "output"}
    checked([book], {name: value for name, value in clv["parameters"].items() if name not in ours})
    assert set(clv["parameters"]) <= set(book.parameters)
