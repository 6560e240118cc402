"""Secrets that are not shown by accident, and that are read again from their files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bridge.errors import SecretUnreadable
from bridge.secrets import files

if TYPE_CHECKING:
    from pathlib import Path

#: Replaces a secret wherever one would be shown.
REDACTED = "***"
#: A larger file is not a secret, but a wrong path.
MAX_SECRET_BYTES = 1 << 16


class Revealable(Protocol):
    """A secret that is shown on request only."""

    @property
    def can_change(self) -> bool:
        """Return whether a later :meth:`reveal` may return another value."""

    def reveal(self) -> str:
        """Return the secret; raise BridgeError if its file cannot be read."""


@dataclass(frozen=True, repr=False, slots=True)
class Secret:
    """A text from the environment, or the content of a file that may be replaced at any time.

    Created by :meth:`fixed` and :meth:`in_file`; ``name`` is the setting's, without ``_FILE``.
    """

    name: str
    _text: str = ""
    path: Path | None = None

    @classmethod
    def fixed(cls, name: str, text: str) -> Secret:
        """Return a secret that never changes, without a newline at its end."""
        return cls(name, _text=text.rstrip("\r\n"))

    @classmethod
    def in_file(cls, name: str, path: Path) -> Secret:
        """Return a secret that is read from a file each time."""
        return cls(name, path=path)

    @property
    def can_change(self) -> bool:
        """Return whether a later :meth:`reveal` may return another text."""
        return self.path is not None

    def reveal(self) -> str:
        """Return the secret, read from its file if it has one; raise SecretUnreadable."""
        return self._text if self.path is None else _read(self.name, self.path)

    def __repr__(self) -> str:
        return f"Secret({self.name}={self})"

    def __str__(self) -> str:
        return REDACTED if self.path is None else f"{REDACTED} (from file)"


def _read(name: str, path: Path) -> str:
    try:
        text = files.read_text(path, MAX_SECRET_BYTES).rstrip("\r\n")
    except files.Unreadable as error:
        raise SecretUnreadable(name, path, str(error)) from None
    if not text.strip():
        raise SecretUnreadable(name, path, "is empty")
    return text
