"""Every check in one go: the settings, and then the three sides at the same time."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from bridge.check import aries, environment, kafka, registry
from bridge.check.report import Report, in_turn
from bridge.errors import BridgeError
from bridge.topics import ALWAYS, Topic, topics_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping

    from bridge.check.report import Finding
    from bridge.settings import Settings

#: How long one check waits for an answer.
PATIENCE_SECONDS = 10.0


async def preflight(
    environ: Mapping[str, str],
    tell: Callable[[Finding], None],
    learn: Callable[[str], None],
    *,
    session: bool,
    timeout_seconds: float,
    patience_seconds: float = PATIENCE_SECONDS,
) -> None:
    """Do every check that the settings allow, and tell each finding; ``learn`` is told new secrets first.

    ``timeout_seconds`` is for all of them, ``patience_seconds`` for each.
    """
    report = Report(tell)
    settings = environment.check(report, environ)
    looks = _looks(environ, settings, learn, session=session, patience=min(patience_seconds, timeout_seconds))
    await in_turn(report, *(partial(_in_time, name, look, timeout_seconds) for name, look in looks))


def _looks(
    environ: Mapping[str, str], settings: Settings, learn: Callable[[str], None], *, session: bool, patience: float
) -> Iterator[tuple[str, Callable[[Report], Awaitable[None]]]]:
    """Yield the sides whose settings are right, and how to look at each."""
    is_planned = environment.is_sound(environ, environment.ARIES)
    if is_planned:
        yield "Aries", lambda report: aries.check(report, settings, learn, session=session, patience_seconds=patience)
    if environment.is_sound(environ, environment.KAFKA):
        needed = _needed(settings) if is_planned else tuple(Topic)
        yield "Kafka", lambda report: kafka.check(report, settings, needed, patience)
    if (url := settings.schema_registry_url) and environment.is_sound(environ, environment.REGISTRY):
        yield "Schema registry", lambda report: registry.check(report, settings, url, patience)


def _needed(settings: Settings) -> Collection[Topic]:
    return {*topics_for(settings.plan().events), *ALWAYS}


async def _in_time(
    name: str, look: Callable[[Report], Awaitable[None]], timeout_seconds: float, report: Report
) -> None:
    """Look at one side; what it raises, and the end of time, are findings, too."""
    try:
        async with asyncio.timeout(timeout_seconds):
            await look(report)
    except TimeoutError:
        report.fail(name, f"not all was looked at within {timeout_seconds:g} s", "Give it more time with --timeout.")
    except BridgeError as error:
        report.fail(name, str(error), "Mend that, then check again.")
