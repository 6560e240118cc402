from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.network.event_loop import EventLoop
from tests.support import black_hole

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

#: A name with two addresses, the first of which swallows packets.
TWO_ADDRESSES = "two-addresses.test"


class Resolving(EventLoop):
    """The bridge's event loop, with a resolver that knows one name more."""

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
        """Resolve a name."""
        if host != TWO_ADDRESSES:
            return await super().getaddrinfo(host, port, **options)
        swallowing = await super().getaddrinfo(black_hole.HOST, port, **options)
        return swallowing + await super().getaddrinfo("127.0.0.1", port, **options)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the event loop that is tested."""
    return {"the bridge's": Resolving}
