"""The composition root: what a bridge is made of, its life cycle, and its signals.

Things start in this order: HTTP, so that probes are answered from the first moment, schema ids, Kafka, Aries. They
end in the opposite order: the client stops, what was read drains, the producer closes, HTTP is last.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

import structlog

import bridge as package
from bridge import log_events
from bridge.aries.access_token import FixedToken, RefreshingToken
from bridge.aries.chains.merging import with_contracts, with_prices
from bridge.aries.chains.resolver import ChainResolver
from bridge.aries.chains.rest import ChainEndpoints
from bridge.aries.chains.selection import depends_on_price
from bridge.aries.client import MAX_LISTED_SYMBOLS, AriesClient, ClientState
from bridge.aries.connection import Connection
from bridge.aries.protocol.action import Action
from bridge.aries.protocol.envelope import Envelope
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.reconnect import ReconnectPolicy
from bridge.aries.recorded_connection import recorded
from bridge.aries.subscriptions import ChangedSymbols
from bridge.aries.subscriptions.file_watch import watch
from bridge.aries.subscriptions.plan_change import PlanChange
from bridge.aries.subscriptions.shards import MARKET_STATUS_SHARD, own_share
from bridge.backoff import Backoff
from bridge.capture.directory import CaptureDirectory
from bridge.capture.recorder import REQUESTED, CaptureRecorder, NoRecorder
from bridge.capture.writer import CaptureWriter
from bridge.clock import wall_us
from bridge.errors import BridgeError, RecordsUndelivered, RegistryUnreachable, TokenUnavailable
from bridge.group_member import GroupMember
from bridge.kafka.batch_sender import Batching
from bridge.kafka.client_options import client_options
from bridge.kafka.partitioner import partition
from bridge.kafka.publisher import Publisher
from bridge.kafka.shard_handover import await_other_shards
from bridge.market_data import FIELDS, EventType
from bridge.observability.http_server import HttpServer
from bridge.observability.latency import LatencyMetrics
from bridge.observability.symbol_ages import SymbolAges
from bridge.pipeline.assembly import assemble
from bridge.pipeline.control_events import HEARTBEAT_SECONDS, ControlKind, ShardIdentity
from bridge.secrets.redaction import Redactor
from bridge.serialization import schemas
from bridge.serialization.schema_registry import Registry
from bridge.settings import quiet_limits
from bridge.settings.field_types import redact_url
from bridge.topics import ALWAYS, Topic, latest_topics_for, topics_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence

    from bridge.aries.access_token import TokenSource
    from bridge.aries.protocol.dialect import Dialect
    from bridge.aries.subscriptions import Plan
    from bridge.settings import Settings
    from bridge.topics import AnyTopic

log = structlog.get_logger(__name__)

_STOPPING = (signal.SIGTERM, signal.SIGINT)
_OTHER = (signal.SIGUSR1, signal.SIGHUP)


class Bridge:
    """One bridge: its parts, and its life cycle."""

    def __init__(
        self, settings: Settings, redactor: Redactor | None = None, *, chain_clock: Callable[[], float] = time.time
    ) -> None:
        """Create the parts; ``chain_clock`` decides which options have expired."""
        redactor = redactor or Redactor(settings.secrets)
        self.settings = settings
        self.started_us = wall_us()
        self.phase: Literal["starting", "running", "draining"] = "starting"
        #: The bridges of another number of shards that must end before this one opens a session.
        self.waiting_for: Sequence[str] = ()
        #: The member of a group that this process is in group mode.
        self.group: GroupMember | None = None
        self._all = settings.plan()
        self._with_contracts = with_contracts(self._all, {})
        self.symbols_of_all_shards = len(self._all)
        self.plan = self._own_share(self._with_contracts)
        self.plan_applied_us = self.started_us
        self.plan_change = PlanChange(self._apply)
        self.tokens = token_source(settings, redactor.learn)
        self.recorder = open_recorder(settings, redactor.redact)
        self._open_pipeline(redactor)
        self._open_publisher(redactor)
        self._open_client(redactor)
        if settings.is_grouped:
            self._open_group(redactor)
        self.chains = ChainResolver(
            self._all,
            chain_endpoints(settings, self.tokens, redactor.learn),
            last_price=self.ingest.last_prices.get,
            on_plan=self._request_plan,
            clock=chain_clock,
        )
        self._follow_prices()

    def _open_pipeline(self, redactor: Redactor) -> None:
        """Create what turns lines into queued records."""
        settings = self.settings
        self.schemas = schemas.load()
        self._ready = asyncio.Event()
        self._pipeline = assemble(
            self.schemas,
            names=settings.written_topics,
            wanted=wanted_topics(self.plan),
            dialect=settings.dialect,
            partition=partition,
            budget_bytes=settings.bridge_buffer_bytes,
            on_ready=self._ready.set,
            instance=settings.bridge_instance,
            shard=ShardIdentity(
                None if settings.is_grouped else settings.shard, settings.bridge_shards, settings.group
            ),
            market_status=settings.shard == MARKET_STATUS_SHARD and not settings.is_grouped,
            conflate_ms=settings.bridge_conflate_ms,
            is_full=settings.is_full,
            redact=redactor.redact,
            latest=latest_fields(self.plan) if settings.bridge_latest else None,
            on_incident=self.recorder.incident,
            compiled_shape=dialect(settings).update_shape if settings.encoder == "compiled" else None,
        )
        self.accounts = self._pipeline.accounts
        self.buffer = self._pipeline.buffer
        self.control = self._pipeline.control
        self.ingest = self._pipeline.ingest
        self.decimals = self._pipeline.decimals
        self._quiet_limits = quiet_limits.parse(settings.aries_stale_symbol_seconds)
        self.symbol_ages = SymbolAges(
            self.ingest,
            self.control,
            quiet_limits.by_topic(self._quiet_limits, self.plan),
            quiet_limits.shortest(self._quiet_limits),
        )

    def _open_publisher(self, redactor: Redactor) -> None:
        """Create what sends queued records to Kafka."""
        settings = self.settings
        self.latency = LatencyMetrics()
        self.publisher = Publisher(
            self.buffer,
            self.ingest,
            self.latency,
            names=settings.written_topics,
            # A standby opens the topics of all shards, so that it can begin with any at once.
            topics=sorted({*self._topics_of(self._with_contracts if settings.is_grouped else self.plan), *ALWAYS}),
            options=lambda: producer_options(settings, redactor.learn),
            batching=Batching(settings.kafka_linger_ms / 1000, settings.kafka_batch_bytes, settings.kafka_compression),
            delivery_timeout_seconds=settings.kafka_delivery_timeout_seconds,
            ready=self._ready,
            may_send=self._may_send,
        )

    def _may_send(self) -> bool:
        return self.group is None or self.group.ownership.may_publish()

    def _open_group(self, redactor: Redactor) -> None:
        """Create what decides which shards are ours."""
        settings = self.settings
        self.group = GroupMember(
            settings,
            pipeline=self._pipeline,
            publisher=self.publisher,
            client=self.client,
            options=lambda: client_options(settings, settings.bridge_instance, redactor.learn),
            apply_share=self._apply_share,
            configured_plan=lambda: self._all,
        )

    def _open_client(self, redactor: Redactor) -> None:
        """Create what reads from Aries."""
        settings = self.settings
        self.client = AriesClient(
            url=settings.aries_ws_url,
            cafile=settings.aries_ssl_cafile,
            dialect=dialect(settings),
            timing=Timing(
                settings.aries_ping_interval_seconds,
                settings.aries_pong_timeout_seconds,
                settings.aries_stale_after_seconds,
                settings.aries_max_frames_per_second,
            ),
            tokens=self.tokens,
            learn_secret=redactor.learn,
            reconnect_policy=ReconnectPolicy(
                settings.aries_backoff_min_seconds,
                settings.aries_backoff_max_seconds,
                token_can_change=self.tokens.can_change,
            ),
            plan=self.plan,
            ingest=self.ingest,
            control=self.control,
            connection=Connection if isinstance(self.recorder, NoRecorder) else recorded(self.recorder),
            recorder=self.recorder,
        )

    # -- life cycle ---------------------------------------------------------------------------------------------

    async def run(self, stop: asyncio.Event) -> None:
        """Bridge until ``stop`` is set, then drain.

        Raises ``RecordsUndelivered`` if Kafka did not acknowledge everything in time, and whatever is fatal.
        """
        failures: list[Exception] = []
        undelivered = 0
        self._start_recorder()
        try:
            with _collected(failures):
                await self._run(stop, failures)
        finally:
            with _collected(failures):
                undelivered = self.give_up()
            with _collected(failures):
                await self.publisher.close()
            with _collected(failures):
                await self.recorder.close()
        if failures:
            raise failures[0] if len(failures) == 1 else ExceptionGroup("several errors ended the bridge", failures)
        if undelivered:
            raise RecordsUndelivered(undelivered)

    def _start_recorder(self) -> None:
        settings = self.settings
        self.recorder.start()
        if settings.bridge_capture_dir is not None:
            directory = str(settings.bridge_capture_dir)
            log.info(log_events.CAPTURE_STARTED, directory=directory, mode=settings.bridge_capture_mode)

    async def _run(self, stop: asyncio.Event, failures: list[Exception]) -> None:
        """Connect to Kafka, run the client until it ends, and drain; add what ended it to ``failures``."""
        if not await run_until(stop, self._connect()):
            return
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self.publisher.run(), name="publisher")]
            if self.group is not None:
                beside.append(tasks.create_task(self.group.ownership.run(), name="group"))
            if (failure := await self._stream(stop)) is not None:
                failures.append(failure)
            await self._drain()
            for task in beside:
                task.cancel()

    async def _connect(self) -> None:
        """Get schema ids if there is a registry, and connect to Kafka."""
        if self.settings.schema_registry_url is not None:
            self._pipeline.use_prefixes(await self._registry_prefixes(self.settings.schema_registry_url))
        await self.publisher.connect()
        log.info(log_events.KAFKA_CONNECTED, topics=len(self.settings.topics))
        if self.group is None:
            await await_other_shards(self.settings, self._wait_for)
        else:
            await self._check_token()

    async def _check_token(self) -> None:
        """Ask for an access token once: what is wrong with it shows before a standby needs it."""
        try:
            await self.tokens.token(fresh=False)
        except TokenUnavailable as error:
            log.warning(log_events.TOKEN_UNAVAILABLE, reason=str(error))

    def _wait_for(self, instances: Sequence[str]) -> None:
        self.waiting_for = instances

    async def _stream(self, stop: asyncio.Event) -> Exception | None:
        """Run the client until it is stopped; return the error that ended it, if one did."""
        self.phase = "running"
        tasks: list[Awaitable[None]] = [
            self._run_client(),
            self._send_heartbeats(),
            self._release_conflated(),
            self._release_latest(),
            self._check_symbol_ages(),
            self._watch_subscriptions(stop),
            self.chains.run(),
            self.plan_change.run(),
        ]
        failure: Exception | None = None
        try:
            await run_until(stop, run_all(tasks))
        except Exception as error:  # noqa: BLE001 - whatever it is, what was read still drains; then it is raised
            failure = error
        log.info(log_events.DRAINING, pending=self.accounts.pending)
        return failure

    async def _run_client(self) -> None:
        """Run the client, in a group only while shards are ours."""
        if self.group is None:
            await self._connect_to_aries()
        else:
            while True:
                self.client.stand_by()
                await self.group.owning.wait()
                await run_until(self.group.standing_by, self._connect_to_aries())

    async def _connect_to_aries(self) -> None:
        log.info(log_events.CONNECTING_TO_ARIES, url=redact_url(self.settings.aries_ws_url), symbols=len(self.plan))
        await self.client.run()

    async def _drain(self) -> None:
        """Wait for acknowledgements until the deadline, and announce the end if all came."""
        self.phase = "draining"
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.bridge_drain_seconds):
                if self.group is not None:
                    await self.group.stop()
                while self.ingest.release_all(wall_us()):
                    await self.publisher.drained()
                await self._release_latest_once()
                await self.publisher.drained()
                self._give_up_records()
                if self.control.session_id is not None:
                    self.control.complete(self.publisher.state.rebuilds)
                    await self.publisher.drained()

    def _give_up_records(self) -> None:
        """Count the records of blocked topics as undelivered, but keep those of the control topic."""
        self.ingest.give_up()
        self.buffer.give_up(keep=Topic.CONTROL)

    def give_up(self) -> int:
        """Count what is not acknowledged as undelivered, log it, and return how many records that is."""
        self.ingest.give_up()
        own = self.buffer.give_up()
        undelivered = self.accounts.undelivered.total()
        report = log.error if undelivered else log.info
        report(
            log_events.STOPPED,
            undelivered=undelivered,
            control_records_undelivered=own,
            accounts=self.accounts.totals(),
        )
        return undelivered

    # -- beside the client --------------------------------------------------------------------------------------

    async def _send_heartbeats(self) -> None:
        """Announce the accounts at intervals, and warn of changed partition counts."""
        drift: dict[str, int] = {}
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self.ingest.check_dead_letters()
            self.control.heartbeat(self.publisher.state.rebuilds)
            found = self.publisher.partition_drift()
            if found != drift:
                drift = found
                log.warning(log_events.PARTITION_COUNT_CHANGED, topics=drift)

    async def _release_conflated(self) -> None:
        """Queue conflated records at the end of each interval."""
        interval_seconds = self.settings.bridge_conflate_ms / 1000
        while interval_seconds:
            await asyncio.sleep(interval_seconds - wall_us() / 1e6 % interval_seconds)
            while self.ingest.release(wall_us()):  # noqa: ASYNC110 - one turn of the loop between portions
                await asyncio.sleep(0)

    async def _release_latest(self) -> None:
        """Queue the latest states that have changed at each interval."""
        while self.ingest.latest is not None:
            await asyncio.sleep(self.settings.bridge_latest_interval_ms / 1000)
            await self._release_latest_once()

    async def _release_latest_once(self) -> None:
        if self.ingest.latest is not None:
            for _ in self.ingest.latest.release():
                await asyncio.sleep(0)

    async def _check_symbol_ages(self) -> None:
        """Look for symbols without data, at intervals."""
        ages, now = self.symbol_ages, asyncio.get_running_loop().time
        while ages.interval_seconds:
            await asyncio.sleep(ages.interval_seconds)
            session = self.client.session
            if session is None or self.client.state is not ClientState.STREAMING:
                ages.pause(now())
                continue
            market_open = session.keep_alive.in_regular_hours
            for _ in ages.check(now(), wall_us(), market_open=market_open, rejected=session.rejected_symbols):
                await asyncio.sleep(0)

    async def _watch_subscriptions(self, stop: asyncio.Event) -> None:
        """Hand each plan of the subscriptions file to the resolver, which hands it on with the contracts of chains."""
        settings = self.settings
        if settings.aries_subscriptions_file is None:
            return
        listed, events = settings.aries_symbols, settings.aries_events
        async for plan in watch(settings.aries_subscriptions_file, listed, events, current=self._all, stop=stop):
            self._all = plan
            self.chains.replace(plan)
            if self.group is not None:
                self.group.ownership.plan_changed()

    def _request_plan(self, plan: Plan) -> None:
        """Hand a plan of all shards to ``PlanChange``."""
        self._with_contracts = plan
        self.symbols_of_all_shards = len(plan)
        self.plan_change.request(self._own_share(plan))

    def _own_share(self, plan: Plan) -> Plan:
        own = {self.settings.shard} if not self.settings.is_grouped else self.group.shards if self.group else set()
        return with_prices(own_share(plan, own, self.settings.bridge_shards))

    def _apply_share(self) -> bool:
        """Subscribe to the symbols of the shards that are ours now; return whether that changes anything."""
        before, plan = self.plan, self._own_share(self._with_contracts)
        if self.plan_change.plan is not None:
            self.plan_change.request(plan)
        else:
            try:
                self._apply(plan, is_handover=True)
            except BridgeError:  # topics of a newer plan, which are not known yet
                self.plan_change.request(plan)
        return any(ChangedSymbols.between(before, plan))

    def _follow_prices(self) -> None:
        """Keep the prices of the underlyings that chains follow."""
        self.ingest.follow_prices({chain.underlying for chain in self.plan.chains if depends_on_price(chain)})

    def _topics_of(self, plan: Plan) -> frozenset[AnyTopic]:
        """Return the topics of a plan's data."""
        topics = topics_for(plan.events)
        return topics | latest_topics_for(topics) if self.settings.bridge_latest else topics

    def _apply(self, plan: Plan, *, is_handover: bool = False) -> None:
        """Change the subscriptions; raise ``KafkaUnreachable`` or ``TopicConfigurationError`` if topics are missing.

        ``is_handover``: what is added or removed is published by another process of the group before or from now on.
        """
        self.publisher.open_topics(self._topics_of(plan))
        changed = ChangedSymbols.between(self.plan, plan)
        self.plan, self.plan_applied_us = plan, wall_us()
        self.ingest.set_wanted(wanted_topics(plan))
        if self.ingest.latest is not None:
            self.ingest.latest.set_subscribed(latest_fields(plan), self.plan_applied_us, others_publish=is_handover)
        self.symbol_ages.watch(quiet_limits.by_topic(self._quiet_limits, plan))
        self._follow_prices()
        self.client.replan(plan)
        log.info(
            log_events.SUBSCRIPTIONS_CHANGED,
            symbols=len(plan),
            added=len(changed.added),
            removed=len(changed.removed),
            changed=len(changed.changed),
            added_symbols=changed.added[:MAX_LISTED_SYMBOLS],
            removed_symbols=changed.removed[:MAX_LISTED_SYMBOLS],
            changed_symbols=changed.changed[:MAX_LISTED_SYMBOLS],
            fingerprint=plan.fingerprint,
            cause=plan.cause or None,
            warnings=plan.warnings,
        )
        if any(changed) and self.control.has_session and not is_handover:
            self.control.announce(ControlKind.PLAN_CHANGED, reason=_change_text(plan, changed))

    async def _registry_prefixes(self, registry_url: str) -> Mapping[Topic, bytes]:
        """Return the prefixes with the registry's ids, however long that takes; they are requested once."""
        settings = self.settings
        backoff = Backoff(0.5, 15.0)
        async with Registry.of(settings, registry_url) as registry:
            while True:
                try:
                    return await registry.prefixes(
                        settings.topics, self.schemas, auto_register=settings.schema_registry_auto_register
                    )
                except RegistryUnreachable as error:
                    delay = backoff.next_seconds()
                    log.warning(
                        log_events.REGISTRY_UNAVAILABLE,
                        reason=str(error),
                        retry_seconds=round(delay, 2),
                    )
                    await asyncio.sleep(delay)


class Service:
    """A bridge and the HTTP server that shows it."""

    def __init__(
        self, settings: Settings, redactor: Redactor | None = None, *, chain_clock: Callable[[], float] = time.time
    ) -> None:
        redactor = redactor or Redactor(settings.secrets)
        self.bridge = Bridge(settings, redactor, chain_clock=chain_clock)
        self.http = HttpServer(self.bridge, redactor, host=settings.bridge_http_host, port=settings.bridge_http_port)

    async def run(self, stop: asyncio.Event) -> None:
        """Run the bridge until ``stop`` is set, answering over HTTP from before its start until after its drain.

        Raises ``PortUnusable``, and what ``Bridge.run`` raises.
        """
        async with self.http.running():
            await self.bridge.run(stop)


def token_source(settings: Settings, learn_secret: Callable[[str], None] = lambda _: None) -> TokenSource:
    """Return the source of access tokens; ``learn_secret`` is called with each secret that comes with one."""
    if settings.aries_access_token is not None:
        return FixedToken(settings.aries_access_token)
    assert settings.aries_client_id is not None  # validated by the settings
    assert settings.aries_refresh_token is not None
    return RefreshingToken(
        url=settings.aries_token_url,
        client_id=settings.aries_client_id,
        refresh_token=settings.aries_refresh_token,
        client_secret=settings.aries_client_secret,
        cafile=settings.aries_ssl_cafile,
        learn_secret=learn_secret,
    )


def chain_endpoints(
    settings: Settings, tokens: TokenSource, learn_secret: Callable[[str], None] = lambda _: None
) -> ChainEndpoints:
    """Return the REST endpoints for option chains."""
    return ChainEndpoints(settings.api_url, tokens, learn_secret=learn_secret, cafile=settings.aries_ssl_cafile)


def open_recorder(settings: Settings, redact: Callable[[str], str]) -> CaptureRecorder | NoRecorder:
    """Return the recorder of what is received; one that does nothing without a directory for captures."""
    if settings.bridge_capture_dir is None:
        return NoRecorder()
    instance = settings.bridge_instance
    directory = CaptureDirectory(settings.bridge_capture_dir, settings.bridge_capture_max_bytes, instance)
    about = {"dialect": settings.dialect, "instance": instance, "bridge_version": package.__version__}
    writer = CaptureWriter(directory, about, redact)
    everything = settings.bridge_capture_mode == "all"
    return CaptureRecorder(writer, everything=everything, flight_bytes=settings.bridge_flight_recorder_bytes)


def dialect(settings: Settings) -> Dialect:
    """Return the dialect to speak."""
    if settings.dialect == "envelope":
        return Envelope()
    api_key = settings.aries_api_key
    return Action(api_key.reveal if api_key is not None else None)


def wanted_topics(plan: Plan) -> dict[str, frozenset[Topic]]:
    """Return the topics that each symbol of a plan is published to."""
    return {symbol: topics_for(one.events) if one.published else frozenset() for symbol, one in plan.items()}


def _change_text(plan: Plan, changed: ChangedSymbols) -> str:
    """Return what has changed, and why if option chains are the reason."""
    cause = f" ({plan.cause})" if plan.cause else ""
    return f"{len(plan)} symbols: {changed}{cause}"


def latest_fields(plan: Plan) -> dict[str, dict[Topic, frozenset[str]]]:
    """Return the fields of the feed that make a latest state complete, by symbol and topic."""
    events = {EventType.QUOTES: Topic.QUOTES, EventType.TRADES: Topic.TRADES}
    return {
        symbol: {
            topic: frozenset(one.fields.get(event) or FIELDS[event])
            for event, topic in events.items()
            if event in one.events
        }
        for symbol, one in plan.items()
    }


def producer_options(settings: Settings, learn_secret: Callable[[str], None]) -> dict[str, object]:
    """Return the options of a new producer; secrets and certificates are read again."""
    return {
        "metadata_max_age_ms": 60_000,
        **client_options(settings, settings.bridge_instance, learn_secret),
    }


@contextmanager
def signals(stop: asyncio.Event, bridge: Bridge) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the bridge, a second one end the process, and SIGUSR1 write the flight recorder."""
    loop = asyncio.get_running_loop()

    def handle(name: str) -> None:
        if not stop.is_set():
            log.info(log_events.SIGNAL_RECEIVED, signal=name)
            stop.set()
            return
        log.warning(log_events.SECOND_SIGNAL_RECEIVED, signal=name)
        code = RecordsUndelivered.exit_code if bridge.give_up() else 0
        logging.shutdown()  # writes what is still queued; `os._exit` runs no exit handler
        os._exit(code)

    for number in _STOPPING:
        loop.add_signal_handler(number, handle, number.name)
    loop.add_signal_handler(signal.SIGUSR1, bridge.recorder.incident, REQUESTED)
    if bridge.settings.aries_subscriptions_file is not None or bridge.plan.chains:
        loop.add_signal_handler(signal.SIGHUP, bridge.chains.resolve_now, signal.SIGHUP.name)
    try:
        yield
    finally:
        for number in (*_STOPPING, *_OTHER):
            loop.remove_signal_handler(number)


async def serve(settings: Settings, redactor: Redactor) -> None:
    """Run a bridge until a signal arrives; ``redactor`` keeps secrets out of everything it writes."""
    service = Service(settings, redactor)
    stop = asyncio.Event()
    try:
        with signals(stop, service.bridge):
            await service.run(stop)
    finally:
        for number in (*_STOPPING, *_OTHER):  # the exit code is decided: a late signal must not change it
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _collected(failures: list[Exception]) -> Iterator[None]:
    """Add an error of the block to those before it, instead of raising it."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised once everything is closed
        failures.append(error)


async def run_until(stop: asyncio.Event, work: Awaitable[object]) -> bool:
    """Run the work until it is done or ``stop`` is set; return whether it was done."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return True
        return False
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.wait((working, stopping))
        if not working.cancelled() and (failure := working.exception()) is not None:
            raise failure  # also if it came too late to be what ended the wait


async def run_all(works: Collection[Awaitable[None]]) -> None:
    """Run all until each is done, or one fails: then raise its error, or a group of them if others failed, too."""
    failed: BaseExceptionGroup | None = None
    try:
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(_awaited(work))
    except BaseExceptionGroup as group:
        failed = group
    if failed is not None:  # raised here, where it keeps its own cause and context
        raise failed.exceptions[0] if len(failed.exceptions) == 1 else failed


async def _awaited(work: Awaitable[None]) -> None:
    await work
