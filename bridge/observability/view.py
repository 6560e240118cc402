"""What health, metrics and status read of a running bridge: read-only protocols that ``bridge.app.Bridge`` satisfies.

They stand for the parts that this package must not import: the composition root, the settings, Aries and Kafka.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from bridge.errors import ConnectionLost, DisconnectCause
    from bridge.market_data import EventType
    from bridge.observability.connection_history import ConnectionHistory
    from bridge.observability.latency import LatencyMetrics
    from bridge.pipeline.accounts import Accounts
    from bridge.pipeline.control_events import ControlEvents
    from bridge.pipeline.ingest import Ingest
    from bridge.pipeline.record_buffer import RecordBuffer
    from bridge.secrets.secret import Secret
    from bridge.serialization.decimals import DecimalEncoder
    from bridge.topics import LatestTopic, Topic


class SettingsView(Protocol):
    """The settings that are shown, or that a check depends on."""

    @property
    def bridge_instance(self) -> str: ...
    @property
    def shard(self) -> int: ...
    @property
    def bridge_shards(self) -> int: ...
    @property
    def aries_ws_url(self) -> str: ...
    @property
    def dialect(self) -> str: ...
    @property
    def aries_access_token(self) -> Secret | None: ...
    @property
    def topics(self) -> Mapping[Topic, str]: ...
    @property
    def latest_topics(self) -> Mapping[LatestTopic, str]: ...
    @property
    def kafka_bootstrap_servers(self) -> Collection[str]: ...
    @property
    def kafka_delivery_timeout_seconds(self) -> float: ...


class PlanView(Protocol):
    """The symbols to subscribe to."""

    @property
    def events(self) -> Collection[EventType]: ...
    def __len__(self) -> int: ...


class PlanChangeView(Protocol):
    """A change of the subscriptions that waits until it can be applied, if there is one."""

    @property
    def plan(self) -> PlanView | None: ...
    @property
    def since_us(self) -> int | None: ...
    @property
    def problem(self) -> str: ...


class KeepAliveView(Protocol):
    """What the keep-alive knows of the market."""

    @property
    def market_open(self) -> bool | None: ...


class SessionView(Protocol):
    """One session with Aries."""

    @property
    def authenticated(self) -> bool: ...
    @property
    def subscribed_symbols(self) -> int: ...
    @property
    def rejected_symbols(self) -> AbstractSet[str]: ...
    @property
    def keep_alive(self) -> KeepAliveView: ...


class ClientView(Protocol):
    """The Aries client: its present session, if any, and its connections so far."""

    @property
    def state(self) -> str: ...
    @property
    def session(self) -> SessionView | None: ...
    @property
    def reconnects(self) -> Mapping[DisconnectCause, int]: ...
    @property
    def last_loss(self) -> ConnectionLost | None: ...
    @property
    def next_attempt_us(self) -> int | None: ...
    @property
    def connection_history(self) -> ConnectionHistory: ...


class TokensView(Protocol):
    """The source of access tokens."""

    @property
    def expires_at(self) -> float | None: ...


class PublisherStateView(Protocol):
    """The state of the connection to Kafka."""

    @property
    def connected(self) -> bool: ...
    @property
    def acking(self) -> bool: ...
    @property
    def active_at(self) -> float: ...
    @property
    def rebuilds(self) -> int: ...
    @property
    def last_error(self) -> str | None: ...


class PublisherView(Protocol):
    """The publisher to Kafka."""

    @property
    def state(self) -> PublisherStateView: ...
    def blocked_topics(self) -> AbstractSet[str]: ...


class BridgeView(Protocol):
    """A running bridge, as far as it is shown."""

    @property
    def settings(self) -> SettingsView: ...
    @property
    def started_us(self) -> int: ...
    @property
    def phase(self) -> str: ...
    @property
    def plan(self) -> PlanView: ...
    @property
    def symbols_of_all_shards(self) -> int: ...
    @property
    def waiting_for(self) -> Sequence[str]: ...
    @property
    def plan_change(self) -> PlanChangeView: ...
    @property
    def accounts(self) -> Accounts: ...
    @property
    def client(self) -> ClientView: ...
    @property
    def tokens(self) -> TokensView: ...
    @property
    def control(self) -> ControlEvents: ...
    @property
    def ingest(self) -> Ingest: ...
    @property
    def decimals(self) -> DecimalEncoder: ...
    @property
    def buffer(self) -> RecordBuffer: ...
    @property
    def publisher(self) -> PublisherView: ...
    @property
    def latency(self) -> LatencyMetrics: ...
