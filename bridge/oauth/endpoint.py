"""Ask an OAuth2 token endpoint for an access token (RFC 6749).

No text made here holds a token, a secret or an answer's body: of a refusal only the ``error`` code and its
description are shown, shortened, and only where no secret is in them.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isfinite
from typing import TYPE_CHECKING, TypeGuard

import aiohttp
import msgspec
from yarl import URL

from bridge.errors import TokenUnavailable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

DEADLINE_SECONDS = 10.0
ANSWER_LIMIT_BYTES = 65_536
RETRY_AFTER_LIMIT_SECONDS = 86_400.0
_SHOWN_CHARACTERS = 200


class TokenEndpointError(TokenUnavailable):
    """Say what a token endpoint did instead of granting a token.

    ``permanent``: asking again with the same credentials will not help. ``retry_after_seconds`` is the
    server's wish, if it had one.
    """

    def __init__(
        self,
        endpoint: str,
        problem: str,
        remedy: str = "",
        *,
        permanent: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.problem = problem
        self.remedy = remedy
        self.permanent = permanent
        self.retry_after_seconds = retry_after_seconds
        super().__init__(endpoint, problem, remedy)

    def __str__(self) -> str:
        return f"Token endpoint {self.endpoint}: {self.problem}. {self.remedy}".rstrip()


@dataclass(frozen=True, slots=True)
class Grant:
    """Hold what a token endpoint granted; ``lifetime_seconds`` is None where it did not tell."""

    access_token: str = field(repr=False)
    lifetime_seconds: float | None = None
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold an HTTP answer, read whole."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = ""
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Hold a grant request: a JSON object or a form, perhaps with HTTP Basic credentials (§2.3.1)."""

    parameters: Mapping[str, str] = field(repr=False)
    as_form: bool = False
    basic: tuple[str, str] | None = field(default=None, repr=False)
    #: What must never be shown, whoever repeats it to us.
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Ask one token endpoint for grants.

    ``setting`` names the environment variable that holds ``url``; ``remedies`` tells for an OAuth error code
    what a person can do about it; ``tls`` is the trust for https, the system's by default.
    """

    url: str = field(repr=False)
    setting: str
    remedies: Mapping[str, str]
    deadline_seconds: float = DEADLINE_SECONDS
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    async def grant(self, request: TokenRequest) -> Grant:
        """Ask for a grant; raises TokenEndpointError, after the deadline at the latest."""
        return self.read(await self._answer(request), request.secrets)

    def read(self, answer: Answer, secrets: tuple[str, ...] = ()) -> Grant:
        """Return the grant in an answer (RFC 6749 §5.1) or raise its TokenEndpointError (§5.2)."""
        if len(answer.body) > ANSWER_LIMIT_BYTES:
            raise self._error(
                f"answered HTTP {answer.status} with more than {ANSWER_LIMIT_BYTES} bytes", self._check_url
            )
        fields = _json_object(answer.body)
        if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise self._error(
                f"is busy (HTTP {answer.status})",
                "It is asked again later.",
                retry_after_seconds=retry_after_seconds(answer.retry_after, time.time()),
            )
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
            problem = f"redirects (HTTP {answer.status}), and credentials follow no redirect"
            raise self._error(problem, self._check_url, permanent=True)
        if answer.status >= HTTPStatus.BAD_REQUEST or "error" in fields:
            raise self._refusal(answer, fields, secrets)
        return self._grant(answer, fields)

    def _grant(self, answer: Answer, fields: Mapping[str, object]) -> Grant:
        token, refresh_token = fields.get("access_token"), fields.get("refresh_token")
        if not _usable(token):
            what = "without a usable access_token" if fields else f"with {_kind(answer)} instead of a JSON object"
            raise self._error(f"answered HTTP {answer.status} {what}", self._check_url)
        return Grant(
            access_token=token,
            lifetime_seconds=_seconds(fields.get("expires_in")),
            refresh_token=refresh_token if _usable(refresh_token) else None,
        )

    def _refusal(self, answer: Answer, fields: Mapping[str, object], secrets: tuple[str, ...]) -> TokenEndpointError:
        code = _shown(fields.get("error"), secrets)
        said = ": ".join(filter(None, (code, _shown(fields.get("error_description"), secrets))))
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return self._error(f"failed (HTTP {answer.status}{said and f', {said}'})", "It is asked again later.")
        passing = answer.status == HTTPStatus.REQUEST_TIMEOUT or code in (
            "temporarily_unavailable",
            "server_error",
        )
        return self._error(
            f"refused (HTTP {answer.status}, {said or _kind(answer)})",
            self.remedies.get(code, self._check_url if not code else ""),
            permanent=not passing,
        )

    async def _answer(self, request: TokenRequest) -> Answer:
        try:
            async with (
                # As the websockets library does: HTTPS_PROXY from the environment is obeyed.
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=self.deadline_seconds), trust_env=True
                ) as client,
                client.post(
                    self.url,
                    json=None if request.as_form else request.parameters,
                    data=request.parameters if request.as_form else None,
                    headers=_headers(request.basic),
                    ssl=self.tls or True,
                    allow_redirects=False,
                ) as response,
            ):
                return Answer(
                    status=response.status,
                    body=await _start_of(response.content),
                    content_type=response.content_type,
                    retry_after=response.headers.get("Retry-After"),
                )
        except (aiohttp.ClientError, OSError, UnicodeError) as error:  # UnicodeError: no possible host name
            # Without its cause: aiohttp's texts can hold the whole URL, and that a password.
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> TokenEndpointError:
        match error:
            case TimeoutError():
                return self._error(f"gave no answer within {self.deadline_seconds:g} s", "It is asked again later.")
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
                return self._error("is no http(s) URL", self._check_url, permanent=True)
            case aiohttp.ClientConnectorCertificateError():
                return self._error(
                    f"has a certificate that is not trusted ({_tls_reason(error.certificate_error)})",
                    "If a private authority signed it, name that authority's file in SSL_CERT_FILE.",
                )
            case aiohttp.ClientConnectorSSLError():
                return self._error(f"TLS failed ({_tls_reason(error.os_error)})", self._check_url)
            case aiohttp.ClientConnectorDNSError() | UnicodeError():
                return self._error("its host name has no address", f"Check {self.setting} and the DNS.")
            case aiohttp.ClientConnectorError():
                return self._error(
                    f"cannot be reached ({_os_reason(error.os_error)})",
                    f"Check {self.setting} and the network.",
                )
            case _:
                return self._error(f"broke off ({type(error).__name__})", "It is asked again later.")

    @property
    def _check_url(self) -> str:
        return f"Check {self.setting}: it must be the token endpoint itself."

    def _error(
        self, problem: str, remedy: str, *, permanent: bool = False, retry_after_seconds: float | None = None
    ) -> TokenEndpointError:
        return TokenEndpointError(
            _without_credentials(self.url),
            problem,
            remedy,
            permanent=permanent,
            retry_after_seconds=retry_after_seconds,
        )


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Return how long a ``Retry-After`` header asks to wait, from seconds or a date (RFC 9110 §10.2.3)."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return min(float(header), RETRY_AFTER_LIMIT_SECONDS)
    with suppress(ValueError):
        date = parsedate_to_datetime(header)
        wait = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
        return min(max(0.0, wait), RETRY_AFTER_LIMIT_SECONDS)
    return None


def _headers(basic: tuple[str, str] | None) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if basic is not None:
        # As Kafka's own client has it: not URL-encoded first, which few servers undo (KAFKA-16345).
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
    return headers


async def _start_of(stream: aiohttp.StreamReader) -> bytes:
    """Return the whole body, or one byte more than the limit of a longer one."""
    try:
        return await stream.readexactly(ANSWER_LIMIT_BYTES + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial


def _json_object(body: bytes) -> Mapping[str, object]:
    with suppress(ValueError, RecursionError):
        decoded = msgspec.json.decode(body)
        if isinstance(decoded, dict):
            return decoded
    return {}


def _usable(token: object) -> TypeGuard[str]:
    return isinstance(token, str) and token != "" and token.isascii() and token.isprintable()


def _seconds(value: object) -> float | None:
    """Return a lifetime in seconds; some servers write it as a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        seconds = float(value)
        if isfinite(seconds) and seconds > 0:
            return seconds
    return None


def _shown(value: object, secrets: tuple[str, ...]) -> str:
    if not isinstance(value, str):
        return ""
    if any(secret and secret in value for secret in secrets):
        return "(withheld: it repeats a secret)"
    text = "".join(character if character.isprintable() else " " for character in value[:_SHOWN_CHARACTERS])
    return text.strip()


def _kind(answer: Answer) -> str:
    return _shown(answer.content_type, ()) or "no content type"


def _os_reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _tls_reason(error: BaseException) -> str:
    return getattr(error, "verify_message", "") or getattr(error, "reason", "") or type(error).__name__


def _without_credentials(url: str) -> str:
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return "(unreadable URL)"
