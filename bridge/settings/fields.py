"""Every setting of the bridge: its name, type, default and meaning.

A setting's name is its field's name in capitals, and its meaning the field's docstring. ``aries-bridge settings`` and
the README's table are made from this module.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.aries import subscriptions
from bridge.aries.subscriptions import file_watch as subscriptions_file
from bridge.aries.subscriptions import shards
from bridge.pipeline import compiled
from bridge.secrets.secret import Secret
from bridge.settings.field_types import (
    LOWER,
    UPPER,
    Extensions,
    HeaderValue,
    HttpUrl,
    HttpUrls,
    JsonText,
    Milliseconds,
    QuietLimitsText,
    RegistryContext,
    RenewedSecretText,
    Seconds,
    SecretText,
    Servers,
    ShardNumber,
    TextList,
    TopicPart,
    TypeName,
    WebSocketUrl,
    is_secret,
)
from bridge.settings.pem import AuthoritiesFile, PemFile
from bridge.topics import SHARDS_TOPIC, AnyTopic, LatestTopic, Topic, latest_topic_names, topic_names

if TYPE_CHECKING:
    from bridge.aries.subscriptions import Plan

_DAY_SECONDS = 86_400
_GIB = 1 << 30


def _required() -> Any:
    """Return an empty list as default: whether it may stay empty is a rule of :mod:`bridge.settings.validation`."""
    return Field(default=(), json_schema_extra={"required": True})


def _topic(name: str) -> Any:
    return Field(default=None, json_schema_extra={"default": f"<prefix>.{name}"})


class Settings(BaseSettings):
    """The valid settings; from the environment by :func:`bridge.settings.load`, or from values by field name."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", enable_decoding=False, allow_inf_nan=False)

    aries_ws_url: WebSocketUrl = "wss://api.aries.com/v1/marketdata/ws"
    """WebSocket URL of the feed. The default is the older dialect's; use `wss://api.aries.com/v1/market/ws`, the newer
    one's, if your account has it: `aries-bridge check` says which of the two paths answers."""
    aries_dialect: Annotated[Literal["auto", "action", "envelope"], LOWER] = "auto"
    """Protocol dialect; `auto` is `envelope` for the path `/v1/market/ws`, else `action`."""
    aries_access_token: SecretText | None = None
    """OAuth2 access token; a file is read again at each authentication."""
    aries_client_id: str | None = None
    """OAuth2 client ID for the refresh-token grant."""
    aries_client_secret: SecretText | None = None
    """OAuth2 client secret, if the client has one."""
    aries_refresh_token: SecretText | None = None
    """OAuth2 refresh token; with `ARIES_CLIENT_ID`, instead of `ARIES_ACCESS_TOKEN`."""
    aries_token_url: HttpUrl = "https://api.aries.com/v1/oauth2/token"  # noqa: S105 - a URL, no password
    """Token endpoint for the refresh-token grant."""
    aries_api_url: HttpUrl | None = None
    """Base URL of the vendor's REST endpoints, which option chains need; unset = the host of `ARIES_WS_URL`, like
    `https://api.aries.com`. The access token then needs the scope `options:information`."""
    aries_ssl_cafile: AuthoritiesFile | None = None
    """PEM file of further certificate authorities, trusted beside the system's by feed, token endpoint and proxy."""
    aries_api_key: SecretText | None = None
    """`xAPIKey` of the `action` dialect, for accounts that need one."""
    aries_symbols: TextList = _required()
    """Symbols, like `AAPL,SPX,AAPL240119C00150000`. The type is recognised; `SYM:option` (or `equity`, `index`)
    overrides it. Optional if `ARIES_SUBSCRIPTIONS` or its file names symbols."""
    aries_events: TextList = ("quotes", "trades", "l2", "timesales")
    """Event types for all symbols; also `greeks` (options only). Indices get `trades` only. Market status is always
    included."""
    aries_subscriptions: JsonText | None = None
    """Events and fields per symbol, added to `ARIES_SYMBOLS` and overriding it: a list like
    `[{"symbol":"AAPL","events":["quotes","l2"],"fields":{"quotes":["bidPrice","askPrice"]}}]`. Only here a symbol may
    have spaces and colons: `["BRK B","X:BTCUSD"]`. An option chain:
    `{"underlying":"AAPL","expires_within_days":30,"strikes":{"around":10}}`."""
    aries_subscriptions_file: Path | None = None
    """File with the same JSON, or with a plain list of symbols; changes are applied on the open connection."""
    aries_level2: Annotated[Literal["unknown", "full", "changes"], LOWER] = "unknown"
    """What a level-2 message has: all rows (`full`) or only those that changed (`changes`). The vendor does not say
    which; records carry the answer in `is_full`, null for `unknown`."""
    aries_ping_interval_seconds: Seconds = 30
    """Interval between keep-alive pings, in seconds."""
    aries_pong_timeout_seconds: Seconds = 10
    """Timeout for the answer to a ping, in seconds; then reconnect."""
    aries_stale_after_seconds: float = Field(default=60, ge=0, le=_DAY_SECONDS)
    """If no data arrives for this many seconds while the market is open: probe, subscribe again, reconnect; 0 = off."""
    aries_stale_symbol_seconds: QuietLimitsText = "quotes=900,index.trades=900,option.quotes=0"
    """If a symbol has no data of an event type for this many seconds of regular trading hours, report it as stale:
    `quotes=300,option.greeks=600`, or one number for all event types; what is not listed, or 0, is off."""
    aries_max_frames_per_second: int = Field(default=20, ge=1, le=10_000)
    """Most frames (requests, tokens, pings) that are sent to the server in any second; more of them wait."""
    aries_backoff_min_seconds: Seconds = 0.5
    """Upper bound of the random wait before the first reconnect, in seconds; it doubles with each attempt."""
    aries_backoff_max_seconds: Seconds = 30
    """Largest upper bound of the wait before a reconnect, in seconds."""

    kafka_bootstrap_servers: Servers = _required()
    """Bootstrap brokers: `host:port,…`."""
    kafka_security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], UPPER] = "PLAINTEXT"
    """Protocol used to communicate with brokers."""
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] | None, UPPER
    ] = None
    """SASL mechanism, required by the `SASL_` protocols. `AWS_MSK_IAM` needs the extra `msk-iam` of the package."""
    kafka_sasl_username: str | None = None
    """User name for PLAIN and SCRAM."""
    kafka_sasl_password: SecretText | None = None
    """Password for PLAIN and SCRAM."""
    kafka_ssl_cafile: AuthoritiesFile | None = None
    """PEM file of trusted certificate authorities; unset = those of the system."""
    kafka_ssl_certfile: PemFile | None = None
    """PEM file of the client certificate (mutual TLS)."""
    kafka_ssl_keyfile: PemFile | None = None
    """PEM file of the client certificate's private key."""
    kafka_ssl_key_password: SecretText | None = None
    """Password of that key, if it is encrypted."""
    kafka_ssl_check_hostname: bool = True
    """Whether a broker's certificate must match its host name."""
    kafka_oauth_token_url: HttpUrl | None = None
    """Token endpoint for OAUTHBEARER, with the client-credentials grant."""
    kafka_oauth_client_id: str | None = None
    """Client ID for the token endpoint."""
    kafka_oauth_client_secret: SecretText | None = None
    """Client secret for the token endpoint."""
    kafka_oauth_client_assertion: RenewedSecretText | None = None
    """JWT that authenticates the client instead of a secret (workload identity, RFC 7523); its file is read again for
    each request."""
    kafka_oauth_scope: str | None = None
    """Scope to request, if the token endpoint needs one."""
    kafka_oauth_token: RenewedSecretText | None = None
    """Access token for OAUTHBEARER, instead of a token endpoint; its file, which something else renews, is read again
    for each login."""
    kafka_oauth_extensions: Extensions = ()
    """SASL extensions for OAUTHBEARER: `name=value,…`, like `logicalCluster=lkc-1,identityPoolId=pool-1`."""
    aws_region: str | None = None
    """AWS region of the cluster for `AWS_MSK_IAM`; unset = `AWS_DEFAULT_REGION`."""
    kafka_topic_prefix: TopicPart = "aries"
    """Topics are `<prefix>.quotes` and so on."""
    kafka_topic_quotes: TopicPart | None = _topic("quotes")
    """Topic of quotes."""
    kafka_topic_trades: TopicPart | None = _topic("trades")
    """Topic of trades."""
    kafka_topic_timesales: TopicPart | None = _topic("timesales")
    """Topic of time and sales."""
    kafka_topic_l2: TopicPart | None = _topic("l2")
    """Topic of level 2."""
    kafka_topic_greeks: TopicPart | None = _topic("greeks")
    """Topic of greeks."""
    kafka_topic_market_status: TopicPart | None = _topic("market-status")
    """Topic of the market status."""
    kafka_topic_control: TopicPart | None = _topic("control")
    """Topic of control events."""
    kafka_topic_dlq: TopicPart | None = _topic("dlq")
    """Topic of dead letters."""
    kafka_topic_quotes_latest: TopicPart | None = _topic("quotes.latest")
    """Topic of the latest quotes (`BRIDGE_LATEST`)."""
    kafka_topic_trades_latest: TopicPart | None = _topic("trades.latest")
    """Topic of the latest trades (`BRIDGE_LATEST`)."""
    kafka_topic_shards: TopicPart | None = _topic(SHARDS_TOPIC)
    """Topic in which the bridges of a group mark who owns a shard (`BRIDGE_SHARD=group`)."""
    kafka_compression: Annotated[Literal["none", "gzip", "snappy", "lz4", "zstd"], LOWER] = "zstd"
    """Compression of record batches."""
    kafka_linger_ms: Milliseconds = 2
    """How far apart requests with records are at most, in milliseconds: half of it while they have more than two
    records each. A record that comes after a longer pause is sent at once."""
    kafka_batch_bytes: int = Field(default=524_288, ge=1024, le=_GIB)
    """Maximum size of a record batch, in bytes."""
    kafka_delivery_timeout_seconds: float = Field(default=120, gt=0, le=_DAY_SECONDS)
    """If no acknowledgement arrives for this many seconds, the producer is replaced, and unacknowledged records are
    sent again in order."""

    schema_registry_url: HttpUrls | None = None
    """URLs of the registry's servers, separated by commas. Set = Confluent wire format; unset = Avro single-object
    encoding."""
    schema_registry_context: RegistryContext | None = None
    """Context of the subjects: with `.staging` they are `:.staging:<topic>-value`."""
    schema_registry_username: str | None = None
    """User name for the registry, or Confluent Cloud's API key."""
    schema_registry_password: SecretText | None = None
    """Password for the registry, or the API key's secret; a file is read again for each request."""
    schema_registry_bearer_token: SecretText | None = None
    """Bearer token for the registry, instead of user and password; a file is read again for each request."""
    schema_registry_oauth_token_url: HttpUrl | None = None
    """Token endpoint for the registry, with the client-credentials grant, instead of a bearer token."""
    schema_registry_oauth_client_id: str | None = None
    """Client ID for that token endpoint."""
    schema_registry_oauth_client_secret: SecretText | None = None
    """Client secret for that token endpoint."""
    schema_registry_oauth_scope: str | None = None
    """Scope to request, if the token endpoint needs one."""
    schema_registry_logical_cluster: HeaderValue | None = None
    """Confluent Cloud: the ID of the registry, like `lsrc-abc123`, for which a token is used."""
    schema_registry_identity_pool_id: HeaderValue | None = None
    """Confluent Cloud: the ID of the identity pool, like `pool-abc1`, for which a token is used."""
    schema_registry_cafile: AuthoritiesFile | None = None
    """PEM file of trusted certificate authorities; unset = those of the system."""
    schema_registry_certfile: PemFile | None = None
    """PEM file of the client certificate (mutual TLS)."""
    schema_registry_keyfile: PemFile | None = None
    """PEM file of the client certificate's private key."""
    schema_registry_key_password: SecretText | None = None
    """Password of that key, if it is encrypted."""
    schema_registry_auto_register: bool = False
    """Whether to register missing schemas; if false, a missing schema is an error."""

    bridge_buffer_bytes: int = Field(default=268_435_456, ge=1024, le=1024 * _GIB)
    """Maximum size of all records read and not yet acknowledged, in bytes."""
    bridge_conflate_ms: Milliseconds = 0
    """At most one quote and one greeks record per symbol in this many milliseconds, merged to the newest state;
    0 = off."""
    bridge_encoder: Annotated[Literal["auto", "compiled", "python"], LOWER] = "auto"
    """What turns usual lines into records: the `compiled` step, which takes a fraction of the CPU time, or `python`;
    `auto` = compiled, if it was built. The records are the same."""
    bridge_latest: bool = False
    """Whether to publish each symbol's merged latest quote and trade on compacted topics."""
    bridge_latest_interval_ms: int = Field(default=1000, ge=10, le=60_000)
    """At most one latest record per symbol in this many milliseconds."""
    bridge_capture_dir: Annotated[Path, TypeName("directory")] | None = None
    """Directory for captures of the feed: frames as they are received, with secrets replaced; unset = none are written.
    It must exist."""
    bridge_capture_mode: Annotated[Literal["all", "incidents"], LOWER] = "all"
    """What is captured: `all` frames, and once more those before an incident in a file of its own, or only the
    `incidents`."""
    bridge_capture_max_bytes: int = Field(default=_GIB, ge=16 << 20, le=1024 * _GIB)
    """Maximum size of all captures in the directory, in bytes; the oldest are deleted."""
    bridge_flight_recorder_bytes: int = Field(default=8 << 20, ge=0, le=_GIB)
    """Size of the newest frames that are kept in memory for incidents (a dead letter, the first unknown field of a
    name, the first bad value of a field, a gap, SIGUSR1), in bytes; 0 = off. Nothing is kept without
    `BRIDGE_CAPTURE_DIR`."""
    bridge_instance: str = Field(
        default_factory=socket.gethostname, max_length=249, json_schema_extra={"default": "host name"}
    )
    """Name of this bridge, on the control topic and in logs."""
    bridge_group: str | None = Field(default=None, min_length=1, max_length=249)
    """Name of the bridges that share the symbols, equal for all of them; for a group unset means `KAFKA_TOPIC_PREFIX`.
    With a shard of its own and this set, a bridge waits at start until those of another `BRIDGE_SHARDS` have ended
    (needs Read on the control topic)."""
    bridge_shards: int = Field(default=1, ge=1, le=1024)
    """Number of shards into which the symbols are divided. Each has a bridge of its own with its own session; with
    `BRIDGE_SHARD=group` there may be more or fewer bridges than shards."""
    bridge_shard: ShardNumber = "0"
    """Number of this bridge's shard, from 0; `auto` = the number at the end of the host name (a StatefulSet's pod);
    `group` = the bridges of `BRIDGE_GROUP` share the shards through Kafka's group coordinator, and one without a shard
    is a standby (needs Read on the group, and Read and Write on the shards topic)."""
    bridge_http_host: str = "::"
    """Address on which probes, metrics and the status page are served; `::` = all of IPv6 and IPv4, `0.0.0.0` = all of
    IPv4."""
    bridge_http_port: int = Field(default=8080, ge=0, le=65_535)
    """Port of probes, metrics and the status page; 0 = any free port."""
    bridge_drain_seconds: float = Field(default=20, ge=0, le=3600)
    """How long to wait for acknowledgements at shutdown, in seconds."""
    bridge_log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], UPPER] = "INFO"
    """Lowest log level that is written."""
    bridge_log_format: Annotated[Literal["json", "console"], LOWER] = "json"
    """Log format on standard error: `json`, one object per line, or `console`, readable text."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature of pydantic-settings
        init_settings: PydanticBaseSettingsSource,
        *_args: PydanticBaseSettingsSource,
        **_sources: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor's arguments alone, so that ``Settings(...)`` ignores the environment."""
        return (init_settings,)

    @property
    def is_full(self) -> bool | None:
        """Return whether a level-2 message has all rows, None if it is not known."""
        return {"full": True, "changes": False}.get(self.aries_level2)

    @property
    def dialect(self) -> Literal["action", "envelope"]:
        """Return the dialect to use; ``auto`` is decided by the URL's path (protocol §1)."""
        if self.aries_dialect != "auto":
            return self.aries_dialect
        return "envelope" if urlsplit(self.aries_ws_url).path.rstrip("/") == "/v1/market/ws" else "action"

    @property
    def encoder(self) -> Literal["compiled", "python"]:
        """Return what turns usual lines into records."""
        if self.bridge_encoder != "auto":
            return self.bridge_encoder
        return "compiled" if compiled.is_built() else "python"

    @property
    def api_url(self) -> str:
        """Return the base URL of the REST endpoints: by default the host of the feed."""
        if self.aries_api_url is not None:
            return self.aries_api_url
        parts = urlsplit(self.aries_ws_url)
        return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc.rpartition('@')[2]}"

    @property
    def is_grouped(self) -> bool:
        """Return whether bridges share the shards through a consumer group; then none has a fixed one."""
        return self.bridge_shard == "group"

    @property
    def group(self) -> str | None:
        """Return the name of the bridges that share the symbols, None if they have none."""
        return self.bridge_group or (self.kafka_topic_prefix if self.is_grouped else None)

    @property
    def group_id(self) -> str:
        """Return the id of the consumer group by which bridges share the shards."""
        return f"{self.bridge_group or self.kafka_topic_prefix}.shards"

    @property
    def shard(self) -> int:
        """Return the number of this shard: -1 if it is ``auto`` and the host name has no number, 0 in a group."""
        if self.is_grouped:
            return 0
        if self.bridge_shard != "auto":
            return int(self.bridge_shard)
        number = shards.ordinal(socket.gethostname())
        return -1 if number is None else number

    @property
    def topics(self) -> dict[Topic, str]:
        """Return the Kafka name of every topic."""
        renamed = {topic: getattr(self, f"kafka_topic_{topic.setting.lower()}") for topic in Topic}
        return topic_names(self.kafka_topic_prefix, renamed)

    @property
    def latest_topics(self) -> dict[LatestTopic, str]:
        """Return the Kafka name of every topic of latest states, also if they are off."""
        renamed = {topic: getattr(self, f"kafka_topic_{topic.setting.lower()}") for topic in LatestTopic}
        return latest_topic_names(self.kafka_topic_prefix, renamed)

    @property
    def shards_topic(self) -> str:
        """Return the Kafka name of the topic of the shards' owners, also if there is no group."""
        return self.kafka_topic_shards or f"{self.kafka_topic_prefix}.{SHARDS_TOPIC}"

    @property
    def written_topics(self) -> dict[AnyTopic, str]:
        """Return the Kafka name of every topic that may be written."""
        latest = self.latest_topics.items() if self.bridge_latest else ()
        return dict[AnyTopic, str]([*self.topics.items(), *latest])

    @property
    def used_topics(self) -> tuple[str, ...]:
        """Return the Kafka name of every topic that this bridge may write or read."""
        return (*self.written_topics.values(), *((self.shards_topic,) if self.is_grouped else ()))

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Return every secret that is set."""
        values = (getattr(self, name) for name in Settings.model_fields)
        return tuple(value for value in values if isinstance(value, Secret))

    def plan(self) -> Plan:
        """Return the subscription plan, reading the subscriptions file if one is set; raise SettingsError."""
        if self.aries_subscriptions_file:
            return subscriptions_file.read(self.aries_subscriptions_file, self.aries_symbols, self.aries_events)
        return subscriptions.plan(self.aries_symbols, self.aries_events, self.aries_subscriptions)


def names() -> tuple[str, ...]:
    """Return the name of every environment variable that the bridge reads."""
    fields = Settings.model_fields.items()
    files = (f"{name.upper()}_FILE" for name, field in fields if is_secret(field))
    return (*(name.upper() for name, _ in fields), *files)
