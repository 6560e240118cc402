"""How long each symbol has been without data: finds the symbol that is frozen on a connection that is fine.

Time counts only while data of the symbol is expected: during a session, in the regular hours of the market. So neither
a night nor an outage makes symbols stale, a reconnect does not hide one that is, and an age survives both. If the
server does not send its hours, only the time counts in which other symbols of the topic have data.

Records cost nothing: a slow pass compares the number of each stream's next record with that of the pass before.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from bridge import log_events
from bridge.pipeline.control_events import ControlKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from bridge.pipeline.control_events import ControlEvents
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.routing import SymbolStream
    from bridge.topics import Topic

log = structlog.get_logger(__name__)

#: Maximum time between two passes, and how many passes there are at least within the shortest limit.
MAX_INTERVAL_SECONDS: Final = 15.0
PASSES_PER_LIMIT: Final = 4
#: Symbols after which other tasks get their turn: less than a millisecond of work.
PORTION: Final = 1000
#: How many of the stale symbols are listed, oldest first; all are counted.
MAX_LISTED: Final = 20
#: How many symbols of a topic an announcement names.
MAX_NAMED: Final = 10


class SymbolAge:
    """One symbol of a topic, and the time without its data that counts."""

    __slots__ = ("age_seconds", "heard_us", "is_announced", "is_stale", "limit_seconds", "next_seq", "stream", "symbol")

    def __init__(self, symbol: str, limit_seconds: float) -> None:
        self.symbol = symbol
        self.limit_seconds = limit_seconds
        self.age_seconds = 0.0
        #: When the last pass that found new data took place (µs since the epoch).
        self.heard_us: int | None = None
        self.is_stale = False
        self.is_announced = False
        self.stream: SymbolStream | None = None
        self.next_seq = 0

    def reset(self) -> None:
        """Count from now on, without an announcement."""
        self.age_seconds, self.is_stale, self.is_announced = 0.0, False, False

    def observe(self, stream: SymbolStream | None, elapsed_seconds: float, now_us: int) -> None:
        """Note whether there was data since the pass before, and how much time counts otherwise."""
        if stream is not None and (stream is not self.stream or stream.seq != self.next_seq):
            self.stream, self.next_seq = stream, stream.seq
            self.age_seconds, self.heard_us, self.is_stale = 0.0, now_us, False
        else:
            self.age_seconds += elapsed_seconds
            self.is_stale = self.age_seconds > self.limit_seconds


@dataclass(frozen=True, slots=True)
class TopicAges:
    """The oldest age on one topic, and how many symbols are stale."""

    oldest_seconds: float = 0.0
    stale: int = 0


@dataclass(frozen=True, slots=True)
class StaleSymbol:
    """A symbol that is stale."""

    topic: Topic
    symbol: str
    age_seconds: float
    heard_us: int | None


@dataclass(slots=True)
class _Changes:
    """The symbols of a topic that have become stale, and those that have data again: their number and some names."""

    stale: int = 0
    recovered: int = 0
    stale_names: list[str] = field(default_factory=list)
    recovered_names: list[str] = field(default_factory=list)

    def add(self, age: SymbolAge) -> None:
        if age.is_stale:
            self.stale += 1
            names = self.stale_names
        else:
            self.recovered += 1
            names = self.recovered_names
        if len(names) < MAX_NAMED:
            names.append(age.symbol)

    def parts(self) -> Iterator[str]:
        if self.stale:
            yield f"{self.stale} stale ({_listed(self.stale_names, self.stale)})"
        if self.recovered:
            yield f"{self.recovered} recovered ({_listed(self.recovered_names, self.recovered)})"


class SymbolAges:
    """The ages of all symbols that have a limit, as of the last pass."""

    def __init__(
        self, ingest: Ingest, control: ControlEvents, limits: Mapping[Topic, Mapping[str, float]], shortest: float
    ) -> None:
        """Take the limit of each symbol in seconds, and the ``shortest`` that any plan can have (0: there is none)."""
        #: The time between two passes; 0 if no symbol can ever be stale.
        self.interval_seconds = min(MAX_INTERVAL_SECONDS, shortest / PASSES_PER_LIMIT)
        self.topics: dict[Topic, TopicAges] = {}
        #: The stale symbols with the greatest ages, oldest first.
        self.oldest_stale: list[StaleSymbol] = []
        self._ingest = ingest
        self._control = control
        self._ages: dict[Topic, dict[str, SymbolAge]] = {}
        self._newest_data_us: dict[Topic, int] = {}
        self._checked_at: float | None = None
        self.watch(limits)

    def watch(self, limits: Mapping[Topic, Mapping[str, float]]) -> None:
        """Watch these symbols from now on; an age goes on for those that were watched before."""
        before, self._ages = self._ages, {}
        for topic, symbols in limits.items():
            known, ages = before.get(topic, {}), {}
            for symbol, seconds in symbols.items():
                ages[symbol] = known.get(symbol) or SymbolAge(symbol, seconds)
            self._ages[topic] = ages
        self.topics = {topic: self.topics.get(topic, TopicAges()) for topic in self._ages}

    def pause(self, now: float) -> None:
        """Let the time until now not count, as there is no session."""
        self._checked_at = now

    def check(
        self, now: float, now_us: int, *, market_open: bool | None, rejected: Collection[str] = ()
    ) -> Iterator[None]:
        """Bring all ages up to date, and announce changes; at each yield others may run.

        ``market_open`` is whether data of all symbols is expected, None if that is not known; ``rejected`` are
        symbols of which there is none.
        """
        elapsed = min(now - self._checked_at, 2 * self.interval_seconds) if self._checked_at is not None else 0.0
        self._checked_at = now
        announces = self._control.is_idle  # else the changes are announced after a later pass
        changes: dict[Topic, _Changes] = {}
        found: list[StaleSymbol] = []
        for topic, ages in tuple(self._ages.items()):
            counted = elapsed if self._is_data_expected(topic, market_open) else 0.0
            oldest, stale = 0.0, 0
            changed = changes[topic] = _Changes()
            symbols = tuple(ages.values())
            for start in range(0, len(symbols), PORTION):
                streams = self._ingest.streams(topic)
                portion = symbols[start : start + PORTION]
                for age in portion:
                    if age.symbol in rejected:
                        age.reset()
                    else:
                        age.observe(streams.get(age.symbol), counted, now_us)
                    oldest = max(oldest, age.age_seconds)
                    stale += age.is_stale
                    if announces and age.is_stale is not age.is_announced:
                        age.is_announced = age.is_stale
                        changed.add(age)
                found = _oldest(found, topic, portion)
                yield
            self.topics[topic] = TopicAges(oldest, stale) if market_open is not False else TopicAges()
        self.topics = {topic: self.topics[topic] for topic in self._ages}
        self.oldest_stale = found if market_open is not False else []
        self._announce({topic: changed for topic, changed in changes.items() if changed.stale or changed.recovered})

    def _is_data_expected(self, topic: Topic, market_open: bool | None) -> bool:  # noqa: FBT001 - a state, not a switch
        before, newest = self._newest_data_us.get(topic), self._ingest.last_data_us.get(topic)
        if newest is not None:
            self._newest_data_us[topic] = newest
        return newest != before if market_open is None else market_open

    def _announce(self, changes: Mapping[Topic, _Changes]) -> None:
        if not changes:
            return
        for topic, changed in changes.items():
            if changed.stale:
                log.warning(log_events.SYMBOLS_STALE, topic=topic, symbols=changed.stale, names=changed.stale_names)
            if changed.recovered:
                log.info(
                    log_events.SYMBOLS_RECOVERED, topic=topic, symbols=changed.recovered, names=changed.recovered_names
                )
        reasons = (f"{topic}: {', '.join(changed.parts())}" for topic, changed in changes.items())
        self._control.announce(ControlKind.STALE_SYMBOLS, reason="; ".join(reasons))


def _oldest(found: list[StaleSymbol], topic: Topic, portion: tuple[SymbolAge, ...]) -> list[StaleSymbol]:
    """Return the oldest of the stale symbols so far and of a portion."""
    worst = heapq.nlargest(MAX_LISTED, (age for age in portion if age.is_stale), key=lambda age: age.age_seconds)
    new = [StaleSymbol(topic, age.symbol, age.age_seconds, age.heard_us) for age in worst]
    return heapq.nlargest(MAX_LISTED, [*found, *new], key=lambda one: one.age_seconds) if new else found


def _listed(names: list[str], count: int) -> str:
    more = count - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
