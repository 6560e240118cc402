"""Settings of option chains beyond their entries: the endpoint, and what the machine must know."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfoNotFoundError

import pytest

from bridge import settings
from bridge.aries.chains import times
from bridge.errors import SettingsError
from bridge.settings.warnings import warnings

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

LEAST = {
    "ARIES_ACCESS_TOKEN": "t",
    "KAFKA_BOOTSTRAP_SERVERS": "k:1",
    "ARIES_SUBSCRIPTIONS": '[{"underlying":"AAPL","expires_within_days":30}]',
}


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "https://api.aries.com"),
        ({"ARIES_WS_URL": "ws://127.0.0.1:8765/v1/market/ws?x=1"}, "http://127.0.0.1:8765"),
        ({"ARIES_API_URL": "https://gateway.example/aries"}, "https://gateway.example/aries"),
    ],
)
def test_the_endpoint(environ: dict[str, str], url: str) -> None:
    """It is on the host of the feed, unless another URL is set."""
    assert settings.load({**LEAST, **environ}).api_url == url


def test_a_token_in_the_clear() -> None:
    """A URL without TLS to another machine is a warning."""
    found = warnings(settings.load({**LEAST, "ARIES_API_URL": "http://gateway.example"}), {})
    assert any(text.startswith("ARIES_API_URL is http:// to another machine") for text in found)


def test_without_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that does not know the zone of the exchange is a problem with a hint; without chains it is none."""

    def unknown() -> ZoneInfo:
        raise ZoneInfoNotFoundError(times.EXCHANGE_ZONE)

    monkeypatch.setattr(times, "_zone", unknown)
    with pytest.raises(SettingsError, match="tzdata"):
        settings.load(LEAST)
    assert list(settings.load({**LEAST, "ARIES_SUBSCRIPTIONS": '["AAPL"]'}).plan()) == ["AAPL"]
