"""What a shop puts aside on disk goes with whoever works with it, however that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import clvlib as clv
from clvlib.data.scratch import Scratch

OPENS = """import os, signal, sys
import clvlib as clv
shop = clv.connect(sys.argv[1])
print(flush=True)
{end}"""


def _shop(folder: Path) -> Path:
    folder.mkdir()
    text = "customer_id,ordered_at,amount\n李,2026-01-05,5\n王,2026-01-06,7\n"
    (folder / "orders.csv").write_bytes(text.encode("gb18030"))
    (folder / "clvlib.toml").write_text('[tables.orders]\nencoding = "gb18030"\n', encoding="utf-8")
    return folder


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(3)"])
def test_a_copy_of_the_orders_goes_with_its_process_or_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
):
    (aside := tmp_path / "aside").mkdir()
    shop = _shop(tmp_path / "shop")
    monkeypatch.setenv("TMPDIR", str(aside))
    monkeypatch.setattr(tempfile, "tempdir", None)
    done = subprocess.run([sys.executable, "-c", OPENS.format(end=end), str(shop)], check=False, capture_output=True)
    killed = done.returncode == -signal.SIGKILL
    assert killed or done.returncode == 3, done.stderr
    assert len(list(aside.glob("*/*.csv"))) == killed  # decoded, for DuckDB to read
    ours = Scratch()
    assert list(aside.iterdir()) == [ours.path]
    with_own = clv.connect(shop)
    assert ours.path.exists()  # which is in use
    ours.close()
    with_own.close()
    assert not list(aside.iterdir())


FULL = """import resource, signal, sys
import clvlib as clv
from clvlib.errors import EngineError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    clv.connect(sys.argv[1], store=sys.argv[2])
except EngineError as error:
    print(error)"""


def test_a_disk_that_fills_up_while_tables_are_written(tmp_path: Path):
    store = tmp_path / "kept" / "shop.duckdb"
    store.parent.mkdir()
    command = [sys.executable, "-c", FULL, str(_shop(tmp_path / "shop")), str(store)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout, done.stderr
    assert "File too large" in done.stdout
    assert not list(store.parent.iterdir())
