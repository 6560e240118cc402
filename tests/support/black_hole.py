"""An address on this machine that swallows packets, as a machine that is off does."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.2"


@contextmanager
def black_hole(host: str = HOST, port: int = 0) -> Iterator[int]:
    """Listen on an address with a full queue, and return its port: Linux drops further SYNs."""
    with ExitStack() as sockets, socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.settimeout(0)
            with suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]
