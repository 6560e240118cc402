"""All that is shown of a moment, taken in one go: the views work on it in a thread of their own."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.settings.field_types import redact_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bridge.app import Bridge
    from bridge.dev.readback import ReadBack
    from bridge.dev.stage import Stage


@dataclass(frozen=True, slots=True)
class Row:
    """Show one topic; ``total`` is None where nothing of it was asked for."""

    topic: str
    name: str
    total: int | None
    per_second: float
    newest: str
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Aries:
    """Show the connection to the feed; ``sent_lines`` is what a simulator of ours says it sent."""

    url: str
    dialect: str
    state: str
    session_id: int | None
    reconnects: int
    last_loss: str | None
    sent_lines: int | None


@dataclass(frozen=True, slots=True)
class Kafka:
    """Show the connection to Kafka; ``problem`` is the last thing that went wrong and still does."""

    servers: str
    embedded: bool
    connected: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Show the whole at one moment; ``page`` is where the status page is served, if it is."""

    elapsed_seconds: float
    limit_seconds: float | None
    page: str | None
    aries: Aries
    kafka: Kafka
    rows: tuple[Row, ...]
    totals: Mapping[str, int]
    balanced: bool


class Photographer:
    """Take snapshots of a bridge on its stage; ``redact`` keeps secrets out of what others said."""

    def __init__(
        self,
        stage: Stage,
        bridge: Bridge,
        readback: ReadBack,
        *,
        redact: Callable[[str], str],
        limit_seconds: float | None,
    ) -> None:
        self._stage = stage
        self._bridge = bridge
        self._readback = readback
        self._redact = redact
        self._limit_seconds = limit_seconds
        self._started = asyncio.get_running_loop().time()

    @property
    def elapsed_seconds(self) -> float:
        """Return how long the bridge has been running."""
        return asyncio.get_running_loop().time() - self._started

    def take(self) -> Snapshot:
        """Return how it is now."""
        accounts = self._bridge.accounts
        return Snapshot(
            elapsed_seconds=self.elapsed_seconds,
            limit_seconds=self._limit_seconds,
            page=self._bridge.http.url,
            aries=self._aries(),
            kafka=self._kafka(),
            rows=tuple(self._rows()),
            totals=accounts.totals(),
            balanced=accounts.balance == 0,
        )

    def _aries(self) -> Aries:
        settings, feed, simulator = self._bridge.settings, self._bridge.client, self._stage.simulator
        return Aries(
            url=redact_url(settings.aries_ws_url),
            dialect=settings.dialect,
            state=feed.state,
            session_id=self._bridge.control.session_id,
            reconnects=sum(feed.reconnects.values()),
            last_loss=None if feed.last_loss is None else self._redact(f"{feed.last_loss.cause}: {feed.last_loss}"),
            sent_lines=None if simulator is None else simulator.sent.lines,
        )

    def _kafka(self) -> Kafka:
        publisher = self._bridge.publisher
        problem = publisher.state.last_error or self._readback.problem
        return Kafka(
            servers=",".join(self._bridge.settings.kafka_bootstrap_servers),
            embedded=self._stage.broker is not None,
            connected=publisher.state.connected,
            problem=None if problem is None else self._redact(problem),
        )

    def _rows(self) -> Iterator[Row]:
        now, now_ms = asyncio.get_running_loop().time(), time.time() * 1000
        for topic, name in self._bridge.settings.topics.items():
            flow, newest = self._readback.flows.get(topic), self._readback.newest.get(topic)
            yield Row(
                topic=topic,
                name=name,
                total=None if flow is None else flow.total,
                per_second=0.0 if flow is None else flow.per_second(now),
                newest="" if newest is None else newest.text,
                age_seconds=0.0 if newest is None else max(0.0, (now_ms - newest.timestamp_ms) / 1000),
            )
