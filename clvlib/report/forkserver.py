"""A process with all imports behind it that forks into a kernel whenever it is asked to.

It runs as ``python -m clvlib.report.forkserver FD``, where FD is one end of a socket of packets. Each request is a JSON
object with the kernel's ``arguments``, ``env`` and ``cwd``; the answer is its process id, with a descriptor of the
process (pidfd), so that whoever asked can wait for it and kill it without ever meeting another process of that number.
When the other end is closed the server ends, and its kernels notice within a second that their parent is gone.

A fork copies the calling thread alone, so nothing here starts one: imports, and no connections, pictures or kernels.
Libraries that bring threads of their own into being on import are told not to by :data:`SINGLE`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import socket
import sys
from typing import Any, Final, NoReturn

__all__ = ["LONGEST", "SINGLE", "serve"]

LONGEST: Final = 1 << 17  # bytes of a request
# linear algebra of OpenBLAS, and the allocator of Arrow; a report's matrices are small, its notebooks run side by side
SINGLE: Final = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
_PACKAGES = ("clvlib.stats", "clvlib.data", "clvlib.audience", "clvlib.funnel", "clvlib.clv", "clvlib.abtest")
_MODULES = (
    "ipykernel.debugger", "clvlib.report.kernelapp", "clvlib.report.chapter", "matplotlib.backends.backend_agg",
    "matplotlib.pyplot", "pandas.io.formats.style", "pyarrow.parquet", "scipy.signal", "scipy.stats", "seaborn",
    "statsmodels.api",
)  # fmt: skip


def _preload() -> None:
    for package in _PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            _import(module.name)
    for name in _MODULES:
        _import(name)
    from PIL import Image

    Image.preinit()


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
    while request := channel.recv(LONGEST):
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


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
