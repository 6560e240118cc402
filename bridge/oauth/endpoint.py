"""Request access tokens from an OAuth2 token endpoint (RFC 6749).

No message contains a token, a secret or a response body: of an error response, only the ``error`` code and its
description are shown, truncated, and only if they contain no secret.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from math import isfinite
from typing import TYPE_CHECKING, TypeGuard

import aiohttp
import msgspec
from yarl import URL

from bridge.backoff import retry_after_seconds
from bridge.errors import ProxyUnusable, SettingsError, TokenUnavailable
from bridge.network.authorities import trusting
from bridge.network.faults import proxy_refused
from bridge.network.proxies import proxy_for
from bridge.network.request_errors import connection_fault, proxy_fault
from bridge.network.response_body import read_limited

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from os import PathLike

    from bridge.network.faults import Fault
    from bridge.network.proxies import Proxy

DEADLINE_SECONDS = 10.0
MAX_RESPONSE_BYTES = 65_536
_WILL_RETRY = "The bridge will retry."
_MAX_SHOWN_CHARACTERS = 200


class TokenEndpointError(TokenUnavailable):
    """A failed request to a token endpoint.

    ``permanent``: a retry with the same credentials will not succeed. ``retry_after_seconds`` is what the server asked
    for, if it did.
    """

    def __init__(
        self,
        endpoint: str,
        problem: str,
        hint: str = "",
        *,
        permanent: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.problem = problem
        self.hint = hint
        self.permanent = permanent
        self.retry_after_seconds = retry_after_seconds
        super().__init__(endpoint, problem, hint)

    def __str__(self) -> str:
        return f"Token endpoint {self.endpoint}: {self.problem}. {self.hint}".rstrip()


@dataclass(frozen=True, slots=True)
class Grant:
    """A granted access token; ``lifetime_seconds`` is None if unknown."""

    access_token: str = field(repr=False)
    lifetime_seconds: float | None = None
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response with its body."""

    status: int
    body: bytes = field(repr=False)
    content_type: str = ""
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The parameters of a grant request, sent as JSON or as a form, optionally with HTTP Basic credentials (§2.3.1)."""

    parameters: Mapping[str, str] = field(repr=False)
    as_form: bool = False
    basic: tuple[str, str] | None = field(default=None, repr=False)
    #: Not shown, even if the server repeats them.
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """A token endpoint.

    ``setting`` is the environment variable with its URL; ``hints`` says for an OAuth error code how to fix it. For
    https, ``cafile`` has authorities to trust beside the system's; ``tls`` is a context to use instead.
    """

    url: str = field(repr=False)
    setting: str
    hints: Mapping[str, str]
    deadline_seconds: float = DEADLINE_SECONDS
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    cafile: PathLike[str] | None = None

    async def grant(self, request: TokenRequest) -> Grant:
        """Request a grant; raise TokenEndpointError, after the deadline at the latest."""
        return self.parse(await self._post(request), request.secrets)

    def parse(self, response: Response, secrets: tuple[str, ...] = ()) -> Grant:
        """Return the grant in a response (RFC 6749 §5.1); raise TokenEndpointError for an error response (§5.2)."""
        if len(response.body) > MAX_RESPONSE_BYTES:
            raise self._error(
                f"answered HTTP {response.status} with more than {MAX_RESPONSE_BYTES} bytes", self._check_url
            )
        fields = _json_object(response.body)
        if response.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            raise self._error(
                f"is busy (HTTP {response.status})",
                _WILL_RETRY,
                retry_after_seconds=response.retry_after_seconds,
            )
        if HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
            problem = f"redirects (HTTP {response.status}), and credentials follow no redirect"
            raise self._error(problem, self._check_url, permanent=True)
        if response.status >= HTTPStatus.BAD_REQUEST or "error" in fields:
            raise self._error_response(response, fields, secrets)
        return self._grant(response, fields)

    def _grant(self, response: Response, fields: Mapping[str, object]) -> Grant:
        token, refresh_token = fields.get("access_token"), fields.get("refresh_token")
        if not _is_valid(token):
            instead = f"with {_content_type(response)} instead of a JSON object"
            problem = f"answered HTTP {response.status} {'without a usable access_token' if fields else instead}"
            raise self._error(problem, self._check_url)
        return Grant(
            access_token=token,
            lifetime_seconds=_lifetime(fields.get("expires_in")),
            refresh_token=refresh_token if _is_valid(refresh_token) else None,
        )

    def _error_response(
        self, response: Response, fields: Mapping[str, object], secrets: tuple[str, ...]
    ) -> TokenEndpointError:
        code = _shown(fields.get("error"), secrets)
        details = ": ".join(filter(None, (code, _shown(fields.get("error_description"), secrets))))
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return self._error(f"failed (HTTP {response.status}{details and f', {details}'})", _WILL_RETRY)
        is_temporary = response.status == HTTPStatus.REQUEST_TIMEOUT or code in (
            "temporarily_unavailable",
            "server_error",
        )
        return self._error(
            f"refused (HTTP {response.status}, {details or _content_type(response)})",
            self.hints.get(code, self._check_url if not code else ""),
            permanent=not is_temporary,
        )

    async def _post(self, request: TokenRequest) -> Response:
        proxy = self._proxy()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.deadline_seconds)) as client,
                client.post(
                    self.url,
                    json=None if request.as_form else request.parameters,
                    data=request.parameters if request.as_form else None,
                    headers=_headers(request.basic),
                    ssl=self._tls(proxy),
                    allow_redirects=False,
                    proxy=None if proxy is None else URL(proxy.url),
                ) as response,
            ):
                if proxy is not None and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                    raise self._behind(proxy, proxy_refused(proxy, response.status, self._host))
                return Response(
                    status=response.status,
                    body=await read_limited(response.content, MAX_RESPONSE_BYTES),
                    content_type=response.content_type,
                    retry_after_seconds=retry_after_seconds(
                        response.headers.get("Retry-After"), response.headers.get("Date")
                    ),
                )
        except (aiohttp.ClientError, OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
            # Without its cause: aiohttp's messages can contain the whole URL, and with it a password.
            raise self._unreachable(error, proxy) from None

    def _proxy(self) -> Proxy | None:
        """Return the proxy of the environment."""
        try:
            return proxy_for(self.url)
        except ProxyUnusable as error:
            raise self._error(f"cannot be requested, as {error.complaint}", error.hint, permanent=True) from None
        except ValueError:
            return None  # the request reports the invalid URL

    def _tls(self, proxy: Proxy | None) -> ssl.SSLContext | bool:
        """Return what to trust, with the file read again; nothing if there is no TLS."""
        if self.tls is not None or not any(url.startswith("https:") for url in (self.url, proxy.url if proxy else "")):
            return self.tls or True
        try:
            return trusting(self._authorities_setting, self.cafile, also_system=True)
        except SettingsError as error:
            raise self._error(f"cannot be requested, as {'; '.join(error.problems)}", _WILL_RETRY) from None

    def _unreachable(self, error: Exception, proxy: Proxy | None) -> TokenEndpointError:
        if proxy is not None and (fault := proxy_fault(error, proxy, self._host, self._authorities_setting)):
            return self._behind(proxy, fault)
        through = "" if proxy is None else f" through the proxy {proxy}"
        match error:
            case TimeoutError():
                return self._error(f"gave no answer within {self.deadline_seconds:g} s{through}", _WILL_RETRY)
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
                return self._error("is not an http(s) URL", self._check_url, permanent=True)
        if found := connection_fault(error, url_setting=self.setting, authorities_setting=self._authorities_setting):
            return self._error(found.problem, found.hint)
        return self._error(f"closed the connection without a response ({type(error).__name__}){through}", _WILL_RETRY)

    def _behind(self, proxy: Proxy, fault: Fault) -> TokenEndpointError:
        return self._error(f"cannot be reached: the proxy {proxy} {fault.problem}", fault.hint)

    @property
    def _host(self) -> str:
        """The endpoint's host, as messages name it."""
        return URL(self.url).host or ""

    @property
    def _authorities_setting(self) -> str:
        """The setting beside that of the URL that names authorities to trust."""
        if self.setting.startswith("SCHEMA_REGISTRY_"):
            return "SCHEMA_REGISTRY_CAFILE"
        return f"{self.setting.partition('_')[0]}_SSL_CAFILE"

    @property
    def _check_url(self) -> str:
        return f"Check {self.setting}: it must be the token endpoint itself."

    def _error(
        self, problem: str, hint: str, *, permanent: bool = False, retry_after_seconds: float | None = None
    ) -> TokenEndpointError:
        return TokenEndpointError(
            _without_credentials(self.url),
            problem,
            hint,
            permanent=permanent,
            retry_after_seconds=retry_after_seconds,
        )


def _headers(basic: tuple[str, str] | None) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if basic is not None:
        # Not URL-encoded first, like Kafka's own client: few servers decode that (KAFKA-16345).
        headers["Authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
    return headers


def _json_object(body: bytes) -> Mapping[str, object]:
    with suppress(ValueError, RecursionError):
        decoded = msgspec.json.decode(body)
        if isinstance(decoded, dict):
            return decoded
    return {}


def _is_valid(token: object) -> TypeGuard[str]:
    return isinstance(token, str) and token != "" and token.isascii() and token.isprintable()


def _lifetime(value: object) -> float | None:
    """Return a lifetime in seconds, None if it is invalid; some servers send a string."""
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
        return "(withheld: contains a secret)"
    text = "".join(character if character.isprintable() else " " for character in value[:_MAX_SHOWN_CHARACTERS])
    return text.strip()


def _content_type(response: Response) -> str:
    return _shown(response.content_type, ()) or "no content type"


def _without_credentials(url: str) -> str:
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None))
    except ValueError:
        return "(invalid URL)"
