"""A client of a real headless Chromium by chromedriver's WebDriver protocol (W3C WebDriver) in plain JSON."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DEADLINE_SECONDS: Final = 30.0
#: How often chromedriver is started at most.
STARTS: Final = 5
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
)
TAB: Final = "\ue004"


class ChromiumMissing(Exception):
    """A part of Chromium that is not installed."""


class Browser:
    """One window; errors of its console and of its security policy are in :meth:`errors`."""

    def __init__(self, http: aiohttp.ClientSession, session: str) -> None:
        self._http = http
        self._session = session

    async def open(self, url: str) -> None:
        """Load a page."""
        await self._post("url", url=url)

    async def run(self, script: str, *arguments: object) -> Any:
        """Return what a script's body returns in the page."""
        return await self._post("execute/sync", script=script, args=arguments)

    async def holds(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await self.run(f"return Boolean({expression})"):  # noqa: ASYNC110 - the page has no event for us
                await asyncio.sleep(0.05)

    async def text(self, selector: str) -> str:
        """Return the text of the first element that a CSS selector finds."""
        return str(await self.run("return document.querySelector(arguments[0]).textContent", selector))

    async def press(self, key: str) -> None:
        """Press and release a key."""
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        await self._post("actions", actions=[{"type": "key", "id": "keyboard", "actions": keys}])

    async def devtools(self, command: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol."""
        return await self._post("goog/cdp/execute", cmd=command, params=parameters)

    async def prefers(self, **features: str) -> None:
        """Emulate media features, such as ``prefers_color_scheme="dark"``."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        await self.devtools("Emulation.setEmulatedMedia", features=listed)

    async def resize(self, width: int, height: int) -> None:
        """Make the viewport so many CSS pixels wide and high."""
        await self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def errors(self) -> list[str]:
        """Return the console's messages since the last call, except for failed requests."""
        entries = await self._post("se/log", type="browser")
        return [entry["message"] for entry in entries if entry["source"] != "network"]

    async def screenshot(self, file: Path) -> None:
        """Write the whole page as PNG."""
        made = await self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        await asyncio.to_thread(file.write_bytes, base64.b64decode(made["data"]))

    async def _post(self, command: str, **body: object) -> Any:
        async with self._http.post(f"session/{self._session}/{command}", json=body) as answer:
            value = (await answer.json())["value"]
            assert answer.ok, value
            return value


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Browser]:
    """Run chromedriver and one Chromium with a fresh profile; raises ChromiumMissing."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        raise ChromiumMissing("install the packages chromium and chromium-driver")
    process, port = await _started(driver)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}/") as http:
            session = await _session(http, chromium, profile)
            try:
                yield Browser(http, session)
            finally:
                await http.delete(f"session/{session}")
    finally:
        process.kill()
        await process.wait()


async def _started(driver: str) -> tuple[asyncio.subprocess.Process, int]:
    """Start chromedriver; return it and its port.

    It chooses a port that is free for IPv4, and ends if that is taken for IPv6: then it is started again.
    """
    for _ in range(STARTS):
        process = await asyncio.create_subprocess_exec(
            driver, "--port=0", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                async for line in process.stdout:
                    if found := re.search(rb"started successfully on port (\d+)", line):
                        return process, int(found[1])
                await process.wait()
        except BaseException:
            process.kill()
            await process.wait()
            raise
    raise AssertionError(f"chromedriver ended {STARTS} times without having started")


async def _session(http: aiohttp.ClientSession, chromium: str, profile: Path) -> str:
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]},
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    async with http.post("session", json={"capabilities": {"alwaysMatch": wanted}}) as answer:
        value = (await answer.json())["value"]
        assert answer.ok, value
        return str(value["sessionId"])
