"""An HTTP proxy on loopback that leads every name to this machine, or refuses."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

#: Variables that name a proxy that cannot be reached, as programs write them.
DEAD_PROXIES: Final = dict.fromkeys(
    ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9"
)


@dataclass
class HttpProxy:
    """A proxy: the heads of the requests that it got, and the status that it refuses them with, if it does."""

    status: int | None = None
    address: str = ""
    heads: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open the tunnel or pass the request on, until an end closes."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode())
            if self.status is not None:
                writer.write(f"HTTP/1.1 {self.status} Refused\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
            else:
                await self._pass(head, reader, writer)
        writer.close()

    async def _pass(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = re.search(rb":(\d+)[/ ]", head)
        assert port is not None
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", int(port[1]))
        if head.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server_writer.write(head)
        both = [
            asyncio.ensure_future(_copy(reader, server_writer)),
            asyncio.ensure_future(_copy(server_reader, writer)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for copying in both:
            copying.cancel()
        await asyncio.wait(both)
        server_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def http_proxy(status: int | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator[HttpProxy]:
    """Run a proxy; with ``tls``, connections to it are encrypted."""
    proxy = HttpProxy(status)
    async with await asyncio.start_server(proxy.handle, "127.0.0.1", 0, ssl=tls) as server:
        proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
