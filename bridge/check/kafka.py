"""Checks of the Kafka side: each bootstrap server with the login, advertised addresses, and the topics."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, NoError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from bridge.check.endpoint import Endpoint, check_endpoint
from bridge.check.group import check_group
from bridge.check.kafka_login import account, login
from bridge.check.topics import check_topics
from bridge.kafka.advertised_listeners import HINT
from bridge.kafka.broker_support import missing_request, unsupported_compression
from bridge.kafka.client_options import CONNECT_ERRORS, VERSION_ERRORS, VERSION_HINT, CapturedKafkaLog, client_options
from bridge.kafka.cluster import describe_topics, open_client, send_to_any_broker
from bridge.kafka.error_hints import error_hint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterator

    from bridge.check.report import CheckReport
    from bridge.kafka.aiokafka_internals import Client
    from bridge.settings import Settings
    from bridge.topics import AnyTopic

CONNECTION, BROKERS, TLS = "Kafka connection", "Kafka brokers", "Kafka TLS"
REQUESTS, COMPRESSION = "Kafka requests", "Kafka compression"
TOPICS, IDEMPOTENCE = "Kafka topics", "Kafka idempotent writes"
_RETRY_INTERVAL_SECONDS, _RETRY_TIMEOUT_SECONDS = 0.1, 5.0
_CHECK_SECURITY = "Check KAFKA_SECURITY_PROTOCOL and the port in KAFKA_BOOTSTRAP_SERVERS, and the brokers' log."
_CHECK_BROKERS = "Check that the brokers are healthy, and that their advertised.listeners can be reached from here."


async def check_kafka(
    report: CheckReport,
    settings: Settings,
    needed: Collection[AnyTopic],
    learn_secret: Callable[[str], None],
    timeout_seconds: float,
) -> None:
    """Check the Kafka side; ``needed`` are the topics that the bridge would write to.

    ``learn_secret`` gets each access token before results may contain it. Nothing is written or created.
    Raises what ``client_options`` raises.
    """
    options = client_options(settings, "check", learn_secret) | {"request_timeout_ms": int(timeout_seconds * 1000)}
    tls: ssl.SSLContext | None = options.get("ssl_context")  # type: ignore[assignment]  # by security_options
    async with AsyncExitStack() as stack:
        stack.enter_context(CapturedKafkaLog())  # results are the only output
        clients = []
        for server in settings.kafka_bootstrap_servers:
            connecting = open_client(options | {"bootstrap_servers": server}, timeout_seconds)
            with _reported_errors(report, server):
                clients.append(await stack.enter_async_context(connecting))
                report.ok(CONNECTION, f"{server} accepted {login(settings)}")
        if clients:
            _check_support(report, clients[0], settings)
        if clients and await _reach_brokers(report, clients[0], tls, timeout_seconds):
            await _check_cluster(report, clients[0], settings, needed, timeout_seconds)


@contextmanager
def _reported_errors(report: CheckReport, server: str) -> Iterator[None]:
    with CapturedKafkaLog() as captured:
        try:
            yield
        except VERSION_ERRORS as error:
            report.fail(CONNECTION, f"{server}: a request is not supported ({error})", VERSION_HINT)
        except CONNECT_ERRORS as error:
            reason = captured.reason(error)
            cause = reason.removeprefix(f'Unable connect to "{server}": ')
            report.fail(CONNECTION, f"{server}: {cause}", error_hint(reason) or _CHECK_SECURITY)


def _check_support(report: CheckReport, client: Client, settings: Settings) -> None:
    """Report what the brokers lack by the versions of requests that they announce."""
    for check, lack in (
        (REQUESTS, missing_request(client.versions)),
        (COMPRESSION, unsupported_compression(client.versions, settings.kafka_compression)),
    ):
        if lack is None:
            report.ok(check, "what the bridge needs is supported")
        else:
            report.fail(check, *lack)


async def _reach_brokers(
    report: CheckReport, client: Client, tls: ssl.SSLContext | None, timeout_seconds: float
) -> bool:
    """Report whether the brokers can be reached at the addresses that they advertise; return whether one can."""
    reached = 0
    for broker in client.cluster.brokers():
        endpoint = Endpoint(broker.host, broker.port, tls)
        if not await client.ready(broker.nodeId):
            finding = f"advertised address {endpoint}, as {client.answered_by} answered: {client.last_failure}"
            report.fail(BROKERS, finding, HINT)
            continue
        reached += 1
        if tls is not None:
            await check_endpoint(report, TLS, endpoint, _CHECK_BROKERS, timeout_seconds)
    if reached:
        report.ok(BROKERS, f"{reached} can be reached at the address that they advertise")
    return reached > 0


async def _check_cluster(
    report: CheckReport, client: Client, settings: Settings, needed: Collection[AnyTopic], timeout_seconds: float
) -> None:
    try:
        async with asyncio.timeout(timeout_seconds):
            check_topics(report, settings, needed, await describe_topics(client, settings.used_topics))
            await _request_producer_id(report, client, settings)
            if settings.is_grouped:
                await check_group(report, client, settings, timeout_seconds / 2)
    except VERSION_ERRORS as error:
        report.fail(TOPICS, f"a request is not supported ({error})", VERSION_HINT)
    except (KafkaError, TimeoutError) as error:
        report.fail(TOPICS, str(error) or f"no answer within {timeout_seconds:g} s", _CHECK_BROKERS)


async def _request_producer_id(report: CheckReport, client: Client, settings: Settings) -> None:
    """Send the first request of an idempotent producer, which allocates an id and writes nothing."""
    try:
        error = await _producer_id_error(client)
    except VERSION_ERRORS:
        report.fail(IDEMPOTENCE, "not supported by the brokers", "Use Kafka 1.0 or newer.")
        return
    if error is NoError:
        report.ok(IDEMPOTENCE, "the brokers allocated a producer id")
    elif error is ClusterAuthorizationFailedError:
        report.fail(IDEMPOTENCE, "not authorized", f"Grant Write on the topics to {account(settings)}.")
    else:
        report.warn(IDEMPOTENCE, f"no producer id at the moment ({error.__name__})", _CHECK_BROKERS)


async def _producer_id_error(client: Client) -> type[KafkaError]:
    """Return the error of a request for a producer id; retry, as brokers require it shortly after their start."""
    error: type[KafkaError] = NoError
    with suppress(TimeoutError):
        async with asyncio.timeout(_RETRY_TIMEOUT_SECONDS):
            while True:
                error = for_code((await send_to_any_broker(client, InitProducerIdRequest(None, 0))).error_code)
                if not error.retriable:
                    break
                await asyncio.sleep(_RETRY_INTERVAL_SECONDS)
    return error
