"""The access tokens that a simulator accepts; shared with the token endpoint that issues them."""

from __future__ import annotations

import math


class AcceptedTokens:
    """A set of valid access tokens: every non-empty token, or only those named here and issued since."""

    def __init__(self, *tokens: str) -> None:
        self._valid_until_ms: dict[str, float] | None = dict.fromkeys(tokens, math.inf) if tokens else None
        self._rejected: set[str] = set()

    def accept(self, *tokens: str, until_ms: float = math.inf) -> None:
        """Accept these tokens until a time in epoch milliseconds, and from now on no token that was not named."""
        self._valid_until_ms = {**(self._valid_until_ms or {}), **dict.fromkeys(tokens, until_ms)}
        self._rejected.difference_update(tokens)

    def reject(self, *tokens: str) -> None:
        """Reject these tokens from now on."""
        self._rejected.update(tokens)

    def is_valid(self, token: str, now_ms: int) -> bool:
        """Return whether a token is accepted at this time."""
        if not token or token in self._rejected:
            return False
        return self._valid_until_ms is None or self._valid_until_ms.get(token, -math.inf) > now_ms
