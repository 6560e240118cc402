"""One run of ``dev``: start the environment and the bridge, show them, drain, and print the accounts."""

from __future__ import annotations

import asyncio
import math
import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from bridge import log_events
from bridge.app import Service, signals
from bridge.clock import wall_us
from bridge.dev.accounting_summary import accounting_summary
from bridge.dev.dashboard import Dashboard, open_view
from bridge.dev.environment import dev_environment
from bridge.dev.topic_reader import TopicReader
from bridge.observability import log_config
from bridge.settings.warnings import warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rich.console import Group

    from bridge.dev.environment import Environment, Options

log = structlog.get_logger(__name__)

UPDATE_SECONDS: Final = 1.0
#: How long the bridge may take to receive what the simulator has sent, before it is stopped.
ARRIVAL_TIMEOUT_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.01
#: The last update is compared with the accounts, so it may take longer.
_LAST_UPDATE_TIMEOUT_SECONDS: Final = 10.0


async def run(options: Options, *, seconds: float | None, plain: bool) -> None:
    """Run the bridge until a signal comes or the time is over, and print its accounts.

    Raises what the environment and the bridge raise; OSError if standard output is closed, after draining.
    """
    async with dev_environment(options, os.environ) as environment:
        with ExitStack() as view:
            # Opened first: it redirects standard error, to which the logs are then configured to write.
            show = view.enter_context(open_view(plain=plain))
            settings = environment.settings
            redactor = log_config.configure(settings.bridge_log_level, settings.bridge_log_format, settings.secrets)
            for warning in (*environment.notes, *warnings(settings, environment.environ)):
                log.warning(log_events.SETTINGS_WARNING, warning=warning)
            service = Service(settings, redactor, chain_clock=environment.chain_clock)
            async with TopicReader(service.bridge, since_ms=wall_us() // 1000) as reader:
                dashboard = Dashboard(environment, service, reader, redactor.redact)
                runner = Runner(environment, service, reader, dashboard)
                await runner.run(show, seconds, close_view=view.close)


class Runner:
    """The life of a bridge in its dev environment."""

    def __init__(self, environment: Environment, service: Service, reader: TopicReader, dashboard: Dashboard) -> None:
        self._environment = environment
        self._service = service
        self._bridge = service.bridge
        self._reader = reader
        self._dashboard = dashboard
        self._started = asyncio.get_running_loop().time()

    async def run(
        self, show: Callable[[Group], None], seconds: float | None, *, close_view: Callable[[], None]
    ) -> None:
        """Run the bridge, show it until it is to stop, drain it, and print its accounts."""
        asked, stop = asyncio.Event(), asyncio.Event()
        with signals(asked, self._bridge):
            bridge = asyncio.create_task(self._service.run(stop), name="bridge")
            try:
                await self._show(show, (bridge, asyncio.create_task(asked.wait(), name="signal")), seconds)
                # A second signal, which ends the process at once, must find the terminal as it was.
                close_view()
                await self._receive_rest()
            finally:
                stop.set()
                await asyncio.wait([bridge])
        if bridge.exception() is None or self._bridge.accounts.lines_received:
            await self._print_summary()
        bridge.result()

    def _seconds(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    async def _show(
        self, show: Callable[[Group], None], ends: Collection[asyncio.Task[Any]], seconds: float | None
    ) -> None:
        """Show the state each second until one of the tasks ends, or the time is over."""
        limit_seconds = math.inf if seconds is None else seconds
        while not any(task.done() for task in ends) and (left := limit_seconds - self._seconds()) > 0:
            await self._reader.update()
            await asyncio.to_thread(show, self._dashboard.render(self._seconds()))  # a terminal may block
            await asyncio.wait(ends, timeout=min(left, UPDATE_SECONDS), return_when=asyncio.FIRST_COMPLETED)

    async def _receive_rest(self) -> None:
        """Stop the simulated market and let the bridge receive all its lines, so that counts can be compared."""
        simulator = self._environment.simulator
        if simulator is None:
            return
        simulator.rate = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(ARRIVAL_TIMEOUT_SECONDS):
                await simulator.drained()
                while self._bridge.accounts.lines_received < simulator.sent.lines:  # noqa: ASYNC110 - no event for it
                    await asyncio.sleep(_POLL_SECONDS)

    async def _print_summary(self) -> None:
        seconds = self._seconds()
        await self._reader.update(_LAST_UPDATE_TIMEOUT_SECONDS)
        simulator = self._environment.simulator
        lines = accounting_summary(
            self._bridge.accounts,
            self._bridge.settings.topics,
            seconds=seconds,
            sent_lines=None if simulator is None else simulator.sent.lines,
            # Other applications may write to a configured Kafka, too.
            read_back=self._reader.counts if self._environment.broker else {},
        )
        print(*lines, sep="\n", flush=True)  # noqa: T201 - the output of the command
