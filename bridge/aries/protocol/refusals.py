"""What the server means by a refusal, by its words: in an error, an answer to a request, or the reason of a close.

The vendor documents neither codes nor texts (protocol §3, §8), so all of this is assumed [A], to be corrected here.
Words that blame the token come first, and then those that do not: a good token that is refused for another reason must
not count as a bad one.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bridge.errors import DisconnectCause

if TYPE_CHECKING:
    from collections.abc import Mapping


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_TOKEN: Final = _words(
    r"(invalid|expired|revoked|malformed|unknown) (access[ _])?token"
    r"|token( is| was| has| has been)? (invalid|expired|timed out|revoked|malformed|unknown|required)"
)
#: Why the server refuses something for now, whatever token it was sent.
CAUSES: Final[Mapping[DisconnectCause, re.Pattern[str]]] = MappingProxyType(
    {
        DisconnectCause.CONNECTION_LIMIT: _words(
            r"(max(imum)?|too many|limit (of|on)) .{0,30}\b(connection|session|login)s?\b"
            r"|\b(connection|session|login)s? (count |limit|quota|exceed)"
            r"|already (connected|logged in|in use)|concurrent"
        ),
        DisconnectCause.THROTTLED: _words(
            r"rate.?limit|too many (request|message|attempt|call|frame)s?|(request|message) (limit|quota)"
            r"|throttl|slow down|too (fast|frequent)"
        ),
        DisconnectCause.MAINTENANCE: _words(
            r"maintenance|temporarily|(try|retry) (again )?(later|in |after )|(be|come) back|scheduled outage|downtime"
        ),
        DisconnectCause.SERVER_ERROR: _words(
            r"internal.{0,10}(error|fail|problem|exception)|server (error|fail|busy|overload)|overloaded|time(d )?.?out"
            r"|(service|server|system)( is)? (currently )?(unavailable|down|not available)|unexpected error"
            r"|bad gateway|gateway (error|fail)|upstream|backend"
        ),
    }
)
_SYMBOL_LIMIT: Final = _words(
    r"\b(symbol|subscription|instrument|ticker)s?( count)? (limit|quota|cap\b|maximum)"
    r"|\b(symbol|subscription|instrument|ticker)s? exceed"
    r"|(max(imum)?|too many|(limit|quota) (of|for|on)|more than) .{0,30}\b(symbol|subscription|instrument|ticker)s?\b"
)


def cause_of(text: str) -> DisconnectCause | None:
    """Return why something was refused, if that is not the fault of the token or the request; else None."""
    if _TOKEN.search(text):
        return None
    return next((cause for cause, pattern in CAUSES.items() if pattern.search(text)), None)


def is_symbol_limit(text: str) -> bool:
    """Return whether more symbols were requested than the server serves."""
    return _SYMBOL_LIMIT.search(text) is not None
