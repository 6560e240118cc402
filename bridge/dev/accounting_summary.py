"""The accounts of a run: in one line while it runs, and as a table at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.topics import MARKET_DATA, Topic, TopicCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.pipeline.accounts import Accounts

#: The accounts that a line or a record can end in.
_ENDS: Final = ("published", "filtered", "dead_lettered", "conflated", "dropped", "undelivered")
_NEXT: Final = """\
Next: the same with your account and your Kafka (see README.md):
  export ARIES_ACCESS_TOKEN=... ARIES_SYMBOLS=AAPL,MSFT,SPX
  export KAFKA_BOOTSTRAP_SERVERS=localhost:9092
  aries-bridge topics
  aries-bridge run"""


def equation(accounts: Accounts) -> str:
    """Return the accounts as the equation that always holds, without what is 0."""
    totals = accounts.totals()
    read = f"{totals['lines_received']:,} lines read"
    if totals["split"]:
        read += f" + {totals['split']:,} split"
    ends = [f"{totals[name]:,} {_label(name)}" for name in (*_ENDS, "pending") if totals[name] or name == "published"]
    return f"{read} = {' + '.join(ends)}"


def accounting_summary(
    accounts: Accounts,
    topic_names: Mapping[Topic, str],
    *,
    seconds: float,
    sent_lines: int | None,
    read_back: TopicCounts,
) -> Iterator[str]:
    """Yield the lines that are printed at the end of a run.

    ``sent_lines`` is the simulator's own count; ``read_back`` has the records that the topics hold, and is empty if
    other applications may have written to them.
    """
    found = {topic: f"read back from Kafka: {count:,}" for topic, count in read_back.items()}
    yield from ("", f"Ended after {seconds:.1f} s: {_verdict(accounts)}.", "")
    yield _row("lines read", accounts.lines_received, _comparison(sent_lines, accounts.lines_received))
    if accounts.split:
        yield _row("+ split", accounts.split, "records beyond the first of their line")
    yield _row("= published", accounts.published.total())
    for topic in MARKET_DATA:
        if accounts.published[topic]:
            yield _row(f"    {topic_names[topic]}", accounts.published[topic], found.get(topic, ""))
    yield _row("+ filtered", accounts.filtered.total(), _listed(accounts.filtered))
    dead_lettered = accounts.dead_lettered.total()
    details = [_listed(accounts.dead_lettered), found.get(Topic.DLQ, "")] if dead_lettered else []
    yield _row("+ dead-lettered", dead_lettered, "; ".join(filter(None, details)))
    yield _row("+ conflated", accounts.conflated.total())
    dropped = {f"{topic} {reason}": count for (topic, reason), count in accounts.dropped.items()}
    yield _row("+ dropped", accounts.dropped.total(), _listed(dropped))
    yield _row("+ undelivered", accounts.undelivered.total())
    yield from _balance(accounts)
    yield _row("beside them: control", accounts.announced, found.get(Topic.CONTROL, ""))
    yield from ("", _NEXT)


def _verdict(accounts: Accounts) -> str:
    if not accounts.lines_received:
        return "nothing was read"
    lost = {"DROPPED": accounts.dropped.total(), "UNDELIVERED": accounts.undelivered.total()}
    return " and ".join(f"{count:,} RECORDS {name}" for name, count in lost.items() if count) or "drained, nothing lost"


def _comparison(sent: int | None, read: int) -> str:
    if sent is None:
        return ""
    if sent == read:
        return "as many as the simulator sent"
    in_transit = f"; {sent - read:,} were in transit when a connection ended" if sent > read else ""
    return f"the simulator sent {sent:,}{in_transit}"


def _balance(accounts: Accounts) -> Iterator[str]:
    total = accounts.lines_received + accounts.split
    if accounts.balance:
        yield _row("DO NOT ADD UP", -accounts.balance, "this is a bug of the bridge: please report it")
    elif accounts.pending:
        yield _row("+ pending", accounts.pending)
    else:
        yield f"  The accounts add up: {total:,} = {total:,}."


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _label(name: str) -> str:
    return name.replace("_", "-")


def _row(name: str, count: int, detail: str = "") -> str:
    return f"  {name:<24}{count:>12,}  {detail}".rstrip()
