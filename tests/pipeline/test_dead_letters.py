"""Dead letters: how many are written in a flood, what becomes of the others, and that none shows a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import structlog

from bridge.errors import BadLine
from bridge.market_data import UpdateKind
from bridge.pipeline.dead_letter_limit import (
    BYTES_PER_LETTER,
    CALM_SECONDS,
    LETTERS_PER_SECOND,
    MAX_BURST,
    DeadLetterLimit,
)
from bridge.topics import Topic
from tests.pipeline.test_ingest import Table

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from structlog.typing import EventDict

RATE_LIMIT = Topic.DLQ, "rate_limit"


class Flood:
    """A table whose dead letters are limited by a clock that the test sets."""

    def __init__(self, budget_bytes: int = 1 << 30) -> None:
        self.now = 1000.0
        self.table = Table(budget_bytes=budget_bytes, limit=DeadLetterLimit(lambda: self.now))
        self.accounts = self.table.accounts

    def bad_lines(self, count: int, reason: str = "not_json", raw: bytes = b"{") -> None:
        for _ in range(count):
            self.table.ingest.ingest([(raw, BadLine(reason, "it is broken"))], 1)
            assert self.accounts.balance == 0

    def written(self) -> Counter[str]:
        """Return how many dead letters of each reason were written since the last look."""
        before = self.accounts.dead_lettered.copy()
        self.table.acknowledge()
        return self.accounts.dead_lettered - before


@pytest.fixture
def flood() -> Flood:
    return Flood()


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_beyond_a_burst_a_flood_is_counted_and_sampled(flood: Flood) -> None:
    """Of a flood the burst is written and one line of each reason; the others are dropped, and counted as such."""
    flood.bad_lines(MAX_BURST + 50)
    flood.bad_lines(10, "unknown_kind")
    assert flood.written() == {"not_json": MAX_BURST + 1, "unknown_kind": 1}
    assert dict(flood.accounts.dropped) == {RATE_LIMIT: 49 + 9}
    assert not flood.table.ingest.overload.active, "the buffer has room"


def test_a_lasting_flood_is_written_at_the_limit_and_sampled_each_second(flood: Flood) -> None:
    """The limit is written however many lines come, and each second has every reason, rare ones too."""
    flood.bad_lines(MAX_BURST)
    flood.written()
    for _ in range(3):
        flood.now += 1
        flood.bad_lines(5 * LETTERS_PER_SECOND)
        flood.bad_lines(2, "unknown_kind")
        assert flood.written() == {"not_json": LETTERS_PER_SECOND + 1, "unknown_kind": 1}
    assert flood.accounts.dropped[RATE_LIMIT] == 3 * (4 * LETTERS_PER_SECOND - 1 + 1)


def test_what_is_below_the_limit_is_written(flood: Flood, logs: list[EventDict]) -> None:
    """Dead letters at the limit, for minutes, are all written, and nothing is logged."""
    for _ in range(200):
        flood.now += 0.5
        flood.bad_lines(LETTERS_PER_SECOND // 2)
    assert flood.written() == {"not_json": 100 * LETTERS_PER_SECOND}
    assert logs == []


def test_long_lines_count_as_several(flood: Flood) -> None:
    """The cost of redaction and sending grows with the bytes: lines of 256 KiB reach the limit earlier."""
    size = 1 << 18
    flood.bad_lines(100, raw=b"x" * size)
    assert flood.written() == {"not_json": MAX_BURST * BYTES_PER_LETTER // size + 1 + 1}


def test_a_flood_is_logged_when_it_starts_and_when_it_has_ended(flood: Flood, logs: list[EventDict]) -> None:
    """There is one event for each, however many waves it has, with the number dropped; another flood has its own."""
    for _ in range(3):
        flood.bad_lines(MAX_BURST + 11)
        flood.now += CALM_SECONDS / 2
        flood.table.ingest.check_dead_letters()
    assert [log["event"] for log in logs] == ["dead letters rate-limited"]
    flood.now += CALM_SECONDS / 2
    flood.table.ingest.check_dead_letters()
    flood.table.ingest.check_dead_letters()
    assert logs[1:] == [
        {
            "event": "dead letters no longer rate-limited",
            "log_level": "warning",
            "dropped": 30,
            "dropped_by_reason": {"not_json": 30},
            "seconds": CALM_SECONDS,
        }
    ]
    flood.bad_lines(MAX_BURST + 2)
    flood.table.ingest.give_up()
    assert [(log["event"], log.get("dropped")) for log in logs[2:]] == [
        ("dead letters rate-limited", None),
        ("dead letters no longer rate-limited", 1),
    ]


@pytest.mark.parametrize("budget_bytes", [1 << 30, 0], ids=["rate limit", "no room"])
async def test_a_dropped_line_counts_all_records_that_consumers_miss(budget_bytes: int) -> None:
    """A composite line is a quote and a trade: no dead letter explains its two jumps, so the account does."""
    flood = Flood(budget_bytes)
    flood.bad_lines(MAX_BURST + 1)
    before = flood.accounts.dropped.total()
    flood.table.take(UpdateKind.COMPOSITE, bidPrice=[], lastPrice="not a price")  # written, as a sample
    flood.table.take(UpdateKind.COMPOSITE, bidPrice=[], lastPrice="not a price")
    flood.table.buffer.budget_bytes = 1 << 30
    flood.written()
    flood.table.ingest.overload.active = False
    flood.table.take(UpdateKind.COMPOSITE, bidPrice="1.6", lastPrice="1.7")
    missed = 4 if budget_bytes == 0 else 2
    assert flood.accounts.dropped.total() - before == missed
    assert flood.accounts.split == missed // 2 + 1
    for topic in (Topic.QUOTES, Topic.TRADES):
        (found,) = await flood.table.waiting(topic)
        assert (found["seq"], found["after_gap"]) == (2, True)
    assert flood.accounts.balance == 0


async def test_a_rejected_record_beyond_the_limit_is_dropped(flood: Flood) -> None:
    """The rate limit applies to records that Kafka rejects, too; the next record has ``after_gap``."""
    flood.bad_lines(MAX_BURST + 1)
    queue = flood.table.buffer.queue_for(Topic.TIMESALES, b"AAPL")
    for _ in range(4):
        flood.table.take(UpdateKind.TIMESALE, price="1", size=1)
    for _ in range(3):
        flood.table.ingest.reject_waiting(queue, 0, BadLine("record_refused", "too large"))
    (sale,) = await flood.table.waiting(Topic.TIMESALES)
    assert (sale["seq"], sale["after_gap"]) == (3, True)
    assert flood.accounts.dropped[RATE_LIMIT] == 2
    assert flood.accounts.balance == 0


class Secrets:
    """A redactor of one word that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def redact(self, text: str) -> str:
        self.calls += 1
        return text.replace("s3cret", "***")


@pytest.mark.parametrize(
    ("error", "raw", "symbol"),
    [("it says s3cret", b"{", "AAPL"), ("broken", b"\xff{s3cret", None), ("broken", b"{", "s3cret")],
    ids=["error", "line", "symbol"],
)
async def test_a_secret_is_redacted_wherever_it_stands(error: str, raw: bytes, symbol: str | None) -> None:
    """A server may echo what it was sent: the error, the line, the symbol and so the key are without it."""
    table = Table(redact=Secrets().redact)
    table.ingest.ingest([(raw, BadLine("malformed", error, symbol=symbol))], 1)
    (letter,) = await table.waiting(Topic.DLQ)
    ((_, key, value, _),) = table.buffer.queue_for(Topic.DLQ, None).waiting
    assert b"s3cret" not in (key or b"") + value
    expected: tuple[Any, ...] = (error, raw.decode("latin-1"), symbol)
    expected = tuple(part and part.replace("s3cret", "***") for part in expected)
    assert (letter["error"], letter["raw"].decode("latin-1"), letter["symbol"]) == expected


def test_a_line_without_a_secret_is_looked_through_once() -> None:
    """Error, line and symbol are searched in one pass, and lines beyond the rate limit are not searched at all."""
    secrets = Secrets()
    table = Table(redact=secrets.redact, limit=DeadLetterLimit(lambda: 0.0), budget_bytes=1 << 30)
    for _ in range(MAX_BURST + 500):
        table.ingest.ingest([(b"{", BadLine("malformed", "broken", symbol="AAPL"))], 1)
    assert secrets.calls == MAX_BURST + 1
