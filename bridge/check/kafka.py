"""Does Kafka answer: each bootstrap server, the login, the addresses that brokers advertise, the topics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiokafka.errors import ClusterAuthorizationFailedError, IncompatibleBrokerVersion, KafkaError, NoError, for_code
from aiokafka.protocol.transaction import InitProducerIdRequest

from bridge.check import topics
from bridge.check.network import Endpoint, reach
from bridge.check.report import in_turn
from bridge.kafka.client_options import CapturedKafkaLog, client_options
from bridge.kafka.cluster import describe_topics, open_client, send_to_any_broker
from bridge.kafka.error_hints import error_hint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

    from aiokafka.client import AIOKafkaClient

    from bridge.check.report import Report
    from bridge.settings import Settings
    from bridge.topics import Topic

LOGIN, TOPICS, IDEMPOTENCE = "Kafka login", "Kafka topics", "Kafka idempotent writes"
_DEFAULT_PORT = 9092
_AGAIN_AFTER_SECONDS, _AGAIN_FOR_SECONDS = 0.1, 5.0
_CHECK_SECURITY = "Check KAFKA_SECURITY_PROTOCOL and the port in KAFKA_BOOTSTRAP_SERVERS, and the brokers' log."
_CHECK_BROKERS = "See whether the brokers are well, and whether their advertised.listeners lead to them."


async def check(report: Report, settings: Settings, needed: Collection[Topic], patience_seconds: float) -> None:
    """Report on all of the Kafka side; ``needed`` are the topics that the bridge would write to.

    Nothing is written, nor created. Raises what ``client_options`` raises.
    """
    options = client_options(settings, "check") | {"request_timeout_ms": int(patience_seconds * 1000)}
    tls: ssl.SSLContext | None = options.get("ssl_context")  # type: ignore[assignment]  # by security_options
    servers = [_bootstrap(server, tls) for server in settings.kafka_bootstrap_servers]
    reached = await in_turn(report, *(partial(_reach, endpoint, patience_seconds) for endpoint in servers))
    if not any(reached):
        return
    with CapturedKafkaLog() as words:
        try:
            async with open_client(options, patience_seconds) as client:
                report.ok(LOGIN, _login(settings))
                known = {(endpoint.host, endpoint.port) for endpoint in servers}
                if await _brokers_reached(report, client, known, tls, patience_seconds):
                    await _look_inside(report, client, settings, needed, patience_seconds)
        except (KafkaError, OSError, TimeoutError) as error:
            reason = words.last or str(error) or f"no answer within {patience_seconds:g} s"
            report.fail(LOGIN, reason, error_hint(reason) or _CHECK_SECURITY)


# -- the way there ------------------------------------------------------------------------------------------------


async def _reach(endpoint: Endpoint, patience_seconds: float, report: Report) -> bool:
    return await reach(report, endpoint, patience_seconds)


def _bootstrap(server: str, tls: ssl.SSLContext | None) -> Endpoint:
    parts = urlsplit(f"//{server}")
    return _endpoint("Kafka", parts.hostname or "", parts.port or _DEFAULT_PORT, "KAFKA_BOOTSTRAP_SERVERS", tls)


def _endpoint(label: str, host: str, port: int, named_by: str, tls: ssl.SSLContext | None) -> Endpoint:
    any_name = ", or set KAFKA_SSL_CHECK_HOSTNAME=false"
    return Endpoint(label, host, port, named_by, tls, "KAFKA_SSL_CAFILE", any_name)


def _login(settings: Settings) -> str:
    protocol, mechanism = settings.kafka_security_protocol, settings.kafka_sasl_mechanism
    if mechanism is not None:
        return f"accepted as {settings.kafka_sasl_username or settings.kafka_oauth_client_id} ({mechanism}, {protocol})"
    return f"accepted {'by certificate' if settings.kafka_ssl_certfile else 'without credentials'} ({protocol})"


async def _brokers_reached(
    report: Report,
    client: AIOKafkaClient,
    known: Collection[tuple[str, int]],
    tls: ssl.SSLContext | None,
    patience_seconds: float,
) -> bool:
    """Report on the addresses by which the brokers want to be called; return whether there is one to go on with."""
    brokers = client.cluster.brokers()
    advertised = sorted({(broker.host, broker.port) for broker in brokers} - set(known))
    source = "the brokers' advertised.listeners"
    endpoints = [_endpoint("Kafka broker", host, port, source, tls) for host, port in advertised]
    reached = await in_turn(report, *(partial(_reach, endpoint, patience_seconds) for endpoint in endpoints))
    return len(advertised) < len(brokers) or any(reached)


# -- inside -------------------------------------------------------------------------------------------------------


async def _look_inside(
    report: Report, client: AIOKafkaClient, settings: Settings, needed: Collection[Topic], patience_seconds: float
) -> None:
    try:
        async with asyncio.timeout(patience_seconds):
            found = await describe_topics(client, settings.topics.values())
            topics.judge(report, settings, needed, found)
            await _ask_for_producer_id(report, client, settings)
    except (KafkaError, TimeoutError) as error:
        report.fail(TOPICS, str(error) or f"no answer within {patience_seconds:g} s", _CHECK_BROKERS)


async def _ask_for_producer_id(report: Report, client: AIOKafkaClient, settings: Settings) -> None:
    """Ask for what an idempotent producer asks for first: it takes a number from the brokers, and writes nothing."""
    try:
        error = await _producer_id_error(client)
    except IncompatibleBrokerVersion:
        report.fail(IDEMPOTENCE, "the brokers know none", "Use Kafka 1.0 or newer.")
        return
    if error is NoError:
        report.ok(IDEMPOTENCE, "the brokers gave a producer id")
    elif error is ClusterAuthorizationFailedError:
        report.fail(IDEMPOTENCE, "not authorised", f"Grant Write on the topics to {topics.account(settings)}.")
    else:
        report.warn(IDEMPOTENCE, f"no producer id just now ({error.__name__})", _CHECK_BROKERS)


async def _producer_id_error(client: AIOKafkaClient) -> type[KafkaError]:
    """Return the error of a request for a producer id; a broker that was just started asks to try again."""
    error: type[KafkaError] = NoError
    with suppress(TimeoutError):
        async with asyncio.timeout(_AGAIN_FOR_SECONDS):
            while True:
                error = for_code((await send_to_any_broker(client, InitProducerIdRequest(None, 0))).error_code)
                if not error.retriable:
                    break
                await asyncio.sleep(_AGAIN_AFTER_SECONDS)
    return error
