"""Redaction: keep secrets out of logs, HTTP responses, and control and dead-letter records."""

from __future__ import annotations

import base64
import html
import json
import math
import re
import threading
import time
from collections.abc import Collection, Mapping
from itertools import chain
from os.path import commonprefix
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from bridge.errors import SecretUnreadable
from bridge.secrets.secret import REDACTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bridge.secrets.secret import Secret

#: Redacting a shorter value would protect nothing and make logs unreadable.
MIN_SECRET_LENGTH: Final = 4
#: How many values are remembered: a token that was just replaced is still a secret.
MAX_VALUES: Final = 64
#: A secret is replaced even if only so much of its beginning is there: servers truncate what they quote.
PREFIX_LENGTH: Final = 16
#: How long the secrets of the settings are taken for unchanged where texts are redacted. Each look reads every file of
#: a secret, which a log line or a response may cost, but not each of many dead letters.
MAX_AGE_SECONDS: Final = 1.0
#: Shorter Base64 text may be part of any word.
MIN_BASE64_LENGTH: Final = 8
_URL_SAFE = str.maketrans("+/", "-_")


class Redactor:
    """The known secrets, and their replacement in texts and documents.

    Secrets are read again, as their files may change: for each document, and for texts once a second at most. Tokens
    from elsewhere are added by :meth:`learn`, which whoever sends one calls first. Several threads may use it, as they
    may log. ``clock`` returns monotonic seconds.
    """

    def __init__(self, secrets: Iterable[Secret] = (), *, clock: Callable[[], float] = time.monotonic) -> None:
        self._secrets = tuple(secrets)
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = -math.inf
        #: The forms of each value, the newest value last; and the present values of the settings, which are kept.
        self._values: dict[str, frozenset[str]] = {}
        self._current: frozenset[str] = frozenset()
        #: The forms by what they begin with: tokens of one issuer often begin alike, and are then looked for once.
        self._by_prefix: dict[str, list[str]] = {}

    def learn(self, value: str) -> None:
        """Redact this value, too, from now on."""
        with self._lock:
            self._learn([value])

    def redact(self, text: str) -> str:
        """Return a text with every secret in it replaced."""
        if self._clock() - self._read_at >= MAX_AGE_SECONDS:
            self._learn_current()
        return self._replace(text)

    def redact_document(self, document: Mapping[str, object]) -> dict[str, object]:
        """Return a document as JSON types with every secret in its texts replaced."""
        self._learn_current()
        return {key: self._redact_value(value) for key, value in document.items()}

    def _learn_current(self) -> None:
        now = self._clock()
        current = list(self._revealed())
        with self._lock:
            self._current = frozenset(current)
            self._learn(current)
            self._read_at = now

    def _revealed(self) -> Iterator[str]:
        for secret in self._secrets:
            try:
                yield secret.reveal()
            except SecretUnreadable:  # reported by whatever needs the secret
                continue

    def _learn(self, values: Iterable[str]) -> None:
        """Add values, and forget the oldest beyond the limit; the caller holds the lock."""
        new = [value for value in values if len(value) >= MIN_SECRET_LENGTH and value not in self._values]
        if not new:
            return
        known = self._values | {value: frozenset(forms(value)) for value in new}
        learned = [value for value in known if value not in self._current]
        for value in learned[: max(0, len(known) - MAX_VALUES)]:
            del known[value]
        by_prefix: dict[str, list[str]] = {}
        for form in frozenset().union(*known.values()):
            by_prefix.setdefault(form[:PREFIX_LENGTH], []).append(form)
        self._values, self._by_prefix = known, by_prefix  # replaced, never changed: other threads read them

    def _redact_value(self, value: object) -> object:
        if isinstance(value, str):
            return self._replace(value)
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping):
            return {self._replace(str(key)): self._redact_value(item) for key, item in value.items()}
        if isinstance(value, Collection) and not isinstance(value, (bytes, bytearray, memoryview)):
            return [self._redact_value(item) for item in value]
        return self._replace(str(value) if isinstance(value, BaseException) else repr(value))

    def _replace(self, text: str) -> str:
        # One substring search per prefix is faster than one pattern of all, and hardly ever finds anything.
        found = [same for prefix, same in self._by_prefix.items() if prefix in text]
        return _replace_forms(list(chain.from_iterable(found)), text) if found else text


def _replace_forms(present: Collection[str], text: str) -> str:
    """Replace these forms of secrets, each as far as the text agrees with the longest that begins there."""
    prefixes = sorted({form[:PREFIX_LENGTH] for form in present}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, prefixes)))
    kept: list[str] = []
    end = 0
    while found := pattern.search(text, end):
        start = found.start()
        kept += (text[end:start], REDACTED)
        end = start + max(_length_at(start, text, form) for form in present)
    return "".join((*kept, text[end:]))


def _length_at(start: int, text: str, form: str) -> int:
    """Return how much of a form is in the text there, 0 if that is too little to recognize it."""
    length = len(commonprefix((form, text[start : start + len(form)])))  # noqa: RUF071 - by characters
    return length if length >= min(len(form), PREFIX_LENGTH) else 0


def forms(value: str) -> set[str]:
    """Return what a value looks like in other texts: plain, in a URL, JSON, HTML, a repr, Base64."""
    encoded = value.encode(errors="surrogateescape")  # bytes of the environment that are not UTF-8
    in_url, in_path, in_json = quote(encoded, safe=""), quote(encoded), json.dumps(value)[1:-1]
    return {
        *(value, encoded.decode("latin-1"), html.escape(value)),
        *(in_url, in_url.replace("%20", "+"), _lowercase_escapes(in_url), in_path, _lowercase_escapes(in_path)),
        *(in_json, in_json.replace("/", r"\/")),
        *(repr(value)[1:-1], repr(encoded)[2:-1]),
        *_in_base64(encoded),
    }


def _lowercase_escapes(text: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), text)


def _in_base64(encoded: bytes) -> Iterator[str]:
    """Yield the characters that any Base64 text with these bytes inside contains, as HTTP Basic credentials do."""
    for before in range(3):  # three bytes make four characters, so there are three alignments
        characters = base64.b64encode(bytes(before) + encoded).decode()
        certain = characters[-(-before * 4 // 3) : (before + len(encoded)) * 4 // 3]
        if len(certain) >= MIN_BASE64_LENGTH:
            yield from (certain, certain.translate(_URL_SAFE))
