"""``aries-bridge tail``: follow topics and show their records, decoded."""

from __future__ import annotations

import asyncio
import heapq
import math
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from bridge import schemas
from bridge.decoder import Decoder, Undecodable
from bridge.errors import KafkaUnreachable, TopicsUnfit
from bridge.kafka.access import (
    CONNECT_TIMEOUT_SECONDS,
    KafkaWords,
    client_options,
    close_consumer,
    kafka_settings,
    reaching,
    servers,
)
from bridge.readable import json_line, text_line
from bridge.registry import Registry
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping

    from aiokafka import ConsumerRecord

    from bridge.decoder import Decoded
    from bridge.settings import Settings

    Line = Callable[[ConsumerRecord, Decoded], str]

#: How long to wait for the ends of all partitions; one without a leader has none to tell.
POSITION_TIMEOUT_SECONDS = 5.0
#: Longest wait for records in one go; without any, the next wait follows.
POLL_SECONDS = 10.0
#: Complaints of the Kafka client come many a second while a broker is away.
COMPLAIN_EVERY_SECONDS = 10.0
#: So many records are decoded at a stretch: signals and sockets get their turn in between.
CHUNK_RECORDS = 250
# Bounds of one answer: a few thousand records at hand, also where 100 partitions are read from their beginnings.
FETCH_BYTES = 8 << 20
PARTITION_FETCH_BYTES = 256 << 10


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
        asyncio.run(_until_signalled(follow(settings, selection, json_line if as_json else text_line)))
    except BrokenPipeError:  # `| head` has seen enough
        _let_go_of_the_pipe()


async def follow(settings: Settings, selection: Selection, line: Line) -> None:
    """Write the selected records to standard output, and what cannot be decoded to standard error.

    Raises KafkaUnreachable and TopicsUnfit, and what the decoder raises about the registry.
    """
    async with _decoder(settings) as decoder, _consumer(settings) as consumer:
        with reaching(servers(settings)):
            await _position(consumer, settings, selection)
        _note(_following(consumer, settings, selection))
        with KafkaWords(_Complaints().tell):
            await _show(_arriving(consumer, selection), decoder, line, selection.count)


async def _show(chunks: AsyncIterator[list[ConsumerRecord]], decoder: Decoder, line: Line, count: int | None) -> None:
    async for chunk in chunks:
        lines = [text async for text in _lines(chunk, decoder, line)][:count]
        if lines:
            sys.stdout.write("\n".join(lines) + "\n")
            sys.stdout.flush()
        if count is not None:
            count -= len(lines)
            if not count:
                return


async def _lines(messages: Iterable[ConsumerRecord], decoder: Decoder, line: Line) -> AsyncIterator[str]:
    for message in messages:
        try:
            yield line(message, await decoder.decode(message.value))
        except Undecodable as error:
            _note(f"{message.topic} partition {message.partition} offset {message.offset}: {error}")


async def _arriving(consumer: AIOKafkaConsumer, selection: Selection) -> AsyncIterator[list[ConsumerRecord]]:
    """Yield wanted records as they come, those at hand by time; end when none came for the selection's timeout.

    A partition's own order stays, whatever its times.
    """
    patience = selection.timeout_seconds or math.inf
    newest = time.monotonic()
    while (wait := newest + patience - time.monotonic()) > 0:
        fetched = await _fetched(consumer, min(wait, POLL_SECONDS))
        wanted = (
            message
            for message in heapq.merge(*fetched.values(), key=lambda message: message.timestamp)
            if not selection.keys or message.key in selection.keys
        )
        while chunk := list(islice(wanted, CHUNK_RECORDS)):
            yield chunk
            newest = time.monotonic()
            await asyncio.sleep(0)


async def _fetched(consumer: AIOKafkaConsumer, wait_seconds: float) -> Mapping[TopicPartition, list[ConsumerRecord]]:
    try:
        fetched: dict[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
            timeout_ms=math.ceil(wait_seconds * 1000)
        )
    except TopicAuthorizationFailedError as error:
        raise TopicsUnfit(
            f"Kafka does not let us read the topic {', '.join(map(str, error.args))}: grant Read on it to the account "
            "of KAFKA_SASL_USERNAME (or of the client certificate)."
        ) from error
    except KafkaError as error:
        raise KafkaUnreachable(f"reading from Kafka failed for good: {error!r}.") from error
    return fetched


# -- connecting ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _decoder(settings: Settings) -> AsyncIterator[Decoder]:
    known = schemas.load()
    if settings.schema_registry_url is None:
        yield Decoder(known)
        return
    async with Registry.of(settings, settings.schema_registry_url) as registry:
        yield Decoder(known, registry)


@asynccontextmanager
async def _consumer(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Hold a started consumer of no group; raises KafkaUnreachable."""
    consumer = AIOKafkaConsumer(
        **client_options(settings, "tail"),
        enable_auto_commit=False,
        # Where a record is gone before we could read it, the oldest one that is left comes next.
        auto_offset_reset="earliest",
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
    )
    try:
        with reaching(servers(settings)):
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await consumer.start()
        yield consumer
    finally:
        with KafkaWords():
            await close_consumer(consumer)


async def _position(consumer: AIOKafkaConsumer, settings: Settings, selection: Selection) -> None:
    """Assign all partitions of the selected topics, at their beginnings or ends."""
    client = consumer._client  # noqa: SLF001 - the consumer's own ways to metadata name topics, see below
    async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
        cluster = await client.fetch_all_metadata()
    names = _selected(selection.topics, settings.topics, cluster.topics(exclude_internal_topics=False))
    consumer.assign([TopicPartition(name, number) for name in names for number in cluster.partitions_for_topic(name)])
    # A metadata request that names a topic creates it on a broker that permits that: also one that is deleted while
    # we follow it. A request without names returns all and creates none.
    client.set_topics([])
    if not selection.from_beginning:
        await _seek_to_end(consumer)


async def _seek_to_end(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(POSITION_TIMEOUT_SECONDS):
            await consumer.seek_to_end()
    except TimeoutError:
        _note("some partitions tell no end, as those without a leader; their records are shown once they do.")


def _selected(asked: tuple[str, ...], ours: Mapping[Topic, str], existing: set[str]) -> list[str]:
    """Return full names; raise TopicsUnfit where one that was asked for, or every one of ours, is missing."""
    by_short_name = {topic.value: name for topic, name in ours.items()}
    names = [by_short_name.get(name, name) for name in asked]
    missing = [name for name in names if name not in existing]
    if not asked:
        names = [name for name in ours.values() if name in existing]
        missing = [] if names else list(ours.values())
    if missing:
        raise TopicsUnfit(
            f"Kafka has no topic {', '.join(missing)} (or we may not describe it). `aries-bridge topics` creates the "
            f"bridge's topics, which are called after KAFKA_TOPIC_PREFIX and KAFKA_TOPIC_<TYPE>: "
            f"{', '.join(ours.values())}."
        )
    return list(dict.fromkeys(names))


# -- the terminal -------------------------------------------------------------------------------------------------


def _following(consumer: AIOKafkaConsumer, settings: Settings, selection: Selection) -> str:
    partitions = consumer.assignment()
    names = ", ".join(sorted({partition.topic for partition in partitions}))
    start = "the beginning" if selection.from_beginning else "the end"
    return f"following {names} ({len(partitions)} partitions) at {servers(settings)} from {start}; Ctrl-C ends."


def _note(text: str) -> None:
    typer.echo(f"aries-bridge: {text}", err=True)


class _Complaints:
    """Pass on what the Kafka client says, but seldom."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def tell(self, words: str) -> None:
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + COMPLAIN_EVERY_SECONDS
            _note(f"{words.rstrip('.')}; trying on.")


async def _until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done, or SIGINT or SIGTERM ends it."""
    working = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, working.cancel)
    await asyncio.wait([working])
    if not working.cancelled():
        working.result()


def _let_go_of_the_pipe() -> None:
    """Keep the interpreter from writing to it once more at exit (docs.python.org, "Note on SIGPIPE")."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
