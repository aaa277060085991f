"""A headless Chromium, driven over a pipe by the DevTools protocol, for tests that look at pages as readers do."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clvlib.errors import ReportError
from clvlib.report.pdf import browser, flags

TIMEOUT = 60.0


class Browser:
    """One browser and the one page that it shows."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # a browser reads commands on its descriptor 3 and answers on 4, which these two must not be already
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (theirs_in, theirs_out)]
        self._process = subprocess.Popen(
            [program, *flags(profile), "--remote-debugging-pipe", "--hide-scrollbars", "about:blank"],
            close_fds=False, preexec_fn=lambda: [os.dup2(fd, to) for fd, to in zip(moved, (3, 4), strict=True)],  # noqa: PLW1509
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in (theirs_in, theirs_out, *moved):
            os.close(fd)
        self._out, self._in = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb", 0)
        os.set_blocking(self._in.fileno(), False)
        self._number, self._session, self._buffer = 0, "", b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self._session = ""
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (AssertionError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._out.close()
        self._in.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])

    def wait_for(self, event: str) -> None:
        while not any(seen["method"] == event for seen in self.events):
            self._read()

    def _read(self) -> dict[str, Any]:
        until = time.monotonic() + TIMEOUT
        while b"\0" not in self._buffer:
            assert time.monotonic() < until, "the browser does not answer"
            part = self._in.read(1 << 20)
            assert part != b"", "the browser has ended"
            self._buffer += part or b""
            if part is None:
                time.sleep(0.002)
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = dict(json.loads(line))
        if "method" in message:
            self.events.append(message)
        return message

    def run(self, script: str) -> Any:
        """What an expression comes to in the page; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def open(self, page: Path, width: int = 1280, *, dark: bool = False, media: str = "") -> None:
        """Show a page without a network, at a width in CSS pixels."""
        self.events.clear()
        self.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        self.show(width, dark=dark, media=media)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait_for("Page.loadEventFired")

    def show(self, width: int, *, dark: bool = False, media: str = "") -> None:
        """Change what the page is shown on."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme, still])

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def requested(self) -> list[str]:
        """Every address that the page asked for, but its own."""
        sent = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent[1:] if not url.startswith("data:")]

    def picture(self, file: Path, *, whole: bool = True) -> Path:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"clip": {**size, "scale": 1}, "captureBeyondViewport": True} if whole else {}
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **clip)["data"]))
        return file

    def pdf(self) -> bytes:
        printed = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)["data"]
        return base64.b64decode(printed)


@contextmanager
def opened(profile: Path) -> Iterator[Browser]:
    """A browser; the test skips, visibly, where the machine has none."""
    try:
        program = browser()
    except ReportError as error:
        pytest.skip(f"the page is not looked at: {error}")
    started = Browser(program, profile)
    try:
        yield started
    finally:
        started.close()
