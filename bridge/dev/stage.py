"""What the bridge is set between: the real Aries and Kafka where they are configured, made-up ones where not."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from bridge import settings
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.observability import log_events
from bridge.settings import Settings
from bridge.simulator.fault_script import read_script
from bridge.simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from bridge.simulator.server_dialect import DialectChoice
    from bridge.simulator.shared_state import ServerEvent

log = structlog.get_logger(__name__)

SYMBOLS: Final = "AAPL,MSFT,NVDA,SPX"
OPTION: Final = "AAPL280121C00200000"
RATE: Final = 200.0
#: What waits at the simulator leaves together, so that a high rate costs neither side a frame a line.
LINES_PER_FRAME: Final = 20
#: What the simulator takes; a script of faults can name it. A token of the user's own goes nowhere near it.
TOKEN: Final = "dev-token"  # noqa: S105 - it opens nothing but the simulator

_CREDENTIALS = (
    "ARIES_ACCESS_TOKEN",
    "ARIES_REFRESH_TOKEN",
    "ARIES_CLIENT_ID",
    "ARIES_CLIENT_SECRET",
    "ARIES_API_KEY",
)
_KAFKA_SECURITY = ("KAFKA_SECURITY_", "KAFKA_SASL_", "KAFKA_SSL_", "KAFKA_OAUTH_")
_SYMBOL_SETTINGS = ("ARIES_SYMBOLS", "ARIES_SUBSCRIPTIONS", "ARIES_SUBSCRIPTIONS_FILE")
#: In `dev` the view tells what goes well, and the status page is for this machine, on a port that is free.
_DEFAULTS = {
    "BRIDGE_LOG_LEVEL": "WARNING",
    "BRIDGE_LOG_FORMAT": "console",
    "BRIDGE_HTTP_HOST": "127.0.0.1",
    "BRIDGE_HTTP_PORT": "0",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """Say what the command line asks for; None where it does not."""

    symbols: str | None = None
    dialect: DialectChoice | None = None
    rate: float | None = None
    seed: int | None = None
    script: Path | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Hold the settings the bridge runs with, and what was made up for it (None: it was configured)."""

    environ: Mapping[str, str]
    settings: Settings
    simulator: Simulator | None
    broker: EmbeddedBroker | None
    notes: tuple[str, ...]


@asynccontextmanager
async def stage(wishes: Wishes, environ: Mapping[str, str]) -> AsyncIterator[Stage]:
    """Start what is not configured, and stop it at the end.

    Raises SettingsError, and EmbeddedBrokerError where there is no embedded broker to be had.
    """
    async with AsyncExitStack() as opened:
        simulator, broker = None, None
        changes = {**_unset(environ), **_wished(wishes)}
        if not _given(environ, "ARIES_WS_URL"):
            simulator = await opened.enter_async_context(_simulator(wishes))
            changes |= _simulated(simulator, wishes, environ)
        elif not any(_given(environ, name) for name in _SYMBOL_SETTINGS):
            changes.setdefault("ARIES_SYMBOLS", SYMBOLS)
        if not _given(environ, "KAFKA_BOOTSTRAP_SERVERS"):
            broker = opened.enter_context(EmbeddedBroker())
            changes |= _embedded(broker, environ)
        loaded = settings.load({**environ, **changes})
        if broker is not None:
            broker.create_topics(loaded.topics.values())
        yield Stage({**environ, **changes}, loaded, simulator, broker, tuple(_notes(wishes, environ)))


def _given(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name, "").strip())


def _unset(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in _DEFAULTS.items() if not _given(environ, name)}


def _wished(wishes: Wishes) -> dict[str, str]:
    named = {"ARIES_SYMBOLS": wishes.symbols, "ARIES_DIALECT": wishes.dialect}
    return {name: value for name, value in named.items() if value is not None}


def _simulator(wishes: Wishes) -> Simulator:
    return Simulator(
        rate=RATE if wishes.rate is None else wishes.rate,
        seed=wishes.seed or 0,
        lines_per_frame=LINES_PER_FRAME,
        tokens=[TOKEN],
        script=read_script(wishes.script) if wishes.script else (),
        on_event=_tell,
    )


def _simulated(simulator: Simulator, wishes: Wishes, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that lead to the simulator, and none of the user's credentials with them."""
    changes = {name: "" for name in environ if name.startswith(_CREDENTIALS)}
    dialect = wishes.dialect or environ.get("ARIES_DIALECT", "").strip().lower()
    changes["ARIES_WS_URL"] = simulator.url_for("action" if dialect == "action" else "envelope")
    changes["ARIES_ACCESS_TOKEN"] = TOKEN
    if wishes.symbols is None and not any(_given(environ, name) for name in _SYMBOL_SETTINGS):
        changes["ARIES_SYMBOLS"] = f"{SYMBOLS},{OPTION}"
    if not _given(environ, "ARIES_EVENTS"):
        changes["ARIES_EVENTS"] = "quotes,trades,l2,timesales,greeks"
    return changes


def _embedded(broker: EmbeddedBroker, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that lead to the embedded broker, which knows no security."""
    changes = {name: "" for name in environ if name.startswith(_KAFKA_SECURITY)}
    return {**changes, "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers}


def _tell(event: ServerEvent) -> None:
    if event.name == "fault":
        log.warning(log_events.SIMULATOR_FAULT, fault=event.details)


def _notes(wishes: Wishes, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence about each thing that is set, or asked for, and has no effect."""
    if _given(environ, "ARIES_WS_URL"):
        unused = [name for name in ("rate", "seed", "script") if getattr(wishes, name) is not None]
        if unused:
            yield f"--{', --'.join(unused)}: no effect, as ARIES_WS_URL is set and no simulator runs."
    elif unused := [name for name in environ if name.startswith(_CREDENTIALS) and _given(environ, name)]:
        real = Settings.model_fields["aries_ws_url"].default
        yield f"{', '.join(unused)}: not used, as ARIES_WS_URL is not set; for the real feed set it to {real}."
    if not _given(environ, "KAFKA_BOOTSTRAP_SERVERS"):
        unused = [name for name in environ if name.startswith(_KAFKA_SECURITY) and _given(environ, name)]
        if unused:
            yield f"{', '.join(unused)}: not used, as KAFKA_BOOTSTRAP_SERVERS is not set."
