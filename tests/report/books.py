"""Tiny shops and notebooks for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from clvlib.report.facts import digest

PARAMETERS = 'source: str = ""\nweek: str = ""\noutput: str = ""'
OPEN = (
    'import clvlib as clv\nshop = clv.connect(source)\nchapter = clv.Chapter("{name}", shop, week=week, output=output)'
)
FIGURES = (
    "import pandas as pd\n"
    'chapter.kpi("revenue", 1234567.8, 1.2e6, 1.3e6, unit="money", better="higher", label="Revenue")\n'
    'chapter.kpi("return_rate", float("nan"), unit="share", why="no order was returned yet")\n'
    'best = pd.DataFrame({{"product": ["<script>alert(1)</script>", "=1+1"], "sold": [1200, 3]}})\n'
    'chapter.table("best", best, "Best")\n'
    'chapter.alert("click to cart below 12%", "it fell to 9%", segment="douyin", severity="high")\n'
    "import matplotlib.pyplot as plt\n"
    "fig, ax = plt.subplots()\n"
    "ax.plot([1, 2])\n"
    'chapter.figure("line", ax, alt="A line that rises")'
)


def shop_folder(folder: Path, weeks: int = 6, toml: str = 'name = "Mini <shop>"\nsample = true\n') -> Path:
    """A shop of a few orders a day, from Monday 2026-06-01 on, with one row that breaks the contract."""
    import datetime as dt

    folder.mkdir(parents=True, exist_ok=True)
    start = dt.date(2026, 6, 1)
    lines = ["customer_id,ordered_at,amount"]
    for day in range(7 * weeks):
        for i in range(3):
            when = start + dt.timedelta(days=day)
            lines.append(f"c{(day * 7 + i * 5) % 40:03d},{when} 1{i}:00:00,{10 + day % 9 + i}.50")
    lines.append("c001,2026-06-02 10:00:00,n/a")
    (folder / "orders.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if toml:
        (folder / "clvlib.toml").write_text(toml, encoding="utf-8")
    return folder


def notebook(folder: Path, name: str, cells: Sequence[str], parameters: str = PARAMETERS, title: str = "") -> Path:
    """A notebook whose text cells begin with ``#``; ``{name}`` in code stands for its name."""
    node = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    node.cells.append(new_markdown_cell(f"# {title or name}"))
    if parameters:
        node.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    for text in cells:
        node.cells.append(new_markdown_cell(text) if text.startswith("#") else new_code_cell(text.format(name=name)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(node, path)
    return path


def kpi(name: str, value: float | None, **more: Any) -> dict[str, Any]:
    """What a chapter hands to the report for a key figure."""
    return {
        "chapter": "01_a", "name": name, "label": name.capitalize(), "value": value, "lower": None, "upper": None,
        "unit": "count", "better": "higher", "level": 0.95, "week": "", "currency": "CNY", "why": "",
    } | more  # fmt: skip


def forecast(name: str, mean: float, actual: float | None, **more: Any) -> dict[str, Any]:
    """What a chapter hands to the report for a forecast, by default 10 below and above its mean."""
    return {
        "chapter": "01_a", "name": name, "label": name.capitalize(), "mean": mean, "lower": mean - 10,
        "upper": mean + 10, "actual": actual, "unit": "count", "level": 0.9, "weeks": 1, "week": "",
        "currency": "CNY", "why": "",
    } | more  # fmt: skip


def published(out: Path, week: str, said: Sequence[tuple[str, dict[str, Any]]], **more: Any) -> Path:
    """A report as it lies in its folder, of one chapter that says ``said``: pairs of media type and content.

    ``more`` are name and sha256 (of the notebook), shop, status, parameters, tables, versions and pseudonyms.
    """
    folder = out / week
    folder.mkdir(parents=True, exist_ok=True)
    outputs = [new_output("display_data", data={"text/plain": "-", kind: {**c, "week": week}}) for kind, c in said]
    node = new_notebook(cells=[new_code_cell("1", outputs=outputs, execution_count=1, id="a")])
    path = folder / f"{more.get('name', '01_a')}.ipynb"
    nbformat.write(node, path)
    book = {"sha256": more.get("sha256", "a"), "parameters": more.get("parameters", {}) | {"week": week}}
    book |= {"status": more.get("status", "ok"), "executed_sha256": digest(path)}
    manifest = {"shop": more.get("shop", "Shop"), "week": week, "notebooks": {path.stem: book}}
    manifest |= {"tables": more.get("tables", {}), "versions": more.get("versions", {})}
    manifest |= {"pseudonyms": more.get("pseudonyms", "")}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder
