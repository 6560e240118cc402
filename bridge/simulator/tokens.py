"""The access tokens a simulator takes; shared with the token endpoint that issues them."""

from __future__ import annotations

import math


class Tokens:
    """Say which access tokens are good: any that is not empty, or only the ones named and issued."""

    def __init__(self, *good: str) -> None:
        self._good_until_ms: dict[str, float] | None = dict.fromkeys(good, math.inf) if good else None
        self._bad: set[str] = set()

    def accept(self, *tokens: str, until_ms: float = math.inf) -> None:
        """Take these tokens, and from now on none that was not named, until a time in epoch milliseconds."""
        self._good_until_ms = {**(self._good_until_ms or {}), **dict.fromkeys(tokens, until_ms)}
        self._bad.difference_update(tokens)

    def refuse(self, *tokens: str) -> None:
        """Take these tokens no more."""
        self._bad.update(tokens)

    def take(self, token: str, now_ms: int) -> bool:
        """Tell whether a token is good at this time."""
        if not token or token in self._bad:
            return False
        return self._good_until_ms is None or self._good_until_ms.get(token, -math.inf) > now_ms
