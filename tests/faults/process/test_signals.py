"""SIGTERM and SIGINT in every state: an exit in time, the right exit code, and accounts that add up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bridge.simulator import faults
from bridge.simulator.server import Simulator
from tests.faults.process.ends import accounted_end, proven, until
from tests.support.process import process
from tests.support.service import control, environment, eventually, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka
    from tests.support.process import Process

TERM, INT = signal.SIGTERM, signal.SIGINT
DRAINING = "shutting down: Aries connection closed, draining records"


@pytest.fixture
def black_hole() -> Iterator[str]:
    """Return an address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as taking:
        yield f"127.0.0.1:{taking.getsockname()[1]}"


# -- before the bridge is there -------------------------------------------------------------------------------------


def _handles_sigterm(pid: int) -> bool:
    """Return whether a process has a handler for SIGTERM (proc(5), ``SigCgt``)."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    return bool(caught & 1 << (TERM - 1))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@asynccontextmanager
async def _just_started(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


@pytest.mark.parametrize(
    ("command", "number", "code"),
    [("run", TERM, 0), ("run", INT, 0), ("check", TERM, 128 + TERM), ("tail", INT, 128 + INT)],
)
async def test_a_signal_while_the_program_is_being_imported_ends_it_quietly(
    command: str, number: signal.Signals, code: int
) -> None:
    """The service has read nothing and lost nothing; other commands exit with the code that shells expect."""
    async with _just_started(sys.executable, "-m", "bridge", command) as started:
        await eventually(lambda: _handles_sigterm(started.pid), "a handler")
        started.send_signal(number)
        output, errors = await started.communicate()
        assert (started.returncode, output, errors) == (code, b"", b"")


async def test_process_1_of_a_container_handles_a_signal_during_imports() -> None:
    """The kernel delivers no signal to process 1 without a handler: it is installed before the imports."""
    alone = ("unshare", "--user", "--map-root-user", "--pid", "--fork")
    async with _just_started(*alone, sys.executable, "-m", "bridge", "run") as outside:
        await eventually(lambda: outside.returncode is not None or _children(outside.pid), "process 1")
        if outside.returncode is not None:
            pytest.skip(f"no namespaces here: {(await outside.communicate())[1].decode()}")
        [first] = _children(outside.pid)
        await eventually(lambda: _handles_sigterm(first), "a handler")
        os.kill(first, TERM)
        _, errors = await outside.communicate()
        assert errors == b""
        assert await outside.wait() == 0


# -- before anything is read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [TERM, INT])
async def test_a_signal_while_kafka_accepts_the_connection_and_does_not_answer(
    number: signal.Signals, black_hole: str, topic_prefix: str
) -> None:
    """A broker that hangs at the start does not delay the exit."""
    async with Simulator() as simulator:
        async with process(environment(simulator, black_hole, topic_prefix), "run") as bridge:
            await bridge.logged("HTTP server listening")
            bridge.signal(number)
            assert (await accounted_end(bridge))["lines_received"] == 0
        assert simulator.received_counts.total() == 0


async def test_a_signal_while_the_registry_is_unreachable(
    broker: EmbeddedBroker, topics: None, topic_prefix: str, black_hole: str
) -> None:
    """Waiting for a registry ends at once, whether it hangs or refuses connections."""
    async with Simulator() as simulator:
        for url, event in (
            (f"http://{black_hole}", "HTTP server listening"),
            ("http://127.0.0.1:1", "schema registry unavailable, retrying"),
        ):
            environ = environment(simulator, broker.bootstrap_servers, topic_prefix, SCHEMA_REGISTRY_URL=url)
            async with process(environ, "run") as bridge:
                await bridge.logged(event)
                bridge.signal(TERM)
                assert (await accounted_end(bridge))["lines_received"] == 0


async def test_a_signal_while_the_token_endpoint_hangs(
    broker: EmbeddedBroker, topics: None, topic_prefix: str, black_hole: str
) -> None:
    """Waiting for a token ends at once."""
    async with Simulator() as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_ACCESS_TOKEN="",
            ARIES_CLIENT_ID="client",
            ARIES_REFRESH_TOKEN="refresh",
            ARIES_TOKEN_URL=f"http://{black_hole}/token",
        )
        async with process(environ, "run") as bridge:
            await bridge.logged("connecting to Aries")
            bridge.signal(TERM)
            assert (await accounted_end(bridge))["lines_received"] == 0


async def test_a_signal_while_aries_does_not_answer_the_authentication(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """A server that does not answer a token does not delay the exit."""
    async with Simulator() as simulator:
        await simulator.inject(faults.IgnoreAuth())
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await until(bridge, lambda now: now["state"] == "authenticating", "the state")
            bridge.signal(TERM)
            assert (await accounted_end(bridge))["published"] == 0


async def test_a_signal_while_subscriptions_are_not_acknowledged(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """What the server sends before it acknowledges is published."""
    async with Simulator(rate=200) as simulator:
        await simulator.inject(faults.NoAcks())
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await until(bridge, lambda now: now["accounts"]["lines_received"] > 20, "lines")
            assert not bridge.all("subscribed")
            bridge.signal(TERM)
            accounts = await accounted_end(bridge)
    await proven(broker.bootstrap_servers, topic_prefix, accounts)


# -- while data flows, or should ------------------------------------------------------------------------------------


async def test_a_signal_in_a_gap(broker: EmbeddedBroker, topics: None, topic_prefix: str) -> None:
    """A bridge that waits to reconnect publishes what it had read, and the gap stays open on control."""
    async with Simulator(rate=500) as simulator:
        environ = environment(
            simulator,
            broker.bootstrap_servers,
            topic_prefix,
            ARIES_BACKOFF_MIN_SECONDS="3000",
            ARIES_BACKOFF_MAX_SECONDS="3000",
        )
        async with process(environ, "run") as bridge:
            await until(bridge, lambda now: now["accounts"]["lines_received"] > 100, "lines")
            await simulator.inject(faults.Drop(reset=True))
            await bridge.logged("Aries connection lost")
            bridge.signal(TERM)
            accounts = await accounted_end(bridge)
    await proven(broker.bootstrap_servers, topic_prefix, accounts)
    kinds = [record["kind"] for record in control(await read(broker.bootstrap_servers, topic_prefix))]
    assert kinds[-2:] == ["GAP", "SESSION_COMPLETED"]


async def test_a_signal_while_conflated_records_are_held(
    broker: EmbeddedBroker, topics: None, topic_prefix: str
) -> None:
    """Records that wait for their interval are published when the bridge stops."""
    async with Simulator(rate=500) as simulator:
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, BRIDGE_CONFLATE_MS="60000")
        async with process(environ, "run") as bridge:
            await until(bridge, lambda now: now["buffer"]["held"] and now["accounts"]["conflated"], "held records")
            bridge.signal(INT)
            accounts = await accounted_end(bridge)
    assert accounts["undelivered"] == 0
    await proven(broker.bootstrap_servers, topic_prefix, accounts)


# -- while Kafka is away --------------------------------------------------------------------------------------------


@asynccontextmanager
async def _with_kafka(kafka: RealKafka, prefix: str, **more: str) -> AsyncIterator[Process]:
    """Run a bridge under load until data is published; at the end Kafka is resumed, whatever was done to it."""
    async with Simulator(rate=2000, lines_per_frame=10) as simulator:
        environ = environment(simulator, kafka.bootstrap_servers, prefix, **{"BRIDGE_DRAIN_SECONDS": "1", **more})
        async with process(environ, "run") as bridge:
            await until(bridge, lambda now: now["accounts"]["published"] > 200, "records on Kafka")
            try:
                yield bridge
            finally:
                kafka.resume()
                await asyncio.to_thread(kafka.wait_until_ready)


async def _piled_up(bridge: Process, records: int = 1000) -> None:
    await until(bridge, lambda now: now["accounts"]["pending"] > records, "a backlog")


async def test_a_signal_while_kafka_hangs(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """With a stopped broker the bridge is alive but not ready, and exits in time with the count of what is left."""
    async with _with_kafka(kafka, topic_prefix) as bridge:
        kafka.pause()
        await _piled_up(bridge)
        bridge.signal(TERM)
        accounts = await accounted_end(bridge)
        assert accounts["undelivered"] > 1000
    await proven(kafka.bootstrap_servers, topic_prefix, accounts, in_flight_lost=True)


async def test_a_signal_while_the_buffer_is_full(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """In an overload, with conflated records beside a full buffer, each line still has its account."""
    async with _with_kafka(kafka, topic_prefix, BRIDGE_BUFFER_BYTES="100000", KAFKA_BATCH_BYTES="50000") as bridge:
        kafka.pause()
        await bridge.logged("overload started")
        enough = ("dropped", "conflated")
        await until(bridge, lambda now: all(now["accounts"][name] > 100 for name in enough), "drops and merges")
        bridge.signal(TERM)
        accounts = await accounted_end(bridge)
        assert accounts["undelivered"] > 0
    await proven(kafka.bootstrap_servers, topic_prefix, accounts, in_flight_lost=True)


async def test_a_signal_while_a_producer_is_being_replaced(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """A bridge that is replacing its producer exits in time, too."""
    async with _with_kafka(kafka, topic_prefix, KAFKA_DELIVERY_TIMEOUT_SECONDS="1") as bridge:
        kafka.pause()
        await bridge.logged("producer replaced, resending")
        bridge.signal(TERM)
        accounts = await accounted_end(bridge)
        assert accounts["undelivered"] > 0
    await proven(kafka.bootstrap_servers, topic_prefix, accounts, in_flight_lost=True)


async def test_a_kafka_that_comes_back_during_the_drain_gets_everything(
    kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """The backlog is sent in order while the drain lasts: then nothing is undelivered."""
    async with _with_kafka(kafka, topic_prefix, BRIDGE_DRAIN_SECONDS="60") as bridge:
        kafka.pause()
        await _piled_up(bridge)
        bridge.signal(TERM)
        await bridge.logged(DRAINING)
        kafka.resume()
        accounts = await accounted_end(bridge)
    assert accounts["undelivered"] == 0
    await proven(kafka.bootstrap_servers, topic_prefix, accounts)


async def test_a_second_signal_during_a_drain(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """The exit is immediate, and the count is still exact."""
    more = {"BRIDGE_DRAIN_SECONDS": "3600", "KAFKA_BATCH_BYTES": "2000"}
    async with _with_kafka(kafka, topic_prefix, **more) as bridge:
        kafka.pause()
        await _piled_up(bridge, 5000)
        bridge.signal(TERM)
        await bridge.logged(DRAINING)
        before = (await until(bridge, lambda _: True, ""))["accounts"]["published"]
        kafka.resume()
        await until(bridge, lambda now: now["accounts"]["published"] > before, "progress")
        bridge.signal(TERM)
        accounts = await accounted_end(bridge)
        assert accounts["undelivered"] > 0
    await proven(kafka.bootstrap_servers, topic_prefix, accounts, in_flight_lost=True)


async def test_a_signal_while_kafka_is_dead(kafka: RealKafka, kafka_topics: None, topic_prefix: str) -> None:
    """Without a broker the bridge is alive, not ready, and exits in time with the count of what is left."""
    async with _with_kafka(kafka, topic_prefix, KAFKA_DELIVERY_TIMEOUT_SECONDS="1") as bridge:
        kafka.kill()
        try:
            now = await until(bridge, lambda now: not now["checks"]["kafka"]["ok"], "that Kafka is away")
            assert now["alive"]
            assert not now["ready"]
            await _piled_up(bridge)
            bridge.signal(TERM)
            accounts = await accounted_end(bridge)
            assert accounts["undelivered"] > 1000
        finally:
            kafka.launch()
    await proven(kafka.bootstrap_servers, topic_prefix, accounts, in_flight_lost=True)
