"""The summary's accounts add up, and say where to go next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.dev.summary import summary
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from tests.dev.moments import EMBEDDED, STREAMING, accounts, rows, snapshot

if TYPE_CHECKING:
    from bridge.dev.snapshot import Snapshot


def settled() -> Accounts:
    """Return the accounts of a run in which everything was acknowledged."""
    ended = accounts()
    ended.pending = 0
    ended.published[Topic.TRADES] += 2
    return ended


def told(ended: Accounts, moment: Snapshot | None = None) -> str:
    return "\n".join(summary(moment or snapshot(ledger=ended), ended))


def amounts(text: str) -> dict[str, str]:
    """Return each line of the table by its name."""
    table = [line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  ") and "  " in line[4:]]
    return {name.lstrip("=+ "): " ".join(rest.split()) for name, rest in table}


def test_a_clean_run_is_proven() -> None:
    """Every account is listed, compared with what was sent, and with what is on the embedded broker."""
    text = told(settled(), snapshot(shown=rows(quotes=1400, trades=102, dlq=4, control=3)))
    assert "Ended after 62.0 s: drained, nothing lost." in text
    assert amounts(text) == {
        "lines read": "1,502 as many as the simulator sent",
        "split": "10 records beyond the first of their line",
        "published": "1,502",
        "aries.quotes": "1,400 read back from Kafka: 1,400",
        "aries.trades": "102 read back from Kafka: 102",
        "filtered": "3 ack 2, auth 1",
        "dead-lettered": "4 not_json 4; read back from Kafka: 4",
        "conflated": "3",
        "dropped": "0",
        "undelivered": "0",
        "beside them: control": "3 read back from Kafka: 3",
    }
    assert "The accounts add up: 1,512 = 1,512." in text
    assert "aries-bridge run" in text


def test_losses_are_named_in_the_first_line() -> None:
    """Drops and undelivered records are not hidden in the table."""
    ended = settled()
    ended.dropped[Topic.L2, "overload"] = 5
    ended.undelivered[Topic.QUOTES] = 1000
    ended.lines_received += 1005
    text = told(ended)
    assert "5 RECORDS DROPPED and 1,000 RECORDS UNDELIVERED" in text
    assert amounts(text)["dropped"] == "5 l2 overload 5"
    assert amounts(text)["lines read"] == "2,507 the simulator sent 1,502"


def test_accounts_that_do_not_add_up_are_not_said_to() -> None:
    """The check is made on the numbers that are shown."""
    ended = settled()
    ended.published[Topic.QUOTES] -= 1
    text = told(ended)
    assert "DO NOT ADD UP" in text
    assert "The accounts add up" not in text


def test_on_a_kafka_of_others_totals_prove_nothing() -> None:
    """Others may write to the topics, too, so what a topic got is not held against the accounts."""
    real = snapshot(kafka=replace(EMBEDDED, embedded=False), aries=replace(STREAMING, sent_lines=None))
    text = told(settled(), real)
    assert "read back" not in text
    assert amounts(text)["lines read"] == "1,502"


def test_lines_that_never_arrived_are_told() -> None:
    """Where a connection ended, what was under way is the difference."""
    text = told(settled(), snapshot(aries=replace(STREAMING, sent_lines=1510)))
    assert amounts(text)["lines read"].endswith("the simulator sent 1,510; 8 were under way when a connection ended")


def test_a_run_that_read_nothing_does_not_boast() -> None:
    """Without a line read there is nothing that could have been lost."""
    assert "nothing was read" in told(Accounts())
