"""The settings of the bridge: what the environment may say, and what it means.

A setting's name is its field's name in capitals. This module is the single source of the names, defaults and
meanings: ``aries-bridge settings`` and the README's table are made from it.
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge.aries import subscriptions
from bridge.aries.subscriptions import file_watch as subscriptions_file
from bridge.aries.subscriptions import shards
from bridge.errors import SettingsError
from bridge.secrets.secret import Secret
from bridge.settings import validation as setting_rules
from bridge.settings.field_types import (
    LOWER,
    UPPER,
    Given,
    HttpUrl,
    Items,
    JsonText,
    Number,
    OptionalFile,
    OptionalHttpUrl,
    OptionalSecret,
    OptionalText,
    OptionalTopic,
    Servers,
    ShardNumber,
    Switch,
    Text,
    TopicPart,
    WebSocketUrl,
    Whole,
    is_secret,
    shown,
)
from bridge.topics import Topic, topic_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

    from bridge.aries.subscriptions import Plan

_HOUR_SECONDS = 3600
_GIB = 1 << 30
_LONGEST_SHOWN = 250
#: What Kubernetes sets by itself beside a Service whose name makes the variable's: ``bridge-http`` makes
#: ``BRIDGE_HTTP_PORT`` (kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://\S+")
#: Pydantic's words for what went wrong that are not for everybody.
_PLAIN = {
    "bool_parsing": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
}


def _topic(name: str, content: str) -> Any:
    extra: dict[str, JsonValue] = {"default": f"<prefix>.{name}"}
    return Field(None, description=f"Topic of {content}.", json_schema_extra=extra)


class Settings(BaseSettings):
    """Hold every setting, checked; made by :func:`load`, or directly from values by field name."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    aries_ws_url: WebSocketUrl = Field(
        default="wss://api.aries.com/v1/marketdata/ws", description="Endpoint of the feed."
    )
    aries_dialect: Annotated[Literal["auto", "action", "envelope"], LOWER] = Field(
        default="auto",
        description="Dialect; `auto` takes `envelope` for the path `/v1/market/ws`, else `action`.",
    )
    aries_access_token: OptionalSecret = Field(
        default=None, description="OAuth2 access token; a file of it is read anew at each authentication."
    )
    aries_client_id: OptionalText = Field(default=None, description="OAuth2 client of the refresh-token grant.")
    aries_client_secret: OptionalSecret = Field(default=None, description="Secret of that client, where it has one.")
    aries_refresh_token: OptionalSecret = Field(
        default=None, description="Refresh token; with `ARIES_CLIENT_ID`, instead of `ARIES_ACCESS_TOKEN`."
    )
    aries_token_url: HttpUrl = Field(
        default="https://api.aries.com/v1/oauth2/token", description="Where the refresh token is exchanged."
    )
    aries_api_key: OptionalSecret = Field(
        default=None, description="`xAPIKey` of the `action` dialect, for accounts that are asked for it."
    )
    aries_symbols: Items = Field(
        default=(),
        description="Symbols, like `AAPL,SPX,AAPL240119C00150000`. The type is recognised; `SYM:option` (or "
        "`equity`, `index`) overrides it. May be left out where subscriptions name symbols.",
        json_schema_extra={"required": True},
    )
    aries_events: Items = Field(
        default=("quotes", "trades", "l2", "timesales"),
        description="Event types for all symbols; also `greeks` (options only). Indices get `trades` only. "
        "Market status always comes.",
    )
    aries_subscriptions: JsonText = Field(
        default=None,
        description="Choice per symbol, adds to and overrides `ARIES_SYMBOLS`: a list like "
        '`[{"symbol":"AAPL","events":["quotes","l2"],"fields":{"quotes":["bidPrice","askPrice"]}}]`.',
    )
    aries_subscriptions_file: OptionalFile = Field(
        default=None,
        description="The same as a file, or a plain list of symbols; changes are applied on the live socket.",
    )
    aries_ping_interval_seconds: Number = Field(
        default=30, gt=0, le=_HOUR_SECONDS, description="Time between keep-alive pings, in seconds."
    )
    aries_pong_timeout_seconds: Number = Field(
        default=10,
        gt=0,
        le=_HOUR_SECONDS,
        description="Longest wait for the answer to a ping, in seconds; then reconnect.",
    )
    aries_stale_after_seconds: Number = Field(
        default=60,
        ge=0,
        le=24 * _HOUR_SECONDS,
        description="No data for so many seconds while the market is open: probe, then reconnect; 0 = off.",
    )
    aries_backoff_min_seconds: Number = Field(
        default=0.5,
        gt=0,
        le=_HOUR_SECONDS,
        description="First upper bound of the random wait before a reconnect, in seconds.",
    )
    aries_backoff_max_seconds: Number = Field(
        default=30, gt=0, le=_HOUR_SECONDS, description="Last upper bound of the wait before a reconnect, in seconds."
    )

    kafka_bootstrap_servers: Servers = Field(
        default=(), description="Brokers to start from: `host:port,…`.", json_schema_extra={"required": True}
    )
    kafka_security_protocol: Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], UPPER] = Field(
        default="PLAINTEXT", description="How to talk to the brokers."
    )
    kafka_sasl_mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None, UPPER] = (
        Field(default=None, description="How to log in, with a `SASL_` protocol.")
    )
    kafka_sasl_username: OptionalText = Field(default=None, description="User of PLAIN and SCRAM.")
    kafka_sasl_password: OptionalSecret = Field(default=None, description="Password of PLAIN and SCRAM.")
    kafka_ssl_cafile: OptionalFile = Field(
        default=None, description="PEM file of the authorities to trust; unset = the system's."
    )
    kafka_ssl_certfile: OptionalFile = Field(
        default=None, description="PEM file of the client certificate (mutual TLS)."
    )
    kafka_ssl_keyfile: OptionalFile = Field(
        default=None, description="PEM file of that certificate's private key, not encrypted."
    )
    kafka_ssl_check_hostname: Switch = Field(
        default=True, description="Whether a broker's certificate must be for its host name."
    )
    kafka_oauth_token_url: OptionalHttpUrl = Field(
        default=None, description="Token endpoint for OAUTHBEARER by client credentials."
    )
    kafka_oauth_client_id: OptionalText = Field(default=None, description="Client of OAUTHBEARER.")
    kafka_oauth_client_secret: OptionalSecret = Field(default=None, description="Secret of that client.")
    kafka_oauth_scope: OptionalText = Field(default=None, description="Scope to ask for, where the endpoint wants one.")
    kafka_topic_prefix: TopicPart = Field(default="aries", description="Topics are `<prefix>.quotes` and so on.")
    kafka_topic_quotes: OptionalTopic = _topic("quotes", "quotes")
    kafka_topic_trades: OptionalTopic = _topic("trades", "trades")
    kafka_topic_timesales: OptionalTopic = _topic("timesales", "time and sales")
    kafka_topic_l2: OptionalTopic = _topic("l2", "level 2")
    kafka_topic_greeks: OptionalTopic = _topic("greeks", "greeks")
    kafka_topic_market_status: OptionalTopic = _topic("market-status", "the market status")
    kafka_topic_control: OptionalTopic = _topic("control", "the bridge's own events")
    kafka_topic_dlq: OptionalTopic = _topic("dlq", "dead letters")
    kafka_compression: Annotated[Literal["none", "gzip", "snappy", "lz4", "zstd"], LOWER] = Field(
        default="zstd", description="Compression of record batches."
    )
    kafka_linger_ms: Whole = Field(
        default=2, ge=0, le=60_000, description="How long a batch waits for more records, in milliseconds."
    )
    kafka_batch_bytes: Whole = Field(default=524_288, ge=1024, le=_GIB, description="Largest record batch, in bytes.")
    kafka_delivery_timeout_seconds: Number = Field(
        default=120,
        gt=0,
        le=24 * _HOUR_SECONDS,
        description="No acknowledgement for so many seconds: the producer is rebuilt, and what is "
        "un-acked is sent again in order.",
    )

    schema_registry_url: OptionalHttpUrl = Field(
        default=None, description="Set = Confluent wire format; unset = Avro single-object encoding."
    )
    schema_registry_username: OptionalText = Field(default=None, description="User of the registry.")
    schema_registry_password: OptionalSecret = Field(default=None, description="Password of the registry.")
    schema_registry_cafile: OptionalFile = Field(
        default=None, description="PEM file of the authorities to trust; unset = the system's."
    )
    schema_registry_auto_register: Switch = Field(
        default=False,
        description="Whether to register a schema that is missing; otherwise it must be there already.",
    )

    bridge_buffer_bytes: Whole = Field(
        default=268_435_456,
        ge=1024,
        le=1024 * _GIB,
        description="Budget for records read and not yet acknowledged, in bytes.",
    )
    bridge_conflate_ms: Whole = Field(
        default=0,
        ge=0,
        le=60_000,
        description="At most one quote and one greeks record per symbol in so many milliseconds, merged "
        "to the newest state; 0 = off.",
    )
    bridge_instance: Text = Field(
        default_factory=socket.gethostname,
        max_length=249,
        description="Who we are, on the control topic and in logs.",
        json_schema_extra={"default": "host name"},
    )
    bridge_shards: Whole = Field(
        default=1,
        ge=1,
        le=1024,
        description="Number of bridges that share the symbols; each has a session of its own.",
    )
    bridge_shard: ShardNumber = Field(
        default="0",
        description="Which of them this is, from 0; `auto` reads the number at the end of the host name "
        "(a StatefulSet's pod).",
    )
    bridge_http_host: Text = Field(
        default="0.0.0.0",  # noqa: S104 - probes come from outside the pod
        description="Address on which probes, metrics and the status page are served.",
    )
    bridge_http_port: Whole = Field(
        default=8080, ge=0, le=65_535, description="Port of probes, metrics and the status page; 0 = any free one."
    )
    bridge_drain_seconds: Number = Field(
        default=20, ge=0, le=_HOUR_SECONDS, description="Longest wait for acknowledgements at shutdown, in seconds."
    )
    bridge_log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], UPPER] = Field(
        default="INFO", description="Least severe log level that is written."
    )
    bridge_log_format: Annotated[Literal["json", "console"], LOWER] = Field(
        default="json", description="`json`, one object a line, or `console` for people; on standard error."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature of pydantic-settings
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the call alone: :func:`load` reads the environment, which may be any mapping."""
        return (init_settings,)

    @property
    def dialect(self) -> Literal["action", "envelope"]:
        """Return the dialect to speak; ``auto`` is decided by the URL's path (protocol §1)."""
        if self.aries_dialect != "auto":
            return self.aries_dialect
        return "envelope" if urlsplit(self.aries_ws_url).path.rstrip("/") == "/v1/market/ws" else "action"

    @property
    def shard(self) -> int:
        """Return which shard this is, -1 where the host name has to tell and does not."""
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
    def secrets(self) -> tuple[Secret, ...]:
        """Return every secret that is set."""
        values = (getattr(self, name) for name in Settings.model_fields)
        return tuple(value for value in values if isinstance(value, Secret))

    def plan(self) -> Plan:
        """Return what to subscribe to, reading the subscriptions file if one is set; raise SettingsError."""
        if self.aries_subscriptions_file:
            return subscriptions_file.read(self.aries_subscriptions_file, self.aries_symbols, self.aries_events)
        return subscriptions.plan(self.aries_symbols, self.aries_events, self.aries_subscriptions)


class Environment(PydanticBaseSettingsSource):
    """Read settings from a mapping like ``os.environ``; an empty value counts as unset."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | Given | None, str, bool]:
        """Return what the environment says about one setting, None where it says nothing."""
        name = field_name.upper()
        text = self._text(name)
        if not is_secret(field):
            return text and text.strip(), field_name, False
        path = self._text(f"{name}_FILE")
        return Given(name, text, path and path.strip()) if text or path else None, field_name, False

    def _text(self, name: str) -> str | None:
        text = self._environ.get(name, "")
        return text if text.strip() and not injected(name, text) else None

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields.items()
        values = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in values.items() if value is not None}


def injected(name: str, value: str) -> bool:
    """Return whether a variable looks like what Kubernetes says of a Service, not like anybody's setting."""
    return name.endswith("_PORT") and _KUBERNETES_PORT.fullmatch(value.strip()) is not None


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment, else of the process; raise SettingsError with all problems."""
    settings, problems = examine(environ)
    if problems:
        raise SettingsError(problems)
    return settings


def examine(environ: Mapping[str, str] | None = None) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings, defaults standing where they are wrong, and all problems."""
    values = Environment(os.environ if environ is None else environ)()
    settings, faults = _validated(values)
    broken = [problem.text for problem in setting_rules.broken(settings) if not problem.fields & faults.keys()]
    return settings, (*faults.values(), *broken)


def _validated(values: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    try:
        return Settings(**values), {}
    except ValidationError as error:
        faults = {str(fault["loc"][0]): fault for fault in error.errors(include_url=False, include_input=False)}
    sentences = {name: _sentence(name, values[name], fault) for name, fault in faults.items()}
    return Settings(**{name: value for name, value in values.items() if name not in faults}), sentences


def _sentence(name: str, value: object, fault: Any) -> str:
    """Return the problem for people; the value is shown unless it belongs to a secret."""
    said = f"={_short(shown(value))!r}" if isinstance(value, str) else ""
    own = fault.get("ctx", {}).get("error")
    reason = own or _PLAIN.get(fault["type"]) or fault["msg"].replace("Input should", "should")
    return f"{name.upper()}{said}: {reason}."


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
