"""Redaction: keep secrets out of logs, HTTP responses, and control and dead-letter records."""

from __future__ import annotations

import base64
import html
import json
import math
import re
import threading
from collections.abc import Collection, Mapping
from os.path import commonprefix
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from bridge.errors import SecretUnreadable
from bridge.secrets.secret import REDACTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bridge.secrets.secret import Secret

#: Redacting a shorter value would protect nothing and make logs unreadable.
MIN_SECRET_LENGTH: Final = 4
#: How many values are remembered: a token that was just replaced is still a secret.
MAX_VALUES: Final = 64
#: A secret is replaced even if only so much of its beginning is there: servers truncate what they quote.
PREFIX_LENGTH: Final = 16
#: Shorter Base64 text may be part of any word.
MIN_BASE64_LENGTH: Final = 8
_URL_SAFE = str.maketrans("+/", "-_")


class Redactor:
    """The known secrets, and their replacement in texts and documents.

    Secrets are read again at each call, as their files may change; tokens from elsewhere are added by :meth:`learn`.
    Several threads may use it, as they may log.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._secrets = tuple(secrets)
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()
        self._forms: frozenset[str] = frozenset()

    def learn(self, value: str) -> None:
        """Redact this value, too, from now on."""
        with self._lock:
            if len(value) >= MIN_SECRET_LENGTH and value not in self._values:
                self._values = (*self._values, value)[-MAX_VALUES:]
                self._forms = frozenset(form for known in self._values for form in forms(known))

    def redact(self, text: str) -> str:
        """Return a text with every secret in it replaced."""
        self._learn_current()
        return self._replace(text)

    def redact_document(self, document: Mapping[str, object]) -> dict[str, object]:
        """Return a document as JSON types with every secret in its texts replaced."""
        self._learn_current()
        return {key: self._redact_value(value) for key, value in document.items()}

    def _learn_current(self) -> None:
        for secret in self._secrets:
            try:
                self.learn(secret.reveal())
            except SecretUnreadable:  # reported by whatever needs the secret
                continue

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
        # One substring search per form is faster than one pattern of all forms, and hardly ever finds anything.
        present = [form for form in self._forms if form[:PREFIX_LENGTH] in text]
        return _replace_forms(present, text) if present else text


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
