"""The kernel of a report: IPython's, which forgets what it has shown, and with an end to what it may print."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import zmq
from ipykernel.iostream import OutStream
from ipykernel.kernelapp import IPKernelApp
from traitlets import DottedObjectName

__all__ = ["LONGEST", "BoundedStream", "KernelApp"]

LONGEST: Final = 1_000_000  # letters of a notebook that are kept, of each of its two streams


def _without_debugger() -> None:
    """Let IPython's kernel find no debugger: nobody debugs a report, and half of a kernel's start is to import one."""
    if "debugpy" not in sys.modules:
        sys.modules["debugpy"] = None  # type: ignore[assignment] # as if it were not installed
        importlib.import_module("ipykernel.debugger")
        del sys.modules["debugpy"]


_without_debugger()


class BoundedStream(OutStream):
    """What a notebook prints, up to :data:`LONGEST` letters, whichever way it prints; the rest goes nowhere."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._room = LONGEST
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]

    def write(self, string: str) -> int:
        """Take a text, or what there is room for."""
        with self._buffer_lock:
            room, self._room = self._room, max(self._room - len(string), -1)
        if len(string) > room >= 0:
            super().write(f"{string[:room]}\n… what was printed after {LONGEST:,} letters is left out\n")
        elif room >= 0:
            super().write(string)
        return len(string)


class _Nothing(dict[int, list[Any]]):
    """Takes the place of IPython's memory of all that was ever shown or printed, which grows without end."""

    def __missing__(self, _: int) -> list[Any]:
        return []


class KernelApp(IPKernelApp):
    """IPython's kernel with bounded streams, and without a second copy of its output."""

    outstream_class = DottedObjectName("clvlib.report.kernelapp.BoundedStream", allow_none=True)

    def init_iopub(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Lose no output, however much comes at once: by default what is beyond a thousand messages is dropped."""
        context.setsockopt(zmq.SNDHWM, 0)
        super().init_iopub(context)  # type: ignore[no-untyped-call]

    def init_shell(self) -> None:
        """Begin to forget."""
        super().init_shell()  # type: ignore[no-untyped-call]
        if self.shell is not None and self.shell.history_manager is not None:
            self.shell.history_manager.outputs = _Nothing()


if __name__ == "__main__":
    KernelApp.launch_instance()
