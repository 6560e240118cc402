"""Ports that are reserved for a program which a test starts."""

from __future__ import annotations

import socket

import pytest

from tests.support.ports import reserved_port


def test_a_reserved_port_is_that_of_who_is_told_of_it() -> None:
    """Connections are refused, until a server listens there; and again when it has ended."""
    with reserved_port() as port:
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            with socket.create_server(("127.0.0.1", port)):
                socket.create_connection(("127.0.0.1", port)).close()


def test_a_reserved_port_is_given_to_nobody_else() -> None:
    """It is in use, whether a server listens there or not."""
    with reserved_port() as port, socket.socket() as other:
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
