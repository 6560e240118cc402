"""``aries-bridge tail``: follow topics and show their records, decoded."""

from __future__ import annotations

import asyncio
import heapq
import math
import sys
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.terminal import Complaints, let_go_of_the_pipe, note, until_signalled
from bridge.errors import Undecodable
from bridge.kafka.client_options import CapturedKafkaLog, bootstrap_servers, readable_errors
from bridge.kafka.consumer import assign_topics, fetch, open_consumer, open_deserializer
from bridge.serialization.formatting import json_line, text_line
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from bridge.serialization.deserializer import Decoded, Deserializer
    from bridge.settings import Settings

    Line = Callable[[ConsumerRecord, Decoded], str]

#: How long to wait for the ends of all partitions; one without a leader has none to tell.
POSITION_TIMEOUT_SECONDS = 5.0
#: Longest wait for records in one go; without any, the next wait follows.
POLL_SECONDS = 10.0
#: So many records are decoded at a stretch: signals and sockets get their turn in between.
CHUNK_RECORDS = 250


@dataclass(frozen=True, slots=True)
class Selection:
    """Say what is shown, and until when.

    ``topics`` are short or full names (none: all of the bridge's that exist), ``keys`` those wanted (none: all);
    ``count`` records or ``timeout_seconds`` without any end it.
    """

    topics: tuple[str, ...] = ()
    keys: frozenset[bytes] = frozenset()
    from_beginning: bool = False
    count: int | None = None
    timeout_seconds: float | None = None


def tail(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC",
            help=f"Short names ({', '.join(Topic)}) or full ones. Default: all of these that exist.",
            show_default=False,
        ),
    ] = None,
    *,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="One JSON object a line; decimals are strings, exact to the last digit."),
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest records, not with what comes next.")
    ] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many records.")] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", "-s", help="Only records with this key; may be repeated.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0.1, help="End when no such record came for so long."),
    ] = None,
    bootstrap_servers: Annotated[
        str | None, typer.Option("--bootstrap-servers", "-b", help="Instead of KAFKA_BOOTSTRAP_SERVERS.")
    ] = None,
) -> None:
    """Decode topics to the terminal until Ctrl-C.

    Connects as the service does, by the KAFKA_* and SCHEMA_REGISTRY_*
    settings; those of Aries are not needed. A line holds the time of ingest
    (UTC), the topic, the key and the fields that are set; long texts and lists
    are cut. With --json nothing is left out: topic, partition, offset,
    timestamp, key, schema, record; times are ISO-8601.

    What cannot be decoded is told on standard error and not counted.
    """
    settings = kafka_settings(bootstrap_servers)
    keys = frozenset(name.encode() for name in symbol or ())
    selection = Selection(tuple(topics or ()), keys, from_beginning, count, timeout)
    try:
        asyncio.run(until_signalled(follow(settings, selection, json_line if as_json else text_line)))
    except BrokenPipeError:  # `| head` has seen enough
        let_go_of_the_pipe()


async def follow(settings: Settings, selection: Selection, line: Line) -> None:
    """Write the selected records to standard output, and what cannot be decoded to standard error.

    Raises KafkaUnreachable and TopicConfigurationError, and what the decoder raises about the registry.
    """
    async with open_deserializer(settings) as decoder, open_consumer(settings, "tail") as consumer:
        with readable_errors(bootstrap_servers(settings)):
            await _position(consumer, settings, selection)
        note(_following(consumer, settings, selection))
        with CapturedKafkaLog(Complaints().tell):
            await _show(_arriving(consumer, selection), decoder, line, selection.count)


async def _show(
    chunks: AsyncIterator[list[ConsumerRecord]], decoder: Deserializer, line: Line, count: int | None
) -> None:
    async for chunk in chunks:
        lines = [text async for text in _lines(chunk, decoder, line)][:count]
        if lines:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        if count is not None:
            count -= len(lines)
            if not count:
                return


async def _lines(messages: Iterable[ConsumerRecord], decoder: Deserializer, line: Line) -> AsyncIterator[str]:
    for message in messages:
        try:
            yield line(message, await decoder.decode(message.value))
        except Undecodable as error:
            note(f"{message.topic} partition {message.partition} offset {message.offset}: {error}")


async def _arriving(consumer: AIOKafkaConsumer, selection: Selection) -> AsyncIterator[list[ConsumerRecord]]:
    """Yield wanted records as they come, those at hand by time; end when none came for the selection's timeout.

    A partition's own order stays, whatever its times.
    """
    patience = selection.timeout_seconds or math.inf
    newest = time.monotonic()
    while (wait := newest + patience - time.monotonic()) > 0:
        found = await fetch(consumer, min(wait, POLL_SECONDS))
        wanted = (
            message
            for message in heapq.merge(*found.values(), key=lambda message: message.timestamp)
            if not selection.keys or message.key in selection.keys
        )
        while chunk := list(islice(wanted, CHUNK_RECORDS)):
            yield chunk
            newest = time.monotonic()
            await asyncio.sleep(0)


# -- connecting ---------------------------------------------------------------------------------------------------


async def _position(consumer: AIOKafkaConsumer, settings: Settings, selection: Selection) -> None:
    """Assign all partitions of the selected topics, at their beginnings or ends."""
    await assign_topics(consumer, settings.topics, selection.topics)
    if not selection.from_beginning:
        await _seek_to_end(consumer)


async def _seek_to_end(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(POSITION_TIMEOUT_SECONDS):
            await consumer.seek_to_end()
    except TimeoutError:
        note("some partitions tell no end, as those without a leader; their records are shown once they do.")


# -- the terminal -------------------------------------------------------------------------------------------------


def _following(consumer: AIOKafkaConsumer, settings: Settings, selection: Selection) -> str:
    partitions = consumer.assignment()
    names = ", ".join(sorted({partition.topic for partition in partitions}))
    start = "the beginning" if selection.from_beginning else "the end"
    return (
        f"following {names} ({len(partitions)} partitions) at {bootstrap_servers(settings)} from {start}; Ctrl-C ends."
    )
