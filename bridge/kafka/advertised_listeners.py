"""Addresses that brokers advertise and that cannot be reached: what a bootstrap server answered leads nowhere."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiokafka.errors import KafkaError

from bridge.kafka.aiokafka_internals import Client

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOTSTRAP_TIMEOUT_SECONDS: Final = 5.0
CONNECT_TIMEOUT_SECONDS: Final = 3.0
_CLOSE_TIMEOUT_SECONDS: Final = 3.0
#: Brokers that are tried and named, at most.
MAX_BROKERS: Final = 5
HINT: Final = (
    "Clients connect to the addresses in the brokers' advertised.listeners: set these to ones that can be resolved and "
    "reached from here, or use the port of a listener that is meant for this network."
)


async def unreachable_listeners(options: Mapping[str, object]) -> str:
    """Return which bootstrap server answered with which addresses, if none of these can be reached; else empty."""
    client = Client(options)
    try:
        async with asyncio.timeout(BOOTSTRAP_TIMEOUT_SECONDS):
            await client.bootstrap()
    except (OSError, KafkaError, TimeoutError, UnicodeError):
        return ""
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
                await client.close()
    brokers = sorted(client.cluster.brokers())[:MAX_BROKERS]
    reasons = await asyncio.gather(*(_why_unreachable(broker.host, broker.port) for broker in brokers))
    if not all(reasons):
        return ""
    listed = ", ".join(
        f"{broker.host}:{broker.port} ({reason})" for broker, reason in zip(brokers, reasons, strict=True)
    )
    return f"bootstrap server {client.answered_by} answered, but advertised addresses cannot be reached: {listed}"


async def _why_unreachable(host: str, port: int) -> str:
    """Return why no connection can be opened, empty if one can."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {CONNECT_TIMEOUT_SECONDS:g} s"
    except (OSError, UnicodeError) as error:  # the latter is an impossible host name
        return str(error)
    writer.close()
    return ""
