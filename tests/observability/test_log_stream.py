"""The stream of the logs: it waits for nobody, and says what was lost."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, TextIO

import pytest

from bridge.observability.log_stream import LogStream

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """Return a pipe's reading end, and the stream that writes to it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def test_lines_are_passed_on_at_once(pipe: tuple[int, TextIO]) -> None:
    """Somebody who reads sees each line as it is written."""
    reading, stream = pipe
    log = LogStream(stream, lambda _: None)
    for line in ("one\n", "two: ü\n"):
        log.write(line)
        assert os.read(reading, 100).decode() == line


def test_what_finds_no_room_is_lost_and_told_once_there_is_room(pipe: tuple[int, TextIO]) -> None:
    """A full pipe holds nobody up; a line that was cut gets its end, and the number of lost lines is told."""
    reading, stream = pipe
    told: list[int] = []
    log = LogStream(stream, told.append)
    log.write("x" * 100_000 + "\n")  # more than a pipe holds
    for _ in range(50):
        log.write("lost\n")
    beginning = os.read(reading, 100_000)
    assert set(beginning) == {ord("x")}
    assert told == []
    log.write("found\n")
    assert told == [51]
    assert os.read(reading, 100) == b"\nfound\n"
    log.write("more\n")
    assert os.read(reading, 100) == b"more\n"
    assert told == [51]


def test_a_reader_that_is_gone_is_no_error() -> None:
    """Lines are lost without a word where nobody can be told."""
    reading, writing = os.pipe()
    os.close(reading)
    told: list[int] = []
    with os.fdopen(os.dup(writing), "w") as stream:
        log = LogStream(stream, told.append)
        log.write("lost\n")
        log.write("lost\n")
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - what the stream still holds has to go somewhere
            os.dup2(nowhere.fileno(), stream.fileno())
    os.close(writing)
    assert told == []


def test_a_stream_that_is_no_file_is_written_to() -> None:
    """Where the system cannot tell whether there is room, there is."""
    stream = io.StringIO()
    LogStream(stream, lambda _: None).write("line\n")
    assert stream.getvalue() == "line\n"
