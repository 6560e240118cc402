"""The dev environment: Aries and Kafka as configured, or a simulator and an embedded broker in their place."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

import structlog

from bridge import log_events, settings
from bridge.aries.chains.times import EXCHANGE_ZONE
from bridge.kafka.embedded_broker import EmbeddedBroker
from bridge.settings import Settings
from bridge.simulator.fault_script import read_script
from bridge.simulator.server import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from bridge.simulator.server_dialect import DialectChoice
    from bridge.simulator.shared_state import ServerEvent

log = structlog.get_logger(__name__)

SYMBOLS: Final = "AAPL,MSFT,NVDA,SPX"
OPTION: Final = "AAPL280121C00200000"
#: With it, each week's contracts are replaced by those of two weeks later.
CHAIN: Final = '[{"underlying":"AAPL","expires_within_days":13,"strikes":{"around":5},"include_underlying":true}]'
EXPIRY_AFTER_SECONDS: Final = 10.0
_FRIDAY: Final = 4
EVENTS_PER_SECOND: Final = 200.0
#: Lines queued in the simulator share a frame, so that a high rate does not cost both sides one frame per line.
LINES_PER_FRAME: Final = 20
#: The token that the simulator accepts, and that a script of faults may name. A user's own token is not sent to it.
TOKEN: Final = "dev-token"  # noqa: S105 - valid for the simulator only

_CREDENTIALS = (
    "ARIES_ACCESS_TOKEN",
    "ARIES_REFRESH_TOKEN",
    "ARIES_CLIENT_ID",
    "ARIES_CLIENT_SECRET",
    "ARIES_API_KEY",
)
_KAFKA_SECURITY = ("KAFKA_SECURITY_", "KAFKA_SASL_", "KAFKA_SSL_", "KAFKA_OAUTH_")
_SYMBOL_SETTINGS = ("ARIES_SYMBOLS", "ARIES_SUBSCRIPTIONS", "ARIES_SUBSCRIPTIONS_FILE")
#: `dev` shows the state itself, and its status page is for this machine only, on any free port.
_DEFAULTS = {
    "BRIDGE_LOG_LEVEL": "WARNING",
    "BRIDGE_LOG_FORMAT": "console",
    "BRIDGE_HTTP_HOST": "127.0.0.1",
    "BRIDGE_HTTP_PORT": "0",
}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line; None if not given."""

    symbols: str | None = None
    dialect: DialectChoice | None = None
    rate: float | None = None
    seed: int | None = None
    script: Path | None = None
    expiry: bool = False


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings to run the bridge with, and what was started for it (None: it was configured)."""

    environ: Mapping[str, str]
    settings: Settings
    simulator: Simulator | None
    broker: EmbeddedBroker | None
    #: A sentence about each setting or option that has no effect.
    notes: tuple[str, ...]
    #: Decides which options have expired.
    chain_clock: Callable[[], float] = time.time


@asynccontextmanager
async def dev_environment(options: Options, environ: Mapping[str, str]) -> AsyncIterator[Environment]:
    """Start whatever is not configured, and stop it at the end.

    Raises SettingsError, and EmbeddedBrokerError if a broker is needed and cannot be started.
    """
    async with AsyncExitStack() as started:
        simulator, broker = None, None
        chain_clock = clock_before_expiry(time.time()) if options.expiry else time.time
        given = {"ARIES_SYMBOLS": options.symbols, "ARIES_DIALECT": options.dialect}
        effective = {**environ, **{name: value for name, value in given.items() if value is not None}}
        effective |= {name: value for name, value in _DEFAULTS.items() if not _is_set(environ, name)}
        if not _is_set(environ, "ARIES_WS_URL"):
            simulator = await started.enter_async_context(_simulator(options, chain_clock))
            if options.expiry and not any(_is_set(effective, name) for name in _SYMBOL_SETTINGS):
                effective["ARIES_SUBSCRIPTIONS"] = CHAIN
            effective |= _simulator_settings(simulator, effective)
        elif not any(_is_set(effective, name) for name in _SYMBOL_SETTINGS):
            effective["ARIES_SYMBOLS"] = SYMBOLS
        if not _is_set(environ, "KAFKA_BOOTSTRAP_SERVERS"):
            broker = started.enter_context(EmbeddedBroker())
            effective |= dict.fromkeys(_names(environ, _KAFKA_SECURITY), "")  # the embedded broker has no security
            effective["KAFKA_BOOTSTRAP_SERVERS"] = broker.bootstrap_servers
        loaded = settings.load(effective)
        if broker is not None:
            broker.create_topics(loaded.used_topics)
        yield Environment(effective, loaded, simulator, broker, _notes(options, environ), chain_clock)


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name, "").strip())


def _names(environ: Mapping[str, str], prefixes: tuple[str, ...]) -> list[str]:
    return [name for name in environ if name.startswith(prefixes) and _is_set(environ, name)]


def clock_before_expiry(now: float) -> Callable[[], float]:
    """Return a clock that is ``EXPIRY_AFTER_SECONDS`` before the end of the next Friday in New York."""
    exchange = ZoneInfo(EXCHANGE_ZONE)
    day = datetime.fromtimestamp(now, exchange)
    saturday = day.date() + timedelta(days=(_FRIDAY - day.weekday()) % 7 + 1)
    midnight = datetime.combine(saturday, datetime.min.time(), exchange).timestamp()
    ahead_seconds = midnight - EXPIRY_AFTER_SECONDS - now
    return lambda: time.time() + ahead_seconds


def _simulator(options: Options, chain_clock: Callable[[], float]) -> Simulator:
    return Simulator(
        chain_clock=lambda: round(chain_clock() * 1000),
        rate=EVENTS_PER_SECOND if options.rate is None else options.rate,
        seed=options.seed or 0,
        lines_per_frame=LINES_PER_FRAME,
        tokens=[TOKEN],
        script=read_script(options.script) if options.script else (),
        on_event=_log_fault,
    )


def _simulator_settings(simulator: Simulator, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings for the simulator, which replace all credentials of the user."""
    dialect = "action" if environ.get("ARIES_DIALECT", "").strip().lower() == "action" else "envelope"
    changes = dict.fromkeys(_names(environ, _CREDENTIALS), "")
    changes |= {"ARIES_WS_URL": simulator.url_for(dialect), "ARIES_API_URL": "", "ARIES_ACCESS_TOKEN": TOKEN}
    if not any(_is_set(environ, name) for name in _SYMBOL_SETTINGS):
        changes["ARIES_SYMBOLS"] = f"{SYMBOLS},{OPTION}"
    if not _is_set(environ, "ARIES_EVENTS"):
        changes["ARIES_EVENTS"] = "quotes,trades,l2,timesales,greeks"
    return changes


def _log_fault(event: ServerEvent) -> None:
    if event.name == "fault":
        log.warning(log_events.SIMULATOR_FAULT, fault=event.details)


def _notes(options: Options, environ: Mapping[str, str]) -> tuple[str, ...]:
    unused: dict[str, list[str]] = {}
    if _is_set(environ, "ARIES_WS_URL"):
        given = [f"--{name}" for name in ("rate", "seed", "script") if getattr(options, name) is not None]
        given += ["--expiry"] if options.expiry else []
        unused["no effect, as ARIES_WS_URL is set and no simulator runs."] = given
    else:
        real = Settings.model_fields["aries_ws_url"].default
        reason = f"not used, as ARIES_WS_URL is not set; for the real feed set it to {real}."
        unused[reason] = _names(environ, _CREDENTIALS)
    if not _is_set(environ, "KAFKA_BOOTSTRAP_SERVERS"):
        unused["not used, as KAFKA_BOOTSTRAP_SERVERS is not set."] = _names(environ, _KAFKA_SECURITY)
    return tuple(f"{', '.join(names)}: {reason}" for reason, names in unused.items() if names)
