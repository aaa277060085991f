"""The kernel's cost: CPU seconds and memory for four steps within seven days, re-entry and all.

Ten million events take ``CLVLIB_BENCHMARK_EVENTS=10000000 pytest tests/benchmarks/test_funnel_kernel.py -s``.
"""

from __future__ import annotations

import os
import subprocess
import sys

import duckdb
import pytest

EVENTS = int(os.environ.get("CLVLIB_BENCHMARK_EVENTS", "1000000"))

MEASURE = """
import pathlib, re, resource, sys
import clvlib.funnel.kernel
from clvlib.data.engine import DuckDBEngine, Table
usage = lambda: resource.getrusage(resource.RUSAGE_SELF)
engine = DuckDBEngine()
table = Table(engine, "events", f"'{sys.argv[1]}'", ("person_id", "occurred_at", "event", "platform"))
engine.query(f"SELECT COUNT(*) FROM {table.relation}")
before = usage()
found = clvlib.funnel.kernel.funnel(table, ["exposure", "click", "cart", "order"], "7D", **eval(sys.argv[2]))
after = usage()
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print()
peak = after.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
status = pathlib.Path("/proc/self/status")
if status.exists():  # ru_maxrss also counts the process that started this one
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) / 1e3
print(cpu, peak, *found.total["people"])
"""


@pytest.fixture(scope="module")
def events(tmp_path_factory):
    """A tenth as many people as events, over four weeks, ids as text."""
    path = tmp_path_factory.mktemp("funnel") / "events.parquet"
    duckdb.sql(
        f"""COPY (SELECT printf('C%09d', hash(i) % ({EVENTS} // 10)) AS person_id,
                   CASE WHEN r < 550 THEN 'exposure' WHEN r < 820 THEN 'click' WHEN r < 940 THEN 'cart' ELSE 'order' END
                       AS event,
                   TIMESTAMP '2026-10-01' + to_seconds((hash(i + 1000000007) % 2419200)::BIGINT) AS occurred_at,
                   ['douyin', 'kuaishou', 'taobao'][1 + (hash(i) % 3)::INTEGER] AS platform
            FROM (SELECT i, hash(i + 2000000011) % 1000 AS r FROM range({EVENTS}) AS x(i)))
            TO '{path}' (FORMAT parquet)"""
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", ["{}", "{'as_of': '2026-10-21'}", "{'by': 'platform'}", "{'order': 'strict'}", "{'order': 'any'}"]
)
def test_cost_per_million_events(events, arguments):
    """Issue 5 asks for 0.3 CPU s a million; twice that is allowed here, since test machines are shared."""
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(events), arguments], capture_output=True, text=True, check=True
    )
    cpu, megabytes, *people = map(float, run.stdout.splitlines()[-1].split())
    print(f"\n{EVENTS:,} events {arguments}: {cpu:.2f} CPU s, {megabytes:,.0f} MB, people {people}")  # noqa: T201 - the measurement
    assert cpu < 0.6 * EVENTS / 1e6 + 0.5
    assert megabytes < min(400 + 60 * EVENTS / 1e6, 2_500)  # whatever the number of events
    assert people == sorted(people, reverse=True)
