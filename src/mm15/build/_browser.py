"""Headless Chromium: pages of files on disk, seen at a size in pixels, with no way to the network.

Spoken to over the DevTools protocol through a pipe that only the browser has (``--remote-debugging-pipe``: JSON
messages that end with a zero byte, read from descriptor 3, written to descriptor 4): no port is opened, no package is
needed. When the pipe closes the browser ends. Every request of a page is stopped and answered here: files below the
folders that ``Browser`` was told are read, all else fails.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from mm15.base.errors import ConfigError, DataError

NAMES = (
    "chromium",
    "chromium-browser",
    "chromium-headless-shell",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
"""Programs that are looked for on the PATH, in this order."""
VARIABLE = "MM15_CHROMIUM"
"""Environment variable that names the program instead."""
FIX = f"install it (Debian, Ubuntu: apt-get install chromium), or say where it is with {VARIABLE}=/path/to/chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    # No name is ever resolved, whatever asks for it.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    # The same pixels on every machine that has the same fonts.
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--lang=en-US",
    "--remote-debugging-pipe",
)
START_SECONDS = 60.0
"""For the program to answer; a cold start from a slow disk takes long."""


class PageError(DataError):
    """A page that cannot be shown or does not answer."""


def find_browser() -> str:
    """The browser's program.

    Raises:
        ConfigError: there is none, or none for this system; says how to get one.
    """
    if sys.platform == "win32":
        raise ConfigError(
            ["the screens builder needs Linux or macOS: it talks to the browser through a pipe"], "screens"
        )
    named = os.environ.get(VARIABLE)
    if named:
        if found := shutil.which(named):
            return found
        raise ConfigError([f"{VARIABLE} names no program: {named}; {FIX}"], "screens")
    for name in NAMES:
        if found := shutil.which(name):
            return found
    mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    if os.access(mac, os.X_OK):
        return mac
    raise ConfigError([f"no Chromium on the PATH ({', '.join(NAMES)}): {FIX}"], "screens")


class Browser:
    """A browser with one tab. Use in a ``with`` block.

    Args:
        roots: folders whose files pages may read; everything else, the network included, is refused.
        program: the browser; by default the one that ``find_browser`` finds.

    Raises:
        ConfigError: no browser, or it does not start.
    """

    def __init__(self, roots: Sequence[Path], program: str | None = None) -> None:
        self.roots = [Path(os.path.realpath(root)) for root in roots]
        self.refused: list[str] = []
        """Addresses that the page opened last asked for and did not get."""
        self._program = program or find_browser()
        self._profile = tempfile.mkdtemp(prefix="mm15-chromium-")
        self._number = 0
        self._buffer = bytearray()
        self._events: list[dict[str, Any]] = []
        self._session = ""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        # Above the two numbers that they become in the browser, so that neither overwrites the other.
        high = [os.dup(end) for end in (to_read, to_write, 0, 0)]

        def inherit() -> None:
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the browser)
        command = [self._program, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        environment = {**os.environ, "TZ": "UTC", "LANG": "en_US.UTF-8", "LC_ALL": "C.UTF-8"}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                close_fds=False,
                preexec_fn=inherit,
                start_new_session=True,  # Ctrl-C reaches us, and we end it in order
                env=environment,
            )
        except OSError as error:
            raise ConfigError([f"cannot start {self._program}: {error}; {FIX}"], "screens") from error
        finally:
            for end in (to_read, to_write, *high):
                os.close(end)
        try:
            target = self.call("Target.createTarget", {"url": "about:blank"}, START_SECONDS)["targetId"]
            attached = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        except PageError as error:
            raise ConfigError([f"{self._program} does not answer: {error}{self._complaint()}"], "screens") from error
        self._session = attached["sessionId"]
        self.call("Page.enable")
        self.call("Fetch.enable", {"patterns": [{"urlPattern": "*"}]})

    def _complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f" ({lines[-1].strip()})" if lines else ""

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and remove its profile."""
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            with suppress(PageError, subprocess.TimeoutExpired):
                self._send("Browser.close", {}, "")
                process.wait(5)
        if process is not None:
            # The whole group: the program may be a script that started the browser.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for name in ("_to", "_from"):
            end = self.__dict__.pop(name, None)
            if end is not None:
                os.close(end)
        if errors := self.__dict__.pop("_errors", None):
            errors.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, page: Path, width: int, height: int, seconds: float = 15.0) -> None:
        """Show a page in a window of ``width`` x ``height`` px, and wait until it is loaded.

        Raises:
            PageError: it lies outside of the roots, is not there, or is not loaded in time.
        """
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)
        self.refused = []
        self._events = []
        answer = self.call("Page.navigate", {"url": Path(os.path.realpath(page)).as_uri()}, seconds)
        if answer.get("errorText"):
            raise PageError(f"{page}: {answer['errorText']}")
        self._wait_for("Page.loadEventFired", seconds, str(page))
        tree = self.call("Page.getFrameTree")["frameTree"]["frame"]
        world = {"frameId": tree["id"], "worldName": "mm15"}
        # Our own world: what scripts of the page changed (prototypes, JSON) does not reach it.
        self._world = self.call("Page.createIsolatedWorld", world)["executionContextId"]

    def run(self, script: str, seconds: float = 15.0) -> Any:
        """The value of a script in the page, awaited if it is a promise; JSON values only.

        Raises:
            PageError: it throws, or takes longer than ``seconds``.
        """
        told = {"expression": script, "contextId": self._world, "returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", told, seconds)
        if thrown := answer.get("exceptionDetails"):
            about = thrown.get("exception", {}).get("description") or thrown.get("text")
            raise PageError(f"the page's script failed: {about}")
        return answer["result"].get("value")

    def picture(self, seconds: float = 30.0) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", {"format": "png"}, seconds)["data"])

    def call(self, method: str, values: dict[str, Any] | None = None, seconds: float = 30.0) -> dict[str, Any]:
        """One command of the DevTools protocol and its result.

        Raises:
            PageError: the browser refuses it, ends, or does not answer in time.
        """
        number = self._send(method, values or {}, self._session)
        until = time.monotonic() + seconds
        while True:
            message = self._receive(until, method)
            if message.get("id") == number:
                if error := message.get("error"):
                    raise PageError(f"{method}: {error.get('message')}")
                return message["result"]

    def _wait_for(self, event: str, seconds: float, what: str) -> None:
        until = time.monotonic() + seconds
        while not any(found.get("method") == event for found in self._events):
            self._receive(until, what)

    def _send(self, method: str, values: dict[str, Any], session: str) -> int:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        try:
            while data:
                data = data[os.write(self._to, data) :]
        except OSError as error:
            raise PageError(f"the browser has ended ({error})") from error
        return self._number

    def _receive(self, until: float, what: str) -> dict[str, Any]:
        """The next message; events are kept, requests of the page answered on the way."""
        while b"\0" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._from], [], [], left)[0]:
                raise PageError(f"{what}: no answer in time")
            data = os.read(self._from, 1 << 20)
            if not data:
                raise PageError("the browser has ended")
            self._buffer += data
        end = self._buffer.index(b"\0")
        message = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        method = message.get("method")
        if method == "Fetch.requestPaused":
            self._answer(message["params"])
        elif method == "Page.javascriptDialogOpening":
            self._send("Page.handleJavaScriptDialog", {"accept": False}, self._session)
        if method:
            self._events.append(message)
        return message

    def _answer(self, asked: dict[str, Any]) -> None:
        url = asked["request"]["url"]
        if self._allowed(url):
            self._send("Fetch.continueRequest", {"requestId": asked["requestId"]}, self._session)
        else:
            self.refused.append(url)
            failed = {"requestId": asked["requestId"], "errorReason": "AccessDenied"}
            self._send("Fetch.failRequest", failed, self._session)

    def _allowed(self, url: str) -> bool:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in ("data", "blob", "about"):
            return True
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            return False
        path = Path(os.path.realpath(urllib.parse.unquote(parts.path)))
        return any(root == path or root in path.parents for root in self.roots)
