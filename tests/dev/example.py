"""Accounts of a run, to be shown."""

from __future__ import annotations

from bridge.pipeline.accounts import Accounts
from bridge.topics import Topic


def example_accounts() -> Accounts:
    """Return balanced accounts in which each kind of end occurs."""
    made = Accounts(lines_received=1502, split=10, pending=2, announced=3)
    made.published.update({Topic.QUOTES: 1400, Topic.TRADES: 100})
    made.filtered.update({"ack": 2, "auth": 1})
    made.dead_lettered.update({"not_json": 4})
    made.conflated.update({Topic.QUOTES: 3})
    assert made.balance == 0
    return made
