"""With the compiled step and without it, the same lines come to the same, whatever they are."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.capture.file_format import EntryKind
from bridge.capture.reader import open_capture
from bridge.market_data import FIELDS, SHARED_FIELDS, EventType
from bridge.topics import Topic
from tests.pipeline.compiled.lines import ROWS, VALUES, frames, lines
from tests.pipeline.compiled.ways import DATA, Both
from tests.programs.bench.frames import TRADING_DAY, Recipe, lines_of
from tests.programs.golden_captures import capture

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.pipeline.compiled.ways import DialectName

pytestmark = pytest.mark.usefixtures("compiled_step")
DIALECTS: Final[tuple[DialectName, ...]] = ("envelope", "action")
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
#: A line of each layout of fields, with a place for one of them.
LINES: Final = {
    "envelope": '{"type":"event","payload":{"action":"update","type":"%s","data":{"symbol":"A",%s},"timestamp":%s}}',
    "action": '{"type":"%s","data":{"symbol":"A",%s},"timestamp":%s}',
}
#: Types of updates with the fields that they may have, and what is beside one of them.
_FLAT: Final = (*FIELDS[EventType.QUOTES], *FIELDS[EventType.TRADES], *FIELDS[EventType.GREEKS], *SHARED_FIELDS)
TYPES: Final = {
    "quote": (_FLAT, '"tick":"up",'),
    "timeAndSales": ((*FIELDS[EventType.TIMESALES], *SHARED_FIELDS), '"tradeSeq":1,'),
    "level2": ((*FIELDS[EventType.L2], *SHARED_FIELDS), ""),
}


def tried(dialect: DialectName, odd: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with usual ones between them: after several that it leaves, the compiled step is tried less often."""
    for line in odd:
        yield line
        yield DATA[dialect]


@each_dialect
@settings(max_examples=200)
@given(data=st.data())
def test_any_frames_come_to_the_same(dialect: DialectName, data: st.DataObject) -> None:
    """Records, accounts, bad and unknown fields, numbers, gaps and the session are equal."""
    with Both.used_again(dialect) as both:
        for _ in range(data.draw(st.integers(1, 3))):
            both.receive(data.draw(frames(dialect)))


@each_dialect
def test_every_value_in_every_field_comes_to_the_same(dialect: DialectName) -> None:
    """Each notation that a test knows is tried as the value of each field, and as the time of the feed."""
    with Both.used_again(dialect) as both:
        for wire_type, (names, others) in TYPES.items():
            word = wire_type if dialect == "envelope" else wire_type.replace("quote", "equityComposite")
            for name in names:
                values = ROWS if name in FIELDS[EventType.L2] else VALUES
                fields = [f'{others}"{name}":{value}' for value in values]
                both.receive(tried(dialect, ((LINES[dialect] % (word, one, "null")).encode() for one in fields)))
                both.acknowledge()
            usual = '"price":2,"tick":"up"' if wire_type != "level2" else '"quotes":null'
            both.receive(tried(dialect, ((LINES[dialect] % (word, usual, value)).encode() for value in VALUES)))
            both.acknowledge()


#: What may be odd about the data of an update.
ODD_DATA: Final = (
    *('{"symbol":"A"}', "{}", "[]", "null", '"text"', "5", '{"symbol":"A","bidSize":1', '{"symbol":"A","bidSize":1,}'),
    *('{"symbol":"A","bidSize":1,"bidSize":2}', '{"symbol":"A","bidSize":1,"bidSize":null}', '{"bidSize":1}'),
    *('{"symbol":"A","bidSize":null,"bidSize":1}', '{"symbol":"A","quotes":[],"quotes":["A::::"]}'),
    *('{"symbol":"A","symbol":"B","bidSize":1}', '{"symbol":"","bidSize":1}', '{"symbol":null,"bidSize":1}'),
    *('{"symbol":"A\x7f","bidSize":1}', '{"symbol":"%s","bidSize":1}' % ("A" * 65), '{"symbol":7,"bidSize":1}'),
    *(
        '{"symbol":"A","bidSize":1 2}',
        '{"symbol":"A" "bidSize":1}',
        '{"symbol":"A","bidSize"1}',
        '{"symbol":"A","bidSize":}',
    ),
    *('{"symbol":"A","instrumentType":"e"}', '{"symbol":"A","instrumentType":null}', '{"symbol":"A",bidSize:1}'),
    *('{"symbol":"A","bidSize":null,"askSize":null,"bidPrice":1}', '{"symbol":"A","isCancel":true,"price":1,"size":1}'),
    *('{"symbol":"A","orderBook":null,"quotes":[]}', '{"symbol":"A","orderBook":["1:2:3"],"orderBook":[]}'),
    *('{"symbol":"A","price":null,"size":1}', '{"symbol":"A","size":1}', '{"symbol":"A","price":1,"tick":null}'),
    *('{"symbol":"X","bidSize":1}', '{"symbol":"D","bidSize":1,"price":3}', '{"symbol":"C","price":1,"bidSize":2}'),
    *('{"symbol":"A","bidSize":1,"price":2,"delta":0.5}', '{"symbol":"A","bidSize":1,"price":"x","delta":0.5}'),
)
#: What may be odd about the rest of a line: ``%s`` is the data, ``TYPE`` the type of the update.
ODD_REST: Final = {
    "envelope": (
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s}}',
        '{"payload":{"data":%s,"type":TYPE,"action":"update"},"type":"event"}',
        '{"type":"event","payload":{"action":"update","type":TYPE,"type":"trade","data":%s}}',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s,"data":{"symbol":"B","bidSize":9}}}',
        '{"type":"event","payload":{"action":"update","action":"update","type":TYPE,"data":%s}}',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s,"type":"level2"}}',
        '{"type":"event","payload":{"type":TYPE,"data":%s}}',
        '{"payload":{"action":"update","type":TYPE,"data":%s}}',
        '{"type":"event","type":"event","payload":{"action":"update","type":TYPE,"data":%s}}',
        '{"type":"event","id":5,"payload":{"action":"update","type":TYPE,"data":%s}}',
        '{"type":"event","payload":{"action":null,"type":TYPE,"data":%s}}',
        '{"type":null,"payload":{"action":"update","type":TYPE,"data":%s}}',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s,"timestamp":null}}',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s,"timestamp":1,"timestamp":2}}',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s}} x',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s}',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s}},',
        '[{"type":"event","payload":{"action":"update","type":TYPE,"data":%s}}]',
        '{"type":"event","payload":{"action":"update","type":TYPE,"data":%s}}{}',
    ),
    "action": (
        '{"type":TYPE,"data":%s}',
        '{"data":%s,"type":TYPE}',
        '{"action":null,"type":TYPE,"data":%s}',
        '{"action":"publish","type":TYPE,"data":%s}',
        '{"action":"update","action":"ping","type":TYPE,"data":%s}',
        '{"action":"ping","type":TYPE,"data":%s}',
        '{"type":TYPE,"type":"greeks","data":%s}',
        '{"type":TYPE,"data":%s,"type":"level2"}',
        '{"type":TYPE,"data":%s,"data":{"symbol":"B","bidSize":9}}',
        '{"type":TYPE,"data":%s,"timestamp":"2025-06-25T04:12:14.327-04:00"}',
        '{"type":TYPE,"data":%s,"timestamp":1,"timestamp":1}',
        '{"type":TYPE,"data":%s,"id":1}',
        '{"type":TYPE,"data":%s}\0',
        '{"type":TYPE,"data":%s};',
        '{"data":%s}',
    ),
}


@each_dialect
def test_every_shape_of_a_line_comes_to_the_same(dialect: DialectName) -> None:
    """Missing, repeated, unknown and misplaced members are tried with data of all sorts."""
    words = ['"timeAndSales"', '"level2"', '"greeks"', '"nothing"', "null", '"quote"', '"equityComposite"']
    with Both.used_again(dialect) as both:
        for rest, word in product(ODD_REST[dialect], words):
            line = rest.replace("TYPE", word)
            both.receive(tried(dialect, ((line % data).encode() for data in ODD_DATA)))
            both.acknowledge()


@pytest.mark.parametrize(
    "field", ["bidPrice", "bidChange", "bidSize", "bidSizeChange", "size", "delta", "quoteTimestamp"]
)
@settings(max_examples=200)
@given(
    text=st.from_regex(r"-?[0-9]{0,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat(timespec="milliseconds")),
    quoted=st.booleans(),
)
def test_any_number_comes_to_the_same(field: str, text: str, *, quoted: bool) -> None:
    """Digits, points, signs and exponents in any number are read to the same bytes, or left to Python."""
    value = f'"{text}"' if quoted else text
    with Both.used_again("action") as both:
        both.receive([(LINES["action"] % ("equityComposite", f'"{field}":{value},"tick":"up"', "1")).encode()])


@each_dialect
@settings(max_examples=100)
@given(data=st.data())
def test_usual_lines_are_taken_by_the_compiled_step(dialect: DialectName, data: st.DataObject) -> None:
    """Once a symbol is known, every usual line is taken, however its fields are combined."""
    with Both.used_again(dialect) as both:
        line = data.draw(lines(dialect, odd=False).filter(lambda line: b'"D"' not in line))
        both.receive([line])
        taken, published = both.compiled.taken, both.compiled.pipeline.accounts.filtered.total()
        both.receive([line, line])
        filtered = both.compiled.pipeline.accounts.filtered.total() - published
        assert both.compiled.taken - taken == 2 - filtered


@each_dialect
def test_nearly_all_lines_of_a_trading_day_are_taken(dialect: DialectName) -> None:
    """The simulator's quotes, trades, executions and books are usual ones."""
    day = [line.replace(b"KRSB", b"A") for line in lines_of(Recipe(TRADING_DAY, 400, 1, dialect, symbols=2))]
    with Both.used_again(dialect) as both:
        both.receive(day)
        before = both.compiled.taken
        both.receive([b"\n".join(day[at : at + 7]) + b"\n" for at in range(0, len(day), 7)])
        assert both.compiled.taken - before == len(day)


def captured(dialect: DialectName) -> Iterator[bytes]:
    """Yield the frames of the golden capture of a dialect."""
    with open_capture(capture(dialect)) as opened:
        yield from (entry.data for entry in opened.entries() if entry.kind is EntryKind.FRAME)


@each_dialect
def test_captured_frames_come_to_the_same(dialect: DialectName) -> None:
    """What the simulator sends, with its faults, and lines that it has none for."""
    with Both.used_again(dialect) as both:
        for frame in captured(dialect):
            both.receive([frame])
        both.receive([b"\n".join(captured(dialect))])


class Pressure(RuleBasedStateMachine):
    """Both ways between a feed, a budget and Kafka that behave in any way."""

    @initialize(
        dialect=st.sampled_from(DIALECTS),
        budget_bytes=st.sampled_from([900, 2_500, 5_000, 1 << 20]),
        conflate_ms=st.sampled_from([0, 0, 3]),
        latest=st.booleans(),
        is_full=st.sampled_from([None, True, False]),
    )
    def start(self, dialect: DialectName, **given: Any) -> None:
        self.dialect = dialect
        self.both = Both(dialect, **given)

    @rule(data=st.data(), times=st.integers(1, 4))
    def receive(self, data: st.DataObject, times: int) -> None:
        usual = [data.draw(lines(self.dialect, odd=False)) for _ in range(3)]
        self.both.receive(usual * times)

    @rule(quotes=st.integers(0, 9), sales=st.integers(0, 9))
    def receive_more(self, quotes: int, sales: int) -> None:
        """Receive lines of one symbol, until there is no room."""
        sale = LINES[self.dialect] % ("timeAndSales", '"price":1', 1)
        self.both.receive([DATA[self.dialect]] * quotes + [sale.encode()] * sales)

    @rule(data=st.data())
    def receive_anything(self, data: st.DataObject) -> None:
        self.both.receive(data.draw(frames(self.dialect)))

    @rule(most=st.integers(1, 4))
    def send(self, most: int) -> None:
        for way in self.both:
            for queue in way.buffer.take_ready():
                way.buffer.start_batch(queue, min(most, len(queue.waiting)), 0.0)

    @rule()
    def acknowledge(self) -> None:
        for way in self.both:
            for queue in [queue for queue in way.buffer.queues() if queue.in_flight]:
                way.buffer.acknowledge(queue)
            way.acknowledge()

    @rule()
    def lose_the_producer(self) -> None:
        for way in self.both:
            way.buffer.requeue()

    @rule(topic=st.sampled_from([Topic.QUOTES, Topic.TIMESALES]), is_stalled=st.booleans())
    def stall(self, *, topic: Topic, is_stalled: bool) -> None:
        for way in self.both:
            for key in (b"A", b"B"):
                queue = way.buffer.queue_for(topic, key)
                way.buffer.set_stalled(queue, is_stalled=is_stalled)
                if is_stalled:
                    way.ingest.shed(queue, 3)

    @rule(symbol=st.sampled_from([b"A", b"B"]))
    def find_no_room(self, symbol: bytes) -> None:
        """Let a queue be one that a record found no room in: what conflates waits beside it."""
        for way in self.both:
            way.ingest.overload.begin(way.buffer.queue_for(Topic.QUOTES, symbol))
            way.ingest.overload.announce()

    @rule()
    def release(self) -> None:
        for way in self.both:
            way.ingest.release(way.now_us)

    @rule()
    def reconnect(self) -> None:
        for way in self.both:
            way.reconnect()

    @rule(wanted=st.sampled_from(["A", "AB", "ABCD", ""]))
    def change_subscriptions(self, wanted: str) -> None:
        for way in self.both:
            way.ingest.set_wanted({symbol: frozenset({Topic.QUOTES, Topic.L2}) for symbol in wanted})

    @rule(prefix=st.binary(min_size=5, max_size=5))
    def change_prefixes(self, prefix: bytes) -> None:
        for way in self.both:
            way.pipeline.use_prefixes(dict.fromkeys(Topic, prefix))

    @invariant()
    def both_are_equal(self) -> None:
        if hasattr(self, "both"):
            self.both.compare()


TestPressure = Pressure.TestCase
TestPressure.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
