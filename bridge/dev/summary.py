"""What a run came to, in accounts that add up, and where to go from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.dev.ledger import ENDS, spoken
from bridge.topics import MARKET_DATA, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.dev.snapshot import Aries, Row, Snapshot
    from bridge.pipeline.accounts import Accounts

_NEXT = """\
Next: the same with your account and your Kafka (see README.md):
  export ARIES_ACCESS_TOKEN=... ARIES_SYMBOLS=AAPL,MSFT,SPX
  export KAFKA_BOOTSTRAP_SERVERS=localhost:9092
  aries-bridge topics
  aries-bridge run"""


def summary(last: Snapshot, accounts: Accounts) -> Iterator[str]:
    """Yield the lines of a run's end; ``last`` is of the moment when all had ended."""
    rows = {Topic(row.topic): row for row in last.rows}
    yield ""
    yield f"Ended after {last.elapsed_seconds:.1f} s: {_verdict(accounts)}."
    yield ""
    yield _amount("lines read", accounts.lines_received, _sent(last.aries, accounts.lines_received))
    if accounts.split:
        yield _amount("+ split", accounts.split, "records beyond the first of their line")
    for sign, name in zip("=+++++", ENDS, strict=True):
        yield from _end(f"{sign} {spoken(name)}", name, accounts, rows, proven=last.kafka.embedded)
    yield from _sum(accounts)
    control = _read_back(rows[Topic.CONTROL], proven=last.kafka.embedded)
    yield _amount("beside them: control", accounts.announced, control)
    yield ""
    yield _NEXT


def _verdict(accounts: Accounts) -> str:
    if not accounts.lines_received:
        return "nothing was read"
    lost = {"dropped": accounts.dropped.total(), "undelivered": accounts.undelivered.total()}
    told = [f"{count:,} RECORDS {name.upper()}" for name, count in lost.items() if count]
    return " and ".join(told) or "drained, nothing lost"


def _sent(aries: Aries, read: int) -> str:
    sent = aries.sent_lines
    if sent is None:
        return ""
    if sent == read:
        return "as many as the simulator sent"
    lost = f"; {sent - read:,} were under way when a connection ended" if sent > read else ""
    return f"the simulator sent {sent:,}{lost}"


def _end(name: str, account: str, accounts: Accounts, rows: Mapping[Topic, Row], *, proven: bool) -> Iterator[str]:
    """Yield what ended in one account, and what that is made of."""
    count = accounts.totals()[account]
    match account:
        case "published":
            yield _amount(name, count)
            for topic in MARKET_DATA:
                if accounts.published[topic]:
                    row = rows[topic]
                    yield _amount(f"    {row.name}", accounts.published[topic], _read_back(row, proven=proven))
        case "dead_lettered":
            read_back = _read_back(rows[Topic.DLQ], proven=proven and count > 0)
            yield _amount(name, count, "; ".join(filter(None, (_listed(accounts.dead_lettered), read_back))))
        case "dropped":
            dropped = {f"{topic} {reason}": number for (topic, reason), number in accounts.dropped.items()}
            yield _amount(name, count, _listed(dropped))
        case "filtered":
            yield _amount(name, count, _listed(accounts.filtered))
        case _:
            yield _amount(name, count)


def _sum(accounts: Accounts) -> Iterator[str]:
    read = accounts.lines_received + accounts.split
    if accounts.balance:
        yield _amount("DO NOT ADD UP", -accounts.balance, "please report this: it must never be")
    elif accounts.pending:
        yield _amount("+ pending", accounts.pending)
    else:
        yield f"  The accounts add up: {read:,} = {read:,}."


def _read_back(row: Row, *, proven: bool) -> str:
    """Return what a consumer found; on a Kafka that others write to, that says nothing."""
    if not proven or row.total is None:
        return ""
    return f"read back from Kafka: {row.total:,}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _amount(name: str, count: int, detail: str = "") -> str:
    return f"  {name:<24}{count:>12,}  {detail}".rstrip()
