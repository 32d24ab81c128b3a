"""A real browser without a window, asked through its DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import websocket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    None,
)
PATIENCE = 60.0
COMPLAINTS = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}


@dataclass
class Browser:
    """One page of a browser.

    Attributes:
        said: what it told, beside its answers.

    """

    socket: websocket.WebSocket
    said: list[dict[str, Any]] = field(default_factory=list)
    _asked: int = 0

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and give its result."""
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": params}
        self.socket.send(json.dumps(asked))
        while True:
            told = json.loads(self.socket.recv())
            if told.get("id") == self._asked:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self.said.append(told)

    def open(self, file: Path) -> float:
        """Load a page; give the seconds until it was loaded and laid out."""
        self.ask("Page.navigate", url=file.as_uri())
        deadline = time.monotonic() + PATIENCE
        while self.run("document.readyState") != "complete":
            assert time.monotonic() < deadline, "the page was not loaded"
            time.sleep(0.05)
        self.run("document.body.offsetHeight")
        took: float = self.run(
            "performance.getEntriesByType('navigation')[0].loadEventEnd"
        )
        return took / 1000

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page."""
        told = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key)

    def point(self, x: float, y: float) -> None:
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, width: int, height: int, *, dark: bool = False) -> bytes:
        """Give what it shows, as PNG."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.ask("Emulation.setDeviceMetricsOverride", mobile=False, **size)
        return base64.b64decode(self.ask("Page.captureScreenshot")["data"])

    def names(self, role: str) -> list[str]:
        """Give the accessible names of everything that has a role."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        return [
            node.get("name", {}).get("value", "")
            for node in nodes
            if node.get("role", {}).get("value") == role and not node.get("ignored")
        ]

    @property
    def requests(self) -> list[str]:
        """Give every address that was asked for."""
        return [
            told["params"]["request"]["url"]
            for told in self.said
            if told["method"] == "Network.requestWillBeSent"
        ]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Give everything in its console."""
        return [told for told in self.said if told["method"] in COMPLAINTS]


@contextmanager
def opened(folder: Path) -> Iterator[Browser]:
    """Have a browser with an empty page and a profile of its own."""
    assert PROGRAM
    argv = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu"]
    argv += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            socket = websocket.create_connection(
                _address(folder / "DevToolsActivePort"),
                timeout=PATIENCE,
                suppress_origin=True,
            )
            browser = Browser(socket)
            for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
                browser.ask(f"{domain}.enable")
            browser.ask("Emulation.setFocusEmulationEnabled", enabled=True)
            yield browser
            socket.close()
        finally:
            process.terminate()


def _address(file: Path) -> str:
    """Wait for the browser to say where its page can be asked."""
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text().count("\n")):
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.05)
    port = file.read_text().splitlines()[0]
    with urlopen(f"http://127.0.0.1:{port}/json") as answer:
        pages = json.load(answer)
    return str(next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page"))
