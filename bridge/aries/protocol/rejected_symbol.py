"""Which of the symbols that were asked for an error is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

#: What symbols are made of (``bridge.aries.subscriptions.symbols``).
_WORD = re.compile(r"[A-Za-z0-9.\-_/^$=&!@+~%]+")
_ENDS_OF_SENTENCES = ".!"


def symbol_named(text: str, asked: Container[str]) -> str | None:
    """Return the symbol that a text names as a word of its own; None where it names none that was asked for.

    Of several it is the longest, or else the last: ``A`` and ``ALL`` are symbols, and words of a sentence too.
    """
    words = [form for word in _WORD.findall(text) for form in (word, word.rstrip(_ENDS_OF_SENTENCES))]
    return max((word for word in reversed(words) if word in asked), key=len, default=None)
