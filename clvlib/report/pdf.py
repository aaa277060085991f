"""The report on paper: a browser that is on the machine prints the page; nothing of the page leaves the machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from clvlib.errors import ReportError

__all__ = ["browser", "flags", "write_pdf"]

VARIABLE = "CLVLIB_BROWSER"
TIMEOUT = 120.0  # seconds; a page of two megabytes takes two or three
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge", "msedge")
_PRINT = ("--no-pdf-header-footer", "--generate-pdf-document-outline")
_MAC = "/Applications/{0}.app/Contents/MacOS/{0}"
_APPLICATIONS = tuple(_MAC.format(name) for name in ("Google Chrome", "Chromium", "Microsoft Edge"))


def browser(named: str = "") -> str:
    """Find Chromium, Chrome or Edge.

    Parameters
    ----------
    named : str
        A program or its path, which comes first; then what the environment variable ``CLVLIB_BROWSER`` names; then
        the usual names.

    Returns
    -------
    str
        Path of the program.

    Raises
    ------
    ReportError
        There is none, or what is named is none.
    """
    wanted = named or os.environ.get(VARIABLE, "")
    for name in (wanted,) if wanted else (*_NAMES, *_APPLICATIONS):
        if found := shutil.which(name):
            return found
    if wanted:
        raise ReportError(f"{wanted} is no program that can be started; name a Chromium, Chrome or Edge")
    raise ReportError(f"no Chromium, Chrome or Edge was found to make the PDF; install one, or name it in {VARIABLE}")


def flags(profile: Path) -> list[str]:
    """Return the options with which a browser works unseen, without the network, and leaves nothing behind.

    Parameters
    ----------
    profile : pathlib.Path
        An empty folder for what it keeps while it works.
    """
    return [
        "--headless",
        "--disable-gpu",
        "--disable-dev-shm-usage",  # a container may give it 64 MB
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND",  # the page asks for nothing; the browser itself shall not either
        f"--user-data-dir={profile}",
        *(["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []),  # it refuses to start otherwise
    ]


def write_pdf(page: Path, file: Path, program: str, timeout: float = TIMEOUT) -> None:
    """Print a page to a PDF file, on A4.

    Parameters
    ----------
    page : pathlib.Path
        HTML.
    file : pathlib.Path
        What to write; it is there afterwards, whole, or not at all.
    program : str
        What :func:`browser` found.
    timeout : float
        Seconds.

    Raises
    ------
    ReportError
        The browser could not, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="clvlib-", ignore_cleanup_errors=True) as scratch:
        printed = Path(scratch) / "page.pdf"
        command = [program, *flags(Path(scratch) / "profile"), *_PRINT, f"--print-to-pdf={printed}"]
        said = _run([*command, page.resolve().as_uri()], timeout)
        if not printed.is_file() or not printed.read_bytes().startswith(b"%PDF-"):
            raise ReportError(f"{program} wrote no PDF{f': {said}' if said else ''}")
        shutil.copyfile(printed, file)


def _run(command: list[str], timeout: float) -> str:
    """Run a program with all that it starts, and return the last line that it said."""
    try:
        process = subprocess.Popen(  # noqa: S603 - a program that the user named or installed, and no shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise ReportError(f"{command[0]} cannot be started: {error.strerror or error}") from error
    try:
        said = process.communicate(timeout=timeout)[1]
    except subprocess.TimeoutExpired as error:
        raise ReportError(f"{command[0]} had not printed the page after {timeout:g} s") from error
    finally:
        if process.poll() is None:  # too late, or we were stopped
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return (said.strip().splitlines() or [""])[-1]
