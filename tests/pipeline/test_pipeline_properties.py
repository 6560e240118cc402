"""From lines to acknowledged records, with everything between at random: what a consumer finds is what was sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from fastavro import schemaless_reader
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.errors import BadLine
from bridge.market_data import UpdateKind
from bridge.pipeline.dead_letter_limit import DeadLetterLimit
from bridge.pipeline.partition_queue import size_of
from bridge.pipeline.routing import CONFLATED
from bridge.serialization.serializer import FINGERPRINT_BYTES, SINGLE_OBJECT_MARKER
from bridge.topics import MARKET_DATA, Topic
from tests.pipeline.test_ingest import SCHEMAS, Table

if TYPE_CHECKING:
    from bridge.pipeline.partition_queue import PartitionQueue, Record

SYMBOLS: Final = ("AAPL", "MSFT", "A")
PRICES: Final = st.none() | st.sampled_from(["1.5", "2.25", "3", "0.000000001"])
QUOTES: Final = st.fixed_dictionaries({"bidPrice": PRICES, "askPrice": PRICES, "bidSize": st.sampled_from([1, 2])})
PREFIX_BYTES: Final = len(SINGLE_OBJECT_MARKER) + FINGERPRINT_BYTES
NAMES: Final = {"bidPrice": "bid_price", "askPrice": "ask_price", "bidSize": "bid_size"}

Stream = tuple[int, Topic, str]


def decoded(topic: Topic, value: bytes) -> dict[str, Any]:
    record = schemaless_reader(BytesIO(value[PREFIX_BYTES:]), SCHEMAS[topic].parsed, None)
    assert isinstance(record, dict)
    return record


class Consumer:
    """A consumer of each symbol: it discards its state at a gap, else keeps the last value until that is cleared."""

    def __init__(self) -> None:
        self.seqs: dict[Stream, list[int]] = defaultdict(list)
        self.known: dict[Stream, dict[str, Any]] = defaultdict(dict)

    def take(self, topic: Topic, record: dict[str, Any]) -> Stream:
        stream = record["session_id"], topic, record["symbol"]
        self.seqs[stream].append(record["seq"])
        if record["after_gap"]:
            self.known[stream] = {}
        present = {name: record[name] for name in NAMES.values() if record.get(name) is not None}
        self.known[stream] |= present
        for name in record.get("cleared", ()):
            assert name not in present, "a field is cleared or has a value"
            self.known[stream].pop(name, None)
        return stream


class Core(RuleBasedStateMachine):
    """The pipeline between a feed, a budget, a clock and Kafka that behave in any way."""

    @initialize(
        budget_bytes=st.sampled_from([0, 900, 2_500, 1 << 20]),
        conflate_ms=st.sampled_from([0, 10]),
        flooded=st.booleans(),
    )
    def start(self, budget_bytes: int, conflate_ms: int, *, flooded: bool) -> None:
        limit = DeadLetterLimit(clock=lambda: 0.0)
        while flooded and limit.admits("flood", 0):
            pass
        self.table = Table(budget_bytes=budget_bytes, conflate_ms=conflate_ms, limit=limit)
        self.session_id = 7
        self.now_us = 1_000_000
        self.consumer = Consumer()
        self.sent: Counter[Stream] = Counter()
        #: The fields of each quote, and the numbers of those that are lost.
        self.sent_fields: dict[Stream, dict[int, dict[str, Any]]] = defaultdict(dict)
        self.lost: dict[Stream, set[int]] = defaultdict(set)
        self.letters = 0

    # -- the feed -----------------------------------------------------------------------------------------------

    @rule(symbol=st.sampled_from(SYMBOLS), fields=QUOTES)
    def quote(self, symbol: str, fields: dict[str, object]) -> None:
        stream = self.session_id, Topic.QUOTES, symbol
        state = {NAMES[name]: value for name, value in fields.items()}
        for name in ("bid_price", "ask_price"):
            if state[name] is not None:
                state[name] = Decimal(str(state[name])).quantize(Decimal("1e-9"))
        self.sent_fields[stream][self.sent[stream]] = state
        self.sent[stream] += 1
        self.table.take(UpdateKind.QUOTE, symbol, at_us=self.now_us, **fields)

    @rule(symbol=st.sampled_from(SYMBOLS), count=st.integers(1, 5))
    def sales(self, symbol: str, count: int) -> None:
        for _ in range(count):
            self.sent[self.session_id, Topic.TIMESALES, symbol] += 1
            self.table.take(UpdateKind.TIMESALE, symbol, at_us=self.now_us, price="1.5", size=1)

    @rule(symbol=st.sampled_from(SYMBOLS))
    def bad_quote(self, symbol: str) -> None:
        """Send an invalid line of a symbol: its last value is no longer current."""
        stream = self.session_id, Topic.QUOTES, symbol
        self.lost[stream].add(self.sent[stream])
        self.sent[stream] += 1
        self.table.take(UpdateKind.QUOTE, symbol, at_us=self.now_us, bidPrice="x")

    @rule()
    def bad_line(self) -> None:
        self.table.ingest.ingest([(b"{", BadLine("not_json", "no JSON"))], self.now_us)

    @rule()
    def reconnect(self) -> None:
        self.session_id += 1
        self.table.ingest.start_session(self.session_id)

    # -- the clock ----------------------------------------------------------------------------------------------

    @rule(ms=st.integers(-50, 50))
    def let_time_pass(self, ms: int) -> None:
        self.now_us += ms * 1000

    @rule()
    def end_an_interval(self) -> None:
        self.table.ingest.release(self.now_us)

    # -- Kafka --------------------------------------------------------------------------------------------------

    @rule(most=st.integers(1, 4))
    def send(self, most: int) -> None:
        for queue in self.table.buffer.take_ready():
            self.table.buffer.start_batch(queue, min(most, len(queue.waiting)), now=0)

    @precondition(lambda self: self.in_flight())
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        queue = data.draw(st.sampled_from(self.in_flight()))
        for record in queue.in_flight:
            self.arrive(queue.line_topic, record)
        self.table.buffer.acknowledge(queue)
        self.table.ingest.release_after_overload(self.now_us)

    @rule()
    def lose_the_producer(self) -> None:
        self.table.buffer.requeue()

    @precondition(lambda self: self.idle(Topic.TIMESALES))
    @rule()
    def refuse_a_sale(self) -> None:
        self.refuse(self.idle(Topic.TIMESALES)[0])

    @precondition(lambda self: self.idle(Topic.QUOTES))
    @rule()
    def reject_a_quote(self) -> None:
        """Let Kafka reject a quote: it is lost, and the next one starts again."""
        queue = self.idle(Topic.QUOTES)[0]
        found = self.refuse(queue)
        self.lost[found["session_id"], Topic.QUOTES, found["symbol"]].add(found["seq"])

    def refuse(self, queue: PartitionQueue) -> dict[str, Any]:
        record = queue.waiting[0]
        self.table.ingest.reject_waiting(queue, 0, BadLine("record_refused", "too large"))
        return decoded(queue.line_topic, record[2])

    @rule(topic=st.sampled_from([Topic.QUOTES, Topic.TIMESALES]), is_stalled=st.booleans())
    def stall(self, *, topic: Topic, is_stalled: bool) -> None:
        """Let Kafka take no records of a topic for a while; what exceeds its share is dropped."""
        queue = self.table.buffer.queue_for(topic, None)
        self.table.buffer.set_stalled(queue, is_stalled=is_stalled)
        if is_stalled:
            self.table.ingest.shed(queue, 3)

    # -- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def accounts_add_up(self) -> None:
        assert self.table.accounts.balance == 0

    @invariant()
    def the_budget_holds(self) -> None:
        buffer = self.table.buffer
        queued = {
            queue: sum(size_of(record) for record in (*queue.waiting, *queue.in_flight)) for queue in buffer.queues()
        }
        waiting = self.table.ingest.conflation._waiting
        conflated = {queue: sum(record.cost_bytes for record in waiting[queue].values()) for queue in waiting}
        assert all(queue.bytes == queued[queue] + conflated.get(queue, 0) for queue in queued)
        assert all(queue.has_conflated is (queue in waiting) for queue in queued)
        assert buffer.bytes == sum(queue.bytes for queue in queued)
        assert buffer.stalled_bytes == sum(queue.bytes for queue in queued if queue.is_stalled)
        assert sum(queued.values()) <= buffer.budget_bytes
        assert len(self.table.ingest.conflation) <= len(SYMBOLS)

    @invariant()
    def overload_is_told_in_turn(self) -> None:
        announced = self.table.overloads
        assert announced == [place % 2 == 0 for place in range(len(announced))]
        assert (bool(announced) and announced[-1]) is self.table.ingest.overload.active

    def teardown(self) -> None:
        """Let Kafka take everything; then each record has arrived, or is accounted for as lost."""
        if not hasattr(self, "table"):
            return
        self.table.buffer.budget_bytes = 1 << 20
        for queue in self.table.buffer.queues():
            self.table.buffer.set_stalled(queue, is_stalled=False)
        while self.table.accounts.pending:
            self.table.ingest.release_all(self.now_us)
            self.send(1 << 20)
            for queue in self.in_flight():
                for record in queue.in_flight:
                    self.arrive(queue.line_topic, record)
                self.table.buffer.acknowledge(queue)
                self.table.ingest.release_after_overload(self.now_us)
        self.nothing_is_missed_in_silence()

    def nothing_is_missed_in_silence(self) -> None:
        accounts, missing = self.table.accounts, 0
        for stream in self.sent:
            seqs = self.consumer.seqs[stream]
            assert seqs == sorted(set(seqs)), "in order, and once"
            missing += self.sent[stream] - len(seqs)
        letters_dropped = accounts.dropped[Topic.DLQ, "overload"] + accounts.dropped[Topic.DLQ, "rate_limit"]
        lost = accounts.dropped.total() - letters_dropped + accounts.conflated.total()
        assert accounts.published.total() == sum(map(len, self.consumer.seqs.values()))
        assert accounts.dead_lettered.total() == self.letters
        # Each line that is no record is a dead letter, or was dropped for want of room for one, or beyond the rate
        # limit; some had no symbol.
        assert lost <= missing <= lost + self.letters + letters_dropped

    def arrive(self, topic: Topic, record: Record) -> None:
        if topic not in MARKET_DATA:
            self.letters += topic is Topic.DLQ
            return
        found = decoded(topic, record[2])
        before = self.consumer.seqs[found["session_id"], topic, found["symbol"]][-1:]
        stream = self.consumer.take(topic, found)
        if not before:
            assert found["after_gap"], "the first record of a session says so"
        elif topic not in CONFLATED and found["seq"] != before[0] + 1:
            assert found["after_gap"], "a jump says so"
        if topic is Topic.QUOTES:
            assert self.consumer.known[stream] == self.truth(stream, found["seq"]), "no state is lost by merging"

    def truth(self, stream: Stream, seq: int) -> dict[str, Any]:
        """Return the state of a consumer that got all quotes up to this one, and was reset at each lost one."""
        first = max((lost + 1 for lost in self.lost[stream] if lost < seq), default=0)
        known: dict[str, Any] = {}
        for number in range(first, seq + 1):
            known |= self.sent_fields[stream][number]
        return {name: value for name, value in known.items() if value is not None}

    def in_flight(self) -> list[PartitionQueue]:
        return [queue for queue in self.table.buffer.queues() if queue.in_flight]

    def idle(self, topic: Topic) -> list[PartitionQueue]:
        queues = (queue for queue in self.table.buffer.queues() if queue.topic is topic)
        return [queue for queue in queues if queue.waiting and not queue.in_flight]


TestCore = Core.TestCase
TestCore.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
