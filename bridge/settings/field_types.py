"""The types a setting can have: from the text of an environment variable to a checked value.

Each is an annotation that carries its validators and a :class:`Word`, the type's name in tables. The messages
of validators are clauses that fit behind ``NAME=value:`` and say what is wanted instead. Lists take CSV or
JSON, so nothing may decode them as JSON before.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf

from bridge.errors import SecretUnreadable
from bridge.secrets.secret import Secret

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Word:
    """Name a type for people."""

    text: str


@dataclass(frozen=True, slots=True)
class Given:
    """Hold what the environment says about a secret: ``NAME``, ``NAME_FILE``, or by mistake both."""

    name: str
    text: str | None
    path: str | None


def shown(text: str) -> str:
    """Return a value as it may be shown: without the user, password and query that a URL may hold, however written.

    A password that should have been encoded may have any character, so what counts is the last ``@``.
    """
    without_user = re.sub(r"(?<=//).*@|^[^@:]*:(?!//).*@", "***@", text, flags=re.DOTALL)
    return re.sub(r"\?.+", "?***", without_user, flags=re.DOTALL)


def items(value: object) -> object:
    """Return the items of a list given as CSV (line ends separate, too) or JSON; leave other types alone."""
    if not isinstance(value, str):
        return value
    if _is_json(value):
        return _json_items(value)
    return tuple(stripped for item in re.split(r"[,\n]", value) if (stripped := item.strip()))


def _is_json(text: str) -> bool:
    return text.startswith("[") and not re.match(r"\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\]", text)  # an IPv6 address


def _json_items(text: str) -> tuple[str, ...]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('looks like JSON but is not; write ["a","b"] or a,b') from None
    if not all(isinstance(value, str) for value in values):
        raise ValueError('must hold texts only, like ["a","b"]')
    return tuple(stripped for value in values if (stripped := value.strip()))


def _websocket_url(text: str) -> str:
    if _url(text, "ws", "wss").fragment:
        raise ValueError("a WebSocket URL has no #fragment (RFC 6455, section 3)")
    return text


def _http_url(text: str) -> str:
    _url(text, "http", "https")
    return text


def _url(text: str, *schemes: str) -> SplitResult:
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # the port is only parsed when it is read
    except ValueError as error:
        raise ValueError(f"not a URL ({error}); it must start with {wanted}") from None
    if url.scheme not in schemes or not host or re.search(r"\s", text):
        raise ValueError(f"must be a URL that starts with {wanted}")
    if "@" in url.netloc:
        raise ValueError("a URL with user or password in it is shown in too many places; use the settings for these")
    return url


_SERVER: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+)(?::(?P<port>\d{1,5}))?")


def _servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    for server in servers:
        match = _SERVER.fullmatch(server)
        if not match or not 0 < int(match["port"] or 9092) < 1 << 16:
            raise ValueError(f"{shown(server)!r} is not host:port; write host1:9092,host2:9092, without a scheme")
    return servers


def _topic_part(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) and text not in {".", ".."}:
        return text
    raise ValueError("a Kafka topic has 1 to 249 of the characters a-z A-Z 0-9 . _ -")


def _shard(text: str) -> str:
    if re.fullmatch(r"auto|\d{1,4}", text):
        return text
    raise ValueError("must be a number from 0, or auto")


def _secret(value: object) -> object:
    if not isinstance(value, Given):
        return value
    if value.text is not None and value.path is not None:
        raise ValueError(f"set together with {value.name}_FILE; keep one of the two")
    if value.path is None:
        return Secret.fixed(value.name, value.text or "")
    secret = Secret.in_file(value.name, Path(value.path))
    try:
        secret.reveal()
    except SecretUnreadable as error:
        raise ValueError(error.complaint) from None
    return secret


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


LOWER = BeforeValidator(_lower)
UPPER = BeforeValidator(_upper)

Text = Annotated[str, Word("text")]
OptionalText = Annotated[str | None, Word("text")]
JsonText = Annotated[str | None, Word("JSON")]
Items = Annotated[tuple[str, ...], BeforeValidator(items), Word("list")]
Servers = Annotated[tuple[str, ...], BeforeValidator(items), AfterValidator(_servers), Word("list")]
WebSocketUrl = Annotated[str, AfterValidator(_websocket_url), Word("URL")]
HttpUrl = Annotated[str, AfterValidator(_http_url), Word("URL")]
OptionalHttpUrl = Annotated[HttpUrl | None, Word("URL")]
OptionalFile = Annotated[Path | None, Word("file")]
OptionalSecret = Annotated[InstanceOf[Secret] | None, BeforeValidator(_secret), Word("secret")]
TopicPart = Annotated[str, AfterValidator(_topic_part), Word("text")]
OptionalTopic = Annotated[TopicPart | None, Word("text")]
ShardNumber = Annotated[str, AfterValidator(_shard), Word("whole number or auto")]
Whole = Annotated[int, Word("whole number")]
Number = Annotated[float, Field(allow_inf_nan=False), Word("number")]
Switch = Annotated[bool, Word("true or false")]


def is_secret(field: FieldInfo) -> bool:
    """Return whether a setting is a secret, and so has a twin ``<NAME>_FILE``."""
    return Word("secret") in field.metadata
