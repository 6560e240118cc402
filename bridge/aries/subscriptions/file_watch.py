"""Read the subscriptions file, and notice when it says something new."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import msgspec
import structlog
from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from bridge import files
from bridge.aries import subscriptions
from bridge.aries.subscriptions import Plan
from bridge.aries.subscriptions.parsing import split
from bridge.errors import SettingsError
from bridge.observability import log_events

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

log = structlog.get_logger(__name__)

SOURCE = "ARIES_SUBSCRIPTIONS_FILE"
MAX_FILE_BYTES = 1 << 24
#: An editor or a copy writes in several steps: wait until it has been quiet.
_DEBOUNCE_MS = 200

Problems = tuple[str, ...]


def read(path: Path, listed: Sequence[str], events: Sequence[str]) -> Plan:
    """Return the plan of ``ARIES_SYMBOLS``, ``ARIES_EVENTS`` and the file; raise SettingsError.

    The file holds JSON as ``ARIES_SUBSCRIPTIONS`` does, or symbols separated by commas or lines,
    with ``#`` before comments.
    """
    return _plan(_content(path), path, listed, events)


async def watch(
    path: Path,
    listed: Sequence[str],
    events: Sequence[str],
    *,
    current: Plan,
    stop: asyncio.Event,
    look_again_seconds: float = 5.0,
) -> AsyncGenerator[Plan]:
    """Yield each new plan that the file makes, beginning from ``current``, until ``stop`` is set.

    What cannot be used is logged as a warning, once per content, and the plan stays as it is.
    ``look_again_seconds`` is the longest time until a change is seen of which the system gives no notice
    (network file systems, links that lead elsewhere). Being cancelled sets ``stop``, too.
    """
    seen: bytes | Problems | None = None
    async with aclosing(_moments(path.parent, stop, look_again_seconds)) as moments:
        async for _ in moments:
            found = await asyncio.to_thread(_found, path)
            if found == seen:
                continue
            seen = found
            outcome = await asyncio.to_thread(_outcome, found, path, listed, events)
            if not isinstance(outcome, Plan):
                log.warning(log_events.SUBSCRIPTIONS_REJECTED, file=str(path), problems=outcome)
            elif outcome != current:
                current = outcome
                yield outcome


async def _moments(directory: Path, stop: asyncio.Event, look_again_seconds: float) -> AsyncGenerator[None]:
    """Yield whenever it is worth looking at the file.

    The directory is watched, not the file: Kubernetes replaces a mounted file by swapping a link beside it.
    """
    changes = awatch(
        directory,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        stop_event=stop,
        rust_timeout=round(look_again_seconds * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
    try:
        async with aclosing(changes):
            async for _ in changes:
                yield
    except (OSError, WatchfilesRustInternalError) as error:  # no such directory, no watches left
        log.warning(log_events.FILE_WATCH_UNAVAILABLE, directory=str(directory), error=str(error))
    while not stop.is_set():
        yield
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), look_again_seconds)


def _found(path: Path) -> bytes | Problems:
    try:
        return _content(path)
    except SettingsError as error:
        return error.problems


def _outcome(found: bytes | Problems, path: Path, listed: Sequence[str], events: Sequence[str]) -> Plan | Problems:
    if isinstance(found, tuple):
        return found
    try:
        return _plan(found, path, listed, events)
    except SettingsError as error:
        return error.problems


def _content(path: Path) -> bytes:
    try:
        return files.read(path, MAX_FILE_BYTES)
    except files.Unreadable as error:
        raise _unusable(path, f"{error}: name a file of subscriptions the bridge's user may read") from None


def _plan(content: bytes, path: Path, listed: Sequence[str], events: Sequence[str]) -> Plan:
    try:
        text = files.decoded(content).strip()
    except files.Unreadable as error:
        raise _unusable(path, f"{error}: save it as such") from None
    if not text:  # perhaps caught half written
        raise _unusable(path, "is empty: write [] for no subscriptions beside ARIES_SYMBOLS")
    described = text if text[0] in "[{" else msgspec.json.encode(split(text)).decode()
    return subscriptions.plan(listed, events, described, source=SOURCE)


def _unusable(path: Path, why: str) -> SettingsError:
    return SettingsError((f"{SOURCE}={str(path)!r} {why}.",))
