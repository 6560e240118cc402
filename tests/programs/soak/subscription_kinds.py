"""Changes of the subscriptions file, in each state of the bridge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.simulator import faults
from tests.programs.soak.kafka_kinds import all_brokers_hang, all_brokers_killed
from tests.programs.soak.plan import Family, Kind, between, one_of, whole
from tests.programs.soak.testbed import DELIVERY_TIMEOUT_SECONDS, SubscriptionChange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random
    from typing import Any

    from tests.programs.soak.plan import Play
    from tests.programs.soak.testbed import Testbed

SMALL_BUFFER_BYTES = 1 << 20
_BRIEFLY_SECONDS = 0.3


def subscription_kinds() -> tuple[Kind, ...]:
    """Return all kinds."""
    return (
        _kind("subscriptions_changed", while_streaming, times=whole(1, 4), seconds=between(0.5, 4)),
        _kind("subscriptions_changed_while_connecting", while_connecting, seconds=between(1, 4)),
        _kind("subscriptions_changed_while_kafka_is_down", while_kafka_is_down, seconds=between(2, 8)),
        _kind("subscriptions_changed_during_rebuild", during_rebuild),
        _kind("subscriptions_changed_during_overload", during_overload, seconds=between(4, 9)),
    )


def _kind(name: str, play: Play, **draws: Callable[[Random], Any]) -> Kind:
    return Kind(name, Family.SUBSCRIPTIONS, play, {"change": one_of(*SubscriptionChange), **draws}, alone=True)


async def while_streaming(testbed: Testbed, change: SubscriptionChange, times: int, seconds: float) -> None:
    """Change the file some times in succession."""
    for _ in range(times):
        testbed.change_subscriptions(change)
        await asyncio.sleep(seconds)
        testbed.change_subscriptions(None)
        await asyncio.sleep(_BRIEFLY_SECONDS)
    await testbed.check_subscriptions()


async def while_connecting(testbed: Testbed, change: SubscriptionChange, seconds: float) -> None:
    """Change the file while the server delays the handshake and authentication."""
    for fault in (faults.SlowAccept(delay_seconds=seconds), faults.LateAuth(delay_seconds=seconds), faults.Drop()):
        testbed.simulator.inject_nowait(fault)
    await asyncio.sleep(seconds / 2)
    testbed.change_subscriptions(change)
    await asyncio.sleep(seconds)
    testbed.simulator.active_faults.clear()
    await _check_and_restore(testbed)


async def while_kafka_is_down(testbed: Testbed, change: SubscriptionChange, seconds: float) -> None:
    """Change the file while no broker runs."""
    await _during(testbed, change, all_brokers_killed(testbed, seconds))


async def during_rebuild(testbed: Testbed, change: SubscriptionChange) -> None:
    """Change the file while brokers hang for longer than the delivery timeout, so that the producer is replaced."""
    await _during(testbed, change, all_brokers_hang(testbed, DELIVERY_TIMEOUT_SECONDS + 3), after_seconds=6.0)


async def during_overload(testbed: Testbed, change: SubscriptionChange, seconds: float) -> None:
    """Change the file while a small buffer is full."""
    await testbed.restart_with(BRIDGE_BUFFER_BYTES=str(SMALL_BUFFER_BYTES))
    await _during(testbed, change, all_brokers_hang(testbed, seconds), after_seconds=seconds - 1)


async def _during(
    testbed: Testbed, change: SubscriptionChange, fault: Awaitable[None], *, after_seconds: float = 1.0
) -> None:
    async def apply_change() -> None:
        await asyncio.sleep(after_seconds)
        testbed.change_subscriptions(change)

    await asyncio.gather(fault, apply_change())
    await _check_and_restore(testbed)


async def _check_and_restore(testbed: Testbed) -> None:
    await testbed.check_subscriptions()
    testbed.change_subscriptions(None)
    await testbed.check_subscriptions()
