"""Requests to the servers of a schema registry: which server, with which credentials, and what failed."""

from __future__ import annotations

import json
import ssl
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from yarl import URL

from bridge.errors import (
    ProxyUnusable,
    RegistryRefused,
    RegistryUnreachable,
    SecretUnreadable,
    SettingsError,
    TokenUnavailable,
)
from bridge.network.faults import os_reason, proxy_refused, tls_fault
from bridge.network.proxies import proxy_for
from bridge.network.request_errors import proxy_fault
from bridge.network.response_body import read_limited
from bridge.secrets.redaction import Redactor
from bridge.serialization import registry_responses
from bridge.serialization.registry_login import NoLogin
from bridge.serialization.registry_responses import CHECK_SERVER, OK, Response, ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.network.faults import Fault
    from bridge.network.proxies import Proxy
    from bridge.serialization.registry_login import Authorization, Login

_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
_HEADERS = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
_UNAUTHORIZED, _FORBIDDEN, _PROXY_LOGIN_REQUIRED = 401, 403, 407
_AUTHORITIES: Final = "SCHEMA_REGISTRY_CAFILE"
_CLIENT_CERTIFICATE: Final = (
    "If it requires a client certificate, set SCHEMA_REGISTRY_CERTFILE and SCHEMA_REGISTRY_KEYFILE "
    "to one that it trusts."
)
#: A schema has some KiB; Confluent's registry stores each in a Kafka record, which has at most 1 MiB by default.
_MAX_RESPONSE_BYTES = 1 << 21


class RegistryTransport:
    """The servers of a registry and how to log in to them; an async context manager.

    Each request goes to the first server that answers as a registry does, beginning with the one that did so last.
    Only these servers get the credentials.
    """

    def __init__(
        self,
        urls: str,
        login: Login | None,
        tls: ssl.SSLContext | None,
        headers: Mapping[str, str] | None,
        timeout_seconds: float,
    ) -> None:
        self._servers = _servers(urls)
        self._login = login or NoLogin()
        self._tls = tls or ssl.create_default_context()
        self._headers = _HEADERS | dict(headers or {})
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._redactor = Redactor()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def request(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Response:
        """Return a registry's answer; raises RegistryUnreachable and RegistryRefused."""
        problems: dict[str, ServerError] = {}
        for server in tuple(self._servers):
            try:
                response = await self._request_authorized(server, method, path, body)
            except ServerError as error:
                problems[server] = error
                continue
            self._servers.remove(server)
            self._servers.insert(0, server)
            return response
        raise _unreachable(problems)

    async def _request_authorized(
        self, server: str, method: str, path: str, body: Mapping[str, str] | None
    ) -> Response:
        """Send a request; if its token was rejected and there is another by now, send it again with that."""
        authorization = await self._authorization()
        try:
            return await self._request_once(server, method, path, body, authorization)
        except RegistryRefused as error:
            if error.status != _UNAUTHORIZED:
                raise
            self._login.invalidate()
            renewed = await self._authorization()
            if renewed == authorization:
                raise
        return await self._request_once(server, method, path, body, renewed)

    async def _authorization(self) -> Authorization | None:
        try:
            authorization = await self._login.authorization()
        except (TokenUnavailable, SecretUnreadable) as error:
            raise RegistryUnreachable("there are no credentials for the schema registry", str(error)) from error
        for secret in authorization.secrets if authorization else ():
            self._redactor.learn(secret)
        return authorization

    async def _request_once(
        self, server: str, method: str, path: str, body: Mapping[str, str] | None, authorization: Authorization | None
    ) -> Response:
        assert self._http is not None, "use the registry as an async context manager"
        data = None if body is None else json.dumps(body).encode()
        url = URL(server + path, encoded=True)
        headers = self._headers | ({"Authorization": authorization.header} if authorization else {})
        proxy = _proxy(url)
        try:
            # Redirects are not followed: another host would get the credentials, and POST would become GET.
            async with self._http.request(
                method,
                url,
                data=data,
                headers=headers,
                ssl=self._tls,
                allow_redirects=False,
                proxy=None if proxy is None else URL(proxy.url),
            ) as response:
                if proxy is not None and response.status == _PROXY_LOGIN_REQUIRED:
                    raise _behind(proxy, proxy_refused(proxy, response.status, url.host or ""))
                return self._parse(server, response, await _read_body(response))
        except ServerError as error:
            if proxy is None or str(proxy) in error.problem:
                raise
            # Of a plain http URL the answer may be the proxy's own.
            raise ServerError(f"{error.problem}, through the proxy {proxy}", error.hint) from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:  # UnicodeError: an invalid host name
            raise _connection_error(url, proxy, error, self._timeout) from None

    def _parse(self, server: str, response: aiohttp.ClientResponse, data: bytes) -> Response:
        status = response.status
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            raise RegistryRefused(server, status, self._login.hint)
        if status != OK:  # servers repeat what they were sent in their messages
            data = self._redactor.redact(data.decode(errors="replace")).encode()
        return registry_responses.parse(
            status,
            data,
            content_type=response.content_type,
            location=self._redactor.redact(_loggable(response.headers.get("Location", ""))),
        )


def server_urls(urls: str) -> list[str]:
    """Return the comma-separated URLs, without those that are empty."""
    return [url for text in urls.split(",") if (url := text.strip())]


def _unreachable(problems: Mapping[str, ServerError]) -> RegistryUnreachable:
    found = "; ".join(f"{server}: {error.problem}" for server, error in problems.items())
    hints = " ".join(dict.fromkeys(error.hint for error in problems.values()))
    return RegistryUnreachable(f"the schema registry cannot be used ({found})", hints)


async def _read_body(response: aiohttp.ClientResponse) -> bytes:
    body = await read_limited(response.content, _MAX_RESPONSE_BYTES)
    if len(body) > _MAX_RESPONSE_BYTES:
        raise ServerError(f"HTTP {response.status} with more than {_MAX_RESPONSE_BYTES} bytes")
    return body


def _proxy(url: URL) -> Proxy | None:
    try:
        return proxy_for(str(url))
    except ProxyUnusable as error:
        raise ServerError(error.complaint, error.hint) from None


def _behind(proxy: Proxy, fault: Fault) -> ServerError:
    return ServerError(f"the proxy {proxy} {fault.problem}", fault.hint)


def _connection_error(url: URL, proxy: Proxy | None, error: Exception, timeout: aiohttp.ClientTimeout) -> ServerError:
    if proxy is not None and (fault := proxy_fault(error, proxy, url.host or "", _AUTHORITIES)):
        return _behind(proxy, fault)
    through = "" if proxy is None else f" through the proxy {proxy}"
    match error:
        case TimeoutError():
            return ServerError(f"no response within {timeout.total:g} s{through}")
        case aiohttp.ClientConnectorCertificateError(certificate_error=cause):
            return _tls_error(cause)
        case aiohttp.ClientConnectorSSLError(os_error=cause) if not isinstance(cause, ConnectionError):
            return _tls_error(cause)
        case aiohttp.ClientConnectorDNSError() | UnicodeError():
            return ServerError("has a host name without an address", "Check SCHEMA_REGISTRY_URL and the DNS.")
        case aiohttp.ClientConnectorError(os_error=cause):
            return ServerError(f"cannot be reached ({os_reason(cause)})")
    problem = f"closed the connection without a response ({type(error).__name__}){through}"
    # A server that misses a certificate says so in an alert, which TLS 1.3 sends so late that it may be lost.
    return ServerError(problem, f"{CHECK_SERVER} {_CLIENT_CERTIFICATE}" if url.scheme == "https" else CHECK_SERVER)


def _tls_error(cause: Exception) -> ServerError:
    fault = tls_fault(cause, url_setting="SCHEMA_REGISTRY_URL", authorities_setting=_AUTHORITIES)
    wants_certificate = "certificate" in fault.problem and not isinstance(cause, ssl.SSLCertVerificationError)
    return ServerError(fault.problem, _CLIENT_CERTIFICATE if wants_certificate else fault.hint)


def _servers(urls: str) -> list[str]:
    servers = list(dict.fromkeys(_server(url) for url in server_urls(urls)))
    if not servers:
        raise SettingsError(("SCHEMA_REGISTRY_URL: it contains no URL.",))
    return servers


def _server(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host or url.user is not None or url.password is not None:
        without_credentials = text.rpartition("@")[2]
        raise SettingsError(
            (f"SCHEMA_REGISTRY_URL: {without_credentials!r} is not an http:// or https:// URL without a user.",)
        )
    return _loggable(str(url)).rstrip("/")


def _loggable(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    try:
        return str(URL(url).with_user(None).with_query(None).with_fragment(None)) if url else ""
    except ValueError:
        return ""
