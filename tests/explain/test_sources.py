"""Lines and captures as input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.capture.capture_file import CaptureFile
from bridge.capture.file_format import marker
from bridge.errors import CaptureUnreadable
from bridge.explain.sources import dialect_of, opened
from tests.capture.captured import frame

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "dialect"),
    [
        (b'{"type":"event","payload":{"action":"update"}}', "envelope"),
        (b'{"type":"pong"}', "envelope"),
        (b'{"payload":1}', "envelope"),
        (b'{"action":"update","type":"quote","data":{}}', "action"),
        (b'{"message":"success","action":"auth"}\r\n', "action"),
        *(
            (line, None)
            for line in (b"", b"ping", b"{}", b"[1]", b'{"data":1}', b'{"action', b"\xff", b"1e999", b"[" * 9999)
        ),
    ],
)
def test_a_line_shows_its_dialect_by_its_outermost_names(line: bytes, dialect: str | None) -> None:
    """Lines that both could have sent show none."""
    assert dialect_of(line) == dialect


def test_lines_of_a_text_are_numbered(tmp_path: Path) -> None:
    """The last one needs no end; a carriage return belongs to the line, as on the wire."""
    path = tmp_path / "lines"
    path.write_bytes(b"1\r\n\n3")
    with opened(str(path)) as source:
        assert not source.is_capture
        assert [(found.number, found.frame) for found in source.found()] == [(1, b"1\r"), (2, b""), (3, b"3")]


def test_frames_of_a_capture_are_numbered_and_connections_told(tmp_path: Path) -> None:
    """With the times of their receipt and the capture's dialect."""
    file = CaptureFile(tmp_path / "one", {"dialect": "action"}, str)
    file.add([frame(b"1", 7), marker("sent", 8, {}), marker("connected", 8, {}), frame(b"2", 9)])
    file.close()
    with opened(str(tmp_path / "one")) as source:
        assert source.is_capture
        assert [tuple(found) for found in source.found()] == [
            (1, 7, b"1", "action"),
            (1, 8, None, "action"),
            (2, 9, b"2", "action"),
        ]


@pytest.mark.parametrize("name", ["none", "", "a\0b"])
def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path, name: str) -> None:
    """It says which, and why; a directory is one, too."""
    with pytest.raises(CaptureUnreadable, match="cannot read"), opened(f"{tmp_path}/{name}") as source:
        list(source.found())
