"""Which hosts are this machine."""

from __future__ import annotations

import pytest

from bridge.network.loopback import is_loopback


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1.2.3", "::1", "aries.localhost", "LocalHost.", "[::1]", "::ffff:127.0.0.1"],
)
def test_loopback_hosts_are_recognised(host: str) -> None:
    """Loopback names and addresses are on this machine."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "api.aries.com", "10.0.0.1", "::2", "localhost.example"])
def test_other_hosts_are_not_loopback(host: str) -> None:
    """Any other host is on the network."""
    assert not is_loopback(host)
