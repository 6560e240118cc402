"""An address on this machine that swallows packets, as a machine that is off does."""

from __future__ import annotations

import select
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.2"


@contextmanager
def black_hole(host: str = HOST, port: int = 0) -> Iterator[int]:
    """Listen on an address with a full queue, and return its port: Linux drops further SYNs."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        # One connection fills it, but only once the kernel has queued it: until then others might come in beside it.
        with socket.create_connection(listener.getsockname()):
            select.select([listener], [], [])
            yield listener.getsockname()[1]
