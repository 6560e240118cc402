"""Find what was copied together with a value: quotes, ``Bearer``, spaces, line breaks, the variable's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "\N{LEFT DOUBLE QUOTATION MARK}": "\N{RIGHT DOUBLE QUOTATION MARK}"}
#: Shells and compose files remove quotes, ``docker run --env-file`` and Kubernetes do not.
IN_QUOTES: Final = "is in quotes, which are part of the value: remove them (`docker run --env-file` keeps quotes)."


def is_quoted(text: str) -> bool:
    """Return whether a value is in quotes of one kind."""
    text = text.strip()
    return len(text) > 1 and _QUOTES.get(text[0]) == text[-1]


def in_secret(name: str, text: str) -> Iterator[str]:
    """Yield a sentence, without its subject, for each surplus part of the secret of this name."""
    if text != text.strip():
        yield "begins or ends with a space or line break, which is part of the secret: remove it."
    text = text.strip()
    if is_quoted(text):
        yield IN_QUOTES
    if len(text.splitlines()) > 1:
        yield "has several lines: only the secret belongs there."
    if text[:7].lower() == "bearer ":
        yield "begins with 'Bearer ', which is not part of a token: remove it."
    if text.startswith(f"{name}="):
        yield "begins with the name of the variable: only the value belongs there."
