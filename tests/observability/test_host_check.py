"""The status page is served under names of this machine and of private networks, but not of the public DNS."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from bridge import settings
from bridge.app import Service
from bridge.observability.host_check import HostCheck
from tests.observability.http_client import PATHS, client

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:8080", "10.1.2.3:80", "[::1]:8080", "[fd00::1.2.3.4]"),
        *("localhost", "LOCALHOST:8080", "localhost.:8080", "aries-bridge", "aries-bridge:8080", "a.localhost"),
        *("bridge.market.svc", "bridge.market.svc.cluster.local:8080", "10-1-2-3.market.pod.cluster.local"),
        *("bridge.corp.internal", "mac.local", "nas.home.arpa"),
        *("listens.example.com", "Listens.Example.com.:8080", socket.gethostname()),
    ],
)
def test_private_names_are_permitted(host: str) -> None:
    """Addresses, names without dots, domains that cannot be registered, and the names of this server."""
    assert HostCheck("listens.example.com").permits({"Host": host})


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:8080",
            "bridge.market.svc.evil.example",
            "127.0.0.1.nip.io",
            "localhost.evil.io",
        ),
        *("local.evil.io", "notlocal.xlocal", "1.2.3", "127.0.0.1.evil.example.", "svc.example", "x.svc.evil.com"),
    ],
)
def test_names_of_the_public_dns_are_rejected(host: str) -> None:
    """Unless HTTPS has proven that the name is this server's."""
    check = HostCheck("0.0.0.0")
    assert not check.permits({"Host": host})
    assert check.permits({"Host": host, "Sec-Fetch-Site": "none"})


def test_a_request_without_a_host_is_permitted() -> None:
    """Browsers always send one; HTTP/1.0 probes do not."""
    assert HostCheck("127.0.0.1").permits({})


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Host": "evil.example"}, {"/", "/status"}),
        ({"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}, set()),
        ({"Host": "bridge.market.svc:8080"}, set()),
    ],
)
async def test_probes_and_metrics_are_served_under_any_name(headers: Mapping[str, str], refused: set[str]) -> None:
    """Only the pages are rejected, with a hint."""
    environ = {"ARIES_ACCESS_TOKEN": "t", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "k:1"}
    service = Service(settings.load({**environ, "BRIDGE_HTTP_HOST": "127.0.0.1", "BRIDGE_HTTP_PORT": "0"}))
    async with service.http.running(), client(service) as http:
        answers = {path: await http.get(path, headers=headers) for path in PATHS}
    assert {path for path, answer in answers.items() if answer.status == 403} == refused
    for path in refused:
        assert "IP address" in answers[path].document["error"]
