"""Ports of loopback that no other program is given while a test needs them."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reserved_port() -> Iterator[int]:
    """Reserve a port until the block ends; connections to it are refused unless a program listens there.

    A port that was only free a moment ago may be another's when a program comes to it. The kernel gives this one to no
    other socket, as it is bound; who asks for it by number and sets SO_REUSEADDR, as servers do, gets it, as this
    socket does not listen.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
