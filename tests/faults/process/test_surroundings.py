"""A faulty machine: files cannot be written, the log is not read, no file descriptors are left."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from bridge.simulator import faults
from bridge.simulator.server import Simulator
from tests.faults.process.ends import accounted_end, proven, until
from tests.faults.proof import verified
from tests.faults.proxy import Proxy
from tests.support.ports import reserved_port
from tests.support.process import process
from tests.support.service import DEADLINE_SECONDS, environment, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from bridge.kafka.embedded_broker import EmbeddedBroker
    from tests.support.brokers import RealKafka

TERM = signal.SIGTERM
#: Makes the whole file system read-only for one command, in namespaces of its own.
READ_ONLY = """
mount --make-rprivate / && mount --bind /tmp /tmp &&
mount -o remount,bind,ro /tmp && mount -o remount,bind,ro / && exec "$@"
"""
ALONE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, "sh")


class Unheard:
    """A bridge whose standard error is not read: known by HTTP and its exit code alone."""

    def __init__(self, started: asyncio.subprocess.Process, port: int) -> None:
        self.process = started
        self._port = port

    async def until(self, holds: Callable[[Mapping[str, Any]], object], what: str) -> Mapping[str, Any]:
        """Poll ``/status`` until a condition holds."""
        async with asyncio.timeout(DEADLINE_SECONDS), aiohttp.ClientSession() as http:
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{self._port}/status") as answer:
                        now: dict[str, Any] = await answer.json()
                    if holds(now):
                        return now
                except aiohttp.ClientError:
                    assert self.process.returncode is None, what
                await asyncio.sleep(0.02)

    async def bridges(self, records: int = 300) -> None:
        """Wait until so many more records are published."""
        target = (await self.until(lambda _: True, "an answer"))["accounts"]["published"] + records
        await self.until(lambda now: now["accounts"]["published"] >= target, "records on Kafka")

    async def ends(self) -> int:
        """Stop it and return its exit code."""
        self.process.send_signal(TERM)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()


@asynccontextmanager
async def unheard(environ: Mapping[str, str], *before: str, stderr: int | None = None) -> AsyncIterator[Unheard]:
    """Run the service behind a command, with the given standard error."""
    with reserved_port() as port:
        started = await asyncio.create_subprocess_exec(
            *(*before, sys.executable, "-m", "bridge", "run"),
            env={"PATH": os.environ["PATH"], **environ, "BRIDGE_HTTP_PORT": str(port)},
            stderr=stderr,
        )
        try:
            yield Unheard(started, port)
        finally:
            if started.returncode is None:
                started.kill()
            await started.wait()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Run a feed."""
    async with Simulator(rate=500, lines_per_frame=5) as running:
        yield running


@pytest.fixture
def environ(simulator: Simulator, broker: EmbeddedBroker, topics: None, topic_prefix: str) -> dict[str, str]:
    """Return the environment of a bridge between the feed and the embedded broker."""
    return environment(simulator, broker.bootstrap_servers, topic_prefix)


# -- nothing can be written -----------------------------------------------------------------------------------------


async def test_a_full_disk_does_not_matter(
    environ: dict[str, str], broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """No file can grow, not even the log's: the bridge publishes and drains nevertheless."""
    log = tmp_path / "log"
    with log.open("wb") as file:
        async with unheard(environ, "prlimit", "--fsize=0", stderr=file.fileno()) as bridge:
            await bridge.bridges()
            assert await bridge.ends() == 0
    assert log.read_bytes() == b""
    assert (await verified(broker.bootstrap_servers, topic_prefix)).proven


async def test_a_read_only_file_system_does_not_matter(
    environ: dict[str, str], broker: EmbeddedBroker, topic_prefix: str
) -> None:
    """The bridge stores nothing on disk: it needs no home, no temporary directory, and no cache."""
    if not _is_read_only_behind(ALONE):
        pytest.skip("no namespaces here")
    async with unheard(environ, *ALONE) as bridge:
        await bridge.bridges()
        assert await bridge.ends() == 0
    assert (await verified(broker.bootstrap_servers, topic_prefix)).proven


def _is_read_only_behind(command: Sequence[str]) -> bool:
    tried = subprocess.run([*command, "sh", "-c", "! touch x /tmp/x"], cwd="/tmp", stderr=subprocess.PIPE, check=False)
    return tried.returncode == 0 and b"Read-only file system" in tried.stderr


async def test_a_subscriptions_file_that_hangs_does_not_delay_the_exit(
    environ: dict[str, str], broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """A thread that waits for a file for ever, as on a lost network drive, is abandoned."""
    file = tmp_path / "subscriptions"
    file.write_text("AAPL")
    async with process({**environ, "ARIES_SUBSCRIPTIONS_FILE": str(file)}, "run") as bridge:
        await until(bridge, lambda now: now["accounts"]["published"] > 100, "records on Kafka")
        hanging = tmp_path / "fifo"
        os.mkfifo(hanging)
        hanging.rename(file)
        await eventually(lambda: _waits_for_a_writer(bridge.pid), "a thread that hangs")
        bridge.signal(TERM)
        accounts = await accounted_end(bridge)
    await proven(broker.bootstrap_servers, topic_prefix, accounts)


def _waits_for_a_writer(pid: int) -> bool:
    """Return whether a thread of a process waits in ``open`` for a writer of a pipe (proc(5), ``wchan``)."""
    waits = [thread.read_text() for thread in Path(f"/proc/{pid}/task").glob("*/wchan")]
    return any("fifo" in wait or "wait_for_partner" in wait for wait in waits)


# -- the log is not read --------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Return a pipe."""
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:  # the test has closed it
            continue


def _fill(pipe: int) -> int:
    """Fill a pipe, and return how many bytes that takes."""
    size = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    return os.write(pipe, b"x" * (size - 1) + b"\n")


async def test_a_log_reader_that_died_does_not_matter(
    environ: dict[str, str], simulator: Simulator, broker: EmbeddedBroker, topic_prefix: str, pipe: tuple[int, int]
) -> None:
    """Each line meets a broken pipe; the bridge continues."""
    os.close(pipe[0])
    async with unheard(environ, stderr=pipe[1]) as bridge:
        await bridge.bridges()
        await simulator.inject(faults.Drop())
        await bridge.bridges()
        assert await bridge.ends() == 0
    assert (await verified(broker.bootstrap_servers, topic_prefix)).proven


async def test_a_log_reader_that_hangs_delays_nothing_and_misses_no_line(
    environ: dict[str, str], simulator: Simulator, broker: EmbeddedBroker, topic_prefix: str, pipe: tuple[int, int]
) -> None:
    """A full pipe delays neither records nor signals; lines wait in the log queue until it is read again."""
    reading, writing = pipe
    stuffing = _fill(writing)
    async with unheard(environ, stderr=writing) as bridge:
        os.close(writing)
        await bridge.bridges()
        assert len(os.read(reading, stuffing)) == stuffing
        await simulator.inject(faults.Drop())
        await bridge.bridges()
        assert await bridge.ends() == 0
        with os.fdopen(reading, "rb", closefd=False) as log:
            lines = [json.loads(line) for line in log]
    events = [line["event"] for line in lines]
    assert (events[0], events[-1]) == ("starting", "stopped")
    assert events.count("session started") == 2
    assert "log lines dropped" not in events
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    assert (await verified(broker.bootstrap_servers, topic_prefix)).proven


async def test_a_signal_is_handled_while_the_log_hangs(environ: dict[str, str], pipe: tuple[int, int]) -> None:
    """A bridge whose log is never read exits with the same code."""
    _fill(pipe[1])
    async with unheard(environ, stderr=pipe[1]) as bridge:
        await bridge.bridges()
        assert await bridge.ends() == 0


async def test_the_descriptor_of_a_closed_standard_error_is_not_reused(environ: dict[str, str]) -> None:
    """What a library writes there must not go into a socket, so the descriptor leads to nowhere."""
    async with unheard(environ, "sh", "-c", 'exec "$@" 2>&- <&-', "sh") as bridge:
        await bridge.bridges()
        taken = [os.readlink(f"/proc/{bridge.process.pid}/fd/{number}") for number in (0, 2)]  # noqa: PTH115 - a text
        assert taken == ["/dev/null", "/dev/null"]
        assert await bridge.ends() == 0


# -- no descriptors are left ----------------------------------------------------------------------------------------


async def test_a_lack_of_file_descriptors_is_recovered_from(
    simulator: Simulator, kafka: RealKafka, kafka_topics: None, topic_prefix: str
) -> None:
    """Aries and Kafka are retried, what was read waits, and all of it arrives."""
    server, port = kafka.proxied()
    async with Proxy(server, port=port) as proxy:
        environ = environment(simulator, f"localhost:{port}", topic_prefix, KAFKA_DELIVERY_TIMEOUT_SECONDS="1")
        async with process(environ, "run") as bridge:
            await until(bridge, lambda now: now["accounts"]["published"] > 100, "records on Kafka")
            before = resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, (3, before[1]))  # what is open stays open
            proxy.cut()
            await bridge.logged("Kafka unavailable, retrying")
            await simulator.inject(faults.Drop())
            lost = await bridge.logged("Aries connection lost", 3)
            assert "Too many open files" in lost["reason"]
            resource.prlimit(bridge.pid, resource.RLIMIT_NOFILE, before)
            await bridge.logged("data resumed after gap")
            await until(bridge, lambda now: now["ready"], "readiness")
            bridge.signal(TERM)
            # Without descriptors asyncio itself may complain: in one of some thirty runs it did.
            accounts = await accounted_end(bridge, may_complain=True)
    assert accounts["undelivered"] == 0
    await proven(kafka.bootstrap_servers, topic_prefix, accounts)
