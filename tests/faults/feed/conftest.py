from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.aries import connect, lifetimes
from bridge.aries.protocol import authentication, subscribing
from bridge.network.event_loop import EventLoop
from bridge.oauth import current_grant
from tests.faults.feed.scene import Stage
from tests.support.brokers import unique

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from bridge.kafka.embedded_broker import EmbeddedBroker


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the service's event loop, since loops differ in how they end connections."""
    return {"the bridge's": EventLoop}


@pytest.fixture
def stage(broker: EmbeddedBroker, topic_prefix: str) -> Stage:
    """Return the broker and prefix that a test's bridge publishes to; its topics exist."""
    return Stage.of(broker, topic_prefix)


@pytest.fixture
def other_stage(broker: EmbeddedBroker) -> Stage:
    """Return another broker and prefix, for a second bridge."""
    return Stage.of(broker, unique("aries"))


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten timeouts: for the answer to a close, for further errors, and between token renewals.

    Lifetimes as short as a test are plausible.
    """
    monkeypatch.setattr(connect, "CLOSE_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(subscribing, "PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(lifetimes, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(authentication, "MIN_RENEWAL_SECONDS", 0.1)
    monkeypatch.setattr(authentication, "REPEATED_WITHIN_SECONDS", 0.0)
    monkeypatch.setattr(current_grant, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(current_grant, "MIN_REPEAT_SECONDS", 0.0)
