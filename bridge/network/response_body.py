"""The body of a response by aiohttp, up to a limit: a server decides how long it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp


async def read_limited(stream: aiohttp.StreamReader, max_bytes: int) -> bytes:
    """Return the body, of a body over the limit its beginning, one byte longer than the limit."""
    try:
        return await stream.readexactly(max_bytes + 1)
    except asyncio.IncompleteReadError as error:
        return error.partial
