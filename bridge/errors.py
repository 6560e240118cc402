"""The errors of the bridge, by what the code that catches them can do.

::

    BridgeError
    ├── SettingsError            a setting is invalid: fix it, then restart           (exit 2)
    ├── CredentialsRefused       Aries rejects a token that cannot be renewed         (exit 3)
    ├── RecordsUndelivered       stopped with records not acknowledged by Kafka       (exit 4)
    ├── TopicConfigurationError  topics not as they must be                           (exit 1)
    ├── SchemaMismatch           the registry's schema is missing or different        (exit 1)
    ├── PortUnusable             the configured HTTP address cannot be listened on    (exit 1)
    ├── RegistryRefused          the registry rejects our credentials                 (exit 1)
    ├── UnsupportedLibrary       a library is not the version that the bridge was built for (exit 1)
    ├── KafkaUnreachable         no broker responded: retried
    ├── RegistryUnreachable      the registry did not respond as one, or there is no token for it: retried
    ├── ProxyUnusable            the environment names a proxy that cannot be used: retried, invalid at start
    ├── SecretUnreadable         a secret's file cannot be read at the moment: retried
    ├── TokenUnavailable         no access token at the moment: retried
    ├── ChainUnavailable         an option chain cannot be resolved at the moment: retried
    ├── ConnectionLost           the Aries connection is closed or unusable: retried according to its cause
    │   └── HandshakeRefused     … because the WebSocket handshake failed: no token was sent yet
    ├── CaptureUnreadable        a file that is no capture, or a damaged one          (exit 1)
    ├── Undecodable              a Kafka value that is not a record of the bridge
    └── BadLine                  a line of the feed that cannot become a record: dead-lettered
        └── BadField             … because of one of its fields
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MAX_VALUE_CHARACTERS = 80


class BridgeError(Exception):
    """The base class of all errors of the bridge; its text is a message for the operator."""

    exit_code: ClassVar[int] = 1


class SettingsError(BridgeError):
    """Invalid settings: all problems at once, each with how to fix it."""

    exit_code = 2

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        count = len(self.problems)
        head = f"{count} problem{'s' if count > 1 else ''} in the settings:"
        return "\n".join([head, *(f"  - {problem}" for problem in self.problems)])


class CredentialsRefused(BridgeError):
    """A fixed access token that Aries rejects; retrying cannot help."""

    exit_code = 3

    def __init__(self, times: int, answer: str) -> None:
        self.times = times
        self.answer = answer
        super().__init__(times, answer)

    def __str__(self) -> str:
        return (
            f"Aries rejected the access token {self.times} times ({self.answer}), and a fixed token cannot be renewed. "
            "Set ARIES_ACCESS_TOKEN to a valid token, or use ARIES_ACCESS_TOKEN_FILE or ARIES_REFRESH_TOKEN so that "
            "it can be renewed while the bridge runs."
        )


class RecordsUndelivered(BridgeError):
    """Records that Kafka had not acknowledged when the bridge had to exit."""

    exit_code = 4

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(count)

    def __str__(self) -> str:
        return f"Kafka did not acknowledge {self.count} records within BRIDGE_DRAIN_SECONDS."


class TopicConfigurationError(BridgeError):
    """Topics that are hidden from this user, missing where they must exist, or whose partition counts differ."""


class SchemaMismatch(BridgeError):
    """A subject of the schema registry that does not have the bridge's schema."""

    def __init__(self, subject: str, problem: str, hint: str, *, missing: bool = False) -> None:
        self.missing = missing
        self.subject = subject
        self.problem = problem
        self.hint = hint
        super().__init__(subject, problem, hint)

    def __str__(self) -> str:
        return f"schema registry, subject {self.subject!r}: {self.problem}. {self.hint}"


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
    """An unreachable Kafka cluster; the text says why."""


class RegistryUnreachable(BridgeError):
    """An unreachable schema registry, one whose responses are unusable, or no credentials for it at the moment."""

    def __init__(self, problem: str, hint: str = "") -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(problem, hint)

    def __str__(self) -> str:
        return f"{self.problem}. {self.hint}".rstrip()


class PortUnusable(BridgeError):
    """An HTTP address for probes, metrics and status that cannot be listened on."""


class RegistryRefused(BridgeError):
    """Credentials that the schema registry rejects; retrying cannot help. ``check`` says which to check."""

    def __init__(self, url: str, status: int, check: str = "") -> None:
        self.url = url
        self.status = status
        self.check = check
        super().__init__(url, status, check)

    @property
    def hint(self) -> str:
        """Return what to do."""
        return (
            f"{self.check} The account must be allowed to read the subjects of the bridge's topics (and to write them, "
            "if SCHEMA_REGISTRY_AUTO_REGISTER is on)."
        ).lstrip()

    def __str__(self) -> str:
        return f"the schema registry at {self.url} denied access (HTTP {self.status}). {self.hint}"


class ProxyUnusable(BridgeError):
    """A proxy of the environment that cannot be used; the text never contains its password."""

    def __init__(self, variable: str, problem: str, host: str) -> None:
        self.complaint = f"the proxy for {host}, which {variable} names, cannot be used: {problem}"
        self.hint = f"Set {variable} to http://host:port, or exempt {host} with NO_PROXY."
        super().__init__(variable, problem, host)

    def __str__(self) -> str:
        return f"{self.complaint}. {self.hint}"


class SecretUnreadable(BridgeError):
    """A secret's file that cannot be read at the moment; the text never contains the file's content."""

    def __init__(self, name: str, path: Path, reason: str) -> None:
        self.name = name
        self.path = path
        self.reason = reason
        super().__init__(name, path, reason)

    @property
    def complaint(self) -> str:
        """Return the message without the name of the setting."""
        return (
            f"the file {str(self.path)!r} of {self.name}_FILE {self.reason}; "
            "it must contain the secret and nothing else, and be readable by the bridge's user"
        )

    def __str__(self) -> str:
        return f"{self.name}: {self.complaint}"


class CaptureUnreadable(BridgeError):
    """A file that is no capture, or a damaged one; the text says which and why."""


class Undecodable(BridgeError):
    """A Kafka value that cannot be decoded; the text says why, and ``cause`` the same without what differs by value."""

    def __init__(self, text: str, cause: str = "not a record of its schema") -> None:
        self.text = text
        self.cause = cause
        super().__init__(text, cause)

    def __str__(self) -> str:
        return self.text


class TokenUnavailable(BridgeError):
    """An access token that cannot be obtained at the moment; the text says why.

    ``permanent`` means that retrying cannot help until an operator has fixed the cause; ``retry_after_seconds`` is how
    long the server asks to wait, if it does.
    """

    permanent: bool = False
    retry_after_seconds: float | None = None


class ChainFailure(StrEnum):
    """Why an option chain could not be resolved (a label of ``chain_failures_total``)."""

    NETWORK = "network"  # DNS, TCP, TLS, a proxy
    TIMEOUT = "timeout"  # no answer in time, or not all pages
    TOKEN = "token"  # noqa: S105 - not a password: HTTP 401, or no token at the moment
    SCOPE = "scope"  # HTTP 403
    NOT_FOUND = "not_found"  # HTTP 404, or no contract is listed
    BUSY = "busy"  # HTTP 429 or 503
    SERVER = "server"  # any other HTTP 5xx
    ANSWER = "answer"  # not the JSON that is expected, or too much of it


class ChainUnavailable(BridgeError):
    """An option chain that cannot be resolved at the moment; ``retry_after_seconds`` is what the server asks for."""

    def __init__(
        self, failure: ChainFailure, problem: str, hint: str = "", *, retry_after_seconds: float | None = None
    ) -> None:
        self.failure = failure
        self.problem = problem
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds
        super().__init__(failure, problem, hint)

    def __str__(self) -> str:
        return f"{self.problem}. {self.hint}".rstrip()


class DisconnectCause(StrEnum):
    """Why a connection to Aries ended or could not be established (a label of ``reconnects_total``)."""

    NETWORK = "network"  # DNS, TCP, TLS, a reset, closed without a closing handshake
    HANDSHAKE = "handshake"  # the server answered the upgrade request with an HTTP error
    THROTTLED = "throttled"  # HTTP 429, or 503 with Retry-After; or the server says that it gets too many requests
    AUTH_REFUSED = "auth_refused"  # HTTP 401/403, or an error response to the auth request that has no other cause
    AUTH_TIMEOUT = "auth_timeout"  # no response to the auth request
    TOKEN = "token"  # noqa: S105 - not a password: no access token at the moment
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - not a password: the token endpoint rejects the grant
    CLOSED = "closed"  # the server closed the connection
    EVICTED = "evicted"  # the server closed the connection in favor of another session
    CONNECTION_LIMIT = "connection_limit"  # the account has as many connections as it may have
    MAINTENANCE = "maintenance"  # the server says that it is not available for now
    SERVER_ERROR = "server_error"  # the server says that it failed
    TOO_BIG = "too_big"  # a frame larger than the limit (close code 1009)
    PONG_TIMEOUT = "pong_timeout"  # a ping was not answered
    STALE = "stale"  # no data while the market is open


class ConnectionLost(BridgeError):
    """A connection to Aries that was closed, became unusable, or could not be established.

    ``hint`` says what the operator can do, if that is known; ``retry_after_seconds`` is how long the server asks to
    wait, if it does.
    """

    def __init__(
        self, cause: DisconnectCause, reason: str, *, hint: str = "", retry_after_seconds: float | None = None
    ) -> None:
        self.cause = cause
        self.reason = reason
        self.hint = hint
        self.retry_after_seconds = retry_after_seconds
        super().__init__(cause, reason, hint)

    def __str__(self) -> str:
        return f"{self.reason}. {self.hint}" if self.hint else self.reason

    @property
    def blames_token(self) -> bool:
        """Whether Aries rejected the access token."""
        return self.cause is DisconnectCause.AUTH_REFUSED


class HandshakeRefused(ConnectionLost):
    """A WebSocket handshake that the server answered with an HTTP error.

    ``status`` is that of the response, ``date`` its Date header.
    """

    blames_token = False

    def __init__(
        self,
        cause: DisconnectCause,
        reason: str,
        *,
        hint: str = "",
        retry_after_seconds: float | None = None,
        date: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(cause, reason, hint=hint, retry_after_seconds=retry_after_seconds)
        self.status = status
        self.date = date


class BadLine(BridgeError):
    """A line of the feed that cannot become a record.

    ``reason`` is one of a few fixed values (a metric's label), ``error`` the message for the operator; ``records`` is
    how many records consumers miss because of it, at least the line itself.
    """

    def __init__(self, reason: str, error: str, *, symbol: str | None = None) -> None:
        self.reason = reason
        self.error = error
        self.symbol = symbol
        self.records = 1
        super().__init__(reason, error)

    def __str__(self) -> str:
        return self.error


class BadField(BadLine):
    """A field of a line whose value does not fit its type."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        super().__init__("bad_field", f"{field}: expected {expected}, got {describe_value(value)}")


def shorten(text: str, max_characters: int) -> str:
    """Return the text, cut off and ended with ``...`` if it is longer than that."""
    return text if len(text) <= max_characters else text[: max_characters - 3] + "..."


def describe_value(value: object) -> str:
    """Return a value of the feed for logs and errors, with a bounded length."""
    # Lists and objects may be nested to any depth by the sender, so their content is not shown.
    if isinstance(value, list):
        return "a list"
    return "an object" if isinstance(value, dict) else shorten(repr(value), _MAX_VALUE_CHARACTERS)
