"""What is listed for an underlying."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bridge.aries.subscriptions.symbols import Contract


class Listing(NamedTuple):
    """The listed contracts of an underlying, and its price if the answer has it."""

    contracts: tuple[Contract, ...]
    price: float | None = None
    #: Entries of the answers that are no options.
    unreadable: int = 0
