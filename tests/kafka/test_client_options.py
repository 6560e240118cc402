"""Commands that only need Kafka read only its settings, and report why it cannot be used."""

from __future__ import annotations

import logging

import pytest
from aiokafka.errors import KafkaError

from bridge.errors import KafkaUnreachable, SettingsError, UnsupportedLibrary
from bridge.kafka.aiokafka_internals import client_of
from bridge.kafka.client_options import CapturedKafkaLog, readable_errors
from bridge.settings.kafka_side import kafka_settings


async def message_of(logged: str, error: Exception) -> str:
    """Return the message of KafkaUnreachable if the client logs and raises these."""
    with pytest.raises(KafkaUnreachable) as raised:  # noqa: PT012 - what is raised comes from the inner context
        async with readable_errors({"bootstrap_servers": "127.0.0.1:1"}):
            if logged:
                logging.getLogger("aiokafka").error(logged)
            raise error
    return str(raised.value)


class TestSettings:
    def test_settings_of_aries_are_ignored(self) -> None:
        """Bad and missing settings of Aries and of the bridge itself do not matter."""
        environ = {"KAFKA_BOOTSTRAP_SERVERS": "k:1", "ARIES_DIALECT": "bad", "BRIDGE_BUFFER_BYTES": "bad"}

        assert kafka_settings(environ=environ).kafka_bootstrap_servers == ("k:1",)

    def test_all_problems_of_kafka_are_reported(self) -> None:
        """Missing brokers, a bad prefix and a user without a password are reported at once, and nothing of Aries."""
        environ = {
            "KAFKA_TOPIC_PREFIX": "no blanks",
            "SCHEMA_REGISTRY_URL": "http://r",
            "SCHEMA_REGISTRY_USERNAME": "me",
        }

        with pytest.raises(SettingsError) as raised:
            kafka_settings(environ=environ)

        names = sorted(problem.split()[0].split("=")[0] for problem in raised.value.problems)
        assert names == ["KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC_PREFIX", "SCHEMA_REGISTRY_USERNAME"]

    def test_the_option_overrides_the_environment(self) -> None:
        """Bootstrap servers of the option are used, and validated."""
        environ = {"KAFKA_BOOTSTRAP_SERVERS": "k:1"}

        assert kafka_settings("a:2,b:3", environ).kafka_bootstrap_servers == ("a:2", "b:3")
        with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS"):
            kafka_settings("a:none", environ)


class TestMessages:
    async def test_the_reason_is_the_last_logged_message(self, caplog: pytest.LogCaptureFixture) -> None:
        """The client's last message becomes the reason, with a hint, and is not passed to other handlers."""
        message = await message_of("SaslAuthenticationFailed: wrong password.", KafkaError())

        assert message.startswith(
            "Kafka at 127.0.0.1:1 cannot be used: SaslAuthenticationFailed: wrong password. Check the KAFKA_SASL_"
        )
        assert not caplog.records

    async def test_without_a_message_the_reason_is_the_timeout(self) -> None:
        """If the client logged nothing, the reason is that there was no answer."""
        assert await message_of("", TimeoutError()) == "Kafka at 127.0.0.1:1 cannot be used: no answer in time."

    def test_messages_are_captured_within_the_context(self, caplog: pytest.LogCaptureFixture) -> None:
        """What the client logs is passed to the callback instead of being printed; afterwards it is logged as usual."""
        messages: list[str] = []
        client = logging.getLogger("aiokafka")

        with CapturedKafkaLog(messages.append):
            client.warning("gone: %s", "k:1")
            client.info("not worth a word")
        client.warning("afterwards")

        assert messages == ["gone: k:1"]
        assert [record.getMessage() for record in caplog.records] == ["afterwards"]


def test_a_consumer_without_a_client_is_of_an_unsupported_version() -> None:
    """If aiokafka renames what the bridge uses, the error names it and the supported version."""
    with pytest.raises(UnsupportedLibrary, match=r"consumer\._client"):
        client_of(object())
