"""Commands that need Kafka alone ask for its settings alone, and say why it cannot be used."""

from __future__ import annotations

import logging

import pytest
from aiokafka.errors import KafkaError

from bridge.errors import KafkaUnreachable, SettingsError
from bridge.kafka.client_options import CapturedKafkaLog, readable_errors
from bridge.settings.kafka_side import kafka_settings


def told_of(words: str, error: Exception) -> str:
    """Return how it is told that the client logs some words and raises."""
    with pytest.raises(KafkaUnreachable) as raised:  # noqa: PT012 - what is raised comes from the inner context
        with readable_errors("k:1"):
            if words:
                logging.getLogger("aiokafka").error(words)
            raise error
    return str(raised.value)


class TestSettings:
    def test_aries_is_not_needed_and_not_judged(self) -> None:
        """Bad and missing settings of Aries and of the bridge itself do not matter."""
        environ = {"KAFKA_BOOTSTRAP_SERVERS": "k:1", "ARIES_DIALECT": "bad", "BRIDGE_BUFFER_BYTES": "bad"}

        assert kafka_settings(environ=environ).kafka_bootstrap_servers == ("k:1",)

    def test_all_problems_of_kafka_are_told(self) -> None:
        """Missing brokers, a bad prefix and half a login are told at once, and nothing of Aries."""
        environ = {
            "KAFKA_TOPIC_PREFIX": "no blanks",
            "SCHEMA_REGISTRY_URL": "http://r",
            "SCHEMA_REGISTRY_USERNAME": "me",
        }

        with pytest.raises(SettingsError) as raised:
            kafka_settings(environ=environ)

        told = sorted(problem.split()[0].split("=")[0] for problem in raised.value.problems)
        assert told == ["KAFKA_BOOTSTRAP_SERVERS", "KAFKA_TOPIC_PREFIX", "SCHEMA_REGISTRY_USERNAME"]

    def test_given_servers_stand_above_the_environment(self) -> None:
        """The option overrides the environment, and is checked like it."""
        environ = {"KAFKA_BOOTSTRAP_SERVERS": "k:1"}

        assert kafka_settings("a:2,b:3", environ).kafka_bootstrap_servers == ("a:2", "b:3")
        with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS"):
            kafka_settings("a:none", environ)


class TestWords:
    def test_reason_is_what_was_logged_last(self, caplog: pytest.LogCaptureFixture) -> None:
        """The client's last words become the reason, with advice, and do not go on to other handlers."""
        told = told_of("SaslAuthenticationFailed: wrong password.", KafkaError())

        assert told.startswith(
            "Kafka at k:1 cannot be used: SaslAuthenticationFailed: wrong password. Check the KAFKA_SASL_"
        )
        assert not caplog.records

    def test_silence_is_told_as_such(self) -> None:
        """Without any words of the client the reason is that no answer came."""
        assert told_of("", TimeoutError()) == "Kafka at k:1 cannot be used: no answer in time."

    def test_words_are_passed_on_while_the_context_lasts(self, caplog: pytest.LogCaptureFixture) -> None:
        """What the client logs is handed over instead of being printed; afterwards it goes its usual way."""
        told: list[str] = []
        client = logging.getLogger("aiokafka")

        with CapturedKafkaLog(told.append):
            client.warning("gone: %s", "k:1")
            client.info("not worth a word")
        client.warning("afterwards")

        assert told == ["gone: k:1"]
        assert [record.getMessage() for record in caplog.records] == ["afterwards"]
