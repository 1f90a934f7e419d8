"""A real headless Chromium that opens pages, by as much of WebDriver as the tests need.

Tests skip where chromium or its chromedriver (Debian: chromium, chromium-driver) is not installed.
"""

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,900",
]


class Browser:
    """As much of the WebDriver protocol as the tests need; `url` is where chromedriver listens."""

    def __init__(self, url: str, chromium: str, profile: Path) -> None:
        self.url = f"{url}/session"
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": logs,
            "timeouts": {"script": 20_000},
        }
        self.url += "/" + self.call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def call(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{body}: {json.load(error)['value']['message']}") from None

    def open(self, page: Path, ready: str) -> None:
        """Load the page afresh, until a condition in JavaScript holds."""
        self.call("/url", {"url": page.as_uri()})
        self.wait(ready)

    def value(self, expression: str) -> Any:
        return self.call("/execute/sync", {"script": f"return {expression}", "args": []})

    def wait(self, condition: str) -> None:
        """Until the condition holds; the driver fails it after the script timeout."""
        script = (
            "const done = arguments[0];"
            f"(function look() {{ ({condition}) ? done() : setTimeout(look, 20) }})()"
        )
        self.call("/execute/async", {"script": script, "args": []})

    def click(self, element: str) -> None:
        """Click the element of a JavaScript expression as soon as it is there."""
        self.wait(element)
        self.value(f"{element}.click()")

    def log(self, kind: str) -> list[dict[str, Any]]:
        return self.call("/se/log", {"type": kind})

    def requested(self) -> list[str]:
        """The addresses that pages have asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """The errors in the console since the last call."""
        return [entry["message"] for entry in self.log("browser") if entry["level"] == "SEVERE"]


B = TypeVar("B", bound=Browser)


@contextmanager
def started(profile: Path, kind: type[B] = Browser) -> Iterator[B]:
    """A browser with a new profile in that folder; skips the test where none is installed."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip(
            "chromium and chromedriver (Debian: chromium, chromium-driver) are not installed"
        )
    with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            ports = (re.search(r"successfully on port (\d+)", line) for line in process.stdout)
            port = next(port[1] for port in ports if port)
            browser = kind(f"http://127.0.0.1:{port}", chromium, profile)
            yield browser
            browser.call("", method="DELETE")
        finally:
            process.terminate()
