"""``aries-bridge tail``: follow topics and print their records, decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import BootstrapServers  # noqa: TC001 - typer reads annotations at run time
from bridge.cli.terminal import ThrottledNotes, discard_output, note, run_until_signal
from bridge.errors import Undecodable
from bridge.kafka.client_options import CapturedKafkaLog, bootstrap_servers, client_options, readable_errors
from bridge.kafka.consumer import open_consumer, open_deserializer
from bridge.kafka.tail import Selection, follow, seek
from bridge.network import event_loop
from bridge.serialization.formatting import json_line, text_line
from bridge.settings.kafka_side import kafka_settings
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from bridge.serialization.deserializer import Decoded, Deserializer
    from bridge.settings import Settings

    Line = Callable[[ConsumerRecord, Decoded], str]


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
        typer.Option("--json", help="One JSON object per line; decimals are strings, exact to the last digit."),
    ] = False,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start with the oldest records, not with the next ones.")
    ] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after this many records.")] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", "-s", help="Only records with this key; can be repeated.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0.1, help="End when no such record has arrived for this time."
        ),
    ] = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Decode topics to the terminal until Ctrl-C.

    Connects as the service does, with the KAFKA_* and SCHEMA_REGISTRY_*
    settings; those of Aries are not needed. A line holds the time of ingest
    (UTC), the topic, the key and the fields that are set; long texts and lists
    are cut. With --json nothing is left out: topic, partition, offset,
    timestamp, key, schema, record; times are ISO-8601.

    Records that cannot be decoded are reported on standard error and not
    counted.
    """
    settings = kafka_settings(bootstrap_servers)
    keys = frozenset(name.encode() for name in symbol or ())
    selection = Selection(tuple(topics or ()), keys, from_beginning, count, timeout)
    try:
        event_loop.run(run_until_signal(print_records(settings, selection, json_line if as_json else text_line)))
    except BrokenPipeError:  # as by `| head`
        discard_output()


async def print_records(settings: Settings, selection: Selection, line: Line) -> None:
    """Print the selected records, and a note about each that cannot be decoded.

    Raises KafkaUnreachable and TopicConfigurationError, and what the deserializer raises about the registry.
    """
    async with open_deserializer(settings) as decoder, open_consumer(settings, "tail") as consumer:
        async with readable_errors(client_options(settings, "tail")):
            if not await seek(consumer, settings.written_topics, selection):
                note("some partitions have no leader yet; their records are shown once they have one.")
        note(_start(consumer, settings, selection))
        with CapturedKafkaLog(ThrottledNotes().add):
            left = selection.count
            async for messages in follow(consumer, selection):
                lines = [text async for text in _lines(messages, decoder, line)][:left]
                if lines:
                    print(*lines, sep="\n", flush=True)  # noqa: T201 - the output of the command
                if left is not None and not (left := left - len(lines)):
                    return


async def _lines(messages: Iterable[ConsumerRecord], decoder: Deserializer, line: Line) -> AsyncIterator[str]:
    for message in messages:
        try:
            yield line(message, await decoder.decode(message.value))
        except Undecodable as error:
            note(f"{message.topic} partition {message.partition} offset {message.offset}: {error}")


def _start(consumer: AIOKafkaConsumer, settings: Settings, selection: Selection) -> str:
    partitions = consumer.assignment()
    names = ", ".join(sorted({partition.topic for partition in partitions}))
    start = "the beginning" if selection.from_beginning else "the end"
    where = f"{names} ({len(partitions)} partitions) at {bootstrap_servers(settings)}"
    return f"following {where} from {start}; press Ctrl-C to end."
