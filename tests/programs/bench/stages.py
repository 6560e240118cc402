"""The CPU time of each stage: ``python -m tests.programs.bench.stages``.

Each stage is run alone, over the same feed, again and again in turn with the others; the least CPU time of each
counts, as whatever else the machine does only adds to it. What no stage has is the event loop's and the socket's.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer
from rich.box import HEAVY_HEAD, MARKDOWN
from rich.console import Console
from rich.table import Table
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.uri import parse_uri

from bridge.kafka.record_batch import batch_maker
from bridge.market_data import Update
from bridge.serialization.fast import encode_string
from tests.programs.bench.core import FRAMES_PER_READ, INGEST_US, Core
from tests.programs.bench.frames import LEVEL2, QUOTES, TRADING_DAY, Recipe, build, lines_of
from tests.programs.bench.interpreter import python

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import Record
    from tests.programs.bench.frames import DialectName, Feed

WARM, COUNTED, REPEATS = 6_000, 2_000, 15
#: The bytes of one socket read, and the records of a batch, at full speed.
CHUNK_BYTES: Final = 1 << 16
RECORDS_PER_BATCH: Final = 85
FEEDS: Final = {"quotes": QUOTES, "level2": LEVEL2, "mix": TRADING_DAY}

#: Prepares a stage, unmeasured, and returns what is to be measured.
Stage = Callable[[], Callable[[], None]]


class Stages:
    """The stages of a feed's processing."""

    def __init__(self, recipe: Recipe) -> None:
        lines = list(lines_of(recipe))
        self._recipe = recipe
        self._feed: Feed = build(recipe)
        self._warm, rest = lines[:WARM], lines[WARM:]
        size = recipe.lines_per_frame
        self._frames = [b"\n".join(rest[at : at + size]) for at in range(0, len(rest), size)]

    def all(self) -> dict[str, Stage]:
        """Return the stages by name; those indented are part of the one above."""
        return {
            "WebSocket frames (Sans-I/O core)": self._websocket,
            "lines to events (session.receive_some)": self._receive,
            "  JSON, to an update": self._json,
            "events to queues (ingest.ingest)": self._take,
            "  Avro": self._encode,
            "queues to batches (append)": partial(self._batch, "none"),
            "compression (zstd, with append)": partial(self._batch, "zstd"),
            "acknowledged (accounts, budget)": self._acknowledge,
        }

    def _websocket(self) -> Callable[[], None]:
        protocol = ClientProtocol(parse_uri("ws://localhost/"), state=State.OPEN)
        start = self._feed.ends[WARM // self._recipe.lines_per_frame - 1]
        wire = self._feed.wire[start:]

        def work() -> None:
            for at in range(0, len(wire), CHUNK_BYTES):
                protocol.receive_data(wire[at : at + CHUNK_BYTES])
                protocol.events_received()

        return work

    def _receive(self) -> Callable[[], None]:
        session = self._core().session

        def work() -> None:
            for at in range(0, len(self._frames), FRAMES_PER_READ):
                session.receive_some(deque(self._frames[at : at + FRAMES_PER_READ]), 0.0)

        return work

    def _json(self) -> Callable[[], None]:
        lines = [line for frame in self._frames for line in frame.split(b"\n")]
        update = self._core().session._decode_update

        def work() -> None:
            for line in lines:
                update(line)

        return work

    def _take(self) -> Callable[[], None]:
        core = self._core()
        lines = [line for frame in self._frames for line in core.session.receive(frame, 0.0)]

        def work() -> None:
            for at in range(0, len(lines), FRAMES_PER_READ):
                core.ingest.ingest(lines[at : at + FRAMES_PER_READ], INGEST_US)

        return work

    def _encode(self) -> Callable[[], None]:
        core = self._core()
        calls = []
        for frame in self._frames:
            for _, event in core.session.receive(frame, 0.0):
                assert isinstance(event, Update)
                layout = core.ingest._layouts[event.kind].known[tuple(event.fields)]
                for encode in layout.encode.values():
                    symbol = encode_string(event.symbol)
                    calls.append((encode, event.fields, event.feed_time, symbol))

        def work() -> None:
            for encode, fields, feed_time, symbol in calls:
                encode(fields, feed_time, symbol, b"12345678", b"12345678", 500, False)  # noqa: FBT003 - see Encode

        return work

    def _batch(self, compression: str) -> Callable[[], None]:
        new_batch = batch_maker(compression, 1 << 19)
        batches = [
            records[at : at + RECORDS_PER_BATCH]
            for records in self._records()
            for at in range(0, len(records), RECORDS_PER_BATCH)
        ]

        def work() -> None:
            for records in batches:
                batch = new_batch()
                batch.fill(records)
                batch.encode(1, 0, 0)

        return work

    def _acknowledge(self) -> Callable[[], None]:
        core = self._core()
        for frame in self._frames:
            core.take(frame)
        return core.acknowledge

    def _records(self) -> list[list[Record]]:
        core = self._core()
        for frame in self._frames:
            core.take(frame)
        return [list(queue.waiting) for queue in core.buffer.queues() if queue.waiting]

    def _core(self) -> Core:
        core = Core(self._recipe)
        for line in self._warm:
            core.take(line)
        core.acknowledge()
        return core


def least_cpu_us(stages: dict[str, Stage]) -> dict[str, float]:
    """Return the least CPU time of each stage in µs a line."""
    found = dict.fromkeys(stages, float("inf"))
    for _ in range(REPEATS):
        for name, stage in stages.items():
            work = stage()
            gc.collect()
            started = time.process_time()
            work()
            found[name] = min(found[name], (time.process_time() - started) / COUNTED * 1e6)
    return found


def main(
    feed: Annotated[Literal["quotes", "level2", "mix"], typer.Option(help="What the lines are.")] = "quotes",
    dialect: Annotated[Literal["envelope", "action"], typer.Option(help="How they are written.")] = "envelope",
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as the README has it.")] = False,
) -> None:
    """Print the CPU time of each stage at one line a frame and at ten."""
    title = f"{feed}, {dialect}, {python()}: least CPU time of {REPEATS} repetitions, µs a line"
    table = Table(title=title, box=MARKDOWN if markdown else HEAVY_HEAD)
    table.add_column("stage")
    columns = []
    for lines_per_frame in (1, 10):
        table.add_column(f"{lines_per_frame} a frame", justify="right")
        columns.append(_column(feed, dialect, lines_per_frame))
    for name in columns[0]:
        table.add_row(name, *(f"{column[name]:.2f}" for column in columns))
    Console().print(table)


def _column(feed: str, dialect: DialectName, lines_per_frame: int) -> dict[str, float]:
    return least_cpu_us(Stages(Recipe(FEEDS[feed], WARM + COUNTED, lines_per_frame, dialect)).all())


if __name__ == "__main__":
    typer.run(main)
