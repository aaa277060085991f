"""One edition of a report: what each executed notebook becomes, and then the page, the mail and what lies beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from clvlib.data.connect import connect
from clvlib.errors import ReportError
from clvlib.report.alerts import by_severity
from clvlib.report.cells import ChapterPage, chapter_page
from clvlib.report.execute import Execution
from clvlib.report.facts import digest
from clvlib.report.harvest import Harvest, harvest
from clvlib.report.ledger import ALERTS, DURATIONS, GRADES, Ledger, current
from clvlib.report.lists import graded
from clvlib.report.locale import translated
from clvlib.report.mail import mail_html, mail_text
from clvlib.report.page import compose, render
from clvlib.report.parameters import Notebook, literal
from clvlib.report.pdf import write_pdf
from clvlib.report.plan import Edition
from clvlib.words import speaking

__all__ = ["Made", "past_of", "settled", "written"]


@dataclass(frozen=True)
class Made:
    """What a notebook has become.

    Attributes
    ----------
    run : Execution
        How it went.
    said : Harvest
        What it says.
    page : ChapterPage
        Its chapter.
    record : dict
        What the manifest has of it.
    """

    run: Execution
    said: Harvest
    page: ChapterPage
    record: dict[str, Any]


def settled(edition: Edition, book: Notebook, run: Execution) -> Made:
    """Write an executed notebook into an edition, and make its chapter."""
    with speaking(edition.language):
        said = harvest(run.node)
        used = _as_published(edition, book, run.node)
        text = nbformat.writes(run.node)
        published = edition.folder / f"{run.name}.ipynb"
        published.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
        record = {
            "sha256": digest(book.path),
            "parameters": used,
            "status": "failed" if run.error else "ok",
            "executed_sha256": digest(published),
        }
        return Made(run, said, chapter_page(run.name, run.node, run.error, run.traceback), record)


def _as_published(edition: Edition, book: Notebook, node: Any) -> dict[str, Any]:
    """Rewrite the injected cell so that the notebook can be run again from where it is published; translate its text.

    While it ran it read the prepared tables and wrote into the staging folder; neither outlives the run.
    """
    for cell in node.cells:
        if cell.cell_type == "markdown":
            cell.source = translated(cell.source)
    values = edition.published(book)
    cell = next(c for c in node.cells if "injected-parameters" in c.metadata.get("tags", []))
    lines = [f"{k}: {book.parameters[k].annotation} = {literal(v)}" for k, v in values.items()]
    mapping = str(edition.plan.mapping or "")
    head = f"# Parameters; the source was read with mapping={mapping!r}" if mapping else "# Parameters"
    cell.source = "\n".join([head, *lines])
    return values


def past_of(edition: Edition) -> tuple[Ledger, list[dict[str, Any]]]:
    """Return what earlier reports said, and the lists among it whose time has come."""
    past = current(edition.plan.out, edition.plan.tell)
    shop = connect(edition.store)
    try:
        return past, graded(past, edition.plan.out, shop, edition.week)
    finally:
        shop.close()


def written(
    edition: Edition,
    made: Sequence[Made],
    past: Ledger,
    lists: list[dict[str, Any]],
    versions: Mapping[str, str],
    times: Mapping[str, Any],
) -> tuple[pd.DataFrame, int]:
    """Write the files of an edition whose chapters are made.

    Parameters
    ----------
    edition : Edition
        Which one.
    made : sequence of Made
        Its chapters, in order.
    past : Ledger
        What earlier reports said.
    lists : list of dict
        Lists whose time has come, as :func:`clvlib.report.lists.graded` returns them.
    versions : mapping
        What computed the figures.
    times : mapping
        When it was made, how long it took, and whether the data are late.

    Returns
    -------
    tuple
        A row per chapter, and the exit code.
    """
    with speaking(edition.language):
        said = _files(edition, made, past, lists, versions)
        failed = sum(bool(each.run.error) for each in made)
        code = 0 if not failed else 1 if failed < len(made) else 2
        printed = _printed(edition) if code < 2 else {}
        code = max(code, int(printed.get("status") == "failed"))
        table = _table(made).assign(language=edition.language)
        status = {"week": edition.week.label, "status": ("ok", "partial", "failed")[code], "exit_code": code, **times}
        status |= {"shop": edition.own_facts.name, "language": edition.language, "sentence": said["sentence"]}
        for line in [*said["notices"], *_misnamed(edition, made)]:
            edition.plan.tell(f"  {line}")
        status |= {"notices": said["notices"], "alerts": by_severity(said["cards"])} | (
            {"pdf": printed} if printed else {}
        )
        _dump(edition.folder / "status.json", status | {"chapters": table.to_dict("records")})
        return table, code


def _files(
    edition: Edition, made: Sequence[Made], past: Ledger, lists: list[dict[str, Any]], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Write all files but the PDF and the status, and return what the page says.

    All of it is the same where the inputs are, but for one entry of the manifest: how long each chapter took.
    """
    facts = edition.own_facts
    manifest = {
        "schema": 1,
        "week": edition.week.label,
        "source": edition.source,
        "mapping": str(edition.plan.mapping or ""),
        "shop": facts.name,
        "sample": facts.sample,
        "language": edition.language,
        "tables": facts.fingerprint,
        "settings": facts.settings,
        "pseudonyms": facts.pseudonyms,
        "notebooks": {each.run.name: each.record for each in made},
        "versions": versions,
    }
    took = {each.run.name: round(each.run.seconds, 2) for each in made}
    _dump(edition.folder / "manifest.json", manifest | {DURATIONS: took})
    first, up = next(iter(edition.facts)), "../" if edition.place else ""
    others = [code for code in edition.facts if code != edition.language]
    said = compose(
        facts,
        edition.week,
        [each.page for each in made],
        {each.run.name: each.said for each in made},
        manifest,
        past,
        lists,
        place=edition.place,
        editions={code: f"{up}{'' if code == first else f'{code}/'}index.html" for code in others},
    )
    pages = {"index.html": render(said), "email.html": mail_html(said), "email.txt": mail_text(said)}
    for name, text in pages.items():
        (edition.folder / name).write_text(text, encoding="utf-8")
    told = ("chapter", "rule", "text", "segment", "severity", "metric", "good")
    alerts = [
        {field: alert[field] for field in told} | {"card": place}
        for place, card in enumerate(said["cards"], 1)
        for alert in card["alerts"]
    ]
    _dump(edition.folder / ALERTS, {"alerts": alerts})
    _dump(edition.folder / GRADES, {"grades": lists})
    return said


def _misnamed(edition: Edition, made: Sequence[Made]) -> list[str]:
    """Say which targets belong to no key figure, where one has nearly that name."""
    names = sorted({kpi["name"] for each in made for kpi in each.said.kpis})
    targets = [] if edition.place else [name for name in edition.own_facts.targets if name not in names]
    near = [(name, get_close_matches(name, names, n=1, cutoff=0.85)) for name in targets]
    return [f"[targets] {name}: no key figure has this name; did you mean {like[0]}?" for name, like in near if like]


def _printed(edition: Edition) -> dict[str, str]:
    """Return what the status says of the PDF, or nothing where none is wanted; without it the report is a report."""
    if not edition.plan.browser:
        return {}
    try:
        write_pdf(edition.folder / "index.html", edition.folder / "index.pdf", edition.plan.browser)
    except ReportError as error:
        edition.plan.tell(f"  the page is not printed: {error}")
        return {"status": "failed", "error": str(error)}
    return {"status": "ok", "error": ""}


def _table(made: Sequence[Made]) -> pd.DataFrame:
    rows = [
        {
            "chapter": each.run.name,
            "status": "failed" if each.run.error else "ok",
            "error": each.run.error,
            "seconds": round(each.run.seconds, 2),
            "kpis": len(each.said.kpis),
            "alerts": len(each.said.alerts),
        }
        for each in made
    ]
    return pd.DataFrame(rows)


def _dump(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
