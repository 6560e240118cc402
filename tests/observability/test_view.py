"""A bridge satisfies the view that health, metrics and status take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge import settings
from bridge.app import Bridge
from bridge.observability.health import liveness, readiness

if TYPE_CHECKING:
    from bridge.observability.view import BridgeView


def test_a_bridge_satisfies_the_view() -> None:
    """The assignment is checked by mypy; the probes then read every part of the view that they use."""
    view: BridgeView = Bridge(
        settings.load({"ARIES_ACCESS_TOKEN": "t", "ARIES_SYMBOLS": "A", "KAFKA_BOOTSTRAP_SERVERS": "k:1"})
    )
    assert [check.ok for check in (*liveness(view, 0.0), *readiness(view, 0.0))] == [True, True, False, False, False]
