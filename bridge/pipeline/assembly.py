"""The parts of the pipeline, put together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.pipeline.accounts import Accounts
from bridge.pipeline.compiled import plan
from bridge.pipeline.control_events import ONLY_SHARD, ControlEvents, ShardIdentity
from bridge.pipeline.dead_letter_limit import DeadLetterLimit
from bridge.pipeline.dead_letters import DeadLetters
from bridge.pipeline.incidents import ignore_incident
from bridge.pipeline.ingest import Ingest
from bridge.pipeline.latest import LatestStates
from bridge.pipeline.overload import Overload
from bridge.pipeline.record_buffer import RecordBuffer
from bridge.serialization.decimals import DecimalEncoder
from bridge.serialization.fast import FastSerializer
from bridge.serialization.serializer import Serializer, single_object_prefixes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.market_data import UpdateShape
    from bridge.pipeline.compiled._lines import LineEncoder
    from bridge.pipeline.latest import Subscribed
    from bridge.serialization.schemas import Schemas
    from bridge.topics import Topic, TopicNames


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Everything between a line and its queued record."""

    accounts: Accounts
    buffer: RecordBuffer
    control: ControlEvents
    ingest: Ingest
    decimals: DecimalEncoder
    _serializer: Serializer
    _fast_serializer: FastSerializer
    _line_encoder: LineEncoder | None

    def use_prefixes(self, prefixes: Mapping[Topic, bytes]) -> None:
        """Name the schemas by other prefixes from now on, such as a registry's ids."""
        self._serializer.set_prefixes(prefixes)
        self._fast_serializer.set_prefixes(prefixes)
        if self._line_encoder is not None:
            for topic, prefix in prefixes.items():
                self._line_encoder.set_prefix(topic, prefix)


def assemble(
    schemas: Schemas,
    *,
    names: TopicNames,
    wanted: Mapping[str, frozenset[Topic]],
    dialect: str,
    partition: Callable[[bytes, int], int],
    budget_bytes: int,
    instance: str = "",
    shard: ShardIdentity = ONLY_SHARD,
    market_status: bool = True,
    conflate_ms: int = 0,
    is_full: bool | None = None,
    redact: Callable[[str], str] = str,
    clock: Callable[[], float] = time.monotonic,
    latest: Subscribed | None = None,
    on_incident: Callable[[str, str], None] = ignore_incident,
    compiled_shape: UpdateShape | None = None,
) -> Pipeline:
    """Return a pipeline whose queues are not open yet.

    ``names`` are the topics' names in Kafka, ``wanted`` the topics of each symbol; see :class:`RecordBuffer` for
    ``partition``. ``is_full``: whether a level-2 message has all rows, if that is known. ``clock``
    returns monotonic seconds. ``latest``: the fields of each symbol whose latest state is published; None: of none.
    ``on_incident`` is called with the cause and the detail of each incident. ``compiled_shape``: the shape of lines
    that the compiled step takes; None: Python takes all.
    """
    prefixes = single_object_prefixes(schemas)
    decimals = DecimalEncoder()
    serializer = Serializer(schemas, prefixes)
    fast_serializer = FastSerializer(schemas, prefixes, decimals, is_full=is_full)
    accounts = Accounts()
    buffer = RecordBuffer(names, accounts, budget_bytes, partition=partition)
    control = ControlEvents(serializer, buffer, accounts, instance=instance, shard=shard, redact=redact)
    overload = Overload(buffer, control)
    ingest = Ingest(
        serializer=serializer,
        fast_serializer=fast_serializer,
        decimals=decimals,
        buffer=buffer,
        accounts=accounts,
        overload=overload,
        dead_letters=DeadLetters(
            serializer,
            buffer,
            accounts,
            overload,
            dialect=dialect,
            redact=redact,
            limit=DeadLetterLimit(clock),
            on_incident=on_incident,
        ),
        wanted=wanted,
        market_status=market_status,
        conflate_ms=conflate_ms,
        is_full=is_full,
        latest=None if latest is None else LatestStates(serializer, buffer, accounts, decimals, latest),
        on_incident=on_incident,
    )
    line_encoder = None
    if compiled_shape is not None:
        line_encoder = plan.line_encoder(
            compiled_shape, schemas, prefixes, ingest=ingest, buffer=buffer, accounts=accounts, is_full=is_full
        )
        ingest.take_lines = line_encoder.take
    return Pipeline(accounts, buffer, control, ingest, decimals, serializer, fast_serializer, line_encoder)
