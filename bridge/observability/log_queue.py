"""A bounded queue between the code that logs and the stream that the log goes to.

A write to a pipe blocks while its reader hangs, and a blocked event loop answers no ping, sends no record and handles
no signal. So records are formatted where they are logged, and a thread writes them.
"""

from __future__ import annotations

import io
import os
import queue
import select
import sys
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from typing import TYPE_CHECKING, Any, Final

import structlog

from bridge import log_events

if TYPE_CHECKING:
    import logging
    from typing import Protocol, TextIO

    class LineWriter(Protocol):
        """A destination of lines; ``write`` may block, and raises OSError or ValueError if it fails."""

        def write(self, line: str) -> None: ...


log = structlog.get_logger(__name__)

#: More lines than a burst has (one for each of thousands of rejected symbols), and a few MiB at most.
MAX_LINES: Final = 10_000
#: How long the exit waits for lines that are not written yet.
FLUSH_TIMEOUT_SECONDS: Final = 1.0


class LogQueue(QueueHandler):
    """A log handler that formats records and queues them for a thread that writes them to a stream.

    While the queue is full, records are dropped. Once there is room again, ``log lines dropped`` is logged with
    their number.
    """

    queue: queue.Queue[Any]

    def __init__(self, stream: TextIO, formatter: logging.Formatter) -> None:
        super().__init__(queue.Queue(MAX_LINES))
        self.setFormatter(formatter)
        self._dropped = 0
        self._reported = 0
        self._thread = _WriterThread(self.queue, _writer(stream))
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a formatted record, or drop and count it."""
        self._report_dropped()
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - overrides logging's
        """Log that a record cannot be formatted; logging would write its arguments to standard error, unredacted."""
        if record.name == __name__:  # this very line: give up
            return
        error = type(sys.exc_info()[1]).__name__
        log.error(log_events.LOG_LINE_UNUSABLE, of=record.name, line=f"{record.filename}:{record.lineno}", error=error)

    def _report_dropped(self) -> None:
        lines = self._dropped + self._thread.failed - self._reported
        if lines and not self._thread.is_failing and self.queue.qsize() <= MAX_LINES // 2:
            self._reported += lines
            log.warning(log_events.LOG_LINES_DROPPED, lines=lines)  # comes back to `enqueue`, with nothing to report

    def flush(self) -> None:
        """Wait until every line is written, but no longer than ``FLUSH_TIMEOUT_SECONDS``.

        ``logging.shutdown`` calls this at exit.
        """
        with self.queue.all_tasks_done:
            self.queue.all_tasks_done.wait_for(lambda: not self.queue.unfinished_tasks, FLUSH_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Let the thread end after the lines that are queued."""
        with suppress(queue.Full):
            self._thread.enqueue_sentinel()  # not `stop()`: it waits for a blocked thread without a timeout
        super().close()


class _WriterThread(QueueListener):
    """The thread that writes queued lines (a daemon thread: the interpreter exits though it is blocked)."""

    def __init__(self, lines: queue.Queue[Any], writer: LineWriter) -> None:
        super().__init__(lines)
        #: How many lines could not be written, and whether the last one was among them.
        self.failed = 0
        self.is_failing = False
        self._writer = writer

    def handle(self, record: logging.LogRecord) -> None:
        """Write a line, or count it as failed."""
        try:
            self._writer.write(record.getMessage() + "\n")
        except (OSError, ValueError):  # no reader (EPIPE), a full disk; ValueError: the stream is closed
            self.failed += 1
            self.is_failing = True
        else:
            self.is_failing = False


class _Descriptor:
    """A file descriptor that lines are written to.

    Not through ``sys.stderr``: the interpreter flushes that at exit, and aborts if a blocked thread holds its lock.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._is_cut = False

    def write(self, line: str) -> None:
        """Write a line; after an OSError, end what was written of it before the next one."""
        rest = ("\n" + line if self._is_cut else line).encode(self._encoding, "backslashreplace")
        while rest:
            try:
                written = os.write(self._descriptor, rest)
            except BlockingIOError:  # a process that shares the descriptor made it non-blocking
                select.select((), (self._descriptor,), ())
                continue
            rest = rest[written:]
            self._is_cut = bool(rest)


class _Stream:
    """A stream other than a file, as in ``dev`` and in tests."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """Write a line."""
        self._stream.write(line)
        self._stream.flush()


def _writer(stream: TextIO) -> LineWriter:
    if isinstance(stream, io.TextIOWrapper):
        with suppress(io.UnsupportedOperation):  # pytest's capture is one without a file
            return _Descriptor(stream.fileno(), stream.encoding)
    return _Stream(stream)
