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

from bridge import intervals, log_events
from bridge.aries.client import AriesClient
from bridge.aries.connection import Connection
from bridge.aries.protocol.keep_alive import Timing
from bridge.aries.reconnect import ReconnectPolicy
from bridge.aries.recorded_connection import recorded
from bridge.aries.subscriptions.shards import MARKET_STATUS_SHARD
from bridge.backoff import Backoff
from bridge.capture.recorder import REQUESTED, NoRecorder
from bridge.clock import wall_us
from bridge.errors import RecordsUndelivered, RegistryUnreachable, TokenUnavailable
from bridge.group_member import GroupMember
from bridge.kafka.batch_sender import Batching
from bridge.kafka.client_options import client_options
from bridge.kafka.partitioner import partition
from bridge.kafka.publisher import Publisher
from bridge.kafka.shard_handover import await_other_shards
from bridge.observability.http_server import HttpServer
from bridge.observability.latency import LatencyMetrics
from bridge.observability.symbol_ages import SymbolAges
from bridge.parts import chain_endpoints, dialect, open_recorder, producer_options, token_source
from bridge.pipeline.assembly import assemble
from bridge.pipeline.control_events import ShardIdentity
from bridge.plans import Plans, latest_fields, share_at_start, topics_of, wanted_topics
from bridge.secrets.redaction import Redactor
from bridge.serialization import schemas
from bridge.serialization.schema_registry import Registry
from bridge.settings import quiet_limits
from bridge.settings.field_types import redact_url
from bridge.tasks import awaited, run_all, run_until
from bridge.topics import ALWAYS, Topic

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from bridge.aries.subscriptions import Plan
    from bridge.settings import Settings

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
        self._waiting_for: Sequence[str] = ()
        #: The member of a group that this process is in group mode.
        self.group: GroupMember | None = None
        self.tokens = token_source(settings, redactor.learn)
        self.recorder = open_recorder(settings, redactor.redact)
        configured = settings.plan()
        own = share_at_start(settings, configured)
        self._open_pipeline(redactor, own)
        # A standby opens the topics of all shards, so that it can begin with any at once.
        self._open_publisher(redactor, configured if settings.is_grouped else own)
        self._open_client(redactor, own)
        self.plans = Plans(
            settings,
            configured,
            own,
            self.started_us,
            pipeline=self._pipeline,
            publisher=self.publisher,
            client=self.client,
            symbol_ages=self.symbol_ages,
            endpoints=chain_endpoints(settings, self.tokens, redactor.learn),
            clock=chain_clock,
            on_configured=self._tell_group,
        )
        if settings.is_grouped:
            self._open_group(redactor)

    def _open_pipeline(self, redactor: Redactor, plan: Plan) -> None:
        """Create what turns lines into queued records."""
        settings = self.settings
        self.schemas = schemas.load()
        self._pipeline = assemble(
            self.schemas,
            names=settings.written_topics,
            wanted=wanted_topics(plan),
            dialect=settings.dialect,
            partition=partition,
            budget_bytes=settings.bridge_buffer_bytes,
            instance=settings.bridge_instance,
            shard=ShardIdentity(
                None if settings.is_grouped else settings.shard, settings.bridge_shards, settings.group
            ),
            market_status=settings.shard == MARKET_STATUS_SHARD and not settings.is_grouped,
            conflate_ms=settings.bridge_conflate_ms,
            is_full=settings.is_full,
            redact=redactor.redact,
            latest=latest_fields(plan) if settings.bridge_latest else None,
            on_incident=self.recorder.incident,
            compiled_shape=dialect(settings).update_shape if settings.encoder == "compiled" else None,
        )
        self.accounts = self._pipeline.accounts
        self.buffer = self._pipeline.buffer
        self.control = self._pipeline.control
        self.ingest = self._pipeline.ingest
        self.decimals = self._pipeline.decimals
        limits = quiet_limits.parse(settings.aries_stale_symbol_seconds)
        self.symbol_ages = SymbolAges(
            self.ingest, self.control, quiet_limits.by_topic(limits, plan), quiet_limits.shortest(limits)
        )

    def _open_publisher(self, redactor: Redactor, plan: Plan) -> None:
        """Create what sends queued records to Kafka."""
        settings = self.settings
        self.latency = LatencyMetrics()
        self.publisher = Publisher(
            self.buffer,
            self.ingest,
            self.latency,
            names=settings.written_topics,
            topics=sorted({*topics_of(plan, settings), *ALWAYS}),
            options=lambda: producer_options(settings, redactor.learn),
            batching=Batching(settings.kafka_linger_ms / 1000, settings.kafka_batch_bytes, settings.kafka_compression),
            delivery_timeout_seconds=settings.kafka_delivery_timeout_seconds,
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
            plans=self.plans,
        )

    def _tell_group(self) -> None:
        """Tell the other members of the group that our plan is another one."""
        if self.group is not None:
            self.group.ownership.plan_changed()

    def _open_client(self, redactor: Redactor, plan: Plan) -> None:
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
            plan=plan,
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
            beside = [tasks.create_task(awaited(self.publisher.run()), name="publisher")]
            if self.group is not None:
                beside.append(tasks.create_task(awaited(self.group.ownership.run()), name="group"))
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
            if await self.publisher.has_topic(self.settings.shards_topic):
                # A bridge beside no group starts faster without it.
                from bridge.group.end_of_group import await_end_of_group  # noqa: PLC0415 - see above

                await await_end_of_group(self.settings, self._wait_for)
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
        self._waiting_for = instances

    @property
    def waiting_for(self) -> Sequence[str]:
        """Return the other bridges of the same symbols that must end before this one opens a session."""
        return self._waiting_for if self.group is None else self.group.ownership.waiting_for

    async def _stream(self, stop: asyncio.Event) -> Exception | None:
        """Run the client until it is stopped; return the error that ended it, if one did."""
        settings = self.settings
        self.phase = "running"
        tasks: list[Awaitable[None]] = [
            self._run_client(),
            intervals.send_heartbeats(self.control, self.ingest, self.publisher),
            intervals.release_conflated(self.ingest, settings.bridge_conflate_ms / 1000),
            intervals.release_latest(self.ingest, settings.bridge_latest_interval_ms / 1000),
            intervals.check_symbol_ages(self.symbol_ages, self.client),
            self.plans.run(stop),
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
        log.info(
            log_events.CONNECTING_TO_ARIES, url=redact_url(self.settings.aries_ws_url), symbols=len(self.plans.own)
        )
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
                await intervals.release_changed(self.ingest)
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
    if bridge.settings.aries_subscriptions_file is not None or bridge.plans.own.chains:
        loop.add_signal_handler(signal.SIGHUP, bridge.plans.chains.resolve_now, signal.SIGHUP.name)
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
