"""One notebook, executed by papermill's engine in a kernel of its own, with a time limit, and never in place."""

from __future__ import annotations

import asyncio
import copy
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jupyter_core.utils import ensure_event_loop
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from papermill.engines import papermill_engines

import clvlib.errors
from clvlib.report.kernel import Kernel
from clvlib.report.parameters import Notebook, literal

__all__ = ["Execution", "execute", "inject"]

logging.getLogger("papermill").addHandler(logging.NullHandler())  # what went wrong is told in the result
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LINE, _TRACE = 500, 20_000  # letters of an error


@dataclass(frozen=True)
class Execution:
    """How one notebook went.

    Attributes
    ----------
    name : str
        Of the notebook.
    node : nbformat.NotebookNode
        The executed notebook, as far as it came.
    error : str
        In one line; empty where all went well.
    traceback : str
        Plain text behind the error.
    seconds : float
        How long it took.
    """

    name: str
    node: NotebookNode
    error: str
    traceback: str
    seconds: float


def inject(notebook: Notebook, values: Mapping[str, Any]) -> NotebookNode:
    """Return a copy without outputs, with the values as literals in a cell behind the declared parameters."""
    node = copy.deepcopy(notebook.node)
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    node.cells = [c for c in node.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    lines = [f"{name}: {notebook.parameters[name].annotation} = {literal(value)}" for name, value in values.items()]
    cell = new_code_cell("\n".join(["# Parameters", *lines]), id="injected", metadata={"tags": ["injected-parameters"]})
    place = next(i for i, c in enumerate(node.cells) if "parameters" in c.metadata.get("tags", []))
    node.cells.insert(place + 1, cell)
    node.metadata["papermill"] = {}
    return node


def execute(
    notebook: Notebook,
    values: Mapping[str, Any],
    timeout: float,
    start_timeout: float = 60,
    kernel: type[Kernel] = Kernel,
) -> Execution:
    """Execute a notebook; whatever happens to it is told in the result, never raised.

    Parameters
    ----------
    notebook : Notebook
        What to run, in its own folder; the file is not touched.
    values : mapping
        Checked parameters.
    timeout, start_timeout : float
        Seconds for all of its cells together, and for its kernel to answer.
    kernel : type of Kernel
        What kernels are made by, such as :func:`clvlib.report.kernel.forks_of` gives.

    Returns
    -------
    Execution
    """
    node = inject(notebook, values)
    started = time.monotonic()
    problem, trace = "", ""
    loop = ensure_event_loop()  # the one that nbclient will use in this thread, and leave open
    try:
        papermill_engines.execute_notebook_with_engine(
            None,
            node,
            kernel_name="python3",
            progress_bar=False,
            autosave_cell_every=0,
            start_timeout=start_timeout,
            iopub_timeout=60,  # seconds for output to arrive that was sent: a busy machine takes its time
            kernel_manager_class=kernel,
            shutdown_kernel="immediate",
            record_timing=False,
            timeout_func=lambda _: max(0.05, timeout - (time.monotonic() - started)),
            resources={"metadata": {"path": str(notebook.path.resolve().parent)}},
        )
    except Exception as error:  # noqa: BLE001 - a kernel can die of anything; one chapter must not take the others along
        problem, trace = _fault(error, timeout, time.monotonic() - started)
    finally:
        _ended(loop)
    failed = _failed_cell(node)
    if failed:
        problem, trace = failed
    problem, trace = _cut(problem, _LINE), _cut(trace, _TRACE)
    return Execution(notebook.name, _settled(node), problem, trace, time.monotonic() - started)


def _ended(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop after all that still waits in it, as for the output of a notebook that was stopped."""
    waiting = asyncio.all_tasks(loop)
    for task in waiting:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
    loop.close()
    asyncio.set_event_loop(None)


def _cut(text: str, longest: int) -> str:
    """Keep both ends of a text: the last lines of a traceback say what went wrong."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[-half:]}"


def _fault(error: Exception, timeout: float, seconds: float) -> tuple[str, str]:
    kind = type(error).__name__
    text = _ANSI.sub("", str(error)).strip()
    if kind == "CellTimeoutError":
        over = seconds >= timeout - 0.5
        return (f"it was stopped after {timeout:g} seconds" if over else "its kernel no longer answered"), text
    if kind == "DeadKernelError":
        return "its kernel died (out of memory, or killed from outside)", text
    return f"{kind}: {text.splitlines()[0] if text else 'no message'}", text


def _failed_cell(node: NotebookNode) -> tuple[str, str] | None:
    for cell in node.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                first = (_ANSI.sub("", output.evalue).strip() or "no message").splitlines()[0]
                ours = output.ename in clvlib.errors.__all__
                trace = _ANSI.sub("", "\n".join(output.traceback))
                return (first if ours else f"{output.ename}: {first}"), trace
    return None


def _settled(node: NotebookNode) -> NotebookNode:
    """Drop when each cell ran, so that the same inputs give the same bytes, and what is too much of an error."""
    node.metadata.pop("papermill", None)
    for cell in node.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.evalue = _cut(output.evalue, _TRACE)
                output.traceback = [_cut(line, _TRACE) for line in output.traceback]
    return node
