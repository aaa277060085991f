"""How the kernels of the notebooks come to life: each a process of its own, warm where the system can fork."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import zmq
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from clvlib.data.engine import THREADS
from clvlib.report import forkserver

__all__ = ["Kernel", "warm_kernels"]

_QUIET = {"PYTHONWARNINGS": "ignore", "PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONHASHSEED": "0", **forkserver.SINGLE}
_COMMAND = [sys.executable, "-P", "-m", "clvlib.report.kernelapp"]
_INLINE = "module://matplotlib_inline.backend_inline"  # as a kernel sets it by itself, though too late for a warm one
_READY = 60.0  # seconds for a server to have its imports behind it


def _environment() -> dict[str, str]:
    # several threads add up in an order that differs from run to run, and those of two kernels wait for one another
    single = dict.fromkeys((THREADS, "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {"MPLBACKEND": _INLINE, **single, **os.environ, **_QUIET}


class Kernel(AsyncKernelManager):
    """A kernel of this very interpreter, whatever kernels and start-up files the user has installed.

    It talks through files in a folder of its own: parallel kernels that pick free ports race for them. It has no
    history and no start-up files, so that a report depends on its inputs alone.
    """

    live: ClassVar[WeakSet[Kernel]] = WeakSet()
    server: ClassVar[_Server | None] = None
    stopped: ClassVar[bool] = False

    def __init__(self, **kwargs: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clv-")  # short: names of sockets end at some 100 letters
        super().__init__(transport="ipc", connection_file=str(Path(self._folder.name) / "k.json"), **kwargs)
        self.context.setsockopt(zmq.RCVHWM, 0)  # no output is lost, however much comes at once

    @property
    def kernel_spec(self) -> KernelSpec:
        """What is started."""
        argv = [*_COMMAND, "-f", "{connection_file}", "--HistoryManager.enabled=False"]
        return KernelSpec(argv=argv, language="python", display_name="Python 3")

    async def start_kernel(self, **kwargs: Any) -> None:  # type: ignore[override]
        """Start it in a quiet environment."""
        kwargs["env"] = {**_environment(), "IPYTHONDIR": self._folder.name}
        self.provisioner = _Provisioner(parent=self, kernel_spec=self.kernel_spec)
        self.live.add(self)
        await super().start_kernel(**kwargs)
        if self.stopped:
            self.kill_all()

    async def cleanup_resources(self, restart: bool = False) -> None:  # type: ignore[override] # noqa: FBT001, FBT002
        """Remove its files once it has ended."""
        await super().cleanup_resources(restart=restart)
        if not restart:
            self.live.discard(self)
            self._folder.cleanup()

    @classmethod
    def kill_all(cls) -> None:
        """Kill every kernel of this class, those about to start too; who waits for one notices within a second."""
        cls.stopped = True
        for kernel in [kernel for kernel in cls.live if isinstance(kernel, cls)]:
            process = getattr(kernel.provisioner, "process", None)
            if process is not None and process.poll() is None:
                process.kill()


@contextmanager
def warm_kernels() -> Iterator[type[Kernel]]:
    """Give a class of kernels for a ``with`` block: forks of a process that has the imports behind it.

    The process begins to import at once, in the background. Where the system cannot fork safely (macOS), and where the
    process has died, kernels are started one by one.
    """
    with ExitStack() as stack:
        server = stack.enter_context(closing(_Server())) if hasattr(os, "pidfd_open") else None
        yield type("RunKernel", (Kernel,), {"server": server})


class _Server:
    """Our end of a fork server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(_READY)
        command = [sys.executable, "-P", "-m", forkserver.__name__, str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of ours
                command,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the run, which ends its kernels in order
            )

    def fork(self, arguments: Sequence[str], env: dict[str, str], cwd: str) -> _Forked | None:
        """Return a new kernel, or None where the server is no more."""
        request = json.dumps({"arguments": arguments, "env": env, "cwd": cwd}).encode()
        if len(request) > forkserver.LONGEST:
            return None
        with self._lock:
            try:
                self._channel.send(request)
                answer, descriptors, _, _ = socket.recv_fds(self._channel, 64, 1)
            except OSError:
                return None
        return _Forked(int(answer), descriptors[0]) if descriptors else None

    def close(self) -> None:
        """End the server, whose kernels have ended or will."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


class _Forked:
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

    def wait(self) -> int:
        self._ended.poll()
        return 1

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Provisioner(LocalProvisioner):
    """Asks the server of its kernel's class for a process, and starts one itself where there is none."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        server: _Server | None = getattr(self.parent, "server", None)
        forked = server and server.fork(cmd[len(_COMMAND) :], kwargs["env"], str(kwargs.get("cwd") or Path.cwd()))
        if not forked:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid = forked, forked.pid, forked.pid  # type: ignore[assignment]
        self.cwd = kwargs.get("cwd", Path.cwd())
        return self.connection_info
