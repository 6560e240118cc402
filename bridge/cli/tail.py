"""``aries-bridge tail``: follow topics and print their records, decoded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.options import BootstrapServers  # noqa: TC001 - typer reads annotations at run time
from bridge.cli.output import discard, while_output_is_open
from bridge.cli.terminal import ThrottledNotes, note, run_until_signal
from bridge.cli.times import Since, Until, time_range_us, utc_text
from bridge.cli.undecodable import UndecodableRecords
from bridge.clock import wall_us
from bridge.errors import Undecodable
from bridge.kafka.client_options import CapturedKafkaLog, bootstrap_servers, client_options, readable_errors
from bridge.kafka.consumer import open_consumer
from bridge.kafka.tail import Selection, follow, is_caught_up, seek
from bridge.network import event_loop
from bridge.serialization.decoding import open_deserializer
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
    since: Since = None,
    until: Until = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Decode topics to the terminal until Ctrl-C.

    Connects as the service does, with the KAFKA_* and SCHEMA_REGISTRY_*
    settings; those of Aries are not needed. A line holds the time of ingest
    (UTC), the topic, the key and the fields that are set; long texts and lists
    are cut. With --json nothing is left out: topic, partition, offset,
    timestamp, key, schema, record; times are ISO-8601.

    Of records that cannot be decoded the first of each cause is reported on
    standard error, and at the end how many there were; they do not count as
    records. If they are all there is, it ends with 1.
    """
    settings = kafka_settings(bootstrap_servers)
    keys = frozenset(name.encode() for name in symbol or ())
    since_us, until_us = time_range_us(since, until)
    if from_beginning and since is not None:
        raise typer.BadParameter("--since and --from-beginning are two places to start from: leave one out")
    if until_us is not None and since is None and not from_beginning and until_us <= wall_us():
        raise typer.BadParameter(f"--until {until} is past: add --since or --from-beginning")
    selection = Selection(tuple(topics or ()), keys, from_beginning, count, timeout, since_us, until_us)
    printing = Printing(settings, selection, json_line if as_json else text_line)
    try:
        event_loop.run(run_until_signal(while_output_is_open(printing.run())))
    except BrokenPipeError:  # as by `| head`
        discard(sys.stdout, sys.stderr)
        return
    printing.conclude()


class Printing:
    """A run of the command."""

    def __init__(self, settings: Settings, selection: Selection, line: Line) -> None:
        self._settings = settings
        self._selection = selection
        self._line = line
        self._printed = 0
        self._undecodable = UndecodableRecords()

    async def run(self) -> None:
        """Print the selected records, and a note about the first of each kind that cannot be decoded.

        Raises KafkaUnreachable and TopicConfigurationError, and what the deserializer raises about the registry.
        """
        settings, selection = self._settings, self._selection
        async with open_deserializer(settings) as decoder, open_consumer(settings, "tail") as consumer:
            async with readable_errors(client_options(settings, "tail")):
                if not await seek(consumer, settings.written_topics, selection):
                    note("some partitions have no leader yet; their records are shown once they have one.")
            note(_start(consumer, settings, selection))
            with CapturedKafkaLog(ThrottledNotes().add):
                async for messages in follow(consumer, selection):
                    lines = [text async for text in self._lines(messages, decoder)]
                    if selection.count is not None:
                        lines = lines[: selection.count - self._printed]
                    if lines:
                        print(*lines, sep="\n", flush=True)  # noqa: T201 - the output of the command
                    self._printed += len(lines)
                    if self._printed == selection.count:
                        return
                    if not messages and self._is_vain() and await is_caught_up(consumer):
                        return

    def conclude(self) -> None:
        """Show what could not be decoded; raise NothingDecodable if that was all there was."""
        self._undecodable.conclude(self._printed)

    def _is_vain(self) -> bool:
        """Return whether what the topics hold is wanted, and none of it could be decoded so far."""
        return bool(self._selection.reads_history and self._undecodable and not self._printed)

    async def _lines(self, messages: Iterable[ConsumerRecord], decoder: Deserializer) -> AsyncIterator[str]:
        for message in messages:
            try:
                yield self._line(message, await decoder.decode(message.value))
            except Undecodable as error:
                self._undecodable.add(message, error)


def _start(consumer: AIOKafkaConsumer, settings: Settings, selection: Selection) -> str:
    partitions = consumer.assignment()
    names = ", ".join(sorted({partition.topic for partition in partitions}))
    start = "the beginning" if selection.from_beginning else "the end"
    if selection.since_us is not None:
        start = utc_text(selection.since_us)
    end = "" if selection.until_us is None else f" until {utc_text(selection.until_us)}"
    where = f"{names} ({len(partitions)} partitions) at {bootstrap_servers(settings)}"
    return f"following {where} from {start}{end}; press Ctrl-C to end."
