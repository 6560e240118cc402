"""What becomes of a dead letter: its line goes through the pipeline again, as this version of the bridge reads it.

A redriven record belongs to the session and the time of its line, but has no place in the sequence of its symbol: the
line used up a ``seq`` that the dead letter does not name. So its ``seq`` is ``NOT_PLACED``.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.ndjson import content, is_heartbeat, parse
from bridge.errors import BadLine, Undecodable
from bridge.market_data import Update, UpdateKind
from bridge.pipeline.assembly import assemble
from bridge.pipeline.dead_letters import RECORD_REJECTED, is_cut
from bridge.secrets.secret import REDACTED
from bridge.serialization.serializer import Serializer, single_object_prefixes
from bridge.topics import MARKET_DATA, NOT_PLACED, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.aries.protocol.dialect import Dialect
    from bridge.pipeline.partition_queue import Record
    from bridge.serialization.deserializer import Deserializer
    from bridge.serialization.schemas import Schemas

_DIALECTS: Final[Mapping[str, Dialect]] = {Envelope.name: Envelope(), Action.name: Action(None)}
_UNPLACED: Final = {"seq": NOT_PLACED, "after_gap": False}
#: A letter is looked at alone, so nothing has to wait for room.
_NO_LIMIT: Final = 1 << 62


class Result(StrEnum):
    """What became of a dead letter."""

    REDRIVEN = "redriven"
    FAILED = "failed"  # the present code rejects it, too, or Kafka does
    SKIPPED = "skipped"  # it cannot, or must not, become a record


class RedrivenRecord(NamedTuple):
    """A record to publish."""

    topic: Topic
    ingest_us: int
    key: bytes
    value: bytes


class Outcome(NamedTuple):
    """The result for a dead letter: its records, or why it has none, as a word and as a text."""

    result: Result
    records: tuple[RedrivenRecord, ...] = ()
    why: str = ""
    text: str = ""


class Reprocessing:
    """The pipeline of a bridge without a feed and without Kafka, for one dead letter at a time.

    ``wanted`` are the topics of each symbol, ``prefixes`` name the schemas of values (default: by fingerprint).
    """

    def __init__(
        self,
        schemas: Schemas,
        decoder: Deserializer,
        *,
        wanted: Mapping[str, frozenset[Topic]],
        prefixes: Mapping[Topic, bytes] | None = None,
        is_full: bool | None = None,
    ) -> None:
        prefixes = prefixes or single_object_prefixes(schemas)
        self._decoder = decoder
        self._serializer = Serializer(schemas, prefixes)
        self._topics = {schemas[topic].name: topic for topic in MARKET_DATA}
        self._pipeline = assemble(
            schemas,
            names={topic: topic.value for topic in Topic},
            wanted=wanted,
            dialect="",
            partition=lambda _key, _count: 0,
            budget_bytes=_NO_LIMIT,
            market_status=False,
            is_full=is_full,
            clock=count().__next__,  # a second passes for each letter: none is beyond the rate limit
        )
        self._pipeline.use_prefixes(prefixes)
        self._pipeline.buffer.open(dict.fromkeys(Topic, 1))

    async def outcome(self, letter: Mapping[str, Any]) -> Outcome:
        """Return what becomes of a decoded dead letter."""
        if is_cut(letter["error"]):
            return _skipped("cut", "only the beginning of its line was kept")
        if REDACTED.encode() in letter["raw"]:
            return _skipped("redacted", "a secret in its line was replaced")
        if letter["reason"] == RECORD_REJECTED:
            return await self._outcome_of_record(letter)
        return self._outcome_of_line(letter)

    async def _outcome_of_record(self, letter: Mapping[str, Any]) -> Outcome:
        """Return what becomes of a letter that holds the value of a record which Kafka rejected."""
        try:
            name, record = await self._decoder.decode(letter["raw"])
        except Undecodable as error:
            return Outcome(Result.FAILED, why="undecodable", text=str(error))
        topic = self._topics.get(name)
        if topic is None:
            return Outcome(Result.FAILED, why="undecodable", text=f"its value is a {name}, no market data")
        if topic is Topic.MARKET_STATUS:
            return _compacted()
        try:
            value = self._serializer.encode(topic, {**record, **_UNPLACED})
        except BadLine as error:
            return Outcome(Result.FAILED, why=error.reason, text=str(error))
        key = str(record["symbol"]).encode()
        return Outcome(Result.REDRIVEN, (RedrivenRecord(topic, letter["ingest_time_us"], key, value),))

    def _outcome_of_line(self, letter: Mapping[str, Any]) -> Outcome:
        dialect = _DIALECTS.get(letter["dialect"] or "")
        if dialect is None:
            return _skipped("dialect", f"its dialect is {letter['dialect']!r}, which this version does not know")
        message = read(letter["raw"], dialect)
        if isinstance(message, Update) and message.kind is UpdateKind.MARKET_STATUS:
            return _compacted()
        if message is None:
            return _skipped("no_data", "its line is no market data")
        pipeline = self._pipeline
        pipeline.accounts.filtered.clear()
        pipeline.ingest.start_session(letter["session_id"] or 0)
        pipeline.ingest.ingest([(letter["raw"], message)], letter["ingest_time_us"])
        if why := next(iter(pipeline.accounts.filtered), ""):
            return _skipped(why, "no topic of its symbol takes its fields")
        queued = list(self._take_queued())
        for topic, (_, _, value, reason) in queued:
            if topic is Topic.DLQ:
                error = self._serializer.decode(topic, value)["error"]
                return Outcome(Result.FAILED, why=reason or "", text=str(error))
        return Outcome(Result.REDRIVEN, tuple(self._unplaced(topic, record) for topic, record in queued))

    def _take_queued(self) -> Iterator[tuple[Topic, Record]]:
        buffer = self._pipeline.buffer
        for queue in buffer.take_ready():
            while queue.waiting:
                yield queue.line_topic, buffer.remove_waiting(queue, 0)
            buffer.pass_over(queue)

    def _unplaced(self, topic: Topic, record: Record) -> RedrivenRecord:
        ingest_us, key, value, _ = record
        assert key is not None  # a symbol, as for every market record
        return RedrivenRecord(topic, ingest_us, key, self._serializer.replace_fields(topic, value, **_UNPLACED))


def read(raw: bytes, dialect: Dialect) -> Update | BadLine | None:
    """Return the update in a line, or what is wrong with the line; None if it is about something else."""
    text = content(raw)
    if is_heartbeat(text):
        return None
    try:
        message = dialect.read(parse(text))
    except BadLine as error:
        return error
    return message if isinstance(message, Update) else None


def _skipped(why: str, text: str) -> Outcome:
    return Outcome(Result.SKIPPED, why=why, text=text)


def _compacted() -> Outcome:
    return _skipped("compacted", "the topic of market status is compacted: an old record would replace a newer one")
