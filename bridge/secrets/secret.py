"""Hold a secret so that it cannot be shown by accident, and read it anew where it lives in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bridge import files
from bridge.errors import SecretUnreadable

if TYPE_CHECKING:
    from pathlib import Path

#: What stands for a secret wherever one would be shown.
REDACTED = "***"
#: A file longer than this is not a secret but a mistaken path.
MAX_SECRET_BYTES = 1 << 16


class Revealable(Protocol):
    """Be a secret that is shown only when asked; one that is a file may have changed by then."""

    @property
    def can_change(self) -> bool:
        """Tell whether a later reveal() can give another value."""

    def reveal(self) -> str:
        """Return the secret; raises BridgeError when its file cannot be read."""


@dataclass(frozen=True, repr=False, slots=True)
class Secret:
    """Keep one secret: a text from the environment, or the path of a file that may be replaced at any time.

    Made by :meth:`fixed` and :meth:`in_file`; ``name`` is the setting's, without ``_FILE``.
    """

    name: str
    _text: str = ""
    path: Path | None = None

    @classmethod
    def fixed(cls, name: str, text: str) -> Secret:
        """Keep a secret that stays what it is; a newline at its end is not part of it."""
        return cls(name, _text=text.rstrip("\r\n"))

    @classmethod
    def in_file(cls, name: str, path: Path) -> Secret:
        """Keep a secret that is whatever the file says when it is asked for."""
        return cls(name, path=path)

    @property
    def can_change(self) -> bool:
        """Return whether a later :meth:`reveal` may give another text."""
        return self.path is not None

    def reveal(self) -> str:
        """Return the secret, from its file if it has one; raise SecretUnreadable where that cannot be."""
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
