"""The proof after each fault: ``aries-bridge verify`` finds no violation, and the accounts equal the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.settings.kafka_side import kafka_settings
from bridge.verify.topic_reader import Selection
from bridge.verify.verification import Verification

if TYPE_CHECKING:
    from bridge.app import Bridge
    from bridge.simulator.server import Simulator
    from bridge.verify.report import Report


async def verified(bootstrap_servers: str, prefix: str, selection: Selection | None = None) -> Report:
    """Return the report on the topics of a prefix."""
    settings = kafka_settings(bootstrap_servers, {"KAFKA_TOPIC_PREFIX": prefix})
    verification = Verification(settings, selection or Selection())
    await verification.run()
    report = verification.close()
    assert report is not None
    return report


async def prove(bootstrap_servers: str, prefix: str, *bridges: Bridge) -> Report:
    """Assert order, no hole and no unexplained repeat, and that the topics have exactly what these bridges account for.

    The bridges have ended, and no other program wrote to these topics.
    """
    report = await verified(bootstrap_servers, prefix)
    assert report.violations == []
    assert [bridge.accounts.balance for bridge in bridges] == [0] * len(bridges)
    repeats = sum(row.repeats for row in report.rows)
    assert repeats == 0 or any(bridge.publisher.state.rebuilds for bridge in bridges)
    assert report.records - repeats == sum(bridge.accounts.published.total() for bridge in bridges)
    return report


def nothing_lost(bridge: Bridge, simulator: Simulator) -> None:
    """Assert that every line the simulator sent was read, and that each one became a record on Kafka.

    For faults that leave the connection to Aries alone.
    """
    accounts = bridge.accounts
    assert accounts.lines_received == simulator.sent.lines
    lost = {name: accounts.totals()[name] for name in ("pending", "undelivered", "dropped", "dead_lettered")}
    assert lost == dict.fromkeys(lost, 0), dict(accounts.dead_lettered)
