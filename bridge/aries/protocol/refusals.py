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


_WORD_LIMIT: Final = re.compile(r"[_-]+|(?<=[a-z])(?=[A-Z])")
_TOKEN: Final = _words(
    r"(invalid|expired|revoked|malformed|unknown) (access[ _])?token"
    r"|token( is| was| has| has been)? (invalid|expired|timed out|revoked|malformed|unknown|required)"
)
#: Why the server refuses something for now, whatever token it was sent.
CAUSES: Final[Mapping[DisconnectCause, re.Pattern[str]]] = MappingProxyType(
    {
        DisconnectCause.CONNECTION_LIMIT: _words(
            r"(max(imum)?|too many|limit (of|on)|exceed(s|ed)?|only (one|1|a)) .{0,30}"
            r"\b(connection|session|login|socket)s?\b"
            r"|\b(connection|session|login|socket)s? (count |limit|quota|exceed)"
            r"|already (connected|logged in|in use)|concurrent"
            r"|another (session|connection|device|client)|logged in (elsewhere|from|on)"
        ),
        DisconnectCause.THROTTLED: _words(
            r"rate.?(limit|exceed)|too many (request|message|attempt|call|frame)s?|(request|message) (limit|quota)"
            r"|throttl|slow down|too (fast|frequent)|flood|wait \d+ ?(s|m)|^(http |error |code )*429\b"
        ),
        DisconnectCause.MAINTENANCE: _words(
            r"maintenance|temporarily|restarting|(try|retry|connect) (again )?(later|in |after )"
            r"|(be|come) back|scheduled outage|downtime"
        ),
        DisconnectCause.SERVER_ERROR: _words(
            r"^internal$|internal.{0,10}(error|fail|problem|exception)|(server|system) (error|fail)|overload"
            r"|time(d )?.?out|error occurred|went wrong|^(http |error |code )*50[0-4]\b"
            r"|(service|server|system|database|cluster)( is)? (currently )?(unavailable|down|busy|not available)"
            r"|(unexpected|unknown) (error|condition|exception)"
            r"|bad gateway|gateway (error|fail)|upstream|backend"
        ),
    }
)
_SYMBOL_LIMIT: Final = _words(
    r"\b(symbol|subscription|instrument|ticker)s?( count)? (limit|quota|cap\b|maximum)"
    r"|(at most|only|limited to) .{0,20}\d .{0,20}\b(symbol|subscription|instrument|ticker)s?\b"
    r"|\b(symbol|subscription|instrument|ticker)s? exceed"
    r"|(max(imum)?|too many|(limit|quota) (of|for|on)|more than) .{0,30}\b(symbol|subscription|instrument|ticker)s?\b"
)


def plain(text: str) -> str:
    """Return a text with spaces between its words, as a code like ``TOO_MANY_REQUESTS`` or ``maxSymbols`` has none."""
    return _WORD_LIMIT.sub(" ", text)


def cause_of(text: str) -> DisconnectCause | None:
    """Return why something was refused, if that is not the fault of the token or the request; else None."""
    words = plain(text)
    if _TOKEN.search(words):
        return None
    return next((cause for cause, pattern in CAUSES.items() if pattern.search(words)), None)


def is_symbol_limit(text: str) -> bool:
    """Return whether more symbols were requested than the server serves."""
    return _SYMBOL_LIMIT.search(plain(text)) is not None
