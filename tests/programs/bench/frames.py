"""Feeds built before a run: every frame as it is sent, and the records that must result.

The market is the simulator's: the full set of fields of each kind, prices that walk, times that pass. The same seed
makes the same bytes.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice, product
from string import ascii_uppercase
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from websockets.frames import Frame, Opcode

from bridge.simulator.action_server_dialect import ActionServerDialect
from bridge.simulator.data_kinds import INDICES, DataKind
from bridge.simulator.envelope_server_dialect import EnvelopeServerDialect
from bridge.simulator.feed_timestamps import iso_with_offset
from bridge.simulator.instrument import Instrument
from bridge.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from bridge.simulator.instrument import Fields
    from bridge.simulator.server_dialect import ServerDialect

DialectName = Literal["envelope", "action"]
#: The kinds of events in a feed, and their weights. A trade is two lines: itself, and its time and sales.
Happenings = tuple[tuple[DataKind, int], ...]

QUOTES: Final[Happenings] = ((DataKind.QUOTE, 1),)
LEVEL2: Final[Happenings] = ((DataKind.LEVEL2, 1),)
#: Of 100 lines 70 are quotes, 20 trades and time and sales, 10 level 2.
TRADING_DAY: Final[Happenings] = ((DataKind.QUOTE, 70), (DataKind.TRADE, 10), (DataKind.LEVEL2, 10))

#: Price levels on each side of a book: 20 rows in all, beside a row for each exchange.
LEVELS_A_SIDE: Final = 10
#: The clock of the feed: it starts on a trading day, and advances a millisecond each so many lines (10,000 a second).
FIRST_MS: Final = 1_750_858_200_000
LINES_PER_MS: Final = 10

_TOPICS: Final = {
    DataKind.QUOTE: Topic.QUOTES,
    DataKind.TRADE: Topic.TRADES,
    DataKind.TIME_AND_SALES: Topic.TIMESALES,
    DataKind.LEVEL2: Topic.L2,
}
_ACTION_WORDS: Final = {
    DataKind.QUOTE: "equityComposite",
    DataKind.TRADE: "equityComposite",
    DataKind.TIME_AND_SALES: "timeAndSales",
    DataKind.LEVEL2: "level2",
}
#: A name of letters stands for an equity.
_SYMBOL_LETTERS: Final = 4


@dataclass(frozen=True, slots=True)
class Recipe:
    """The composition of a feed."""

    happenings: Happenings
    lines: int
    lines_per_frame: int = 1
    dialect: DialectName = "envelope"
    symbols: int = 100
    seed: int = 1
    #: Of the others' lines none can be read, as after a change of the feed's format; None: all symbols are good.
    good_symbols: int | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed: its frames, the end of each, and the number of records of each symbol."""

    recipe: Recipe
    wire: bytes
    ends: array[int]
    records: Mapping[Topic, Mapping[str, int]]

    @property
    def topics(self) -> list[Topic]:
        """Return the topics that get records."""
        return sorted(self.records)

    @property
    def published(self) -> int:
        """Return how many records there are in all: one of each line, but of those that cannot be read."""
        return sum(sum(counts.values()) for counts in self.records.values())

    def save(self, folder: Path) -> Path:
        """Save it for a feeder, and return the path."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "wire").write_bytes(self.wire)
        (folder / "ends").write_bytes(self.ends.tobytes())
        return folder


@dataclass(slots=True)
class _Tape:
    """A collector of lines into frames."""

    lines_per_frame: int
    frames: list[bytes] = field(default_factory=list)
    ends: array[int] = field(default_factory=lambda: array("Q"))
    size: int = 0

    def add(self, lines: list[bytes]) -> None:
        frame = Frame(Opcode.TEXT, b"\n".join(lines)).serialize(mask=False)
        self.frames.append(frame)
        self.size += len(frame)
        self.ends.append(self.size)


def symbols(count: int) -> list[str]:
    """Return a number of symbols of equities, always the same."""
    names = ("".join(letters) for letters in product(ascii_uppercase, repeat=_SYMBOL_LETTERS))
    return random.Random(0).sample([name for name in names if name not in INDICES], count)


def build(recipe: Recipe) -> Feed:
    """Build the feed of a recipe; it takes some 40 µs a line."""
    records: dict[Topic, Counter[str]] = {}
    tape = _Tape(recipe.lines_per_frame)
    pending: list[bytes] = []
    good = set(symbols(recipe.symbols)[: recipe.good_symbols])
    for kind, symbol, line in islice(_lines(recipe), recipe.lines):
        if symbol in good:
            records.setdefault(_TOPICS[kind], Counter())[symbol] += 1
        pending.append(line)
        if len(pending) == recipe.lines_per_frame:
            tape.add(pending)
            pending = []
    if pending:
        tape.add(pending)
    return Feed(recipe, b"".join(tape.frames), tape.ends, records)


def lines_of(recipe: Recipe) -> Iterator[bytes]:
    """Yield the lines of a feed, without frames around them."""
    return (line for _, _, line in islice(_lines(recipe), recipe.lines))


def _lines(recipe: Recipe) -> Iterator[tuple[DataKind, str, bytes]]:
    dialect: ServerDialect = EnvelopeServerDialect() if recipe.dialect == "envelope" else ActionServerDialect()
    encode = msgspec.json.Encoder(decimal_format=dialect.prices).encode
    words = {kind: _word(dialect, kind) for kind in _TOPICS}
    good = set(symbols(recipe.symbols)[: recipe.good_symbols])
    for kind, symbol, fields, now_ms in _events(recipe):
        read = fields if symbol in good else _damaged(fields)
        yield kind, symbol, encode(dialect.update(words[kind], symbol, read, now_ms))


def _damaged(fields: Fields) -> Fields:
    """Return fields whose values are objects, which no record can hold; all are read in vain."""
    return {name: value if name == "symbol" else {"value": value} for name, value in fields.items()}


def _word(dialect: ServerDialect, kind: DataKind) -> str:
    return dialect.update_types[kind] if isinstance(dialect, EnvelopeServerDialect) else _ACTION_WORDS[kind]


def _events(recipe: Recipe) -> Iterator[tuple[DataKind, str, Fields, int]]:
    rng = random.Random(recipe.seed)
    instruments = [Instrument(symbol, recipe.seed) for symbol in symbols(recipe.symbols)]
    drawn = [kind for kind, weight in recipe.happenings for _ in range(weight)]
    told = 0
    while True:
        instrument = instruments[int(rng.random() * len(instruments))]
        kind = drawn[int(rng.random() * len(drawn))]
        now_ms = FIRST_MS + told // LINES_PER_MS
        for one, fields in _happen(instrument, kind, iso_with_offset(now_ms)):
            told += 1
            yield one, instrument.symbol, fields, now_ms


def _happen(instrument: Instrument, kind: DataKind, timestamp: str) -> Iterable[tuple[DataKind, Fields]]:
    if kind is DataKind.TRADE:
        trade, sale = instrument.trade(timestamp)
        return (DataKind.TRADE, trade), (DataKind.TIME_AND_SALES, sale)
    quote = instrument.quote(timestamp)  # a book stands around the quote: the market moves for both
    return ((kind, quote if kind is DataKind.QUOTE else instrument.level2(LEVELS_A_SIDE)),)
