"""The rules across several settings: what must be set, what belongs together, and what excludes each other."""

from __future__ import annotations

import os
import re
import ssl
from collections import defaultdict
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bridge.aries.chains import times
from bridge.errors import ProxyUnusable, SettingsError
from bridge.network.proxies import proxy_for
from bridge.pipeline import compiled
from bridge.secrets import client_certificate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.settings.fields import Settings
    from bridge.topics import AnyTopic


@dataclass(frozen=True, slots=True)
class Problem:
    """A sentence that says what is wrong with some settings and how to fix it."""

    text: str
    fields: frozenset[str]

    @classmethod
    def of(cls, text: str, *fields: str) -> Problem:
        """Return the problem of these fields."""
        return cls(text, frozenset(fields))

    def concerns_only(self, *prefixes: str) -> bool:
        """Return whether all settings that it is about have one of these name prefixes."""
        return all(field.upper().startswith(prefixes) for field in self.fields)

    def __str__(self) -> str:
        return self.text


def broken_rules(settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each broken rule; the caller ignores those about fields that are invalid themselves."""
    rules = (
        *(_brokers, _credentials, _subscriptions, _backoff, _sasl, _tls, _topics, _batch_size, _capture, _shards),
        *(_registry, _proxies, _encoder),
    )
    for rule in rules:
        yield from rule(settings)


def _names(fields: Iterable[str]) -> str:
    return " and ".join(field.upper() for field in fields)


def _set_names(settings: Settings, fields: Iterable[str]) -> str:
    """Return the names as they are set: of a secret in a file, the file's."""
    files = {secret.name.lower() for secret in settings.secrets if secret.path}
    return _names(f"{field}_file" if field in files else field for field in fields)


def _set(settings: Settings, *fields: str) -> list[str]:
    return [field for field in fields if field in settings.model_fields_set and getattr(settings, field) is not None]


def _unset(settings: Settings, *fields: str) -> list[str]:
    present = _set(settings, *fields)
    return [field for field in fields if field not in present]


def _brokers(settings: Settings) -> Iterator[Problem]:
    if not settings.kafka_bootstrap_servers:
        yield Problem.of(
            "KAFKA_BOOTSTRAP_SERVERS is not set: set it to the brokers, for example kafka-1:9092,kafka-2:9092.",
            "kafka_bootstrap_servers",
        )


_GRANT = ("aries_refresh_token", "aries_client_id", "aries_client_secret")
_GRANT_REQUIRES = _GRANT[:2]


def _credentials(settings: Settings) -> Iterator[Problem]:
    grant = _set(settings, *_GRANT)
    text = ""
    if settings.aries_access_token and settings.aries_refresh_token:
        text = "ARIES_ACCESS_TOKEN and ARIES_REFRESH_TOKEN are both set: keep the one to use."
    elif not (settings.aries_access_token or grant):
        text = (
            "no credentials for Aries: set ARIES_ACCESS_TOKEN (or ARIES_ACCESS_TOKEN_FILE), "
            "or ARIES_REFRESH_TOKEN with ARIES_CLIENT_ID."
        )
    elif not settings.aries_access_token and (missing := _unset(settings, *_GRANT_REQUIRES)):
        text = f"{_names(grant)} alone cannot renew a token: also set {_names(missing)}, or ARIES_ACCESS_TOKEN instead."
    if text:
        yield Problem.of(text, "aries_access_token", *_GRANT)


_SUBSCRIPTIONS = ("aries_subscriptions", "aries_subscriptions_file")


def _subscriptions(settings: Settings) -> Iterator[Problem]:
    fields = ("aries_symbols", "aries_events", *_SUBSCRIPTIONS)
    if not _unset(settings, *_SUBSCRIPTIONS):
        yield Problem.of(f"{_names(_SUBSCRIPTIONS)} are both set: keep one.", *fields)
        return
    try:
        plan = settings.plan()
    except SettingsError as error:
        yield from (Problem.of(problem, *fields) for problem in error.problems)
        return
    if plan.chains and not times.has_zone():
        yield Problem.of(
            f"option chains need the time zone {times.EXCHANGE_ZONE}, which this machine does not know: install its "
            "time zone data (the package tzdata of the system or of Python).",
            *fields,
        )


_BACKOFF = ("aries_backoff_min_seconds", "aries_backoff_max_seconds")


def _backoff(settings: Settings) -> Iterator[Problem]:
    minimum, maximum = settings.aries_backoff_min_seconds, settings.aries_backoff_max_seconds
    # If only one is set, it takes precedence over the other's default: no wait is longer than the maximum.
    if minimum > maximum and not _unset(settings, *_BACKOFF):
        yield Problem.of(
            f"ARIES_BACKOFF_MIN_SECONDS ({minimum:g}) exceeds ARIES_BACKOFF_MAX_SECONDS ({maximum:g}): swap them.",
            *_BACKOFF,
        )


def _encoder(settings: Settings) -> Iterator[Problem]:
    if settings.bridge_encoder == "compiled" and not compiled.is_built():
        yield Problem.of(
            "BRIDGE_ENCODER=compiled, but this installation has no compiled step: install a wheel that has it, build "
            "it (`make compiled`, with a C compiler), or set BRIDGE_ENCODER to auto.",
            "bridge_encoder",
        )


def _shards(settings: Settings) -> Iterator[Problem]:
    shard, count = settings.shard, settings.bridge_shards
    if shard < 0:
        yield Problem.of(
            "BRIDGE_SHARD=auto, but the host name does not end in -<number> as a StatefulSet pod's does: set it to "
            "the number.",
            "bridge_shard",
        )
    elif shard >= count:
        yield Problem.of(
            f"BRIDGE_SHARD is {shard}, but with BRIDGE_SHARDS={count} the shards are 0 to {count - 1}.",
            "bridge_shard",
            "bridge_shards",
        )


_MECHANISM = ("kafka_security_protocol", "kafka_sasl_mechanism")
_PASSWORD_LOGIN = ("kafka_sasl_username", "kafka_sasl_password")
_TOKEN = "kafka_oauth_token"  # noqa: S105 - the name of a setting
_BY_SECRET = ("kafka_oauth_token_url", "kafka_oauth_client_id", "kafka_oauth_client_secret")
_BY_ASSERTION = ("kafka_oauth_token_url", "kafka_oauth_client_assertion")
_TOKEN_ENDPOINT = (*_BY_SECRET, "kafka_oauth_client_assertion", "kafka_oauth_scope")
_OAUTH = (*_TOKEN_ENDPOINT, _TOKEN, "kafka_oauth_extensions")


def _sasl(settings: Settings) -> Iterator[Problem]:
    protocol = settings.kafka_security_protocol
    if not protocol.startswith("SASL_"):
        if unused := _set(settings, "kafka_sasl_mechanism", *_PASSWORD_LOGIN, *_OAUTH):
            yield Problem.of(
                f"{_set_names(settings, unused)} set, but KAFKA_SECURITY_PROTOCOL is {protocol}: set that to SASL_SSL "
                "(or SASL_PLAINTEXT), or unset the others.",
                "kafka_security_protocol",
            )
    elif settings.kafka_sasl_mechanism is None:
        yield Problem.of(
            f"KAFKA_SECURITY_PROTOCOL is {protocol}, but KAFKA_SASL_MECHANISM is not set: set it to PLAIN, "
            "SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM.",
            *_MECHANISM,
        )
    elif settings.kafka_sasl_mechanism == "OAUTHBEARER":
        yield from _token_login(settings)
    elif settings.kafka_sasl_mechanism == "AWS_MSK_IAM":
        yield from _login(settings, required=(), unused=(*_PASSWORD_LOGIN, *_OAUTH))
        yield from _msk(settings)
    else:
        yield from _login(settings, required=_PASSWORD_LOGIN, unused=_OAUTH)


def _token_login(settings: Settings) -> Iterator[Problem]:
    """Yield the problems of OAUTHBEARER: its token is from one of three sources."""
    by_secret, by_assertion = _set(settings, _BY_SECRET[-1]), _set(settings, _BY_ASSERTION[-1])
    given, requested = _set(settings, _TOKEN), _set(settings, *_TOKEN_ENDPOINT)
    required: tuple[str, ...] = ()
    if given and requested:
        yield Problem.of(
            f"{_set_names(settings, given)} and {_set_names(settings, requested)} set, but a token is either given or "
            "requested: keep the first, or the others.",
            *_OAUTH,
        )
    elif by_secret and by_assertion:
        both = _set_names(settings, (*by_secret, *by_assertion))
        yield Problem.of(f"{both} set: keep the one by which the token endpoint knows the client.", *_OAUTH)
    elif requested:
        required = _BY_ASSERTION if by_assertion else _BY_SECRET
    elif not given:
        yield Problem.of(
            "KAFKA_SASL_MECHANISM OAUTHBEARER needs a token: set KAFKA_OAUTH_TOKEN_URL with KAFKA_OAUTH_CLIENT_ID and "
            "KAFKA_OAUTH_CLIENT_SECRET, or with KAFKA_OAUTH_CLIENT_ASSERTION_FILE, or only KAFKA_OAUTH_TOKEN_FILE.",
            *_OAUTH,
            *_MECHANISM,
        )
    yield from _login(settings, required=required, unused=_PASSWORD_LOGIN)


def _msk(settings: Settings) -> Iterator[Problem]:
    mechanism = "KAFKA_SASL_MECHANISM AWS_MSK_IAM"
    if find_spec("aws_msk_iam_sasl_signer") is None:
        yield Problem.of(
            f"{mechanism} needs the extra msk-iam: pip install 'aries-kafka-bridge[msk-iam]', or an image built with "
            "--build-arg EXTRA=msk-iam.",
            *_MECHANISM,
        )
    if settings.aws_region is None:
        yield Problem.of(
            f"AWS_REGION is not set: {mechanism} requires it, or AWS_DEFAULT_REGION; set the region of the cluster, "
            "for example us-east-1.",
            *_MECHANISM,
        )
    elif not re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", settings.aws_region):
        yield Problem.of(
            f"AWS_REGION={settings.aws_region!r} is not the code of a region: set it like us-east-1.", *_MECHANISM
        )


def _login(settings: Settings, *, required: tuple[str, ...], unused: tuple[str, ...]) -> Iterator[Problem]:
    mechanism = settings.kafka_sasl_mechanism
    for field in _unset(settings, *required):
        yield Problem.of(
            f"{field.upper()} is not set: KAFKA_SASL_MECHANISM {mechanism} requires it.", field, *_MECHANISM
        )
    if needless := _set(settings, *unused):
        yield Problem.of(
            f"{_set_names(settings, needless)} set, but KAFKA_SASL_MECHANISM {mechanism} does not use it: unset it.",
            *_MECHANISM,
        )


_CLIENT_CERTIFICATE = ("kafka_ssl_certfile", "kafka_ssl_keyfile")
_KEY_PASSWORD = "kafka_ssl_key_password"  # noqa: S105 - the name of a setting


def _tls(settings: Settings) -> Iterator[Problem]:
    files = _set(settings, "kafka_ssl_cafile", *_CLIENT_CERTIFICATE, _KEY_PASSWORD)
    if files and not settings.kafka_security_protocol.endswith("SSL"):
        yield Problem.of(
            f"{_names(files)} set, but KAFKA_SECURITY_PROTOCOL is {settings.kafka_security_protocol}: set "
            "that to SSL or SASL_SSL, or unset them.",
            "kafka_security_protocol",
        )
    yield from _client_certificate(settings, "kafka_ssl_")


def _client_certificate(settings: Settings, prefix: str) -> Iterator[Problem]:
    """Yield what is wrong with a client certificate, its key and the key's password."""
    pair, key_password = (f"{prefix}certfile", f"{prefix}keyfile"), f"{prefix}key_password"
    yield from _both_or_neither(settings, *pair)
    if _set(settings, key_password) and not _set(settings, *pair):
        yield Problem.of(
            f"{key_password.upper()} is set without {pair[1].upper()}: set that, or unset the password.",
            *pair,
            key_password,
        )
    if not _unset(settings, *pair):
        certificate, key, password = (getattr(settings, field) for field in (*pair, key_password))
        try:
            client_certificate.load(
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key, password, prefix=prefix.upper()
            )
        except SettingsError as error:
            yield from (Problem.of(text, *pair, key_password) for text in error.problems)


def _both_or_neither(settings: Settings, *pair: str) -> Iterator[Problem]:
    present, missing = _set(settings, *pair), _unset(settings, *pair)
    if present and missing:
        yield Problem.of(f"{_names(present)} is set without {_names(missing)}: set both or neither.", *pair)


#: ``Topic.MAX_NAME_LENGTH`` of Kafka.
_MAX_TOPIC_LENGTH = 249


def _topics(settings: Settings) -> Iterator[Problem]:
    fields_by_name = defaultdict(list)
    every: dict[AnyTopic, str] = dict([*settings.topics.items(), *settings.latest_topics.items()])
    for topic, name in every.items():
        fields_by_name[name].append(f"kafka_topic_{topic.setting.lower()}")
    fields_by_name[settings.shards_topic].append("kafka_topic_shards")
    if any(len(name) > _MAX_TOPIC_LENGTH for name in fields_by_name):
        yield Problem.of(
            f"KAFKA_TOPIC_PREFIX is too long: a topic's name has at most {_MAX_TOPIC_LENGTH} characters.",
            "kafka_topic_prefix",
        )
    for name, fields in fields_by_name.items():
        if len(fields) > 1:
            yield Problem.of(f"{_names(fields)} are all {name!r}: each record type needs its own topic.", *fields)


_SIZES = ("kafka_batch_bytes", "bridge_buffer_bytes")


def _batch_size(settings: Settings) -> Iterator[Problem]:
    batch, buffer = settings.kafka_batch_bytes, settings.bridge_buffer_bytes
    # A buffer smaller than the default batch size is valid: batches are then sent earlier.
    if batch > buffer and not _unset(settings, *_SIZES):
        yield Problem.of(
            f"KAFKA_BATCH_BYTES ({batch}) exceeds BRIDGE_BUFFER_BYTES ({buffer}): a batch must fit into the buffer.",
            *_SIZES,
        )


_CAPTURE = ("bridge_capture_mode", "bridge_capture_max_bytes", "bridge_flight_recorder_bytes")


def _capture(settings: Settings) -> Iterator[Problem]:
    directory, flight_bytes = settings.bridge_capture_dir, settings.bridge_flight_recorder_bytes
    if directory is None:
        fields = type(settings).model_fields
        unused = [name for name in _CAPTURE if getattr(settings, name) not in (fields[name].default, 0)]
        if unused:
            yield Problem.of(
                f"{_names(unused)} set without BRIDGE_CAPTURE_DIR: set that, or unset the others.", "bridge_capture_dir"
            )
        return
    if not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
        yield Problem.of(
            f"BRIDGE_CAPTURE_DIR={str(directory)!r}: not a directory that the bridge may write to; create it, or mount "
            "a volume there.",
            "bridge_capture_dir",
        )
    if settings.bridge_capture_mode == "incidents" and not flight_bytes:
        yield Problem.of(
            "BRIDGE_CAPTURE_MODE is incidents, but BRIDGE_FLIGHT_RECORDER_BYTES is 0: nothing would be written.",
            *_CAPTURE,
        )
    if flight_bytes > settings.bridge_capture_max_bytes // 2:
        yield Problem.of(
            f"BRIDGE_FLIGHT_RECORDER_BYTES ({flight_bytes}) exceeds half of BRIDGE_CAPTURE_MAX_BYTES "
            f"({settings.bridge_capture_max_bytes}): raise the latter.",
            *_CAPTURE,
        )


_REGISTRY_PASSWORD = ("schema_registry_username", "schema_registry_password")
_REGISTRY_TOKEN = ("schema_registry_bearer_token",)
_REGISTRY_OAUTH = (
    "schema_registry_oauth_token_url",
    "schema_registry_oauth_client_id",
    "schema_registry_oauth_client_secret",
)
_REGISTRY_OAUTH_ALL = (*_REGISTRY_OAUTH, "schema_registry_oauth_scope")
_REGISTRY_LOGINS = (_REGISTRY_PASSWORD, _REGISTRY_TOKEN, _REGISTRY_OAUTH_ALL)
_REGISTRY_CLOUD = ("schema_registry_logical_cluster", "schema_registry_identity_pool_id")
_REGISTRY_FILES = (
    "schema_registry_cafile",
    "schema_registry_certfile",
    "schema_registry_keyfile",
    "schema_registry_key_password",
)


def _registry(settings: Settings) -> Iterator[Problem]:
    url = settings.schema_registry_url
    unused = _set(
        settings,
        *(field for login in _REGISTRY_LOGINS for field in login),
        *(*_REGISTRY_CLOUD, *_REGISTRY_FILES, "schema_registry_context"),
    )
    if settings.schema_registry_auto_register:
        unused.append("schema_registry_auto_register")
    if unused and not url:
        yield Problem.of(
            f"{_names(unused)} set without SCHEMA_REGISTRY_URL: set that, or unset the others.",
            "schema_registry_url",
        )
    yield from _registry_login(settings)
    yield from _client_certificate(settings, "schema_registry_")
    if (files := _set(settings, *_REGISTRY_FILES)) and url and "https://" not in url:
        yield Problem.of(
            f"{_names(files)} set, but SCHEMA_REGISTRY_URL is http://: use https or unset them.",
            *files,
        )


def _registry_login(settings: Settings) -> Iterator[Problem]:
    chosen = [found for login in _REGISTRY_LOGINS if (found := _set(settings, *login))]
    if len(chosen) > 1:
        ways = "; ".join(map(_names, chosen))
        fields = (field for login in chosen for field in login)
        yield Problem.of(
            f"The schema registry has {len(chosen)} logins ({ways}): keep one and unset the rest.", *fields
        )
        return
    yield from _both_or_neither(settings, *_REGISTRY_PASSWORD)
    if ":" in (settings.schema_registry_username or ""):
        yield Problem.of(
            "SCHEMA_REGISTRY_USERNAME contains a colon, which HTTP Basic does not allow: write only the user's name.",
            "schema_registry_username",
        )
    missing = _unset(settings, *_REGISTRY_OAUTH)
    if missing and (oauth := _set(settings, *_REGISTRY_OAUTH_ALL)):
        yield Problem.of(
            f"{_names(oauth)} set without {_names(missing)}: set all, or unset them.", *_REGISTRY_OAUTH_ALL
        )
    if (cloud := _set(settings, *_REGISTRY_CLOUD)) and not _set(settings, *_REGISTRY_TOKEN, *_REGISTRY_OAUTH):
        yield Problem.of(
            f"{_names(cloud)} set, but there is no token to use for it: set SCHEMA_REGISTRY_BEARER_TOKEN or "
            "SCHEMA_REGISTRY_OAUTH_TOKEN_URL, or unset it.",
            *_REGISTRY_CLOUD,
            "schema_registry_bearer_token",
        )


def _proxies(settings: Settings) -> Iterator[Problem]:
    """Yield a problem for each URL whose proxy in the environment cannot be used."""
    for field, url in _requested_urls(settings):
        try:
            proxy_for(url)
        except ProxyUnusable as error:
            yield Problem.of(f"{field.upper()}: {error}", field)


def _requested_urls(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield every URL that is requested with these settings, by field."""
    yield "aries_ws_url", settings.aries_ws_url
    if settings.aries_api_url is not None:
        yield "aries_api_url", settings.aries_api_url
    if settings.aries_refresh_token is not None:
        yield "aries_token_url", settings.aries_token_url
    if settings.kafka_oauth_token_url is not None:
        yield "kafka_oauth_token_url", settings.kafka_oauth_token_url
    if settings.schema_registry_oauth_token_url is not None:
        yield "schema_registry_oauth_token_url", settings.schema_registry_oauth_token_url
    for url in (settings.schema_registry_url or "").split(","):
        yield "schema_registry_url", url.strip()
