"""Lifetimes of sessions and access tokens as sent by Aries, and which of them cannot be meant.

The unit of a session's lifetime is assumed (protocol §3) [A]: 45 minutes in seconds, read as milliseconds, are 2.7 s,
and a session that is renewed by that asks for a token every two seconds, for ever.
"""

from __future__ import annotations

from typing import Final

MIN_SECONDS: Final = 60.0
MAX_SECONDS: Final = 30 * 86_400.0


def is_plausible(seconds: float) -> bool:
    """Return whether a lifetime can be meant; one that cannot counts as unknown."""
    return MIN_SECONDS <= seconds <= MAX_SECONDS
