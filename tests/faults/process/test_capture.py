"""Captures of a process: a signal that writes the flight recorder, and a kill that leaves a readable file."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from bridge.errors import CaptureUnreadable
from bridge.simulator.server import Simulator
from bridge.topics import Topic
from tests.capture.captured import files, frames
from tests.support.process import process
from tests.support.service import environment, eventually

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.kafka.embedded_broker import EmbeddedBroker


def shows(directory: Path, data: bytes) -> bool:
    """Return whether the captures that are begun by now have something in a frame."""
    try:
        return any(data in frame for frame in frames(*files(directory)))
    except CaptureUnreadable:  # the header is not written yet
        return False


async def test_sigusr1_writes_the_flight_recorder_each_time(
    broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path
) -> None:
    """As often as an operator asks, and the bridge goes on."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(dialect="envelope") as simulator:
        settings = {"BRIDGE_CAPTURE_DIR": str(tmp_path), "BRIDGE_CAPTURE_MODE": "incidents"}
        environ = environment(simulator, broker.bootstrap_servers, topic_prefix, **settings)
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            for count in (1, 2):
                bridge.signal(signal.SIGUSR1)
                line = await bridge.logged("frames before an incident captured", count)
                assert (line["cause"], line["frames"] > 1) == ("signal", True)
            bridge.signal(signal.SIGTERM)
            assert await bridge.ended() == 0
    assert [len(frames(path)) > 1 for path in files(tmp_path, "signal")] == [True, True]


async def test_sigusr1_does_nothing_without_captures(broker: EmbeddedBroker, topic_prefix: str) -> None:
    """By default this signal would end the process."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator() as simulator:
        async with process(environment(simulator, broker.bootstrap_servers, topic_prefix), "run") as bridge:
            await bridge.logged("subscribed")
            bridge.signal(signal.SIGUSR1)
            bridge.signal(signal.SIGTERM)
            assert await bridge.ended() == 0


async def test_a_killed_process_leaves_its_capture(broker: EmbeddedBroker, topic_prefix: str, tmp_path: Path) -> None:
    """All frames but those of the last moment can be read."""
    broker.create_topics(f"{topic_prefix}.{topic}" for topic in Topic)
    async with Simulator(dialect="envelope") as simulator:
        environ = environment(
            simulator, broker.bootstrap_servers, topic_prefix, BRIDGE_CAPTURE_DIR=str(tmp_path), ARIES_SYMBOLS="AAPL"
        )
        async with process(environ, "run") as bridge:
            await bridge.logged("subscribed")
            await simulator.quote("AAPL", bidPrice="1.25")
            await eventually(lambda: shows(tmp_path, b"1.25"), "the quote in the capture")
            bridge.signal(signal.SIGKILL)
            await bridge.ended()
    assert len(frames(*files(tmp_path))) == simulator.sent.frames
