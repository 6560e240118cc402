"""Small files that a setting names."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import files


def test_text_comes_without_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark that an editor put first is not a part of the text."""
    path = tmp_path / "file"
    path.write_bytes("\ufeffäpfel".encode())
    assert files.read_text(path, 100) == "äpfel"


def test_size_limit_is_inclusive(tmp_path: Path) -> None:
    """A file of just the allowed size is read, one byte more is refused."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read(path, 5) == b"12345"
    with pytest.raises(files.Unreadable, match="larger than 4 bytes"):
        files.read(path, 4)


def test_what_cannot_be_opened_is_named_in_words(tmp_path: Path) -> None:
    """A missing file, a directory and an impossible path are told in a clause each."""
    for path, reason in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(files.Unreadable, match=f"cannot be read .*{reason}"):
            files.read(path, 5)


def test_other_encodings_are_refused_without_citing_them() -> None:
    """Bytes that are not UTF-8 are refused by position, never by content."""
    with pytest.raises(files.Unreadable) as caught:
        files.decode(b"geheim\xff")
    assert str(caught.value) == "is not UTF-8 text (byte 6)"
    assert caught.value.__cause__ is None
