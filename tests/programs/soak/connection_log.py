"""Exact counts of what the simulator sent on each connection, with its times and how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.simulator.data_kinds import DataKind
from bridge.topics import Topic

if TYPE_CHECKING:
    from bridge.simulator.server import Simulator
    from bridge.simulator.server_session import ServerSession
    from bridge.simulator.shared_state import ServerEvent

TOPIC_OF = {
    DataKind.QUOTE: Topic.QUOTES,
    DataKind.TRADE: Topic.TRADES,
    DataKind.TIME_AND_SALES: Topic.TIMESALES,
    DataKind.LEVEL2: Topic.L2,
    DataKind.GREEKS: Topic.GREEKS,
}
#: The key of market status.
MARKET = "market"


@dataclass(frozen=True)
class Connection:
    """What was sent on one connection; times are µs since the epoch."""

    number: int
    connected_us: int
    authenticated_us: int | None
    lines: int
    #: Records by topic and symbol.
    records: dict[tuple[Topic, str], int]
    #: Whether everything was read before the end: the server closed it after the last line, and the close was answered.
    in_order: bool


class ConnectionLog:
    """A log of the simulator's connections: give ``watch`` to the simulator, and then the simulator to ``observe``."""

    def __init__(self) -> None:
        self._simulator: Simulator | None = None
        self._connected_us: dict[int, int] = {}
        self._authenticated_us: dict[int, int] = {}
        self._in_order: dict[int, bool] = {}
        self._excluded: set[int] = set()

    def observe(self, simulator: Simulator) -> None:
        """Set the simulator whose events arrive."""
        self._simulator = simulator

    def watch(self, event: ServerEvent) -> None:
        """Record when connections begin, are authenticated, and end."""
        number, now_us = event.session, time.time_ns() // 1000
        if number is None:
            return
        if event.name == "connected":
            self._connected_us[number] = now_us
        elif event.name == "authenticated":
            self._authenticated_us.setdefault(number, now_us)
        elif event.name == "connection ended":
            self._in_order[number] = self._session(number).connection.client_read_everything

    def exclude(self, number: int) -> None:
        """Exclude a connection that is not the bridge's."""
        self._excluded.add(number)

    def set_read_completely(self, number: int) -> None:
        """Record that the bridge has read everything of this connection, however it ends."""
        self._in_order[number] = True

    def connections(self) -> list[Connection]:
        """Return the bridge's connections in order, with their present counts."""
        return [self._connection(number) for number in sorted(self._connected_us) if number not in self._excluded]

    def _connection(self, number: int) -> Connection:
        sent = self._session(number).sent
        records = {(TOPIC_OF[kind], symbol): count for (kind, symbol), count in sent.records.items()}
        if sent.lines_by_type["marketStatus"]:
            records[Topic.MARKET_STATUS, MARKET] = sent.lines_by_type["marketStatus"]
        return Connection(
            number,
            self._connected_us[number],
            self._authenticated_us.get(number),
            sent.lines,
            records,
            self._in_order.get(number, False),
        )

    def _session(self, number: int) -> ServerSession:
        assert self._simulator is not None, "observe comes first"
        return self._simulator.all_sessions[number]
