"""Standard output that can end at any time: a closed pipe, a full disk."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import sys
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Coroutine

#: How often an idle command looks whether its output is still read.
LOOK_SECONDS: Final = 1.0
#: What a device says that takes no more.
_FAILURES: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


async def while_output_is_open(work: Coroutine[Any, Any, None]) -> None:
    """Run until the work is done; raise BrokenPipeError as soon as the reader of standard output has closed it."""
    working = asyncio.ensure_future(work)
    try:
        while not working.done():
            await asyncio.wait([working], timeout=LOOK_SECONDS)
            if _is_closed():
                raise BrokenPipeError
    finally:
        if not working.done():
            working.cancel()
            await asyncio.wait([working])
    working.result()


def failure(error: BaseException) -> str | None:
    """Return a sentence about an output that takes no more; None for any other error."""
    if isinstance(error, OSError) and error.errno in _FAILURES and error.filename is None:
        return f"the output cannot be written: {os.strerror(error.errno)}."
    return None


def discard(*streams: TextIO) -> None:
    """Redirect streams to ``os.devnull``: else Python fails when it flushes them at exit.

    See "Note on SIGPIPE", docs.python.org/3/library/signal.html.
    """
    devnull = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(devnull, stream.fileno())


def _is_closed() -> bool:
    """Return whether standard output is a pipe, a socket or a terminal whose other end is closed."""
    if sys.stdout is None:
        return False
    poll = select.poll()
    poll.register(sys.stdout, 0)  # errors are reported whatever is asked for
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in poll.poll(0))
