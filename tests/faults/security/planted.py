"""Planted secrets, and the search for them in every form in which they could be shown."""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: What a text that was cut has to show of a secret to be of use.
_TELLING = 20

ACCESS_TOKEN = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhcmllcy1icmlkZ2UifQ." + "Xy3-acce55_" * 60
NEXT_ACCESS_TOKEN = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJzb21lYm9keSJ9." + "Zn8-n3xt_" * 60
API_KEY = "ak/9+api\"key<&>'7=="
REFRESH_TOKEN = "rt-0ld/refresh+token-5eed=="
ROTATED_REFRESH_TOKEN = "rt-r0tated/refresh+token-5pun=="
CLIENT_SECRET = 'cs%client/secret+"quoted"&<3'
SASL_PASSWORD = 's4sl päss/word+"x"&y'
OAUTH_SECRET = '0auth/client+secret "q" & more'
KAFKA_TOKEN = "kafka-t0ken/with+signs~and=="
CLIENT_ASSERTION = "ass3rtion/of+the~client=="
KEY_PASSWORD = 'k3y päss/word+"x"&y'
REGISTRY_PASSWORD = 'r3gistry/pass+word "q" & more'
URL_QUERY = "apikey=ur1-query-planted-0000"

SECRETS: Mapping[str, str] = {
    name: value for name, value in dict(globals()).items() if name.isupper() and isinstance(value, str)
}


def shown_in(emitted: bytes) -> list[str]:
    """Return the names of the secrets that can be read in some output, each with the form in which it can."""
    return [f"{name} as {form}" for name, value in SECRETS.items() for form, text in _forms(value) if text in emitted]


def _forms(value: str) -> Iterator[tuple[str, bytes]]:
    encoded = value.encode()
    for form, text in {
        "plain text": value,
        "a beginning": value[:_TELLING] if len(value) > _TELLING and not value.startswith("eyJ") else value[40:60],
        "a URL": quote(value, safe=""),
        "a path": quote(value),
        "a form": quote_plus(value),
        "JSON": json.dumps(value)[1:-1],
        "JSON of others": json.dumps(value, ensure_ascii=False)[1:-1].replace("/", "\\/"),
        "HTML": html.escape(value),
        "a repr": repr(value)[1:-1],
        "the repr of bytes": repr(encoded)[2:-1],
    }.items():
        if text:
            yield form, text.encode()
    for user in ("", "u", "us", "the-user"):
        credentials = base64.b64encode(f"{user}:{value}".encode()).rstrip(b"=")
        yield "HTTP Basic", credentials[8:-2]
    yield "Base64", base64.b64encode(encoded)[:-4]
    yield "Base64 for URLs", base64.urlsafe_b64encode(encoded)[:-4]
    yield "hexadecimal", encoded.hex().encode()
