"""Capture files: what was received comes back, whatever ends the process that writes."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zstandard import ZstdCompressor

from bridge.capture.capture_file import CaptureFile
from bridge.capture.file_format import Entry, EntryKind, header, marker
from bridge.capture.reader import open_capture
from bridge.errors import CaptureUnreadable
from bridge.secrets.redaction import Redactor
from bridge.secrets.secret import Secret
from tests.capture.captured import ABOUT, entries, files_of_at_most, frame

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret-töken-of-this-bridge"
REDACTOR = Redactor([Secret.fixed("ARIES_ACCESS_TOKEN", SECRET)])


@given(st.lists(st.lists(st.binary(max_size=300), max_size=5), max_size=5))
def test_frames_come_back_byte_for_byte(tmp_path_factory: pytest.TempPathFactory, blocks: list[list[bytes]]) -> None:
    """Any bytes, empty frames and line ends included, with the time of their receipt."""
    path = tmp_path_factory.mktemp("capture") / "one"
    written = [[frame(data, place) for place, data in enumerate(block)] for block in blocks]
    file = CaptureFile(path, ABOUT, REDACTOR.redact)
    for block in written:
        file.add(block)
    file.close()
    assert entries(path) == [entry for block in written for entry in block]
    assert file.bytes == path.stat().st_size


def test_only_the_owner_may_read_a_capture(tmp_path: Path) -> None:
    """Market data may be licensed, and an echo may hold what redaction does not know."""
    CaptureFile(tmp_path / "one", ABOUT, str).close()
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o600


def test_a_file_that_was_not_closed_can_be_read_up_to_the_last_write(tmp_path: Path) -> None:
    """As of a killed process; an entry that is cut off is the end."""
    path = tmp_path / "one"
    file = CaptureFile(path, ABOUT, str)
    file.add([frame(b"first")])
    assert entries(path) == [frame(b"first")]
    size = path.stat().st_size
    file.add([frame(b"second" * 100)])
    file.abandon()
    assert entries(path) == [frame(b"first"), frame(b"second" * 100)]
    for length in range(size, path.stat().st_size):
        (tmp_path / "cut").write_bytes(path.read_bytes()[:length])
        assert entries(tmp_path / "cut") == [frame(b"first")]


def test_the_header_says_what_wrote_the_file(tmp_path: Path) -> None:
    """Format and version first, then what the writer knows."""
    CaptureFile(tmp_path / "one", ABOUT, str).close()
    with open_capture(tmp_path / "one") as capture:
        assert capture.header == {"format": "aries-capture", "version": 1, **ABOUT}
        assert capture.dialect == "envelope"


def test_an_echoed_secret_is_replaced_and_its_frame_marked(tmp_path: Path) -> None:
    """In frames, markers and the header; frames without a secret stay as they are, valid UTF-8 or not."""
    file = CaptureFile(tmp_path / "one", {"detail": f"refused {SECRET}"}, REDACTOR.redact)
    escaped = json.dumps({"error": f"bad token {SECRET}"}).encode()
    file.add([frame(b"\xff" + SECRET.encode() + b"\xfe"), frame(escaped), frame(b"\xff\xfe plain")])
    file.add([marker("connection lost", 5, {"reason": SECRET})])
    file.close()
    first, second, plain, lost = entries(tmp_path / "one")
    assert first == Entry(EntryKind.REDACTED_FRAME, 1, b"\xff***\xfe")
    assert second == Entry(EntryKind.REDACTED_FRAME, 1, b'{"error": "bad token ***"}')
    assert plain == frame(b"\xff\xfe plain")
    assert json.loads(lost.data) == {"event": "connection lost", "reason": "***"}
    with open_capture(tmp_path / "one") as capture:
        assert capture.header["detail"] == "refused ***"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "does not begin with the header"),
        (b'{"type":"event"}\n', "no capture, or damaged"),
        (ZstdCompressor().compress(b"something else"), "does not begin with the header"),
        (ZstdCompressor().compress(b"{}\n"), "does not begin with the header"),
        (ZstdCompressor().compress(b'{"format":"aries-capture","version":2}\n'), "version 2 of the capture format"),
        (ZstdCompressor().compress(header(ABOUT) + b"X" * 13), "is damaged"),
        (ZstdCompressor().compress(header(ABOUT) + b"F" + b"\xff" * 12), "is damaged"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "no capture, or damaged"),
    ],
)
def test_what_is_no_capture_is_an_error_that_says_so(tmp_path: Path, content: bytes, problem: str) -> None:
    """The error names the file."""
    path = tmp_path / "other.zst"
    path.write_bytes(content)
    with pytest.raises(CaptureUnreadable, match=problem) as raised:
        entries(path)
    assert "other.zst" in str(raised.value)


def test_a_file_that_cannot_be_opened_is_an_error_that_says_why(tmp_path: Path) -> None:
    """A missing file, or a directory."""
    for path, reason in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(CaptureUnreadable, match=reason):
            entries(path)


def test_a_file_that_cannot_be_begun_leaves_nothing(tmp_path: Path) -> None:
    """A full disk has no empty files in the end."""
    with files_of_at_most(0), pytest.raises(OSError, match="File too large"):
        CaptureFile(tmp_path / "one", ABOUT, str)
    assert not list(tmp_path.iterdir())
