"""A process with all imports behind it that forks into a kernel whenever it is asked to.

It runs as ``python -m clvlib.report.forkserver FD``, where FD is one end of a socket of packets. Each request is a JSON
object with the kernel's ``arguments``, ``env`` and ``cwd``; the answer is its process id, with a descriptor of the
process (pidfd), so that whoever asked can wait for it and kill it without ever meeting another process of that number.
When the other end is closed the server ends, and its kernels notice within a second that their parent is gone.

A fork copies the calling thread alone, so nothing here starts one: imports, and no connections, pictures or kernels.
Libraries that bring threads of their own into being on import are told not to by :func:`environment`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

__all__ = ["Forked", "Server", "environment", "serve", "started"]

_LONGEST: Final = 1 << 17  # bytes of a request
_READY = 60.0  # seconds for a server to have its imports behind it
_INLINE = "module://matplotlib_inline.backend_inline"  # as a kernel sets it by itself, though too late for a warm one
# linear algebra of OpenBLAS, and the allocator of Arrow; a report's matrices are small, its notebooks run side by side
_SINGLE: Final = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
_QUIET: Final = {"PYTHONWARNINGS": "ignore", "PYTHONHASHSEED": "0"}
_PACKAGES = ("clvlib.stats", "clvlib.data", "clvlib.audience", "clvlib.funnel", "clvlib.clv", "clvlib.abtest")
# what notebooks need beside them; our functions import most of it where they use it, as other callers need not wait
_MODULES = (
    "clvlib.report.canvas", "clvlib.report.chapter", "clvlib.report.kernelapp", "clvlib.report.panel",
    "matplotlib.pyplot", "pyarrow.parquet", "scipy.stats", "seaborn", "sklearn.feature_extraction.text",
    "sklearn.linear_model", "sklearn.model_selection", "statsmodels.genmod.families",
    "statsmodels.genmod.generalized_linear_model", "statsmodels.tsa.holtwinters", "statsmodels.tsa.seasonal",
)  # fmt: skip


def _preload() -> None:
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            _import(module.name)
    for name in _MODULES:
        _import(name)
    import pandas as pd
    from PIL import Image

    Image.preinit()
    # frames of a report are small: Arrow's texts cost them a tenth of their time, and pay from 100,000s of rows on
    pd.set_option("mode.string_storage", "python")


def _import(name: str) -> None:
    """Import what is there; a notebook that needs what is not says so itself."""
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def serve(channel: socket.socket) -> None:
    """Answer requests until the other end is closed."""
    gc.disable()  # imports leave next to no garbage, and looking for it takes a tenth of their time
    _preload()
    gc.enable()
    gc.collect()
    gc.freeze()  # what lives now is not looked at by later collections, which would copy its memory
    while request := channel.recv(_LONGEST):
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # kernels that have ended
                pass
        parent, child = os.getpid(), os.fork()
        if not child:
            channel.close()
            _become_kernel(json.loads(request), parent)
        descriptor = os.pidfd_open(child)
        socket.send_fds(channel, [str(child).encode()], [descriptor])
        os.close(descriptor)


def _become_kernel(request: dict[str, Any], parent: int) -> NoReturn:
    status = 1
    try:
        os.setsid()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["env"])
        tempfile.tempdir = None  # where it is may have been asked for before
        import numpy as np

        from clvlib.report.kernelapp import KernelApp

        np.random.seed()  # noqa: NPY002 - kernels that were started one by one do not share the old global state
        KernelApp.launch_instance(argv=[*request["arguments"], f"--IPKernelApp.parent_handle={parent}"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is, the copy must not go on as a server
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


@contextlib.contextmanager
def started(scratch: Path | None = None) -> Iterator[Server | None]:
    """Start a server for a ``with`` block; it begins to import at once, in the background.

    None where the system cannot fork safely (macOS). What libraries put aside on import, as matplotlib does where there
    is no home, lies in ``scratch`` if that is given: the server is killed, and cannot clean up.
    """
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(contextlib.closing(Server(scratch))) if hasattr(os, "pidfd_open") else None


def environment() -> dict[str, str]:
    """Return the environment of kernels, quiet and of one thread.

    Several threads add up in an order that differs from run to run, and those of two kernels wait for one another.
    """
    return {"MPLBACKEND": _INLINE, "OMP_NUM_THREADS": "1", **os.environ, **_QUIET, **_SINGLE}


class Server:
    """Our end of a fork server."""

    def __init__(self, scratch: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_READY)
        command = [sys.executable, "-P", "-m", "clvlib.report.forkserver", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
                command,
                env=environment() | ({"TMPDIR": str(scratch)} if scratch else {}),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the run, which ends its kernels in order
            )

    def fork(self, arguments: Sequence[str], env: dict[str, str], cwd: str) -> Forked | None:
        """Return a new kernel, or None where the server is no more."""
        request = json.dumps({"arguments": arguments, "env": env, "cwd": cwd}).encode()
        if len(request) > _LONGEST:
            return None
        with self._lock:
            try:
                self._channel.send(request)
                answer, descriptors, _, _ = socket.recv_fds(self._channel, 64, 1)
            except OSError:
                return None
        return Forked(int(answer), descriptors[0]) if descriptors else None

    def close(self) -> None:
        """End the server, whose kernels have ended or will."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


class Forked:
    """A kernel that the server made, with as much of :class:`subprocess.Popen` as its manager asks for."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, descriptor: int) -> None:
        self.pid, self._descriptor = pid, descriptor
        weakref.finalize(self, os.close, descriptor)
        self._ended = select.poll()
        self._ended.register(descriptor, select.POLLIN)

    def poll(self) -> int | None:
        """Return None while it runs; how it ended is known to its parent alone."""
        return 1 if self._ended.poll(0) else None

    def wait(self, seconds: float | None = None) -> int:
        """Return once it has ended, or when some seconds have passed."""
        self._ended.poll(None if seconds is None else seconds * 1000)
        return 1

    def send_signal(self, number: int) -> None:
        """Send it a signal, and never another process of its number."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # nobody is left to hear what libraries say of their end
