"""Request the contracts that are listed for an underlying, from the vendor's REST endpoints.

The token goes to the one host of ``ARIES_API_URL``: no redirect is followed, and of the next page's URL only path and
query are used. An answer is used as a whole or not at all.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from bridge.aries.chains import answers
from bridge.aries.chains.answers import BadAnswer, Page
from bridge.aries.chains.listing import Listing
from bridge.backoff import retry_after_seconds
from bridge.errors import ChainFailure, ChainUnavailable, ProxyUnusable, SettingsError, TokenUnavailable
from bridge.network.authorities import trusting
from bridge.network.faults import proxy_refused
from bridge.network.proxies import proxy_for
from bridge.network.request_errors import connection_fault, proxy_fault
from bridge.network.response_body import read_limited

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import date
    from pathlib import Path

    from bridge.aries.access_token import TokenSource
    from bridge.aries.subscriptions.symbols import Contract
    from bridge.network.proxies import Proxy

ANSWER_TIMEOUT_SECONDS: Final = 15.0
#: For all pages of a chain together.
DEADLINE_SECONDS: Final = 120.0
_SETTING, _AUTHORITIES = "ARIES_API_URL", "ARIES_SSL_CAFILE"
_CHECK_URL: Final = "Check ARIES_API_URL: it must be the base of the vendor's REST endpoints."
_CHECK_SCOPE: Final = f"Ask Aries for the scope {answers.SCOPE}, then log in again for a token that has it."
_CHECK_TOKEN: Final = "Log in to Aries again, and set ARIES_ACCESS_TOKEN or ARIES_REFRESH_TOKEN to the new token."  # noqa: S105 - a hint
_WILL_RETRY: Final = "The bridge will retry."


class ChainEndpoints:
    """The REST endpoints for option chains at one base URL, requested with the same tokens as the feed."""

    def __init__(
        self,
        base_url: str,
        tokens: TokenSource,
        *,
        learn_secret: Callable[[str], None] = lambda _: None,
        cafile: Path | None = None,
        timeout_seconds: float = ANSWER_TIMEOUT_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._host = URL(base_url).host or ""
        self._tokens = tokens
        self._learn_secret = learn_secret
        self._cafile = cafile
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._deadline_seconds = deadline_seconds
        #: A token that was rejected although it was new: it is not renewed for that a second time.
        self._rejected_token = ""

    async def listing(self, underlying: str, expirations: Sequence[date] = ()) -> Listing:
        """Return all listed contracts of an underlying, or those of these expirations; raise ChainUnavailable."""
        try:
            async with asyncio.timeout(self._deadline_seconds), self._session() as session:
                listing = await (
                    self._of_expirations(session, underlying, expirations)
                    if expirations
                    else self._whole(session, underlying)
                )
        except TimeoutError:
            raise self._failed(
                ChainFailure.TIMEOUT, f"did not send the whole chain within {self._deadline_seconds:g} s", _WILL_RETRY
            ) from None
        if not listing.contracts:
            raise self._failed(
                ChainFailure.NOT_FOUND, f"lists no options of {underlying}", "Check the underlying of the entry."
            )
        return listing

    async def price(self, underlying: str) -> float | None:
        """Return the price of an underlying in the first page of its chain; raise ChainUnavailable."""
        async with self._session() as session:
            path = answers.snapshot_path(underlying)
            return (await self._read(answers.snapshot_page, await self._get(session, path), path)).price

    async def _whole(self, session: aiohttp.ClientSession, underlying: str) -> Listing:
        contracts: dict[str, Contract] = {}
        price, unreadable = None, 0
        path: str | None = answers.snapshot_path(underlying)
        requested: set[str] = set()
        while path is not None:
            if path in requested or len(requested) >= answers.MAX_PAGES:
                problem = "names a page again" if path in requested else f"has more than {answers.MAX_PAGES} pages"
                raise self._failed(ChainFailure.ANSWER, f"{problem}, so that the chain has no end", _CHECK_URL)
            requested.add(path)
            page = await self._read(answers.snapshot_page, await self._get(session, path), path)
            contracts |= {contract.symbol: contract for contract in page.contracts}
            if len(contracts) > answers.MAX_CONTRACTS:
                raise self._failed(ChainFailure.ANSWER, f"lists more than {answers.MAX_CONTRACTS} contracts", "")
            price, unreadable, path = price or page.price, unreadable + page.unreadable, page.next_path
        return Listing(tuple(contracts.values()), price, unreadable)

    async def _of_expirations(
        self, session: aiohttp.ClientSession, underlying: str, expirations: Sequence[date]
    ) -> Listing:
        """Return the contracts of these dates; one that does not exist has none."""
        contracts: dict[str, Contract] = {}
        unreadable = 0
        for expiration in expirations:
            try:
                body = await self._get(session, answers.contracts_path(underlying, expiration))
            except ChainUnavailable as error:
                if error.failure is ChainFailure.NOT_FOUND:
                    continue
                raise
            page = await self._read(answers.contracts_page, body)
            contracts |= {contract.symbol: contract for contract in page.contracts}
            unreadable += page.unreadable
        return Listing(tuple(contracts.values()), None, unreadable)

    async def _read(self, parse: Callable[..., Page], body: bytes, *arguments: str) -> Page:
        """Return what an answer has; it may be long, so it is read beside the event loop."""
        try:
            return await asyncio.to_thread(parse, body, *arguments)
        except BadAnswer as error:
            raise self._failed(ChainFailure.ANSWER, str(error), _CHECK_URL) from None

    # -- one request --------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession(timeout=self._timeout) as session:
            yield session

    async def _get(self, session: aiohttp.ClientSession, path: str) -> bytes:
        """Return the body of an answer; a token that is rejected is renewed once."""
        token = await self._token()
        try:
            return await self._request(session, path, token)
        except ChainUnavailable as error:
            if error.failure is not ChainFailure.TOKEN or token == self._rejected_token:
                raise
            self._tokens.invalidate()
            renewed = await self._token()
            self._rejected_token = renewed
            if renewed == token:
                raise
        body = await self._request(session, path, renewed)
        self._rejected_token = ""
        return body

    async def _token(self) -> str:
        try:
            token = await self._tokens.token()
        except TokenUnavailable as error:
            raise ChainUnavailable(
                ChainFailure.TOKEN,
                "there is no token for the option chains",
                str(error),
                retry_after_seconds=error.retry_after_seconds,
            ) from error
        self._learn_secret(token)
        return token

    async def _request(self, session: aiohttp.ClientSession, path: str, token: str) -> bytes:
        proxy = self._proxy()
        try:
            async with session.get(
                URL(self._base_url + path, encoded=True),
                headers={"Accept": "application/json", "Authorization": f"Bearer {token}"},
                ssl=self._tls(proxy),
                allow_redirects=False,
                proxy=None if proxy is None else URL(proxy.url),
            ) as response:
                if proxy is not None and response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                    fault = proxy_refused(proxy, response.status, self._host)
                    raise self._failed(ChainFailure.NETWORK, f"is behind {proxy}, which {fault.problem}", fault.hint)
                if response.status != HTTPStatus.OK:
                    raise self._refused(response)
                return await self._body(response)
        except (aiohttp.ClientError, OSError, UnicodeError, ValueError) as error:
            raise self._unreachable(error, proxy) from None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        body = await read_limited(response.content, answers.MAX_ANSWER_BYTES)
        if len(body) > answers.MAX_ANSWER_BYTES:
            raise self._failed(
                ChainFailure.ANSWER, f"answered with more than {answers.MAX_ANSWER_BYTES} bytes", _CHECK_URL
            )
        return body

    def _refused(self, response: aiohttp.ClientResponse) -> ChainUnavailable:
        status = response.status
        match status:
            case HTTPStatus.UNAUTHORIZED:
                return self._failed(ChainFailure.TOKEN, "rejects the token (HTTP 401)", _CHECK_TOKEN)
            case HTTPStatus.FORBIDDEN:
                return self._failed(ChainFailure.SCOPE, "does not allow option chains (HTTP 403)", _CHECK_SCOPE)
            case HTTPStatus.NOT_FOUND:
                problem = "does not know the underlying, or is not there (HTTP 404)"
                return self._failed(ChainFailure.NOT_FOUND, problem, f"Check the underlying of the entry. {_CHECK_URL}")
            case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE:
                wait = retry_after_seconds(response.headers.get("Retry-After"), response.headers.get("Date"))
                asked = f" and asks to wait {wait:g} s" if wait is not None else ""
                return self._failed(
                    ChainFailure.BUSY, f"is busy (HTTP {status}){asked}", _WILL_RETRY, retry_after_seconds=wait
                )
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            problem = f"redirects (HTTP {status}), and a token follows no redirect"
            return self._failed(ChainFailure.ANSWER, problem, _CHECK_URL)
        failure = ChainFailure.SERVER if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ChainFailure.ANSWER
        return self._failed(failure, f"failed (HTTP {status})", _WILL_RETRY)

    def _proxy(self) -> Proxy | None:
        try:
            return proxy_for(self._base_url)
        except ProxyUnusable as error:
            raise self._failed(ChainFailure.NETWORK, f"cannot be requested, as {error.complaint}", error.hint) from None

    def _tls(self, proxy: Proxy | None) -> ssl.SSLContext | bool:
        """Return what to trust, with the file read again; nothing if there is no TLS."""
        if not any(url.startswith("https:") for url in (self._base_url, proxy.url if proxy else "")):
            return True
        try:
            return trusting(_AUTHORITIES, self._cafile, also_system=True)
        except SettingsError as error:
            raise self._failed(
                ChainFailure.NETWORK, f"cannot be requested, as {'; '.join(error.problems)}", _WILL_RETRY
            ) from None

    def _unreachable(self, error: Exception, proxy: Proxy | None) -> ChainUnavailable:
        if proxy is not None and (fault := proxy_fault(error, proxy, self._host, _AUTHORITIES)):
            return self._failed(ChainFailure.NETWORK, f"is behind {proxy}, which {fault.problem}", fault.hint)
        if found := connection_fault(error, url_setting=_SETTING, authorities_setting=_AUTHORITIES):
            return self._failed(ChainFailure.NETWORK, found.problem, found.hint)
        through = "" if proxy is None else f" through the proxy {proxy}"
        match error:
            case TimeoutError():
                problem = f"gave no answer within {self._timeout.total:g} s{through}"
                return self._failed(ChainFailure.TIMEOUT, problem, _WILL_RETRY)
            case aiohttp.ClientPayloadError():
                return self._failed(ChainFailure.ANSWER, f"sent only a part of its answer{through}", _WILL_RETRY)
            case ValueError():
                return self._failed(ChainFailure.ANSWER, "names a page that has no valid URL", _CHECK_URL)
        problem = f"closed the connection without an answer ({type(error).__name__}){through}"
        return self._failed(ChainFailure.NETWORK, problem, _WILL_RETRY)

    def _failed(
        self, failure: ChainFailure, problem: str, hint: str, *, retry_after_seconds: float | None = None
    ) -> ChainUnavailable:
        return ChainUnavailable(failure, f"{self._host} {problem}", hint, retry_after_seconds=retry_after_seconds)
