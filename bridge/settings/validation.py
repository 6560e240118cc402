"""The rules that settings must keep among each other."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.errors import SettingsError
from bridge.settings import pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bridge.settings import Settings


@dataclass(frozen=True, slots=True)
class Problem:
    """Say which rule is broken and how to mend it, and which fields it is about."""

    text: str
    fields: frozenset[str]


def broken(settings: Settings) -> Iterator[Problem]:
    """Yield every broken rule; where a field is itself bad, the caller drops the rules about it."""
    for rule in (
        _brokers,
        _credentials,
        _subscriptions,
        _backoff,
        _sasl,
        _tls,
        _topics,
        _batches,
        _shards,
        _registry,
        _registry_tls,
    ):
        yield from rule(settings)


def _problem(text: str, *fields: str) -> Problem:
    return Problem(text, frozenset(fields))


def _names(fields: Iterable[str]) -> str:
    return " and ".join(field.upper() for field in fields)


def _given(settings: Settings, *fields: str) -> list[str]:
    return [field for field in fields if field in settings.model_fields_set and getattr(settings, field) is not None]


def _missing(settings: Settings, *fields: str) -> list[str]:
    given = _given(settings, *fields)
    return [field for field in fields if field not in given]


def _brokers(settings: Settings) -> Iterator[Problem]:
    if not settings.kafka_bootstrap_servers:
        yield _problem(
            "KAFKA_BOOTSTRAP_SERVERS is not set: give the brokers, for example kafka-1:9092,kafka-2:9092.",
            "kafka_bootstrap_servers",
        )


_GRANT = ("aries_refresh_token", "aries_client_id", "aries_client_secret")
_GRANT_NEEDS = _GRANT[:2]


def _credentials(settings: Settings) -> Iterator[Problem]:
    grant = _given(settings, *_GRANT)
    text = ""
    if settings.aries_access_token and settings.aries_refresh_token:
        text = "ARIES_ACCESS_TOKEN and ARIES_REFRESH_TOKEN are both set: keep the one to be used."
    elif not (settings.aries_access_token or grant):
        text = (
            "no credentials for Aries: set ARIES_ACCESS_TOKEN (or ARIES_ACCESS_TOKEN_FILE), "
            "or ARIES_REFRESH_TOKEN with ARIES_CLIENT_ID."
        )
    elif not settings.aries_access_token and (missing := _missing(settings, *_GRANT_NEEDS)):
        text = f"{_names(grant)} alone cannot renew a token: set {_names(missing)}, too, or ARIES_ACCESS_TOKEN instead."
    if text:
        yield _problem(text, "aries_access_token", *_GRANT)


_SUBSCRIPTIONS = ("aries_subscriptions", "aries_subscriptions_file")


def _subscriptions(settings: Settings) -> Iterator[Problem]:
    fields = ("aries_symbols", "aries_events", *_SUBSCRIPTIONS)
    if not _missing(settings, *_SUBSCRIPTIONS):
        yield _problem(f"{_names(_SUBSCRIPTIONS)} are both set: keep one.", *fields)
        return
    try:
        settings.plan()
    except SettingsError as error:
        yield from (_problem(problem, *fields) for problem in error.problems)


_BACKOFF = ("aries_backoff_min_seconds", "aries_backoff_max_seconds")


def _backoff(settings: Settings) -> Iterator[Problem]:
    least, most = settings.aries_backoff_min_seconds, settings.aries_backoff_max_seconds
    # Beside a default, the one that was set counts: no wait is longer than the maximum.
    if least > most and not _missing(settings, *_BACKOFF):
        yield _problem(
            f"ARIES_BACKOFF_MIN_SECONDS ({least:g}) exceeds ARIES_BACKOFF_MAX_SECONDS ({most:g}): swap them.",
            *_BACKOFF,
        )


def _shards(settings: Settings) -> Iterator[Problem]:
    number, count = settings.shard, settings.bridge_shards
    if number < 0:
        yield _problem(
            "BRIDGE_SHARD=auto, but the host name does not end in -<number> as a StatefulSet pod's does: give the "
            "number itself.",
            "bridge_shard",
        )
    elif number >= count:
        yield _problem(
            f"BRIDGE_SHARD is {number}, but with BRIDGE_SHARDS={count} the shards are 0 to {count - 1}.",
            "bridge_shard",
            "bridge_shards",
        )


_SASL = ("kafka_security_protocol", "kafka_sasl_mechanism")
_LOGIN = ("kafka_sasl_username", "kafka_sasl_password")
_OAUTH = ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
_OAUTH_ALL = (*_OAUTH, "kafka_oauth_scope")


def _sasl(settings: Settings) -> Iterator[Problem]:
    protocol = settings.kafka_security_protocol
    if not protocol.startswith("SASL_"):
        yield from _sasl_unused(settings)
    elif settings.kafka_sasl_mechanism is None:
        yield _problem(
            f"KAFKA_SECURITY_PROTOCOL is {protocol}, but KAFKA_SASL_MECHANISM is not set: set it to PLAIN, "
            "SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.",
            *_SASL,
        )
    elif settings.kafka_sasl_mechanism == "OAUTHBEARER":
        yield from _login(settings, needed=_OAUTH, foreign=_LOGIN)
    else:
        yield from _login(settings, needed=_LOGIN, foreign=_OAUTH_ALL)


def _sasl_unused(settings: Settings) -> Iterator[Problem]:
    if given := _given(settings, "kafka_sasl_mechanism", *_LOGIN, *_OAUTH_ALL):
        yield _problem(
            f"{_names(given)} set, but KAFKA_SECURITY_PROTOCOL is {settings.kafka_security_protocol}: set "
            "that to SASL_SSL (or SASL_PLAINTEXT), or unset the others.",
            "kafka_security_protocol",
        )


def _login(settings: Settings, *, needed: tuple[str, ...], foreign: tuple[str, ...]) -> Iterator[Problem]:
    mechanism = settings.kafka_sasl_mechanism
    for field in _missing(settings, *needed):
        yield _problem(f"{field.upper()} is not set: KAFKA_SASL_MECHANISM {mechanism} needs it.", field, *_SASL)
    if unused := _given(settings, *foreign):
        yield _problem(
            f"{_names(unused)} set, but KAFKA_SASL_MECHANISM {mechanism} has no use for it: unset it.", *_SASL
        )


_CLIENT = ("kafka_ssl_certfile", "kafka_ssl_keyfile")


def _tls(settings: Settings) -> Iterator[Problem]:
    named = _given(settings, "kafka_ssl_cafile", *_CLIENT)
    if named and not settings.kafka_security_protocol.endswith("SSL"):
        yield _problem(
            f"{_names(named)} set, but KAFKA_SECURITY_PROTOCOL is {settings.kafka_security_protocol}: set "
            "that to SSL or SASL_SSL, or unset the files.",
            "kafka_security_protocol",
        )
    yield from _alone(settings, _CLIENT)
    yield from _authorities(settings, "kafka_ssl_cafile")
    yield from _client_certificate(settings)


def _alone(settings: Settings, pair: tuple[str, str]) -> Iterator[Problem]:
    given = _given(settings, *pair)
    if len(given) == 1:
        missing = _missing(settings, *pair)
        yield _problem(f"{_names(given)} is set without {_names(missing)}: set both or none.", *pair)


def _authorities(settings: Settings, field: str) -> Iterator[Problem]:
    path: Path | None = getattr(settings, field)
    if path is None:
        return
    fault = pem.unreadable(path) or (None if pem.has_authorities(path) else "holds no certificate")
    if fault:
        yield _problem(f"{field.upper()}={str(path)!r} {fault}: name a PEM file of the authorities to trust.", field)


def _client_certificate(settings: Settings) -> Iterator[Problem]:
    paths: dict[str, Path] = {field: getattr(settings, field) for field in _given(settings, *_CLIENT)}
    faults = {field: fault for field, path in paths.items() if (fault := pem.unreadable(path))}
    for field, fault in faults.items():
        yield _problem(f"{field.upper()}={str(paths[field])!r} {fault}: name a PEM file.", field)
    if not faults and len(paths) == len(_CLIENT) and not pem.is_pair(*paths.values()):
        yield _problem(
            f"{_names(_CLIENT)} are not a certificate and its private key: name PEM files that belong "
            "together, the key not encrypted.",
            *_CLIENT,
        )


#: ``Topic.MAX_NAME_LENGTH`` of Kafka.
_LONGEST_TOPIC = 249


def _topics(settings: Settings) -> Iterator[Problem]:
    fields = defaultdict(list)
    for topic, name in settings.topics.items():
        fields[name].append(f"kafka_topic_{topic.setting.lower()}")
    if any(len(name) > _LONGEST_TOPIC for name in fields):
        yield _problem(
            f"KAFKA_TOPIC_PREFIX is too long: a topic's name has at most {_LONGEST_TOPIC} characters.",
            "kafka_topic_prefix",
        )
    for name, same in fields.items():
        if len(same) > 1:
            yield _problem(f"{_names(same)} are all {name!r}: each kind of record needs a topic of its own.", *same)


_BYTES = ("kafka_batch_bytes", "bridge_buffer_bytes")


def _batches(settings: Settings) -> Iterator[Problem]:
    batch, buffer = settings.kafka_batch_bytes, settings.bridge_buffer_bytes
    # Beside the default batch a smaller budget is fine: batches then leave earlier.
    if batch > buffer and not _missing(settings, *_BYTES):
        yield _problem(
            f"KAFKA_BATCH_BYTES ({batch}) exceeds BRIDGE_BUFFER_BYTES ({buffer}): a batch must fit into it.",
            *_BYTES,
        )


_REGISTRY_LOGIN = ("schema_registry_username", "schema_registry_password")


def _registry(settings: Settings) -> Iterator[Problem]:
    extras = _given(settings, *_REGISTRY_LOGIN, "schema_registry_cafile")
    if settings.schema_registry_auto_register:
        extras.append("schema_registry_auto_register")
    if extras and not settings.schema_registry_url:
        yield _problem(
            f"{_names(extras)} set without SCHEMA_REGISTRY_URL: set that, or unset the others.",
            "schema_registry_url",
        )
    yield from _alone(settings, _REGISTRY_LOGIN)


def _registry_tls(settings: Settings) -> Iterator[Problem]:
    if settings.schema_registry_cafile and (settings.schema_registry_url or "").startswith("http://"):
        yield _problem(
            "SCHEMA_REGISTRY_CAFILE is set, but SCHEMA_REGISTRY_URL is http://: use https or unset the file.",
            "schema_registry_cafile",
        )
    yield from _authorities(settings, "schema_registry_cafile")
