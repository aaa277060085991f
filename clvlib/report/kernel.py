"""How the kernels of the notebooks come to life: each a process of its own, warm where the system can fork."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty
from typing import Any, ClassVar
from weakref import WeakSet

import zmq
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Type

from clvlib.data.engine import THREADS
from clvlib.report.forkserver import Forked, Server, environment

__all__ = ["Kernel", "forks_of"]

_LONGEST = 90  # letters of a folder in which sockets fit: their names end at 103 on macOS, at 107 on Linux
_COMMAND = [sys.executable, "-P", "-m", "clvlib.report.kernelapp"]


class Client(AsyncKernelClient):
    """Talks to a kernel as soon as it answers.

    Jupyter's own client then listens for a fifth of a second to what was said before, which is nobody's answer.
    """

    async def wait_for_ready(self, timeout: float = math.inf) -> None:  # type: ignore[override]
        """Return once the kernel is heard on both of its channels.

        Raises
        ------
        RuntimeError
            It has died, or the time is over.
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            self.kernel_info()
            with suppress(Empty):
                reply = await self.shell_channel.get_msg(timeout=1)
                await self.iopub_channel.get_msg(timeout=0.2)
                self._handle_kernel_info_reply(reply)
                return
            if not await self._async_is_alive():
                raise RuntimeError("Kernel died before replying to kernel_info")
        raise RuntimeError(f"Kernel didn't respond in {timeout:g} seconds")


class Kernel(AsyncKernelManager):
    """A kernel of this very interpreter, whatever kernels and start-up files the user has installed.

    It talks through files in a folder of its own: parallel kernels that pick free ports race for them. It has no
    history and no start-up files, so that a report depends on its inputs alone.
    """

    client_factory = Type(klass="clvlib.report.kernel.Client", config=True)
    live: ClassVar[WeakSet[Kernel]] = WeakSet()
    server: ClassVar[Server | None] = None
    scratch: ClassVar[Path | None] = None
    stopped: ClassVar[bool] = False

    def __init__(self, **kwargs: Any) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="clv-", dir=self.scratch, ignore_cleanup_errors=True)
        self._sockets = self._folder
        if len(os.fsencode(self._folder.name)) > _LONGEST:
            self._sockets = tempfile.TemporaryDirectory(prefix="clv-", dir="/tmp", ignore_cleanup_errors=True)
        super().__init__(transport="ipc", connection_file=str(Path(self._sockets.name) / "k.json"), **kwargs)
        self.context.setsockopt(zmq.RCVHWM, 0)  # no output is lost, however much comes at once
        self.context.setsockopt(zmq.RECONNECT_IVL, 10)  # milliseconds, until the kernel has made its files

    @property
    def kernel_spec(self) -> KernelSpec:
        """What is started."""
        argv = [*_COMMAND, "-f", "{connection_file}", "--HistoryManager.enabled=False"]
        return KernelSpec(argv=argv, language="python", display_name="Python 3")

    async def start_kernel(self, **kwargs: Any) -> None:  # type: ignore[override]
        """Start it in a quiet environment."""
        kwargs["env"] = {THREADS: "1", **environment(), "IPYTHONDIR": self._folder.name, "TMPDIR": self._folder.name}
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
            self._sockets.cleanup()

    @classmethod
    def kill_all(cls) -> None:
        """Kill every kernel of this class, those about to start too; who waits for one notices within a second."""
        cls.stopped = True
        for kernel in [kernel for kernel in cls.live if isinstance(kernel, cls)]:
            process = getattr(kernel.provisioner, "process", None)
            if process is not None and process.poll() is None:
                process.kill()


def forks_of(server: Server | None, scratch: Path | None = None) -> type[Kernel]:
    """Return a class of kernels that are forks of a process which has the imports behind it.

    Without a server, and where it has died, they are started one by one. All that they put aside lies in a folder of
    their own, inside ``scratch`` where it is given, and goes with them: they are killed, and cannot clean up.
    """
    return type("RunKernel", (Kernel,), {"server": server, "scratch": scratch})


class _Provisioner(LocalProvisioner):
    """Asks the server of its kernel's class for a process, and starts one itself where there is none."""

    async def kill(self, restart: bool = False) -> None:  # noqa: FBT001, FBT002
        """Kill it, and wait for its end, which otherwise is looked for every tenth of a second."""
        await super().kill(restart=restart)
        process: Any = self.process  # declared as a Popen
        if isinstance(process, Forked):
            process.wait(1)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        server: Server | None = getattr(self.parent, "server", None)
        forked = server and server.fork(cmd[len(_COMMAND) :], kwargs["env"], str(kwargs.get("cwd") or Path.cwd()))
        if not forked:
            return await super().launch_kernel(cmd, **kwargs)
        self.process, self.pid, self.pgid = forked, forked.pid, forked.pid  # type: ignore[assignment]
        self.cwd = kwargs.get("cwd", Path.cwd())
        return self.connection_info
