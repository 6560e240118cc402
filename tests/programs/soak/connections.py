"""What the simulator sent to whom: exact counts for each connection, with its times and how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.simulator.fields import Kind
from bridge.topics import Topic

if TYPE_CHECKING:
    from bridge.simulator.server import Simulator
    from bridge.simulator.session import Session
    from bridge.simulator.world import Happening

TOPIC_OF = {
    Kind.QUOTE: Topic.QUOTES,
    Kind.TRADE: Topic.TRADES,
    Kind.TIME_AND_SALES: Topic.TIMESALES,
    Kind.LEVEL2: Topic.L2,
    Kind.GREEKS: Topic.GREEKS,
}
#: The key of market status.
MARKET = "market"


@dataclass(frozen=True)
class Connection:
    """Hold what one connection was sent; times are µs since the epoch."""

    number: int
    connected_us: int
    authenticated_us: int | None
    lines: int
    #: Records by topic and symbol.
    records: dict[tuple[Topic, str], int]
    #: Whether all has arrived before the end: the server closed it behind the last line, and was answered.
    in_order: bool


class Onlooker:
    """Watch the simulator's connections; give ``watch`` to the simulator, and then the simulator to ``look_at``."""

    def __init__(self) -> None:
        self._simulator: Simulator | None = None
        self._connected_us: dict[int, int] = {}
        self._authenticated_us: dict[int, int] = {}
        self._in_order: dict[int, bool] = {}
        self._strangers: set[int] = set()

    def look_at(self, simulator: Simulator) -> None:
        """Take the simulator whose happenings come."""
        self._simulator = simulator

    def watch(self, happening: Happening) -> None:
        """Note when connections begin, are authenticated and end."""
        number, now_us = happening.session, time.time_ns() // 1000
        if number is None:
            return
        if happening.what == "connected":
            self._connected_us[number] = now_us
        elif happening.what == "authenticated":
            self._authenticated_us.setdefault(number, now_us)
        elif happening.what == "connection ended":
            self._in_order[number] = _closed_in_order(self._session(number))

    def is_stranger(self, number: int) -> None:
        """Leave out a connection: it is not the bridge's."""
        self._strangers.add(number)

    def all_is_read(self, number: int) -> None:
        """Note that the bridge has read all that this connection was and will be sent, however it ends."""
        self._in_order[number] = True

    def connections(self) -> list[Connection]:
        """Return the bridge's connections in their order, as they stand."""
        return [self._connection(number) for number in sorted(self._connected_us) if number not in self._strangers]

    def _connection(self, number: int) -> Connection:
        sent = self._session(number).sent
        records = {(TOPIC_OF[kind], symbol): count for (kind, symbol), count in sent.records.items()}
        if sent.words["marketStatus"]:
            records[Topic.MARKET_STATUS, MARKET] = sent.words["marketStatus"]
        return Connection(
            number,
            self._connected_us[number],
            self._authenticated_us.get(number),
            sent.lines,
            records,
            self._in_order.get(number, False),
        )

    def _session(self, number: int) -> Session:
        assert self._simulator is not None, "look_at comes first"
        return self._simulator._known[number]


def _closed_in_order(session: Session) -> bool:
    protocol = session.link._connection.protocol
    return protocol.close_sent is not None and protocol.close_rcvd is not None and not protocol.close_rcvd_then_sent
