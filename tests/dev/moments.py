"""A snapshot to be shown, made up."""

from __future__ import annotations

from bridge.dev.snapshot import Aries, Kafka, Row, Snapshot
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic

STREAMING = Aries(
    url="ws://aries.test/v1/market/ws",
    dialect="envelope",
    state="streaming",
    session_id=1_795_361_512_218_891,
    reconnects=0,
    last_loss=None,
    sent_lines=1502,
)
EMBEDDED = Kafka(servers="127.0.0.1:9092", embedded=True, connected=True, problem=None)


def row(topic: Topic, total: int | None, newest: str = "") -> Row:
    return Row(
        topic=topic, name=f"aries.{topic}", total=total, per_second=float(total or 0), newest=newest, age_seconds=0.25
    )


def rows(**totals: int) -> tuple[Row, ...]:
    """Return a row a topic; one that is not named was not asked for."""
    return tuple(row(topic, totals.get(topic), f"newest of {topic}") for topic in Topic)


def accounts() -> Accounts:
    """Return accounts in which each kind of end occurs, balanced."""
    made = Accounts(lines_received=1502, split=10, pending=2, announced=3)
    made.published.update({Topic.QUOTES: 1400, Topic.TRADES: 100})
    made.filtered.update({"ack": 2, "auth": 1})
    made.dead_lettered.update({"not_json": 4})
    made.conflated.update({Topic.QUOTES: 3})
    assert made.balance == 0
    return made


def snapshot(
    *,
    aries: Aries = STREAMING,
    kafka: Kafka = EMBEDDED,
    shown: tuple[Row, ...] | None = None,
    ledger: Accounts | None = None,
) -> Snapshot:
    ledger = accounts() if ledger is None else ledger
    return Snapshot(
        elapsed_seconds=62.04,
        limit_seconds=None,
        page="http://127.0.0.1:8080/",
        aries=aries,
        kafka=kafka,
        rows=rows(quotes=1400, trades=100, dlq=4, control=3) if shown is None else shown,
        totals=ledger.totals(),
        balanced=ledger.balance == 0,
    )
