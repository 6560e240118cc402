"""Where a symbol's records go, and how they are numbered."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from bridge.errors import BadLine
from bridge.serialization.fast import encode_long, encode_string
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.pipeline.partition_queue import PartitionQueue
    from bridge.pipeline.record_buffer import RecordBuffer

#: A newer record replaces an older one without loss of meaning: these conflate. The others are events of their own.
CONFLATED = frozenset({Topic.QUOTES, Topic.GREEKS})
#: Symbols per topic that a feed can make us remember; far above any subscription, far below our memory.
MAX_SYMBOLS = 100_000


class SymbolStream:
    """What the records of one symbol on one topic have in common during a session."""

    __slots__ = (
        "after_gap",
        "conflates",
        "interval",
        "key",
        "queue",
        "seq",
        "session_bytes",
        "session_id",
        "symbol",
        "symbol_bytes",
        "topic",
    )

    def __init__(self, topic: Topic, symbol: str, queue: PartitionQueue, session_id: int) -> None:
        self.topic = topic
        self.symbol = symbol
        self.conflates = topic in CONFLATED
        self.key = symbol.encode()
        self.symbol_bytes = encode_string(symbol)
        self.queue = queue
        self.session_id = session_id
        self.session_bytes = encode_long(session_id)
        #: ``seq`` and ``after_gap`` of the next record.
        self.seq = 0
        self.after_gap = True
        #: The conflation interval in which the last record was let through.
        self.interval = -1

    def skip(self) -> None:
        """Make a missing record visible: its number is used up, and the next record is after a gap."""
        self.seq += 1
        self.after_gap = True


class Router:
    """The streams of a session, and which of them get the records of an update."""

    def __init__(self, buffer: RecordBuffer, wanted: Mapping[str, frozenset[Topic]], *, market_status: bool) -> None:
        #: The streams of a symbol's updates with fields for these topics; looked up before :meth:`route` is called.
        self.routes: defaultdict[tuple[Topic, ...], dict[str, tuple[SymbolStream, ...]]] = defaultdict(dict)
        self._unremembered: frozenset[str] = frozenset()
        self._buffer = buffer
        self._always = _always(market_status)
        self._session_id = 0
        #: Sessions of some of the symbols, newest first.
        self._sessions: list[tuple[Callable[[str], bool], int]] = []
        self._streams: dict[Topic, dict[str, SymbolStream]] = {}
        self._wanted: Mapping[str, frozenset[Topic]] = {}
        #: Symbols that are wanted no more, oldest first, with their topics: none.
        self._removed: dict[str, frozenset[Topic]] = {}
        self.start_session(0)
        self.set_wanted(wanted)

    def start_session(self, session_id: int, includes: Callable[[str], bool] | None = None) -> None:
        """Count ``seq`` from 0 again; the first record of each symbol is after a gap.

        ``includes`` returns whether a symbol has part in the session, if not all have.
        """
        if includes is None:
            self._session_id = session_id
            self._sessions.clear()
            self._streams = {topic: {} for topic in MARKET_DATA}
        else:
            self._sessions.insert(0, (includes, session_id))
            for streams in self._streams.values():
                for symbol in [symbol for symbol in streams if includes(symbol)]:
                    del streams[symbol]
        self.routes.clear()

    def set_market_status(self, *, wanted: bool) -> None:
        """Publish the market status from now on, or not."""
        self._always = _always(wanted)
        self.set_wanted({symbol: topics for symbol, topics in self._wanted.items() if symbol not in self._removed})

    def set_wanted(self, wanted: Mapping[str, frozenset[Topic]]) -> None:
        """Route the records of these symbols to these topics from now on.

        An unknown symbol, as of a feed that spells it another way than it was subscribed to, gets the union of all.
        A symbol that was wanted before is known, and gets nothing: a server may ignore that it is not wanted any more.
        A symbol that is wanted again after it was not has missed something: its next record is after a gap.
        """
        before = self._wanted
        self._remember_removed(before, wanted)
        self._wanted = {**self._removed, **wanted}
        self._wanted_by_any = frozenset().union(*wanted.values(), self._always)
        self.routes.clear()
        for symbol, topics in wanted.items():
            for topic in topics.difference(before.get(symbol, ())):
                if (stream := self._streams[topic].get(symbol)) is not None:
                    stream.after_gap = True

    def route(self, topics: tuple[Topic, ...], symbol: str) -> tuple[SymbolStream, ...]:
        """Return the streams of a symbol for those of the topics that are wanted, and remember them in ``routes``.

        Raises ``BadLine`` (reason ``too_many_symbols``).
        """
        wanted = self._wanted.get(symbol, self._wanted_by_any)
        streams = tuple(self._stream(topic, symbol) for topic in topics if topic in wanted)
        if streams and symbol not in self._unremembered:
            self.routes[topics][symbol] = streams
        return streams

    def set_unremembered(self, symbols: Iterable[str]) -> None:
        """Let each update of these symbols be routed by ``route``, so that its caller sees them all."""
        self._unremembered = frozenset(symbols)
        self.routes.clear()

    def _remember_removed(self, before: Mapping[str, frozenset[Topic]], wanted: Mapping[str, frozenset[Topic]]) -> None:
        for symbol in before:
            if symbol not in wanted:
                self._removed.setdefault(symbol, frozenset())
        for symbol in wanted:
            self._removed.pop(symbol, None)
        for symbol in list(self._removed)[:-MAX_SYMBOLS]:
            del self._removed[symbol]

    def known_stream(self, topic: Topic, symbol: str) -> SymbolStream | None:
        """Return a symbol's stream on a topic if it has had a record in this session."""
        return self._streams[topic].get(symbol)

    def streams(self, topic: Topic) -> Mapping[str, SymbolStream]:
        """Return the streams of the symbols that have had a record on a topic in this session."""
        return self._streams[topic]

    def _stream(self, topic: Topic, symbol: str) -> SymbolStream:
        streams = self._streams[topic]
        stream = streams.get(symbol)
        if stream is None:
            if len(streams) >= MAX_SYMBOLS:
                raise BadLine("too_many_symbols", f"more than {MAX_SYMBOLS} symbols on {topic}")
            queue = self._buffer.queue_for(topic, symbol.encode())
            stream = streams[symbol] = SymbolStream(topic, symbol, queue, self._session_of(symbol))
        return stream

    def _session_of(self, symbol: str) -> int:
        return next((session_id for includes, session_id in self._sessions if includes(symbol)), self._session_id)


def _always(market_status: bool) -> frozenset[Topic]:  # noqa: FBT001 - the one fact of it
    return frozenset({Topic.MARKET_STATUS}) if market_status else frozenset()


def skip(streams: Iterable[SymbolStream]) -> None:
    """Make it visible to consumers that a record is missing in each of these streams."""
    for stream in streams:
        stream.skip()
