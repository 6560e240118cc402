"""Secrets: read again from their files, and never shown."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from bridge.errors import SecretUnreadable
from bridge.secrets.secret import MAX_SECRET_BYTES, Secret

if TYPE_CHECKING:
    from pathlib import Path

NAME = "ARIES_ACCESS_TOKEN"


def test_a_fixed_secret_is_its_text_without_the_newline() -> None:
    """A newline at the end of a variable is not part of the secret; other white space is."""
    secret = Secret.fixed(NAME, " s3cret \r\n")
    assert secret.reveal() == " s3cret "
    assert not secret.can_change


def test_a_file_is_read_at_each_use(tmp_path: Path) -> None:
    """A secret in a file is the file's current content, without the newline at its end."""
    path = tmp_path / "token"
    path.write_text("first\n")
    secret = Secret.in_file(NAME, path)
    assert secret.can_change
    assert secret.reveal() == "first"
    path.write_text("second")
    assert secret.reveal() == "second"


def test_nothing_shows_a_secret(tmp_path: Path) -> None:
    """Neither str, repr nor formatting of a secret or of its container shows the text."""
    path = tmp_path / "token"
    path.write_text("s3cret")
    for secret in (Secret.fixed(NAME, "s3cret"), Secret.in_file(NAME, path)):
        shown = f"{secret} {secret!r} {[secret]}"
        assert "s3cret" not in shown
        assert "***" in shown
    assert str(Secret.in_file(NAME, path)) == "*** (from file)"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"s3cret\xff", "is not UTF-8 text"),
        (b"s3cret" * MAX_SECRET_BYTES, "is larger than"),
    ],
)
def test_an_invalid_file_is_reported_with_the_reason(tmp_path: Path, content: bytes | None, reason: str) -> None:
    """The error has setting, path and reason, but not the content."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SecretUnreadable) as caught:
        Secret.in_file(NAME, path).reveal()
    error = caught.value
    assert (error.name, error.path) == (NAME, path)
    for part in (f"{NAME}_FILE", str(path), reason):
        assert part in str(error)
    assert "s3cret" not in f"{error} {error!r} {error.__cause__!r}"


def test_a_secret_cannot_be_changed() -> None:
    """Secrets are immutable."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Secret.fixed(NAME, "a").name = "b"  # type: ignore[misc]
