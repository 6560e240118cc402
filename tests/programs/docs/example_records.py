"""Records of every topic: what a simulated market sends, through the protocol and the pipeline, as encoded values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from unittest import mock

from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.protocol.session import Session
from bridge.aries.subscriptions import plan
from bridge.kafka.partitioner import partition
from bridge.pipeline import control_events
from bridge.pipeline.assembly import assemble
from bridge.pipeline.control_events import ControlKind, ShardIdentity
from bridge.serialization import schemas
from bridge.simulator.data_kinds import KINDS_OF, DataKind, symbol_class
from bridge.simulator.envelope_server_dialect import EnvelopeServerDialect
from bridge.simulator.market import Market
from bridge.simulator.market_status import MarketState, market_status_fields
from bridge.topics import SUBSCRIBABLE, Topic, topic_names

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A moment of a trading day: 2026-01-15 10:30 in New York.
START_MS: Final = 1_768_491_000_000
#: From the server's clock to the bridge's: one millisecond and a bit.
TRANSIT_US: Final = 1_137
SYMBOLS: Final = ("AAPL", "AAPL260619C00220000", "SPX")
NAMES: Final = topic_names("aries", {})
_SERVER: Final = EnvelopeServerDialect()
_SEED: Final = 7
#: What is rare: values that no longer hold, and an execution without its price, which becomes a dead letter.
_RARE: Final[tuple[tuple[DataKind, str, dict[str, Any]], ...]] = (
    (DataKind.QUOTE, SYMBOLS[0], {"bidPrice": None, "bidSize": None}),
    (DataKind.TRADE, SYMBOLS[1], {"openInterest": None}),
    (DataKind.GREEKS, SYMBOLS[1], {"impliedVolatility": None}),
    (DataKind.LEVEL2, SYMBOLS[0], {"orderBook": []}),
    (DataKind.TIME_AND_SALES, SYMBOLS[0], {"size": 100}),
)


class Example(NamedTuple):
    """An encoded record with its key, as they are in Kafka."""

    key: bytes | None
    value: bytes


def example_records() -> dict[Topic, list[Example]]:
    """Return records of each topic in their order; always the same ones, for a version of the program."""
    pipeline = assemble(
        schemas.load(),
        names=NAMES,
        wanted=dict.fromkeys(SYMBOLS, frozenset(SUBSCRIBABLE)),
        dialect=_SERVER.name,
        partition=partition,
        budget_bytes=1 << 20,
        instance="bridge-0",
        shard=ShardIdentity(0, 2, "us-equities"),
        is_full=True,
        clock=lambda: 0.0,
    )
    pipeline.buffer.open(dict.fromkeys(Topic, 1))
    session_id = START_MS * 1000
    pipeline.control.start_session(session_id)
    pipeline.ingest.start_session(session_id)
    session = _authenticated()
    now_us = session_id
    for line in _lines():
        now_us += TRANSIT_US
        pipeline.ingest.ingest(session.receive(line, 0.0), now_us)
    with mock.patch.object(control_events, "wall_us", return_value=now_us):
        pipeline.control.announce(ControlKind.GAP, reason="connection lost", gap_from_us=now_us - 5_000_000)
        pipeline.control.announce(ControlKind.RESUMED, gap_from_us=now_us - 5_000_000, gap_to_us=now_us)
    waiting = {topic: pipeline.buffer.queue_for(topic, None).waiting for topic in Topic}
    return {topic: [Example(key, value) for _, key, value, _ in records] for topic, records in waiting.items()}


def _authenticated() -> Session:
    session = Session(Envelope(), plan(SYMBOLS, tuple(SUBSCRIBABLE)), Timing(stale_after_seconds=0.0), 0.0)
    session.authenticate("token", 0.0)
    [request] = session.take_outgoing(0.0)[:1]
    session.receive(_encoded(_SERVER.auth_accepted(json.loads(request)["id"], 3600.0, START_MS)), 0.0)
    return session


def _lines() -> Iterator[bytes]:
    """Yield what the server sends: each kind of event of each symbol, twice, and what is rare."""
    market = Market(seed=_SEED)
    yield _encoded(_SERVER.market_status(market_status_fields(MarketState.OPEN, START_MS), START_MS))
    for now_ms in (START_MS + 250, START_MS + 500):
        for symbol in SYMBOLS:
            for kind in sorted(KINDS_OF[symbol_class(symbol)]):
                event = market.make_event(symbol, kind, now_ms)
                yield _encoded(_SERVER.update(_SERVER.update_types[kind], symbol, event.fields, now_ms))
    for kind, symbol, fields in _RARE:
        yield _encoded(_SERVER.update(_SERVER.update_types[kind], symbol, fields, START_MS + 750))


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, default=str, separators=(",", ":")).encode()
