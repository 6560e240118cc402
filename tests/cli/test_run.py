"""``aries-bridge run`` as a process: its messages, how it ends, and its exit codes."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme
from aiohttp import ClientSession

from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.simulator import faults
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.support.process import process
from tests.support.sasl_listener import sasl_listener
from tests.support.service import by_symbol, environment, eventually, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.process import Process
    from tests.support.scripted_broker import ScriptedBroker

TOPIC_AUTHORIZATION_FAILED = 29
TERM, INT = signal.SIGTERM, signal.SIGINT
#: What only other commands need, or only some settings.
NOT_IMPORTED = {
    *("typer", "rich", "pygments", "confluent_kafka", "watchfiles", "anyio"),
    *("bridge.cli.commands", "bridge.check", "bridge.dev", "bridge.simulator", "bridge.verify"),
    "bridge.kafka.embedded_broker",
}


async def test_wrong_settings_end_in_one_message_and_exit_code_2() -> None:
    """Every problem is listed at once, in plain text and without a traceback."""
    async with process({"ARIES_DIALECT": "morse", "ARIES_SYMBOLS": "A B"}, "run") as bridge:
        assert await bridge.ended() == 2
        output = "".join(bridge.text)
    for name in ("ARIES_DIALECT", "ARIES_SYMBOLS", "KAFKA_BOOTSTRAP_SERVERS", "ARIES_ACCESS_TOKEN"):
        assert name in output
    assert "Traceback" not in output


def test_it_imports_only_what_the_service_needs() -> None:
    """Each import delays the first record after a restart: those of other commands, and optional ones, are left out."""
    program = (
        "import sys\n"
        "sys.argv = ['aries-bridge', 'run']\n"
        "from bridge.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*(name for name, module in sys.modules.items() if module is not None))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={}, check=False)
    assert done.returncode == 2, done.stderr
    imported = set(done.stdout.split())
    assert {"bridge.app", "aiokafka", "structlog"} <= imported
    assert not imported & NOT_IMPORTED


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


async def test_a_signal_while_kafka_is_unreachable_ends_with_0(unused_address: str, topic_prefix: str) -> None:
    """The bridge connects to Kafka before Aries, so nothing was read and the stop is clean."""
    async with Simulator() as simulator:
        async with process(environment(simulator, unused_address, topic_prefix), "run") as bridge:
            line = await bridge.logged("Kafka unavailable, retrying", 2)
            assert "KAFKA_BOOTSTRAP_SERVERS" in line["reason"]
            bridge.signal(TERM)
            assert await bridge.ended() == 0
        assert simulator.received_counts.total() == 0


TOKEN_LOGIN = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_MECHANISM": "OAUTHBEARER"}


async def test_a_token_file_is_waited_for_and_its_token_is_not_shown(tmp_path: Path, topic_prefix: str) -> None:
    """Without the file the bridge starts and retries; a broker that repeats the file's new token does not reveal it."""
    file = tmp_path / "token"
    async with Simulator() as simulator, sasl_listener() as listener:
        listener.rejection = "the token {token} has no such audience"
        server = f"127.0.0.1:{listener.port}"
        environ = environment(
            simulator, server, topic_prefix, **TOKEN_LOGIN, KAFKA_OAUTH_TOKEN_FILE=str(file), BRIDGE_HTTP_PORT="0"
        )
        async with process(environ, "run") as bridge:
            first = await bridge.logged("Kafka unavailable, retrying")
            assert f"the file '{file}' of KAFKA_OAUTH_TOKEN_FILE cannot be read" in first["reason"]
            file.write_text("the-first-token")
            await eventually(lambda: len(listener.logins) > 0, what="a login")
            file.write_text("the-second-token")
            await eventually(lambda: listener.logins[-1].token == "the-second-token", what="the new token")
            await eventually(
                lambda: any("no such audience" in line["reason"] for line in bridge.all("Kafka unavailable, retrying")),
                what="the broker's message",
            )
            bridge.signal(TERM)
            assert await bridge.ended() == 0
        output = "".join(bridge.text)
    assert "the token *** has no such audience" in output
    assert "-token has" not in output


async def test_a_signal_while_aries_is_unreachable_ends_with_0(
    unused_address: str, broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Connection attempts and the waits between them end at once."""
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, ARIES_WS_URL=f"ws://{unused_address}/")
    async with process(environ, "run") as bridge:
        await bridge.logged("Aries connection lost", 3)
        bridge.signal(TERM)
        assert await bridge.ended() == 0


async def test_a_signal_during_the_handshake_ends_with_0(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A server that accepts the connection and does not answer does not delay the exit."""
    async with Simulator() as simulator:
        await simulator.inject(faults.SlowAccept(delay_seconds=60))
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await bridge.logged("connecting to Aries")
            bridge.signal(TERM)
            assert await bridge.ended() == 0


async def test_a_server_that_never_answers_the_close_does_not_delay_the_exit(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """The closing handshake has a deadline."""
    async with Simulator() as simulator:
        await simulator.inject(faults.NoClosingHandshake())
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await bridge.logged("session started")
            bridge.signal(TERM)
            assert await bridge.ended() == 0


async def test_a_fixed_token_rejected_three_times_ends_with_3(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """After the third rejection the bridge exits with a hint and without showing the token."""
    async with Simulator(tokens=["another-token"]) as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            assert await bridge.ended() == 3
            line = await bridge.logged("fatal error")
            assert "ARIES_ACCESS_TOKEN" in line["problem"]
            assert len(bridge.all("Aries connection lost")) == 2
            assert "a-good-token" not in "".join(bridge.text)


@asynccontextmanager
async def stopped_without_kafka(topic_prefix: str, drain_seconds: str) -> AsyncIterator[Process]:
    """Yield a bridge that was stopped after its broker was gone for a while; it has ended with 4."""
    gone = EmbeddedBroker().start()
    gone.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(rate=300) as simulator:
        environ = environment(simulator, gone.bootstrap_servers, topic_prefix, BRIDGE_DRAIN_SECONDS=drain_seconds)
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            gone.close()
            before = simulator.sent.market_data
            await simulator.wait_for(lambda: simulator.sent.market_data > before + 50, what="data")
            bridge.signal(TERM)
            assert await bridge.ended() == 4
            yield bridge


async def test_records_that_kafka_does_not_acknowledge_in_time_end_with_4(topic_prefix: str) -> None:
    """A forced exit reports how many records were left, and the accounts agree."""
    async with stopped_without_kafka(topic_prefix, drain_seconds="0") as bridge:
        stopped = await bridge.logged("stopped")
    accounts = stopped["accounts"]
    assert stopped["undelivered"] == accounts["undelivered"] > 0
    read_of = accounts["lines_received"] + accounts["split"]
    assert read_of == sum(
        accounts[name] for name in ("published", "filtered", "dead_lettered", "conflated", "dropped", "undelivered")
    )


async def test_a_stop_while_kafka_is_away_ends_with_4_and_no_traceback(topic_prefix: str) -> None:
    """Closing a producer with batches in flight logs no other error."""
    async with stopped_without_kafka(topic_prefix, drain_seconds="0.5") as bridge:
        assert not [line for line in bridge.logs if line["logger"] == "asyncio" or line["event"] == "unexpected error"]
        assert "Traceback" not in "".join(bridge.text)
        assert (await bridge.logged("stopped"))["undelivered"] > 0


async def test_a_second_signal_exits_at_once(topic_prefix: str) -> None:
    """A second signal does not wait for an unreachable Kafka."""
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


async def test_missing_topics_are_waited_for(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Topics are never created automatically: the log says what creates them, and nothing is read before they exist."""
    broker.create_topics([f"{topic_prefix}.quotes"])
    async with Simulator() as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            line = await bridge.logged("topics missing, waiting for them")
            assert f"{topic_prefix}.trades" in line["topics"]
            assert f"{topic_prefix}.quotes" not in line["topics"]
            assert "aries-bridge topics" in line["hint"]
            assert not bridge.all("Kafka connected")
            assert not simulator.received_counts
            broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
            await bridge.logged("subscribed")
            bridge.signal(TERM)
            assert await bridge.ended() == 0


async def test_a_signal_while_topics_are_missing_ends_with_0(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """Nothing was read, so the stop is clean."""
    async with Simulator() as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await bridge.logged("topics missing, waiting for them")
            bridge.signal(TERM)
            assert await bridge.ended() == 0
        assert not simulator.received_counts


async def test_topics_that_do_not_fit_end_with_1(scripted_broker: ScriptedBroker, topic_prefix: str) -> None:
    """Waiting would not help if the data topics have unequal partition counts."""
    for topic in Topic:
        scripted_broker.create_topic(f"{topic_prefix}.{topic}", partitions=2 if topic is Topic.TRADES else 1)
    async with Simulator() as simulator:
        async with process(environment(simulator, scripted_broker.bootstrap_servers, topic_prefix), "run") as bridge:
            assert await bridge.ended() == 1
            problem = (await bridge.logged("fatal error"))["problem"]
    assert "equal partition counts" in problem
    assert f"{topic_prefix}.trades: 2" in problem


async def test_topics_that_may_not_be_described_end_with_1(scripted_broker: ScriptedBroker, topic_prefix: str) -> None:
    """They may exist, and only an administrator can help."""
    scripted_broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    scripted_broker.add_rule("Metadata", topic=f"{topic_prefix}.trades", error=TOPIC_AUTHORIZATION_FAILED)
    async with Simulator() as simulator:
        async with process(environment(simulator, scripted_broker.bootstrap_servers, topic_prefix), "run") as bridge:
            assert await bridge.ended() == 1
            problem = (await bridge.logged("fatal error"))["problem"]
    assert f"no topic {topic_prefix}.trades (or this user may not describe it)" in problem


async def test_an_unknown_authority_is_reported_with_a_hint_that_works(
    broker: EmbeddedBroker, topics: None, topic_prefix: str, tmp_path: Path
) -> None:
    """The bridge does not use a feed whose certificate has an unknown authority, until that is configured."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with Simulator(ssl=context) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        async with process(environ, "run") as bridge:
            reason = (await bridge.logged("Aries connection lost", 2))["reason"]
            assert "certificate" in reason
            assert "ARIES_SSL_CAFILE" in reason
        assert not simulator.received_counts
        async with process({**environ, "ARIES_SSL_CAFILE": str(tmp_path / "authority.pem")}, "run") as bridge:
            await bridge.logged("subscribed")


@pytest.mark.parametrize("proxy", ["http://me:secret-word@127.0.0.1:1", "https://me:secret-word@127.0.0.1:1"])
async def test_a_proxy_that_cannot_be_reached_is_retried_without_its_password_being_shown(
    proxy: str, broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Log and status name the proxy, its variable and no credentials."""
    async with Simulator() as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix)
        environ |= {"ARIES_WS_URL": "wss://aries.example/v1/market/ws", "HTTPS_PROXY": proxy}
        async with process(environ, "run") as bridge:
            listening = await bridge.logged("HTTP server listening")
            lost = await bridge.logged("Aries connection lost", 2)
            async with ClientSession() as client:
                status = await (await client.get(f"http://127.0.0.1:{listening['port']}/status")).text()
            bridge.signal(TERM)
            assert await bridge.ended() == 0
    assert "the proxy 127.0.0.1:1 cannot be reached: Connection refused. Check HTTPS_PROXY" in lost["reason"]
    assert "the proxy 127.0.0.1:1 cannot be reached" in status
    shown = status + "".join(bridge.text)
    assert "secret-word" not in shown
    assert "Traceback" not in shown


async def test_five_thousand_symbols_are_subscribed_in_batches(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A long list is requested in several requests."""
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
    """An installed wheel shows its version and settings without configuration."""
    async with process({}, "--version") as version, process({}, "settings") as table:
        assert (await version.ended(), await table.ended()) == (0, 0)
        assert version.output.startswith("aries-bridge 0.")
        assert "KAFKA_BOOTSTRAP_SERVERS" in table.output
