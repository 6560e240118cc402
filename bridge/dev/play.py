"""One run of ``dev``: set the stage, let the bridge play, show it, and tell what came of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, Protocol, TextIO, cast

import structlog
from rich.console import Console

from bridge.app import Bridge, signals
from bridge.clock import wall_us
from bridge.dev.live import LiveView
from bridge.dev.log_lines import LogLines
from bridge.dev.plain import PlainView
from bridge.dev.readback import ReadBack
from bridge.dev.snapshot import Photographer
from bridge.dev.stage import stage
from bridge.dev.summary import summary
from bridge.errors import BridgeError
from bridge.observability import log_config as logs
from bridge.observability import log_events
from bridge.serialization.deserializer import Deserializer
from bridge.serialization.schema_registry import Registry
from bridge.settings.warnings import warnings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bridge.dev.snapshot import Snapshot
    from bridge.dev.stage import Stage, Wishes
    from bridge.secrets.redaction import Redactor
    from bridge.simulator.server import Simulator

log = structlog.get_logger(__name__)

#: How long lines that the simulator has sent may take to arrive before the bridge is stopped.
ARRIVAL_SECONDS: Final = 0.5
_LOOK_AGAIN_SECONDS: Final = 0.01


class View(Protocol):
    """Show snapshots while its context is open; ``show`` runs in a thread and may block, as terminals do."""

    @property
    def interval_seconds(self) -> float: ...
    def __enter__(self) -> object: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, snapshot: Snapshot) -> None: ...


async def play(wishes: Wishes, *, seconds: float | None, plain: bool) -> None:
    """Run the bridge until a signal comes or the time is over, and print a summary.

    Raises what the bridge and the start of the stage raise; OSError where standard output is gone, when all has
    drained.
    """
    log_lines = LogLines(sys.stderr)
    with redirect_stderr(cast("TextIO", log_lines)), _interruptible():
        async with stage(wishes, os.environ) as surroundings:
            settings = surroundings.settings
            redactor = logs.configure(settings.bridge_log_level, settings.bridge_log_format, settings.secrets)
            for warning in (*surroundings.notes, *warnings(settings, surroundings.environ)):
                log.warning(log_events.SETTINGS_WARNING, warning=warning)
            await _run(surroundings, redactor, _view(log_lines, plain=plain), seconds)


def _view(log_lines: LogLines, *, plain: bool) -> View:
    """Return the live view for a terminal that can be drawn on, else plain lines."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an ellipsis that an ASCII terminal cannot show must not end the run
    console = Console()
    if plain or not sys.stdout.isatty() or console.is_dumb_terminal or not os.environ.get("TERM"):
        return PlainView()
    return LiveView(console, log_lines)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a signal that comes before the bridge is there end the start; the bridge's own handlers replace these."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _run(surroundings: Stage, redactor: Redactor, view: View, seconds: float | None) -> None:
    bridge = Bridge(surroundings.settings, redactor)
    started_ms = wall_us() // 1000
    async with _readback(bridge, None if surroundings.broker else started_ms) as readback:
        photographer = Photographer(surroundings, bridge, readback, redact=redactor.redacted, limit_seconds=seconds)
        performance = Performance(bridge, surroundings.simulator, view, photographer)
        failure = await performance.run(readback, seconds)
        await readback.try_look()
        if failure is None or bridge.accounts.lines_received:
            print(*summary(photographer.take(), bridge.accounts), sep="\n", flush=True)  # noqa: T201 - it is the output
        if failure is not None:
            raise failure


@asynccontextmanager
async def _readback(bridge: Bridge, since_ms: int | None) -> AsyncIterator[ReadBack]:
    async with _decoder(bridge) as decoder:
        readback = ReadBack(bridge, decoder, since_ms=since_ms)
        try:
            yield readback
        finally:
            await readback.close()


@asynccontextmanager
async def _decoder(bridge: Bridge) -> AsyncIterator[Deserializer]:
    settings = bridge.settings
    if settings.schema_registry_url is None:
        yield Deserializer(bridge.schemas)
        return
    async with Registry.of(settings, settings.schema_registry_url) as registry:
        yield Deserializer(bridge.schemas, registry)


class Performance:
    """Run the bridge in view of somebody, from its start to its end."""

    def __init__(self, bridge: Bridge, simulator: Simulator | None, view: View, photographer: Photographer) -> None:
        self._bridge = bridge
        self._simulator = simulator
        self._view = view
        self._photographer = photographer
        #: A signal came, or nobody watches any more.
        self._asked = asyncio.Event()
        #: The view is to close: before the bridge stops, as a second signal ends the process wherever it is.
        self._curtain = asyncio.Event()
        self._stop = asyncio.Event()
        self._broken: OSError | None = None

    async def run(self, readback: ReadBack, seconds: float | None) -> BridgeError | None:
        """Return what ended the bridge where that was no wish; raise OSError where the view could not be shown."""
        failure: BridgeError | None = None
        with signals(self._asked, self._bridge):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._show(), name="dev view")
                tasks.create_task(readback.run(self._curtain), name="dev consumer")
                ending = tasks.create_task(self._end(seconds), name="dev end")
                try:
                    await self._bridge.run(self._stop)
                except BridgeError as error:
                    failure = error
                ending.cancel()
                self._curtain.set()
        if self._broken is not None:
            raise self._broken
        return failure

    async def _show(self) -> None:
        try:
            with self._view:
                while not self._curtain.is_set():
                    await asyncio.to_thread(self._view.show, self._photographer.take())
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._view.interval_seconds):
                            await self._curtain.wait()
        except OSError as error:  # `| head` has seen enough, or the terminal is closed
            self._broken = error
            self._asked.set()

    async def _end(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()
        self._curtain.set()
        if self._simulator is not None:
            await self._let_arrive(self._simulator)
        self._stop.set()

    async def _let_arrive(self, simulator: Simulator) -> None:
        """Hold the market, so that what was sent can be compared with what was read."""
        simulator.rate = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(ARRIVAL_SECONDS):
                await simulator.drained()
                while self._bridge.accounts.lines_received < simulator.sent.lines:  # noqa: ASYNC110 - it wakes nobody
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
