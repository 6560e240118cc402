"""The dev environment uses what is configured, and starts a simulator and an embedded broker for the rest."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest

from bridge.aries.chains.times import exchange_date
from bridge.dev.environment import (
    CHAIN,
    EXPIRY_AFTER_SECONDS,
    OPTION,
    SYMBOLS,
    TOKEN,
    Options,
    clock_before_expiry,
    dev_environment,
)
from bridge.errors import SettingsError
from bridge.kafka.embedded_broker import EmbeddedBroker, EmbeddedBrokerError
from bridge.market_data import EventType
from bridge.settings.warnings import warnings
from tests.support.consumer import read_all

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter22"
ARIES = {"ARIES_WS_URL": "wss://aries.test/v1/market/ws", "ARIES_ACCESS_TOKEN": SECRET, "ARIES_SYMBOLS": "IBM"}
KAFKA = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.test:9092"}


async def test_without_any_setting_both_sides_are_started() -> None:
    """A simulator with every kind of symbol and event, and a broker with all topics."""
    async with dev_environment(Options(), {}) as made:
        assert made.simulator is not None
        assert made.broker is not None
        assert made.settings.aries_ws_url == made.simulator.url
        assert ",".join(made.settings.aries_symbols) == f"{SYMBOLS},{OPTION}"
        assert made.settings.plan().events == set(EventType)
        assert made.settings.kafka_bootstrap_servers == (made.broker.bootstrap_servers,)
        assert read_all(made.broker.bootstrap_servers, made.settings.topics.values()) == []
        assert (made.settings.bridge_log_level, made.settings.bridge_log_format) == ("WARNING", "console")
        assert (made.settings.bridge_http_host, made.settings.bridge_http_port) == ("127.0.0.1", 0)
        assert made.notes == ()
        assert warnings(made.settings, made.environ) == []


async def test_what_is_configured_is_not_replaced() -> None:
    """With both sides configured nothing is started, and none of their settings changes."""
    environ = {
        **ARIES,
        **KAFKA,
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "BRIDGE_LOG_LEVEL": "DEBUG",
        "BRIDGE_HTTP_PORT": "8081",
    }
    async with dev_environment(Options(), environ) as made:
        assert made.simulator is None
        assert made.broker is None
        assert made.settings.aries_ws_url == ARIES["ARIES_WS_URL"]
        assert made.settings.aries_access_token is not None
        assert made.settings.aries_access_token.reveal() == SECRET
        assert made.settings.aries_symbols == ("IBM",)
        assert made.settings.aries_events == ("quotes", "trades", "l2", "timesales")
        assert made.settings.kafka_security_protocol == "SSL"
        assert made.settings.bridge_log_level == "DEBUG"
        assert made.settings.bridge_http_port == 8081
        assert made.notes == ()


async def test_credentials_are_not_sent_to_the_simulator(tmp_path: Path) -> None:
    """The simulator has a token of its own, and the user's credentials are cleared; a note says so."""
    environ = {
        "ARIES_ACCESS_TOKEN": SECRET,
        "ARIES_REFRESH_TOKEN_FILE": str(tmp_path / "missing"),
        "ARIES_API_KEY": SECRET,
        "KAFKA_SASL_PASSWORD": SECRET,
    }
    async with dev_environment(Options(), environ) as made:
        assert [secret.reveal() for secret in made.settings.secrets] == [TOKEN]
        assert SECRET not in made.environ.values()
        aries, kafka = made.notes
    assert "ARIES_ACCESS_TOKEN" in aries
    assert "ARIES_WS_URL" in aries
    assert "KAFKA_SASL_PASSWORD" in kafka
    assert SECRET not in aries + kafka


async def test_options_override_the_environment() -> None:
    """Symbols and dialect of the command line are used, and the simulator speaks that dialect."""
    environ = {"ARIES_SYMBOLS": "IBM", "ARIES_DIALECT": "envelope", "ARIES_EVENTS": "quotes"}
    async with dev_environment(Options(symbols="T,F", dialect="action"), environ) as made:
        assert made.settings.aries_symbols == ("T", "F")
        assert made.settings.dialect == "action"
        assert made.settings.aries_events == ("quotes",)
        assert made.simulator is not None
        assert made.settings.aries_ws_url == made.simulator.url_for("action")
    async with dev_environment(Options(), {"ARIES_DIALECT": "action"}) as made:
        assert made.simulator is not None
        assert made.settings.aries_ws_url == made.simulator.url_for("action")


async def test_options_of_the_simulator_without_a_simulator_are_noted() -> None:
    """A rate has no effect on the real feed, and a note says so; symbols have one, and a default."""
    environ = {**ARIES, **KAFKA, "ARIES_SYMBOLS": ""}
    async with dev_environment(Options(rate=500, seed=3), environ) as made:
        assert made.notes == ("--rate, --seed: no effect, as ARIES_WS_URL is set and no simulator runs.",)
        assert ",".join(made.settings.aries_symbols) == SYMBOLS
    async with dev_environment(Options(symbols="T"), environ) as made:
        assert made.settings.aries_symbols == ("T",)


async def test_invalid_settings_and_scripts_are_errors(tmp_path: Path) -> None:
    """Nothing is left running if a setting or the script of faults is invalid."""
    with pytest.raises(SettingsError, match="KAFKA_LINGER_MS"):
        async with dev_environment(Options(), {"KAFKA_LINGER_MS": "soon"}):
            pass
    with pytest.raises(SettingsError, match="nowhere"):
        async with dev_environment(Options(script=tmp_path / "nowhere"), {}):
            pass


async def test_a_missing_library_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra package the error says how to install it, or what to set instead."""
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(EmbeddedBrokerError, match="KAFKA_BOOTSTRAP_SERVERS"):
        async with dev_environment(Options(), {}):
            pass


async def test_topics_are_created_under_their_configured_names(broker: EmbeddedBroker) -> None:
    """The embedded broker has the topics that the settings name."""
    async with dev_environment(Options(), {"KAFKA_TOPIC_PREFIX": "mine", "KAFKA_TOPIC_L2": "books"}) as made:
        assert made.broker is not None
        assert read_all(made.broker.bootstrap_servers, ["mine.quotes", "books"]) == []


async def test_an_expiry_to_watch() -> None:
    """There is a chain, and on both sides a clock shortly before its first contracts expire; symbols come first."""
    async with dev_environment(Options(expiry=True), {**KAFKA, "ARIES_API_URL": "https://elsewhere.test"}) as made:
        assert made.settings.aries_subscriptions == CHAIN
        assert made.simulator is not None
        assert made.settings.api_url == made.simulator.api_url
        assert made.simulator.chains.today == exchange_date(made.chain_clock())
    async with dev_environment(Options(expiry=True, symbols="IBM"), KAFKA) as made:
        assert made.settings.aries_subscriptions is None


@pytest.mark.parametrize("hour", range(0, 8 * 24, 7))
def test_clock_before_an_expiry(hour: int) -> None:
    """Whenever it starts, it is a Friday, and the next day soon after."""
    real = time.time()
    clock = clock_before_expiry(real + 3600 * hour)
    shown = clock() + 3600 * hour - (time.time() - real)  # the clock goes on from the real time
    assert exchange_date(shown).strftime("%A") == "Friday"
    assert exchange_date(shown + EXPIRY_AFTER_SECONDS + 1).strftime("%A") == "Saturday"
