"""Forgetting a customer: nothing of him stays in a folder of reports, and nothing else changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from clvlib.cli import main
from clvlib.data.privacy import Pseudonyms, find_key
from clvlib.errors import ParameterError, ReportError
from clvlib.report import forget as module
from clvlib.report.chapter import ALERT, TABLE
from clvlib.report.forget import FORGOTTEN, forget
from clvlib.report.ledger import NAME, current
from clvlib.report.tables import save_list, save_table

from .books import published

LIST = {"chapter": "01_a", "name": "best", "caption": "", "rows": 3, "saved": True, "people": True, "recipients": 1}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Two weeks of reports with lists, pages and a ledger in which customer 7 occurs."""
    folder = tmp_path / "reports"
    key = Pseudonyms(find_key(folder))
    names = key.of(["7", "=7", "12"])
    for week in ("2026-W45", "2026-W46"):
        alert = {"rule": "gone", "text": f"{names[0]} and {names[2]} are silent", "segment": "", "severity": "low"}
        made = published(folder, week, [(ALERT, alert), (TABLE, LIST)], pseudonyms=key.fingerprint)
        frame = pd.DataFrame({"customer_id": ["7", "=7", "12"], "customer": names, "value": [7.0, 8.0, 9.5]})
        save_list(frame, made / "tables" / "01_a", "best")
        save_table(pd.DataFrame({"age": ["7", "12"], "value": [7, 12]}), made / "tables" / "01_a", "groups")
        (made / "index.html").write_text(f"<p>7 of 12 stay: {names[0]}, {names[2]}</p>", encoding="utf-8")
        (made / "tables" / "01_a" / "old.csv.age").write_bytes(b"age-encryption.org/v1 sealed")
    current(folder, pytest.fail)
    return folder


def content(out: Path) -> dict[str, bytes]:
    files = (path for path in out.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def test_nothing_of_the_customer_stays_and_nothing_else_changes(out: Path):
    name, other = Pseudonyms(find_key(out)).of(["7", "12"])
    before = content(out)
    found = forget("7", out)
    after = content(out)
    assert found.rows == {f"2026-W{week}/tables/01_a/best.csv": 1 for week in (45, 46)}
    assert found.texts == [f"2026-W{week}/{file}" for week in (45, 46) for file in ("01_a.ipynb", "index.html")]
    assert list(found.removed) == [f"2026-W{week}/tables/01_a/old.csv.age" for week in (45, 46)]
    assert found.entries == {NAME: 2}
    assert not any(name.encode() in text for text in after.values())
    for week in (45, 46):
        kept = pd.read_csv(out / f"2026-W{week}/tables/01_a/best.csv", dtype=str)
        assert kept["customer_id"].tolist() == ["'=7", "12"]
        assert kept["value"].tolist() == ["8.0", "9.5"]
        assert (out / f"2026-W{week}/tables/01_a/best.csv").stat().st_mode & 0o777 == 0o600
        page = (out / f"2026-W{week}/index.html").read_text(encoding="utf-8")
        assert page == f"<p>7 of 12 stay: {FORGOTTEN}, {other}</p>"
    touched = {*found.rows, *found.texts, *found.removed, NAME}
    assert {k: v for k, v in before.items() if k not in touched} == {k: v for k, v in after.items() if k not in touched}
    with duckdb.connect(out / NAME, read_only=True) as ledger:
        texts = ledger.execute("SELECT text FROM alerts").fetchall()
        assert texts == [(f"{FORGOTTEN} and {other} are silent",)] * 2
        trail = ledger.execute("SELECT week, name, customers, recipients, operator <> '' FROM exports").fetchall()
    assert trail == [("2026-W45", "best", 3, 1, True), ("2026-W46", "best", 3, 1, True)]
    again = forget("7", out)
    assert (again.rows, again.texts, again.removed, again.entries) == ({}, [], {}, {})
    assert "was in no report" in again.text


def test_an_id_that_could_run_in_a_spreadsheet_is_found(out: Path):
    assert set(forget("=7", out).rows.values()) == {1}
    kept = pd.read_csv(out / "2026-W46/tables/01_a/best.csv", dtype=str)
    assert kept["customer_id"].tolist() == ["7", "12"]


def test_what_is_still_found_is_an_error(out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "_TEXT", set())  # as if a kind of file were not known
    with pytest.raises(ReportError, match=r"still named in .*index.html"):
        forget("7", out)


def test_without_the_key_nothing_is_proved_and_nothing_changes(out: Path, monkeypatch: pytest.MonkeyPatch):
    """A run with the key in the environment, and a call without it: the pseudonym is not known, so nobody is found."""
    key = "a key that the environment holds"
    name = Pseudonyms(key).of(["7"])[0]
    page = published(out, "2026-W47", [], pseudonyms=Pseudonyms(key).fingerprint) / "index.html"
    page.write_text(f"<p>{name}</p>", encoding="utf-8")
    before = content(out)
    with pytest.raises(ReportError, match=r"pseudonyms of 2026-W47 .*not at hand.*nothing was changed.*CLVLIB_KEY"):
        forget("7", out)
    assert content(out) == before
    monkeypatch.setenv("CLVLIB_KEY", key)
    found = forget("7", out)
    assert "2026-W47/index.html" in found.texts
    assert "2026-W45/index.html" in found.texts  # made with the folder's own key, which is at hand too
    assert not any(name.encode() in text for text in content(out).values())
    (out / "2026-W47" / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(ReportError, match=r"2026-W47/manifest.json cannot be read"):
        forget("7", out)


def test_a_folder_without_a_key_gets_none(tmp_path: Path):
    published(tmp_path, "2026-W46", [])
    assert "was in no report" in forget("7", tmp_path).text
    assert not (tmp_path / ".key").exists()


def test_a_printed_page_goes_where_the_page_named_the_customer(out: Path):
    """The text of a PDF is packed, so its bytes tell nothing."""
    for week, page in (("2026-W45", None), ("2026-W46", "nobody")):
        (out / week / "index.pdf").write_bytes(b"%PDF-1.4 packed")
        if page:
            (out / week / "index.html").write_text(page, encoding="utf-8")
    (out / "notes.pdf").write_bytes(b"%PDF-1.4 of somebody else")
    found = forget("7", out)
    assert (out / "notes.pdf").exists()
    assert not (out / "2026-W45" / "index.pdf").exists()
    assert "its page named the customer" in found.removed["2026-W45/index.pdf"]
    assert (out / "2026-W46" / "index.pdf").exists()


def test_what_lies_about_in_the_folder_is_searched_too(out: Path):
    name = Pseudonyms(find_key(out)).of(["7"])[0]
    shutil.copy2(out / NAME, out / "ledger.replaced.duckdb")
    (out / "ledger.broken.duckdb").write_text(f"half a ledger {name}", encoding="utf-8")
    for left in (".staging-2026-W44-abc", ".old-2026-W46-12"):  # of runs that were killed
        (out / left).mkdir()
        (out / left / "index.html").write_text(name, encoding="utf-8")
    (out / "2026-W46" / "tables" / ".list.csv.123.part").write_text(name, encoding="utf-8")  # of a forget
    found = forget("7", out)
    assert found.entries == {NAME: 2, "ledger.replaced.duckdb": 2}
    assert "cannot be searched" in found.removed["ledger.broken.duckdb"]
    assert not any(name.encode() in text for text in content(out).values())
    assert not [*out.glob(".staging-*"), *out.glob(".old-*"), *out.rglob("*.part")]
    with duckdb.connect(out / "ledger.replaced.duckdb", read_only=True) as ledger:
        texts = " ".join(text for (text,) in ledger.execute("SELECT content FROM entries").fetchall())
    assert FORGOTTEN in texts
    assert name not in texts


def test_the_command(out: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["forget", "7", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "2026-W46/tables/01_a/best.csv: 1 row removed" in said.out
    assert "the customer is in none of them" in said.out
    assert "own data are not touched" in said.err
    assert main(["forget", "7", "--out", str(out / "nowhere")]) == 2
    with pytest.raises(ParameterError):
        forget(" ", out)
