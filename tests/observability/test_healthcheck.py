"""The image's health check, as the container engine runs it: a process with an exit code."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from bridge.observability.healthcheck import problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def serving(status: int, text: str, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve one response at /livez; yield the port."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/livez", livez)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def check(**environ: str) -> tuple[int | None, str]:
    """Run the health check; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge.observability.healthcheck"),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.parametrize("host", [None, "", "::", "0.0.0.0", "127.0.0.1", "localhost"])
async def test_a_bridge_that_is_alive_is_healthy(host: str | None) -> None:
    """Whatever address it listens on, 200 is healthy, and nothing is printed."""
    async with serving(200, "alive") as port:
        environ = {"BRIDGE_HTTP_PORT": port} if host is None else {"BRIDGE_HTTP_PORT": port, "BRIDGE_HTTP_HOST": host}
        assert await check(**environ) == (0, "")


async def test_a_bridge_that_is_not_alive_is_not_healthy() -> None:
    """Any other status is a failure, and the container engine's record shows the response."""
    async with serving(503, "the publisher is stuck") as port:
        code, output = await check(BRIDGE_HTTP_PORT=port)
    assert code == 1
    assert "503" in output
    assert "the publisher is stuck" in output


async def test_a_port_without_a_listener_is_not_healthy() -> None:
    """The error is one line with the address, without a traceback."""
    async with serving(200, "alive") as port:
        pass
    code, output = await check(BRIDGE_HTTP_PORT=port)
    assert code == 1
    assert f"127.0.0.1:{port}" in output
    assert len(output.splitlines()) == 1


async def test_a_server_of_another_kind_is_not_healthy() -> None:
    """A server of another protocol than HTTP is not the bridge."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, output = await check(BRIDGE_HTTP_PORT=str(port))
    assert code == 1
    assert "no response" in output


@pytest.mark.parametrize("port", ["http", "-1", "99999"])
def test_an_invalid_port_is_reported(port: str) -> None:
    """An invalid setting ends in a message, not in a traceback."""
    assert port in (problem({"BRIDGE_HTTP_PORT": port}) or "")


async def test_it_loads_nothing_but_the_standard_library() -> None:
    """The check runs every few seconds, so it must not take as long as the program takes to load."""
    script = (
        "import sys, bridge.observability.healthcheck\n"
        "print(*sorted(name for name, module in sys.modules.items()"
        " if 'site-packages' in (getattr(module, '__file__', None) or '')"
        " or name.startswith('bridge.')))"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-S", "-c", script),
        env={"PYTHONPATH": "."},
        stdout=asyncio.subprocess.PIPE,
    )
    loaded, _ = await process.communicate()
    assert loaded.decode().split() == ["bridge.observability", "bridge.observability.healthcheck"]
