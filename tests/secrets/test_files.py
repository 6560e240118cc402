"""Reading small files that are named in settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.secrets import files


def test_a_byte_order_mark_is_not_part_of_the_text(tmp_path: Path) -> None:
    """A leading byte order mark, which some editors write, is removed."""
    path = tmp_path / "file"
    path.write_bytes("\ufeffäpfel".encode())
    assert files.read_text(path, 100) == "äpfel"


def test_size_limit_is_inclusive(tmp_path: Path) -> None:
    """A file of exactly the maximum size is read, a larger one is rejected."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert files.read(path, 5) == b"12345"
    with pytest.raises(files.Unreadable, match="larger than 4 bytes"):
        files.read(path, 4)


def test_a_file_that_cannot_be_opened_is_reported_with_the_reason(tmp_path: Path) -> None:
    """A missing file, a directory and an invalid path each have a reason."""
    for path, reason in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "null"),
    ):
        with pytest.raises(files.Unreadable, match=f"cannot be read .*{reason}"):
            files.read(path, 5)


def test_other_encodings_are_rejected_without_showing_the_content() -> None:
    """For bytes that are not UTF-8, the error has the position only."""
    with pytest.raises(files.Unreadable) as caught:
        files.decode(b"geheim\xff")
    assert str(caught.value) == "is not UTF-8 text (byte 6)"
    assert caught.value.__cause__ is None
