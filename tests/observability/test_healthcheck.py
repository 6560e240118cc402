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
async def answering(status: int, text: str, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Serve /livez with one answer; yield the port."""

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
    """Run the health check; return its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge.observability.healthcheck"),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


@pytest.mark.parametrize("host", [None, "", "0.0.0.0", "127.0.0.1", "localhost"])
async def test_a_bridge_that_is_alive_is_healthy(host: str | None) -> None:
    """On whatever address it listens, an answer of 200 is health, and nothing is said."""
    async with answering(200, "alive") as port:
        environ = {"BRIDGE_HTTP_PORT": port} if host is None else {"BRIDGE_HTTP_PORT": port, "BRIDGE_HTTP_HOST": host}
        assert await check(**environ) == (0, "")


async def test_a_bridge_that_says_it_is_stuck_is_not_healthy() -> None:
    """Any other answer is a failure, and the engine's record shows what the bridge said."""
    async with answering(503, "the publisher is stuck") as port:
        code, said = await check(BRIDGE_HTTP_PORT=port)
    assert code == 1
    assert "503" in said
    assert "the publisher is stuck" in said


async def test_nobody_listening_is_not_healthy() -> None:
    """A bridge that is not there is told in one line, with the address and without a traceback."""
    async with answering(200, "alive") as port:
        pass
    code, said = await check(BRIDGE_HTTP_PORT=port)
    assert code == 1
    assert f"127.0.0.1:{port}" in said
    assert len(said.splitlines()) == 1


async def test_a_server_of_another_kind_is_not_healthy() -> None:
    """Whoever answers something else than HTTP is not our bridge."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        code, said = await check(BRIDGE_HTTP_PORT=str(port))
    assert code == 1
    assert "does not answer" in said


@pytest.mark.parametrize("port", ["http", "-1", "99999"])
def test_an_unusable_port_is_told(port: str) -> None:
    """A wrong setting is a sentence, not a traceback."""
    assert port in (problem({"BRIDGE_HTTP_PORT": port}) or "")


async def test_it_loads_nothing_but_the_standard_library() -> None:
    """The check runs beside the bridge every few seconds, so it must not cost what the program costs to load."""
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
