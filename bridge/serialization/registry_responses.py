"""What a response means: an answer of a schema registry, or of something else at the URL.

Statuses and error codes are those of Confluent's Schema Registry API reference. Karapace, Redpanda and Apicurio (its
ccompat API) have the same API, but other codes for what is not there: any code of a 404 counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from bridge.errors import shorten

OK, NOT_FOUND, CONFLICT, UNPROCESSABLE = 200, 404, 409, 422
SUBJECT_NOT_FOUND: Final = 40401
_ANSWERS = (OK, NOT_FOUND, CONFLICT, UNPROCESSABLE)
_METHOD_NOT_ALLOWED = 405
_REDIRECTS = range(300, 400)
#: With error code 404, what the web frameworks of registries (Jersey, RESTEasy) say about a path that they do not have.
_NO_SUCH_PATH = ("HTTP 404 Not Found", "Could not find resource")
_MAX_MESSAGE_CHARACTERS = 300

CHECK_PATH: Final = (
    "There is no schema registry here: check the path of SCHEMA_REGISTRY_URL (Apicurio's is /apis/ccompat/v7, "
    "of most others it is empty)."
)
CHECK_SERVER: Final = "Check SCHEMA_REGISTRY_URL, and that the registry is running."


class ServerError(Exception):
    """A failed request to one of the servers, after which the next one is tried."""

    def __init__(self, problem: str, hint: str = CHECK_SERVER) -> None:
        self.problem = problem
        self.hint = hint
        super().__init__(problem, hint)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer of a schema registry: one of 200, 404, 409, 422, with its JSON body."""

    status: int
    body: Any

    @property
    def error_code(self) -> object:
        """Return the error code, None if there is none."""
        return self.body.get("error_code") if isinstance(self.body, dict) else None

    @property
    def message(self) -> str:
        """Return the registry's message in one line."""
        return one_line(str(_message(self.body) or f"HTTP {self.status}"))

    def value(self, name: str) -> object:
        """Return a member of the body, None if it is missing."""
        return self.body.get(name) if isinstance(self.body, dict) else None


def parse(status: int, data: bytes, *, content_type: str = "", location: str = "") -> Response:
    """Return the answer of a registry; raise ServerError for any other response."""
    if status in _REDIRECTS:
        to = f" to {location}" if location else ""
        raise ServerError(
            f"HTTP {status} redirects{to}, and credentials follow no redirect",
            "Set SCHEMA_REGISTRY_URL to the address of the registry itself.",
        )
    if status == _METHOD_NOT_ALLOWED:
        raise ServerError(f"HTTP {status}, method not allowed", CHECK_PATH)
    body = _json(data)
    if status not in _ANSWERS:
        said = f" ({one_line(message)})" if (message := _message(body)) else ""
        raise ServerError(f"HTTP {status}{said}")
    if not isinstance(body, dict | list) or (status == NOT_FOUND and not _is_missing(body)):
        raise ServerError(f"HTTP {status} {_described(data, body, content_type)}", CHECK_PATH)
    return Response(status, body)


def one_line(text: str) -> str:
    """Return a text in one line, shortened."""
    return shorten(" ".join(text.split()), _MAX_MESSAGE_CHARACTERS)


def _is_missing(body: object) -> bool:
    """Return whether a 404 says that a subject, version or schema is not there, and not that the path is wrong."""
    if not isinstance(body, dict):
        return False
    code = body.get("error_code")
    if not isinstance(code, int | str) or isinstance(code, bool):
        return False
    return str(code) != str(NOT_FOUND) or not any(part in str(_message(body)) for part in _NO_SUCH_PATH)


def _described(data: bytes, body: object, content_type: str) -> str:
    if not data.strip():
        return "with an empty body"
    if body is not None:
        return "with JSON that is not a registry's"
    return "with invalid JSON" if "json" in content_type else f"with {one_line(content_type)} instead of JSON"


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _message(body: object) -> str:
    message = body.get("message") if isinstance(body, dict) else None
    return message if isinstance(message, str) else ""
