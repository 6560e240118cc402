"""Keep secrets out of whatever is written: logs, answers over HTTP, records of our own."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections import deque
from collections.abc import Collection, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING
from urllib.parse import quote

from bridge.errors import SecretUnreadable
from bridge.secrets.secret import REDACTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from structlog.typing import EventDict, WrappedLogger

    from bridge.secrets.secret import Secret

#: A shorter word hides nothing, but would black out half the log.
_SHORTEST_SECRET = 4
#: Values that were secrets lately: a token is still one when it has just been replaced.
_REMEMBERED = 64
#: So much of a secret's beginning is replaced even where the rest is missing: others cut what they show.
_TELLING = 16
#: A shorter piece of Base64 can be part of any word.
_SHORTEST_BASE64 = 8
_URL_SAFE = str.maketrans("+/", "-_")


class Redactor:
    """Replace every known secret in whatever is logged.

    Secrets are read again for each event, as their files may change; tokens that come from elsewhere are
    told by :meth:`learn`. Where a text was cut within a secret, what is left of that is replaced, too.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self._secrets = tuple(secrets)
        self._values: deque[str] = deque(maxlen=_REMEMBERED)
        self._forms: frozenset[str] = frozenset()

    def learn(self, value: str) -> None:
        """Redact this text, too, from now on."""
        if len(value) >= _SHORTEST_SECRET and value not in self._values:
            self._values.append(value)
            self._forms = frozenset(form for known in self._values for form in forms(known))

    def redacted(self, text: str) -> str:
        """Return a text with every secret in it replaced."""
        for value in _current(self._secrets):
            self.learn(value)
        return self._replaced(text)

    def cleaned(self, document: Mapping[str, object]) -> dict[str, object]:
        """Return a document as JSON types with every secret in its texts replaced."""
        for value in _current(self._secrets):
            self.learn(value)
        return {key: self._clean(value) for key, value in document.items()}

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return self.cleaned(event)

    def _replaced(self, text: str) -> str:
        # One search for each is faster than a pattern of all, and hardly ever finds anything.
        present = [form for form in self._forms if form[:_TELLING] in text]
        return _without(present, text) if present else text

    def _clean(self, value: object) -> object:
        """Return the value as JSON types, its texts redacted."""
        if isinstance(value, str):
            return self._replaced(value)
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping):
            return {self._replaced(str(key)): self._clean(item) for key, item in value.items()}
        if isinstance(value, Collection) and not isinstance(value, (bytes, bytearray, memoryview)):
            return [self._clean(item) for item in value]
        return self._replaced(str(value) if isinstance(value, BaseException) else repr(value))


def _current(secrets: Iterable[Secret]) -> Iterator[str]:
    for secret in secrets:
        try:
            yield secret.reveal()
        except SecretUnreadable:  # whoever needs it says so; what is not known cannot be shown
            continue


def _without(forms_present: Collection[str], text: str) -> str:
    """Return a text without these, or their beginnings, where they share one the longest that fits."""
    beginnings = sorted({form[:_TELLING] for form in forms_present}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, beginnings)))
    kept: list[str] = []
    end = 0
    while found := pattern.search(text, end):
        kept += (text[end : found.start()], REDACTED)
        end = found.start() + max(_length_in(text, found.start(), form) for form in forms_present)
    return "".join((*kept, text[end:]))


def _length_in(text: str, start: int, form: str) -> int:
    """Return how much of a secret's form stands there, 0 where it is too little to be told from another word."""
    there = zip(form, text[start : start + len(form)], strict=False)
    length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], there))
    return length if length >= min(len(form), _TELLING) else 0


def forms(value: str) -> set[str]:
    """Return how a text can look inside another: plain, in a URL, in JSON, in HTML, in a repr, in Base64."""
    encoded = value.encode(errors="surrogateescape")  # what is not UTF-8 comes so from the environment
    in_url, in_path = quote(encoded, safe=""), quote(encoded)
    return {
        *(value, encoded.decode("latin-1"), html.escape(value)),
        *(in_url, in_url.replace("%20", "+"), _small_hex(in_url), in_path, _small_hex(in_path)),
        *(json.dumps(value)[1:-1], json.dumps(value)[1:-1].replace("/", r"\/")),
        *(repr(value)[1:-1], repr(encoded)[2:-1]),
        *_in_base64(encoded),
    }


def _small_hex(text: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), text)


def _in_base64(encoded: bytes) -> Iterator[str]:
    """Yield what is sure to stand in the Base64 of anything that has these bytes within it, as HTTP Basic has."""
    for before in range(3):  # three bytes make four characters: so there are three ways to begin
        characters = base64.b64encode(bytes(before) + encoded).decode()
        sure = characters[-(-before * 4 // 3) : (before + len(encoded)) * 4 // 3]
        if len(sure) >= _SHORTEST_BASE64:
            yield from (sure, sure.translate(_URL_SAFE))
