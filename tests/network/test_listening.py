"""Listening on all addresses."""

from __future__ import annotations

import socket

import pytest

from bridge.network.listening import listen_on_all_addresses


def families(listener: socket.socket) -> list[socket.AddressFamily]:
    """Return the families by which a client on this machine can connect."""
    reached = []
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as client:
            if client.connect_ex((host, listener.getsockname()[1])) == 0:
                reached.append(family)
    return reached


def test_both_families_are_served() -> None:
    """One port answers IPv4 and IPv6."""
    with listen_on_all_addresses(0) as listener:
        assert families(listener) == [socket.AF_INET, socket.AF_INET6]


def test_a_machine_without_ipv6_serves_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod may have no IPv6 at all."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen_on_all_addresses(0) as listener:
        assert families(listener) == [socket.AF_INET]


def test_a_port_in_use_is_an_error() -> None:
    """It is not shared with the socket that has it."""
    with listen_on_all_addresses(0) as listener, pytest.raises(OSError, match="in use"):
        listen_on_all_addresses(listener.getsockname()[1])
