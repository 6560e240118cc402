"""Read the subscriptions file, and watch it for changes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from bridge import log_events
from bridge.aries import subscriptions
from bridge.aries.subscriptions import Plan
from bridge.aries.subscriptions.parsing import split
from bridge.errors import SettingsError
from bridge.secrets import files
from bridge.tasks import wait_until_set

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

log = structlog.get_logger(__name__)

SOURCE = "ARIES_SUBSCRIPTIONS_FILE"
MAX_FILE_BYTES = 1 << 24
#: Editors and copies write in several steps: wait until there was no change for this time.
_DEBOUNCE_MS = 200

Problems = tuple[str, ...]


def read(path: Path, items: Sequence[str], events: Sequence[str]) -> Plan:
    """Return the plan of ``ARIES_SYMBOLS``, ``ARIES_EVENTS`` and the file; raise SettingsError.

    The file has JSON like ``ARIES_SUBSCRIPTIONS``, or symbols separated by commas or lines, with comments after ``#``.
    """
    return _plan(_content(path), path, items, events)


async def watch(
    path: Path,
    items: Sequence[str],
    events: Sequence[str],
    *,
    current: Plan,
    stop: asyncio.Event,
    poll_seconds: float = 5.0,
) -> AsyncGenerator[Plan]:
    """Yield each plan of the file that differs from the one before, at first from ``current``, until ``stop`` is set.

    Invalid content is logged as a warning, once, and the plan stays as it is. ``poll_seconds`` is the longest time
    until a change is detected for which the operating system sends no notification (network file systems, links to
    other directories). Cancellation sets ``stop``, too.
    """
    last: bytes | Problems | None = None
    async with aclosing(_wake_ups(path.parent, stop, poll_seconds)) as wake_ups:
        async for _ in wake_ups:
            content = await asyncio.to_thread(_content_or_problems, path)
            if content == last:
                continue
            last = content
            outcome = await asyncio.to_thread(_plan_or_problems, content, path, items, events)
            if not isinstance(outcome, Plan):
                log.warning(log_events.SUBSCRIPTIONS_REJECTED, file=str(path), problems=outcome)
            elif outcome != current:
                current = outcome
                yield outcome


async def _wake_ups(directory: Path, stop: asyncio.Event, poll_seconds: float) -> AsyncGenerator[None]:
    """Yield after each notification and each ``poll_seconds``.

    The directory is watched, not the file: Kubernetes replaces a mounted file by replacing a symbolic link beside it.
    """
    from watchfiles import awatch  # noqa: PLC0415 - without a file the service starts faster

    changes = awatch(
        directory,
        watch_filter=None,
        debounce=_DEBOUNCE_MS,
        stop_event=stop,
        rust_timeout=round(poll_seconds * 1000),
        yield_on_timeout=True,
        recursive=False,
    )
    try:
        async with aclosing(changes):
            async for _ in changes:
                yield
    except (OSError, RuntimeError) as error:  # no such directory, no watches left; watchfiles' own is a RuntimeError
        log.warning(log_events.FILE_WATCH_UNAVAILABLE, directory=str(directory), error=str(error))
    while not stop.is_set():
        yield
        await wait_until_set(stop, poll_seconds)


def _content_or_problems(path: Path) -> bytes | Problems:
    try:
        return _content(path)
    except SettingsError as error:
        return error.problems


def _plan_or_problems(
    content: bytes | Problems, path: Path, items: Sequence[str], events: Sequence[str]
) -> Plan | Problems:
    if isinstance(content, tuple):
        return content
    try:
        return _plan(content, path, items, events)
    except SettingsError as error:
        return error.problems


def _content(path: Path) -> bytes:
    try:
        return files.read(path, MAX_FILE_BYTES)
    except files.Unreadable as error:
        raise _error(path, f"{error}: use a file that the bridge's user may read") from None


def _plan(content: bytes, path: Path, items: Sequence[str], events: Sequence[str]) -> Plan:
    try:
        text = files.decode(content).strip()
    except files.Unreadable as error:
        raise _error(path, f"{error}: save it as UTF-8") from None
    if not text:  # may be half written
        raise _error(path, "is empty: write [] for no subscriptions in addition to ARIES_SYMBOLS")
    described = text if text[0] in "[{" else split(text)
    return subscriptions.plan(items, events, described, source=SOURCE)


def _error(path: Path, reason: str) -> SettingsError:
    return SettingsError((f"{SOURCE}={str(path)!r} {reason}.",))
