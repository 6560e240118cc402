"""Errors the bridge raises, by what their catcher can do next.

::

    BridgeError
    ├── SettingsError          a setting is wrong: mend it, start again          (exit 2)
    ├── CredentialsRefused     Aries refuses a token that cannot change          (exit 3)
    ├── RecordsUndelivered     stopped with records Kafka had not acknowledged   (exit 4)
    ├── TopicConfigurationError            topics missing or of unequal partition counts     (exit 1)
    ├── SchemaMismatch            the registry's schema is missing or different     (exit 1)
    ├── PortUnusable           HTTP cannot be served where the settings say        (exit 1)
    ├── UnsupportedLibrary     a library is not the version that the bridge was made for   (exit 1)
    ├── KafkaUnreachable       no broker answered: retried
    ├── RegistryUnreachable    the registry did not answer: retried
    ├── RegistryRefused        the registry refuses our credentials                (exit 1)
    ├── SecretUnreadable       a secret's file cannot be read just now: retried
    ├── Undecodable            a Kafka value is none of ours
    ├── TokenUnavailable       no access token to be had just now: retried
    ├── ConnectionLost         the Aries socket is gone or useless: retried by its cause
    │   └── HandshakeRefused     … before it opened: no token was shown, so none is to blame
    └── BadLine                one line cannot become a record: dead-lettered
        └── BadField           … because of one field
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class BridgeError(Exception):
    """Be the root of every error of the bridge's own; its text is meant for people."""

    exit_code: ClassVar[int] = 1


class SettingsError(BridgeError):
    """Name every problem of the environment at once, and how to mend each."""

    exit_code = 2

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} problem{'s' if count > 1 else ''} in the settings:"
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])


class CredentialsRefused(BridgeError):
    """Say that Aries refused a token which cannot become another by waiting."""

    exit_code = 3

    def __init__(self, times: int, answer: str) -> None:
        self.times = times
        self.answer = answer
        super().__init__(times, answer)

    def __str__(self) -> str:
        return (
            f"Aries refused the access token {self.times} times ({self.answer}). A fixed token does not change by "
            "itself: put a valid one into ARIES_ACCESS_TOKEN, or use ARIES_ACCESS_TOKEN_FILE or "
            "ARIES_REFRESH_TOKEN so that it can be renewed while the bridge runs."
        )


class RecordsUndelivered(BridgeError):
    """Say how many records were given up at exit."""

    exit_code = 4

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(count)

    def __str__(self) -> str:
        return f"{self.count} records were not acknowledged by Kafka before the deadline of BRIDGE_DRAIN_SECONDS."


class TopicConfigurationError(BridgeError):
    """Say which topics are missing or do not fit together."""


class SchemaMismatch(BridgeError):
    """Say for which subject the registry has no schema, or another one."""

    def __init__(self, subject: str, problem: str, remedy: str) -> None:
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
        super().__init__(subject, problem, remedy)

    def __str__(self) -> str:
        return f"schema registry, subject {self.subject!r}: {self.problem}. {self.remedy}"


class UnsupportedLibrary(BridgeError):
    """An installed library lacks private names that the bridge uses."""

    def __init__(self, library: str, installed: str, wanted: str, missing: Sequence[str]) -> None:
        self.library = library
        self.installed = installed
        self.wanted = wanted
        self.missing = tuple(missing)
        super().__init__(library, installed, wanted, missing)

    def __str__(self) -> str:
        return (
            f"{self.library} {self.installed} lacks {', '.join(self.missing)}, which the bridge uses: "
            f"install {self.library} {self.wanted}."
        )


class KafkaUnreachable(BridgeError):
    """Say that no broker could be reached, and why."""


class RegistryUnreachable(BridgeError):
    """Say that the schema registry gave no usable answer, and why."""


class PortUnusable(BridgeError):
    """Say why probes, metrics and status cannot be served where the settings say."""


class RegistryRefused(BridgeError):
    """Say that the registry does not accept our credentials: waiting does not help."""

    def __init__(self, url: str, status: int) -> None:
        self.url = url
        self.status = status
        super().__init__(url, status)

    def __str__(self) -> str:
        return (
            f"the schema registry at {self.url} refuses us (HTTP {self.status}). "
            "Set SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD to an account that may "
            "read the subjects of the bridge's topics (and write them, where "
            "SCHEMA_REGISTRY_AUTO_REGISTER is on)."
        )


class SecretUnreadable(BridgeError):
    """Say which secret cannot be read just now, from where, and why; never what the file holds."""

    def __init__(self, name: str, path: Path, reason: str) -> None:
        self.name = name
        self.path = path
        self.reason = reason
        super().__init__(name, path, reason)

    @property
    def complaint(self) -> str:
        """Return the sentence without the setting's name before it."""
        return (
            f"the file {str(self.path)!r} of {self.name}_FILE {self.reason}; "
            "it must hold the secret and nothing else, readable for the bridge's user"
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.complaint}"


class Undecodable(BridgeError):
    """Say why a Kafka value cannot be decoded."""


class TokenUnavailable(BridgeError):
    """Say why no access token can be had just now; ``permanent`` where a person has to do something first."""

    permanent: bool = False
    retry_after_seconds: float | None = None


class DisconnectCause(StrEnum):
    """Name why a connection to Aries ended or did not come about (label of ``reconnects_total``)."""

    NETWORK = "network"  # DNS, TCP, TLS, a reset, an end without a closing handshake
    HANDSHAKE = "handshake"  # the server answered the upgrade with an HTTP error
    THROTTLED = "throttled"  # HTTP 429, or 503 with Retry-After
    AUTH_REFUSED = "auth_refused"  # HTTP 401/403, or an error in answer to the auth request
    AUTH_TIMEOUT = "auth_timeout"  # no answer to the auth request
    TOKEN = "token"  # noqa: S105 - no access token to be had just now
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - the token endpoint refuses our grant
    CLOSED = "closed"  # the server closed the connection
    EVICTED = "evicted"  # … because another session took its place
    TOO_BIG = "too_big"  # a frame over our limit (close code 1009)
    PONG_TIMEOUT = "pong_timeout"  # a ping stayed without answer
    STALE = "stale"  # no data though the market is open


class ConnectionLost(BridgeError):
    """Say why the Aries connection is gone; ``retry_after_seconds`` is the server's wish, if it had one.

    ``remedy`` tells people what they can do, where that is known.
    """

    def __init__(
        self, cause: DisconnectCause, reason: str, *, remedy: str = "", retry_after_seconds: float | None = None
    ) -> None:
        self.cause = cause
        self.reason = reason
        self.remedy = remedy
        self.retry_after_seconds = retry_after_seconds
        super().__init__(cause, reason, remedy)

    def __str__(self) -> str:
        return f"{self.reason}. {self.remedy}" if self.remedy else self.reason

    @property
    def blames_token(self) -> bool:
        """Tell whether it was the token that Aries did not accept."""
        return self.cause is DisconnectCause.AUTH_REFUSED


class HandshakeRefused(ConnectionLost):
    """Say with which HTTP answer the server refused to open a WebSocket; ``date`` is when it was sent, as it says."""

    blames_token = False

    def __init__(
        self,
        cause: DisconnectCause,
        reason: str,
        *,
        remedy: str = "",
        retry_after_seconds: float | None = None,
        date: str | None = None,
    ) -> None:
        super().__init__(cause, reason, remedy=remedy, retry_after_seconds=retry_after_seconds)
        self.date = date


class BadLine(BridgeError):
    """Say why one line of the feed cannot become a record.

    ``reason`` is one of few words (a metric's label); ``error`` is the sentence for people.
    """

    def __init__(self, reason: str, error: str, *, symbol: str | None = None) -> None:
        self.reason = reason
        self.error = error
        self.symbol = symbol
        super().__init__(reason, error)

    def __str__(self) -> str:
        return self.error


class BadField(BadLine):
    """Say which field of a line has a value that its type cannot hold."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        super().__init__("bad_field", f"{field}: expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    # Lists and objects are the sender's to nest: they are named, not written out.
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else _shortened(repr(value))


def _shortened(text: str, most_characters: int = 80) -> str:
    return text if len(text) <= most_characters else text[: most_characters - 3] + "..."
