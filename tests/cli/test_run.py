"""``aries-bridge run`` as a process: what it says, how it ends, and with which exit code."""

from __future__ import annotations

import signal
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.process import process
from tests.support.service import by_symbol, environment, read

if TYPE_CHECKING:
    from pathlib import Path

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture
def nobody() -> str:
    """Return an address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


async def test_wrong_settings_end_in_one_message_and_exit_code_2() -> None:
    """Every problem is named at once, in plain text and without a traceback."""
    async with process({"ARIES_DIALECT": "morse", "ARIES_SYMBOLS": "A B"}, "run") as bridge:
        assert await bridge.ended() == 2
        said = "".join(bridge.text)
    for name in ("ARIES_DIALECT", "ARIES_SYMBOLS", "KAFKA_BOOTSTRAP_SERVERS", "ARIES_ACCESS_TOKEN"):
        assert name in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [TERM, INT])
async def test_a_signal_drains_and_ends_with_0(
    number: signal.Signals, broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """All that was read before the signal is on Kafka, and the last control record says so."""
    async with Simulator(rate=500, lines_per_frame=5) as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await bridge.logged("subscribed")
            await simulator.wait_for(lambda: simulator.sent.market_data > 200, what="data")
            bridge.signal(number)
            assert await bridge.ended() == 0
            accounts = (await bridge.logged("stopped"))["accounts"]
    found = await read(broker.bootstrap_servers, topic_prefix)
    assert accounts["pending"] == accounts["undelivered"] == 0
    assert accounts["published"] == sum(one.topic not in (Topic.CONTROL, Topic.DLQ) for one in found)
    last = [one.record for one in found if one.topic is Topic.CONTROL][-1]
    assert last["kind"] == "SESSION_COMPLETED"
    assert last["counts"]["published"] == accounts["published"]
    for (topic, _), records in by_symbol(found).items():
        if topic not in (Topic.CONTROL, Topic.MARKET_STATUS):
            assert [record["seq"] for record in records] == list(range(len(records)))


async def test_a_signal_while_kafka_is_unreachable_ends_with_0(nobody: str, topic_prefix: str) -> None:
    """Kafka is reached before Aries is dialled; a stop in that state is a clean one."""
    async with Simulator() as simulator:
        async with process(environment(simulator, nobody, topic_prefix), "run") as bridge:
            line = await bridge.logged("Kafka unavailable, retrying", 2)
            assert "KAFKA_BOOTSTRAP_SERVERS" in line["reason"]
            bridge.signal(TERM)
            assert await bridge.ended() == 0
        assert simulator.received_counts.total() == 0


async def test_a_signal_while_aries_is_unreachable_ends_with_0(
    nobody: str, broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Dialling and backing off end at once when asked to."""
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_WS_URL=f"ws://{nobody}/")
    async with process(environ, "run") as bridge:
        await bridge.logged("Aries connection lost", 3)
        bridge.signal(TERM)
        assert await bridge.ended() == 0


async def test_a_signal_during_the_handshake_ends_with_0(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A server that accepts the connection and says nothing does not hold the bridge."""
    async with Simulator() as simulator:
        await simulator.inject(faults.SlowAccept(delay_seconds=60))
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await bridge.logged("connecting to Aries")
            bridge.signal(TERM)
            assert await bridge.ended() == 0


async def test_a_server_that_never_answers_the_close_does_not_hold_the_bridge(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """The closing handshake has a deadline."""
    async with Simulator() as simulator:
        await simulator.inject(faults.NoClosingHandshake())
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await bridge.logged("session started")
            bridge.signal(TERM)
            assert await bridge.ended() == 0


async def test_a_fixed_token_refused_three_times_ends_with_3(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A token that cannot change is given up after the third refusal, with what to do and without the token."""
    async with Simulator(tokens=["another-token"]) as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            assert await bridge.ended() == 3
            line = await bridge.logged("fatal error")
            assert "ARIES_ACCESS_TOKEN" in line["problem"]
            assert len(bridge.all("Aries connection lost")) == 2
            assert "a-good-token" not in "".join(bridge.text)


async def test_records_that_kafka_does_not_take_in_time_are_counted_and_end_with_4(topic_prefix: str) -> None:
    """A forced exit says how many records were left, and the accounts agree."""
    gone = EmbeddedBroker().start()
    gone.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(rate=300) as simulator:
        environ = environment(simulator, gone.bootstrap_servers, topic_prefix, BRIDGE_DRAIN_SECONDS="0")
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            gone.close()
            before = simulator.sent.market_data
            await simulator.wait_for(lambda: simulator.sent.market_data > before + 50, what="data")
            bridge.signal(TERM)
            assert await bridge.ended() == 4
            stopped = await bridge.logged("stopped")
    accounts = stopped["accounts"]
    assert stopped["undelivered"] == accounts["undelivered"] > 0
    read_of = accounts["lines_received"] + accounts["split"]
    assert read_of == sum(
        accounts[name] for name in ("published", "filtered", "dead_lettered", "conflated", "dropped", "undelivered")
    )


async def test_a_stop_while_kafka_is_gone_ends_with_4_and_without_a_complaint(topic_prefix: str) -> None:
    """A producer that is given up with batches in flight leaves nothing behind, not even a traceback."""
    gone = EmbeddedBroker().start()
    gone.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(rate=300) as simulator:
        environ = environment(simulator, gone.bootstrap_servers, topic_prefix, BRIDGE_DRAIN_SECONDS="0.5")
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            gone.close()
            before = simulator.sent.market_data
            await simulator.wait_for(lambda: simulator.sent.market_data > before + 50, what="data")
            bridge.signal(TERM)
            assert await bridge.ended() == 4
    assert not [line for line in bridge.logs if line["logger"] == "asyncio" or line["event"] == "unexpected error"]
    assert "Traceback" not in "".join(bridge.text)
    assert (await bridge.logged("stopped"))["undelivered"] > 0


async def test_a_second_signal_exits_at_once(topic_prefix: str) -> None:
    """Whoever asks twice does not want to wait for a Kafka that is gone."""
    gone = EmbeddedBroker().start()
    gone.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(rate=300) as simulator:
        environ = environment(simulator, gone.bootstrap_servers, topic_prefix, BRIDGE_DRAIN_SECONDS="3600")
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            gone.close()
            before = simulator.sent.market_data
            await simulator.wait_for(lambda: simulator.sent.market_data > before + 50, what="data")
            bridge.signal(TERM)
            await bridge.logged("shutting down: Aries connection closed, draining records")
            bridge.signal(TERM)
            assert await bridge.ended() == 4


async def test_a_missing_topic_ends_with_a_message_that_says_what_to_do(
    broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """Topics are never created by accident."""
    broker.create_topics([f"{topic_prefix}.quotes"])
    async with Simulator() as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            assert await bridge.ended() == 1
            problem = (await bridge.logged("fatal error"))["problem"]
    assert f"{topic_prefix}.trades" in problem
    assert f"{topic_prefix}.quotes" not in problem
    assert "aries-bridge topics" in problem


async def test_an_unknown_certificate_is_told_with_its_remedy_and_the_remedy_works(
    broker: EmbeddedBroker, topics: None, topic_prefix: str, tmp_path: Path
) -> None:
    """A feed whose certificate nobody vouches for is not spoken to, until its authority is named."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with Simulator(ssl=context) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with process(environ, "run") as bridge:
            reason = (await bridge.logged("Aries connection lost", 2))["reason"]
            assert "certificate" in reason
            assert "SSL_CERT_FILE" in reason
        assert not simulator.received_counts
        async with process({**environ, "SSL_CERT_FILE": str(tmp_path / "authority.pem")}, "run") as bridge:
            await bridge.logged("subscribed")


async def test_five_thousand_symbols_are_subscribed_in_batches(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A long list is no problem."""
    symbols = [f"S{number:04}" for number in range(5000)]
    async with Simulator() as simulator:
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, ARIES_SYMBOLS=",".join([*symbols, "S0000"])
        )
        async with process(environ, "run") as bridge:
            await simulator.subscribed(*symbols, timeout_seconds=30)
            assert (await bridge.logged("subscribed"))["symbols"] == 5000
            assert "S0000" in (await bridge.logged("settings warning"))["warning"]
            bridge.signal(TERM)
            assert await bridge.ended() == 0


async def test_the_command_line_shows_version_and_settings_without_any_environment() -> None:
    """A wheel in an empty environment can tell what it is and what it wants to know."""
    async with process({}, "--version") as version, process({}, "settings") as table:
        assert (await version.ended(), await table.ended()) == (0, 0)
        assert version.output.startswith("aries-bridge 0.")
        assert "KAFKA_BOOTSTRAP_SERVERS" in table.output
