"""Brokers that advertise addresses that cannot be reached are named by every command that meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from bridge.check import kafka as kafka_check
from bridge.check.report import Status
from bridge.cli.topics import create_or_compare
from bridge.errors import KafkaUnreachable
from bridge.kafka import advertised_listeners
from bridge.kafka.producer import AiokafkaProducer
from bridge.kafka.tail import Selection
from bridge.kafka.topic_specification import TopicOptions
from bridge.serialization.formatting import json_line
from bridge.settings.kafka_side import kafka_settings
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from bridge.verify.topic_reader import Selection as Verified
from bridge.verify.verification import Verification
from tests.check.results import NO_ARIES, run_preflight
from tests.support.black_hole import HOST, black_hole
from tests.support.printed import print_records
from tests.support.service import environment, eventually, serving

if TYPE_CHECKING:
    from tests.support.scripted_broker import ScriptedBroker

UNRESOLVABLE = "kafka-0.kafka.invalid:9092"
NO_HOST_NAME = f"{'x' * 70}:9092"


@pytest.fixture(params=["refused", "unresolvable", "impossible"])
def advertised(request: pytest.FixtureRequest, unused_address: str) -> str:
    """Return an address that cannot be reached."""
    if request.param == "refused":
        return unused_address
    return UNRESOLVABLE if request.param == "unresolvable" else NO_HOST_NAME


def assert_named(message: str, advertised: str, broker: ScriptedBroker) -> None:
    """Assert that a message says who answered with what, and which setting of the brokers is wrong."""
    for part in (advertised, f"bootstrap server {broker.addresses[0]} answered", "advertised.listeners"):
        assert part in message


async def run(broker: ScriptedBroker) -> None:
    """Do what `run` does first."""
    await AiokafkaProducer.start({"bootstrap_servers": broker.bootstrap_servers})


async def tail(broker: ScriptedBroker) -> None:
    """Follow a topic."""
    await print_records(kafka_settings(broker.bootstrap_servers, {}), Selection(("quotes",)), json_line)


async def topics(broker: ScriptedBroker) -> None:
    """Create topics."""
    await create_or_compare(kafka_settings(broker.bootstrap_servers, {}), TopicOptions())


async def verify(broker: ScriptedBroker) -> None:
    """Verify a topic."""
    await Verification(kafka_settings(broker.bootstrap_servers, {}), Verified(("quotes",))).run()


@pytest.mark.parametrize("command", [run, tail, topics, verify])
async def test_a_command_names_the_address(command: object, scripted_broker: ScriptedBroker, advertised: str) -> None:
    """Whatever the command does first, its error is about the brokers' address, not about the bootstrap server's."""
    scripted_broker.create_topic("aries.quotes")
    assert callable(command)
    with scripted_broker.add_rule("Metadata", advertised={0: advertised}):
        with pytest.raises(KafkaUnreachable) as raised:
            await command(scripted_broker)
    assert_named(str(raised.value), advertised, scripted_broker)


async def test_the_preflight_names_the_address(scripted_broker: ScriptedBroker, advertised: str) -> None:
    """`check` reports it as the brokers' fault, with the server that told it."""
    environ = {**NO_ARIES, "KAFKA_BOOTSTRAP_SERVERS": scripted_broker.bootstrap_servers}
    with scripted_broker.add_rule("Metadata", advertised={0: advertised}):
        results = await run_preflight(environ)
    results.expect(kafka_check.CONNECTION, Status.OK)
    results.expect(kafka_check.BROKERS, Status.FAIL, advertised, scripted_broker.addresses[0], "advertised.listeners")


async def test_an_address_that_never_answers_is_named(
    scripted_broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets that a firewall drops end in a timeout, and the reason is the same."""
    monkeypatch.setattr(advertised_listeners, "CONNECT_TIMEOUT_SECONDS", 0.2)
    with black_hole() as port:
        address = f"{HOST}:{port}"
        with scripted_broker.add_rule("Metadata", advertised={0: address}):
            with pytest.raises(KafkaUnreachable, match=r"no answer within 0\.2 s") as raised:
                await AiokafkaProducer.start(
                    {"bootstrap_servers": scripted_broker.bootstrap_servers}, timeout_seconds=0.5
                )
    assert_named(str(raised.value), address, scripted_broker)


async def test_the_service_waits_and_says_why(scripted_broker: ScriptedBroker, topic_prefix: str) -> None:
    """The reason is in the log and in the status; once the brokers are repaired, the bridge starts."""
    scripted_broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    rule = scripted_broker.add_rule("Metadata", advertised={0: UNRESOLVABLE})
    async with Simulator() as simulator:
        with capture_logs() as logs:
            async with serving(environment(simulator, scripted_broker.bootstrap_servers, topic_prefix)) as service:
                state = service.bridge.publisher.state
                await eventually(lambda: state.last_error, "a first attempt")
                assert_named(str(state.last_error), UNRESOLVABLE, scripted_broker)
                rule.remove()
                await simulator.subscribed("AAPL")
                assert state.connected
    assert_named(
        next(line["reason"] for line in logs if line["event"] == "Kafka unavailable, retrying"),
        UNRESOLVABLE,
        scripted_broker,
    )


@pytest.mark.parametrize("scripted_broker", [2], indirect=True)
async def test_one_broker_of_two_is_enough_for_metadata(scripted_broker: ScriptedBroker) -> None:
    """The start is not given up for one wrong address; the log names it when it is tried."""
    scripted_broker.create_topic("a", partitions=2)
    with scripted_broker.add_rule("Metadata", advertised={0: UNRESOLVABLE}):
        producer = await AiokafkaProducer.start({"bootstrap_servers": scripted_broker.addresses[1]}, ["a"])
        assert len(producer.partitions("a")) == 2
        assert await producer.why_silent() == ""
        await producer.close()
