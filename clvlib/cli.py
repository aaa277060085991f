"""The command ``clvlib``: report, check, score, sample, diff, ledger, forget.

Exit status: 0 all is well; 1 the work was done and something in it is not (a failed chapter, rows that break the
contract); 2 it could not be done, for the reason that one line on standard error states; 130 it was told to stop, by
Ctrl-C, SIGTERM or SIGHUP.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

import clvlib as clv
from clvlib.errors import ClvError, ConvergenceWarning, ParameterError, ThinDataWarning

__all__ = ["main"]

_STOPS: Final = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
_PATIENCE: Final = 10.0  # seconds in which a run that was told to stop cleans up


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    return name, value


def _report(args: argparse.Namespace) -> int:
    from clvlib.report.runner import run_weeks

    names = [name for text in args.notebooks for name in text.split(",") if name]
    worst = 0
    reports = run_weeks(
        args.source,
        [args.weeks or args.week],
        args.out,
        mapping=args.mapping,
        notebooks=names,
        parameters=dict(args.parameter),
        jobs=args.jobs,
        timeout=args.timeout,
        resume=args.resume,
        pdf=args.pdf,
        languages=list(dict.fromkeys(code for code in args.lang.split(",") if code)),
        tell=_say,
    )
    for report in reports:
        worst = max(worst, report.exit_code)
        failed = report.table[report.table["status"] == "failed"]
        for row in failed.itertuples():
            _say(f"clvlib: {row.chapter} failed: {row.error}")
        if report.exit_code == 2:
            _say(f"clvlib: no chapter succeeded; nothing was published, see {_near(report.folder)}")
        else:
            _say(_near(report.folder / "index.html"), sys.stdout)
    return worst


def _say(line: str, stream: TextIO | None = None) -> None:
    """Write a line, to the log where no stream is named.

    What nobody takes, as on a full disk, in a closed terminal or by a program that has ended, costs no report.
    """
    to = stream or sys.stderr
    try:
        print(line, file=to, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), to.fileno())


def _near(path: Path) -> str:
    """Return a path as seen from here where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def _check(args: argparse.Namespace) -> int:
    from clvlib.report.form import frame_cells, text_table

    shop = clv.connect(args.source, mapping=args.mapping)
    try:
        quality = shop.quality()
        first, last = shop.date_range
        print(f"{shop.name}: orders from {first} to {last}\n")
    finally:
        shop.close()
    empty = [c for c in quality.table.columns if c != "table" and quality.table[c].isna().all()]
    exact = {column: ",.2f" for column in quality.table.columns if column.startswith("amount")}
    heads, cells, numeric = frame_cells(quality.table.drop(columns=empty), exact, "")
    print(text_table(heads, cells, numeric))
    for line in [*quality.notes, *quality.sentences()]:
        print(f"\n{line}")
    print("\nThe contract is kept." if quality.ok else "\nThe contract is broken: see above.")
    return 0 if quality.ok else 1


def _score(args: argparse.Namespace) -> int:
    from clvlib.report.score import score
    from clvlib.report.tables import csv_text, write_table

    if args.out and args.out.suffix not in {".csv", ".parquet"}:
        raise ParameterError(f"--out {args.out}: its name must end in .csv or .parquet")
    shop = clv.connect(args.source, mapping=args.mapping)
    try:
        scored = score(shop, args.as_of or None, args.horizon, args.interval)
    finally:
        shop.close()
    if args.out:
        write_table(scored, args.out, mode=0o600)  # it names customers: for its owner alone
        print(f"{len(scored):,} customers in {args.out}", file=sys.stderr)
    else:
        sys.stdout.write(csv_text(scored))
    return 0


def _sample(args: argparse.Namespace) -> int:
    from clvlib.data.sample import write_sample

    write_sample(args.folder, customers=args.customers, weeks=args.weeks, seed=args.seed)
    print(f"a sample shop of {args.customers:,} customers and {args.weeks} weeks lies in {args.folder}")
    return 0


def _diff(args: argparse.Namespace) -> int:
    from clvlib.report.diff import difference
    from clvlib.report.ledger import current

    if not args.out.is_dir():
        raise ParameterError(f"{args.out}: no reports lie here")
    ledger = current(args.out, lambda line: print(line, file=sys.stderr))
    print(difference(ledger, args.earlier, args.later, args.shop).text)
    return 0


def _ledger(args: argparse.Namespace) -> int:
    from clvlib.report.ledger import backup, restore

    action = backup if args.action == "backup" else restore
    action(args.out, args.file, lambda line: print(line, file=sys.stderr))
    print(
        f"the ledger of {_near(args.out)} {'is backed up in' if action is backup else 'was restored from'} {args.file}"
    )
    return 0


def _forget(args: argparse.Namespace) -> int:
    from clvlib.report.forget import forget

    print(forget(args.customer, args.out, lambda line: print(line, file=sys.stderr)).text)
    print(
        "the shop's own data are not touched; remove the customer there before the next report",
        file=sys.stderr,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clvlib", description="Customer value for teams that sell by livestream.")
    parser.add_argument("--version", action="version", version=f"clvlib {clv.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, does: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(does=does)
        return made

    report = command("report", _report, "run the notebooks on a week and publish the report")
    _report_options(report)
    check = command("check", _check, "say what is wrong with the data; exit status 1 where the contract is broken")
    check.add_argument("source")

    scoring = command("score", _score, "write one row per customer: segment, P(alive), expected purchases, value")
    scoring.add_argument("source")
    scoring.add_argument("--out", type=Path, help="a .csv or .parquet file; default: CSV on standard output")
    scoring.add_argument("--as-of", default="", help="last day that is looked at; default: that of the data")
    scoring.add_argument("--horizon", type=float, default=52, help="weeks ahead (default: %(default)s)")
    scoring.add_argument("--interval", type=float, default=0.9, help="level of the intervals (default: %(default)s)")

    for reads in (report, check, scoring):
        reads.add_argument("--mapping", metavar="TOML", help="how to read the source: a file, or a name that ships")

    sample = command("sample", _sample, "make a sample shop, with its true parameters written beside it")
    sample.add_argument("folder", type=Path)
    sample.add_argument("--customers", type=int, default=3000, help="(default: %(default)s)")
    sample.add_argument("--weeks", type=int, default=40, help="(default: %(default)s)")
    sample.add_argument("--seed", type=int, default=53, help="(default: %(default)s)")

    diff = command("diff", _diff, "explain how the figures of two weeks differ: data, code, parameters or the business")
    diff.add_argument("earlier", metavar="WEEK", help="such as 2026-W45, or W45")
    diff.add_argument("later", metavar="WEEK")
    diff.add_argument("--out", type=Path, default=Path("reports"), help="folder of the reports (default: %(default)s)")
    diff.add_argument("--shop", default="", help="its name, where several share the folder")

    forgetting = command("forget", _forget, "remove a customer from all that reports stored, and prove it")
    forgetting.add_argument("customer", help="the customer's id in the shop")
    forgetting.add_argument(
        "--out", type=Path, default=Path("reports"), help="folder of the reports (default: %(default)s)"
    )

    ledger = command("ledger", _ledger, "back up, or restore, what the reports remember")
    ledger.add_argument("action", choices=["backup", "restore"])
    ledger.add_argument("file", type=Path)
    ledger.add_argument(
        "--out", type=Path, default=Path("reports"), help="folder of the reports (default: %(default)s)"
    )
    return parser


def _report_options(report: argparse.ArgumentParser) -> None:
    report.add_argument("--source", default="data/sample", help="folder, .duckdb file, clvlib.toml or data set's name")
    span = report.add_mutually_exclusive_group()
    span.add_argument("--week", default="", help="ISO week such as 2026-W46; default: the last complete one")
    span.add_argument(
        "--weeks", default="", metavar="FIRST..LAST", help="several, such as 2026-W20..2026-W46 or W20..W46"
    )
    report.add_argument("--out", default="reports", help="folder of the reports (default: %(default)s)")
    report.add_argument(
        "--lang", default="", metavar="en|zh|en,zh",
        help="language of the report, or several: the first at the top, others in a folder; default: the shop's own",
    )  # fmt: skip
    report.add_argument("--notebooks", action="append", default=[], metavar="01,03", help="only these")
    report.add_argument("--jobs", type=int, default=2, help="notebooks that run at a time (default: %(default)s)")
    report.add_argument("--timeout", type=float, default=1800, metavar="S", help="seconds per notebook")
    report.add_argument("--resume", action="store_true", help="run only what failed, or has changed since")
    report.add_argument(
        "--pdf", nargs="?", const=True, default=False, metavar="BROWSER",
        help="write index.pdf too, by this browser; default: $CLVLIB_BROWSER, or a Chromium, Chrome or Edge",
    )  # fmt: skip
    report.add_argument(
        "-p", "--parameter", type=_pair, action="append", default=[], metavar="NAME=VALUE",
        help="a parameter of the notebooks, or of one: 03_clv.horizon=26",
    )  # fmt: skip


def _note(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"note: {message}", file=sys.stderr)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C, a scheduler's stop and a terminal that closes end a ``with`` block in order.

    It cleans up, which who asks again within some seconds does not interrupt. A signal that is ignored, as under nohup,
    stays so.
    """
    asked: list[float] = []

    def stop(*_: Any) -> None:
        now = time.monotonic()
        if not asked or now > asked[-1] + _PATIENCE:
            asked.append(now)
            raise KeyboardInterrupt

    known = [number for number in _STOPS if signal.getsignal(number) not in {None, signal.SIG_IGN}]
    before = {number: signal.signal(number, stop) for number in known}
    try:
        yield
    except Exception as error:
        if asked:  # in DuckDB an interrupt is a RuntimeError
            raise KeyboardInterrupt from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _why(error: Exception) -> str:
    """Return what an operator is told in one line; what nobody foresaw shows its traceback before it."""
    match error:
        case ClvError():
            return str(error).splitlines()[0]
        case ModuleNotFoundError(name=str(name)) if name.partition(".")[0] != "clvlib":
            return f"{name} is not installed, and reports need it: pip install 'clvlib-livestream[report]'"
        case OSError():
            return f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}; this is a fault of clvlib"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; default: those of the process.

    Returns
    -------
    int
        The exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a shop's Chinese name must not end a run on an ASCII log
    args = _parser().parse_args(arguments)
    try:
        with _stoppable(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for ours in (ThinDataWarning, ConvergenceWarning):
                warnings.simplefilter("default", ours)
            warnings.showwarning = _note
            status = int(args.does(args))
            sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        _say("clvlib: stopped; what was published before stands")
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - status 1, Python's own, would say that a report was published
        _say(f"clvlib: {_why(error)}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
