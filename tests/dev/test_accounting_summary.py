"""The accounts of a run, printed at its end, add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.dev.accounting_summary import accounting_summary, equation
from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic
from tests.dev.example import example_accounts

if TYPE_CHECKING:
    from collections.abc import Mapping

READ_BACK = {Topic.QUOTES: 1400, Topic.TRADES: 102, Topic.DLQ: 4, Topic.CONTROL: 3}


def drained() -> Accounts:
    """Return the accounts of a run in which everything was acknowledged."""
    accounts = example_accounts()
    accounts.pending = 0
    accounts.published[Topic.TRADES] += 2
    return accounts


def text_of(accounts: Accounts, *, sent_lines: int | None = 1502, read_back: Mapping[Topic, int] = READ_BACK) -> str:
    names = {topic: f"aries.{topic}" for topic in Topic}
    lines = accounting_summary(accounts, names, seconds=62.04, sent_lines=sent_lines, read_back=read_back)
    return "\n".join(lines)


def amounts(text: str) -> dict[str, str]:
    """Return each line of the table by its name."""
    table = [line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  ") and "  " in line[4:]]
    return {name.lstrip("=+ "): " ".join(rest.split()) for name, rest in table}


def test_a_drained_run_is_listed_and_compared() -> None:
    """Every account is listed, compared with what was sent, and with what the embedded broker holds."""
    text = text_of(drained())
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
    """Dropped and undelivered records are not hidden in the table."""
    accounts = drained()
    accounts.dropped[Topic.L2, "overload"] = 5
    accounts.undelivered[Topic.QUOTES] = 1000
    accounts.lines_received += 1005
    text = text_of(accounts)
    assert "5 RECORDS DROPPED and 1,000 RECORDS UNDELIVERED" in text
    assert amounts(text)["dropped"] == "5 l2 overload 5"
    assert amounts(text)["lines read"] == "2,507 the simulator sent 1,502"


def test_accounts_that_do_not_add_up_are_reported() -> None:
    """The balance is computed from the numbers that are shown."""
    accounts = drained()
    accounts.published[Topic.QUOTES] -= 1
    text = text_of(accounts)
    assert "DO NOT ADD UP" in text
    assert "The accounts add up" not in text


def test_a_configured_kafka_is_not_compared() -> None:
    """Other applications may write to its topics, so their record counts prove nothing."""
    text = text_of(drained(), sent_lines=None, read_back={})
    assert "read back" not in text
    assert amounts(text)["lines read"] == "1,502"


def test_lines_that_never_arrived_are_counted() -> None:
    """Lines that were in transit when a connection ended are the difference."""
    text = text_of(drained(), sent_lines=1510)
    assert amounts(text)["lines read"].endswith("the simulator sent 1,510; 8 were in transit when a connection ended")


def test_a_run_that_read_nothing_claims_no_success() -> None:
    """Without a line read nothing could have been lost."""
    assert "nothing was read" in text_of(Accounts())


def test_the_equation_leaves_out_what_is_zero() -> None:
    """While the bridge runs, one line shows all accounts that are not 0."""
    assert equation(example_accounts()) == (
        "1,502 lines read + 10 split = 1,500 published + 3 filtered + 4 dead-lettered + 3 conflated + 2 pending"
    )
    assert equation(Accounts()) == "0 lines read = 0 published"
