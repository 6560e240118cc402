"""Listed contracts and chains for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.aries import subscriptions
from bridge.aries.subscriptions import symbols

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from bridge.aries.subscriptions.chain import Chain
    from bridge.aries.subscriptions.symbols import Contract


def contracts(
    expirations: Iterable[date], strikes: Iterable[float], rights: str = "CP", root: str = "AAPL"
) -> list[Contract]:
    """Return a call and a put of each strike and expiration."""
    texts = [
        f"O:{root}{day:%y%m%d}{right}{round(strike * 1000):08d}"
        for day in expirations
        for strike in strikes
        for right in rights
    ]
    return [found for text in texts if (found := symbols.contract(text)) is not None]


def chain(entry: str, events: tuple[str, ...] = ("quotes",)) -> Chain:
    """Return the chain of an entry of ``ARIES_SUBSCRIPTIONS``, without its brackets."""
    return subscriptions.plan((), events, f"[{entry}]").chains[0]
