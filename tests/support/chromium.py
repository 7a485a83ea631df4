"""Debian's Chromium without a screen, for tests that use a page as a person does: by Chrome's DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.support.processes import running, until

CHROMIUM = shutil.which("chromium")
MISSING = "chromium is not installed (apt-get install chromium)"

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--remote-debugging-port=0", "--force-color-profile=srgb",
)  # fmt: skip
_START_S = 60.0
_ANSWER_S = 30.0


class BrowserError(Exception):
    """What Chromium said of a call, or what a script on the page raised."""


class Page:
    """One page. It shows what it is told to open, and a picture of it can be taken."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def resize(self, width: int, height: int) -> None:
        """Make the window so large, in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str) -> None:
        """Go to an address, as somebody who types it. Raises BrowserError where nothing answers."""
        answer = self._call("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")

    def run(self, script: str) -> Any:
        """What an expression in JavaScript comes to on the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait_for(self, script: str, *, within_s: float = 60.0) -> Any:
        """What the expression comes to as soon as it is true. Fails the test when it does not become so."""
        return until(lambda: self._now(script), within_s=within_s, every_s=0.05, otherwise=f"not on the page: {script}")

    def type(self, text: str) -> None:
        """Type into the field that has the focus, and press Enter."""
        self._call("Input.insertText", text=text)
        self.press_enter()

    def press_enter(self) -> None:
        """Press Enter where the focus is."""
        enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
        self._call("Input.dispatchKeyEvent", type="keyDown", **enter)
        self._call("Input.dispatchKeyEvent", type="keyUp", **enter)

    def picture(self, path: Path) -> None:
        """Write what is to be seen as a PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _now(self, script: str) -> Any:
        try:
            return self.run(script)
        except BrowserError:  # the page that is left has what the script asks for no more, the next one not yet
            return None

    def _call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(timeout=_ANSWER_S))
            if answer.get("id") == number:
                break
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]


@contextmanager
def a_page() -> Iterator[Page]:
    """A page in a Chromium with a profile of its own, which is gone afterwards."""
    assert CHROMIUM is not None, MISSING
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder:
        profile, log = Path(folder) / "profile", Path(folder) / "log"
        command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with running(command, environment={**os.environ, "HOME": folder, "TMPDIR": folder}, log=log) as process:

            def address() -> str | None:
                assert process.poll() is None, log.read_text(errors="replace")
                file = profile / "DevToolsActivePort"
                lines = file.read_text().split("\n") if file.exists() else []
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}" if len(lines) == 2 and lines[1] else None

            url = until(address, within_s=_START_S, otherwise="Chromium did not start")
            assert url is not None
            with connect(url, max_size=None, proxy=None, compression=None) as connection:
                yield Page(connection)
