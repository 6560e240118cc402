"""The types of settings that Python and pydantic do not have: from the text of a variable to a valid value.

A validator's message is a clause that follows ``NAME=value:`` and says what the value must be.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, ValidationInfo

from bridge.errors import SecretUnreadable
from bridge.secrets.secret import Secret
from bridge.settings import quiet_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class TypeName:
    """The name of a type in the table of settings, if it is not that of the Python type."""

    text: str


def redact_url(text: str) -> str:
    """Return a text without the user, password and query of the URL that it may be, well-formed or not.

    A password that was not percent-encoded may hold any character, so the last ``@`` counts.
    """
    without_user = re.sub(r"(?<=//).*@|^[^@:]*:(?!//).*@", "***@", text, flags=re.DOTALL)
    return re.sub(r"\?.+", "?***", without_user, flags=re.DOTALL)


def _list_items(value: object) -> object:
    """Return the items of a list in CSV (line ends separate, too) or JSON; pass through what is not a string."""
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
        raise ValueError('starts like JSON but is invalid; write ["a","b"] or a,b') from None
    if not all(isinstance(value, str) for value in values):
        raise ValueError('must be a list of strings, like ["a","b"]')
    return tuple(stripped for value in values if (stripped := value.strip()))


def _websocket_url(text: str) -> str:
    if _url(text, "ws", "wss").fragment:
        raise ValueError("a WebSocket URL has no #fragment (RFC 6455, section 3)")
    return text


def _http_url(text: str) -> str:
    _url(text, "http", "https")
    return text


def _http_urls(value: object) -> object:
    """Return a list of URLs, each of them valid, separated by commas; pass through what is not a string."""
    items = _list_items(value)
    if not isinstance(value, str) or not isinstance(items, tuple):
        return value
    if not items:
        raise ValueError("it contains no URL")
    return ",".join(map(_http_url, items))


def _url(text: str, *schemes: str) -> SplitResult:
    expected = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # the port is only parsed when it is read
    except ValueError as error:
        raise ValueError(f"not a URL ({error}); it must start with {expected}") from None
    if url.scheme not in schemes or not host or re.search(r"\s", text):
        raise ValueError(f"must be a URL that starts with {expected}")
    if "@" in url.netloc:
        raise ValueError("a URL with user or password is not allowed, as URLs are logged; use the settings for these")
    return url


_SERVER: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]]+)(?::(?P<port>\d{1,5}))?")


def _servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    for server in servers:
        match = _SERVER.fullmatch(server)
        if not match or not 0 < int(match["port"] or 9092) < 1 << 16:
            raise ValueError(f"{redact_url(server)!r} is not host:port; write host1:9092,host2:9092, without a scheme")
    return servers


#: Of RFC 7628 §3.1, without line breaks; a trailing space would be lost in the environment.
_EXTENSION: Final = re.compile(r"(?P<name>[A-Za-z]+)=[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def _extensions(extensions: tuple[str, ...]) -> tuple[str, ...]:
    names = set[str]()
    for extension in extensions:
        match = _EXTENSION.fullmatch(extension)
        if not match:
            raise ValueError(f"{extension!r} is not name=value; a name is of letters, a value of printable ASCII")
        name = match["name"]
        if name.lower() == "auth":
            raise ValueError(f"{name!r} is the name of the token itself; use other names")
        if name in names:
            raise ValueError(f"{name!r} is named twice; keep one")
        names.add(name)
    return extensions


def _topic_part(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{1,249}", text) and text not in {".", ".."}:
        return text
    raise ValueError("a Kafka topic has 1 to 249 of the characters a-z A-Z 0-9 . _ -")


def _registry_context(text: str) -> str:
    """Return the name of a context with its dot, without the colons around it in subjects."""
    name = text.strip(":").removeprefix(".")
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name):
        raise ValueError("a context has a name of letters, digits, . _ and -, like .staging")
    return f".{name}"


def _header_value(text: str) -> str:
    if re.fullmatch(r"[!-~]+", text):
        return text
    raise ValueError("must be an ID of letters, digits and punctuation, without spaces")


def _shard(text: str) -> str:
    if re.fullmatch(r"auto|group|\d{1,4}", text):
        return text
    raise ValueError("must be a number from 0, auto or group")


def _secret(value: object, info: ValidationInfo) -> object:
    """Return the secret of a text, or of a file's path; raise ValueError for both, or if the file is unreadable."""
    secret = _secret_to_come(value, info)
    if isinstance(secret, Secret):
        try:
            secret.reveal()
        except SecretUnreadable as error:
            raise ValueError(error.complaint) from None
    return secret


def _secret_to_come(value: object, info: ValidationInfo) -> object:
    """Return the secret of a text, or of a file that may not exist yet; raise ValueError for both."""
    name = str(info.field_name).upper()
    match value:
        case str(text):
            return Secret.fixed(name, text)
        case Path() as path:
            return Secret.in_file(name, path)
        case (str(), Path()):
            raise ValueError(f"set together with {name}_FILE; keep one of the two")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


LOWER = BeforeValidator(_lower)
UPPER = BeforeValidator(_upper)

JsonText = Annotated[str, TypeName("JSON")]
TextList = Annotated[tuple[str, ...], BeforeValidator(_list_items)]
Servers = Annotated[TextList, AfterValidator(_servers)]
WebSocketUrl = Annotated[str, AfterValidator(_websocket_url), TypeName("URL")]
HttpUrl = Annotated[str, AfterValidator(_http_url), TypeName("URL")]
HttpUrls = Annotated[str, BeforeValidator(_http_urls), TypeName("list of URLs")]
RegistryContext = Annotated[str, AfterValidator(_registry_context)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
SecretText = Annotated[InstanceOf[Secret], BeforeValidator(_secret)]
#: Whose file something else writes and renews, maybe only after the start.
RenewedSecretText = Annotated[InstanceOf[Secret], BeforeValidator(_secret_to_come)]
Extensions = Annotated[TextList, AfterValidator(_extensions)]
TopicPart = Annotated[str, AfterValidator(_topic_part)]
ShardNumber = Annotated[str, AfterValidator(_shard), TypeName("whole number, auto or group")]
QuietLimitsText = Annotated[str, AfterValidator(quiet_limits.checked), TypeName("list")]
Milliseconds = Annotated[int, Field(ge=0, le=60_000)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


def type_parts(field: FieldInfo) -> list[object]:
    """Return all types, choices and metadata in a field's annotation, the outermost first."""
    return [*field.metadata, *_parts(field.annotation)]


def _parts(annotation: object) -> Iterator[object]:
    yield get_origin(annotation) or annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def is_secret(field: FieldInfo) -> bool:
    """Return whether a setting is a secret, which can also be given as ``<NAME>_FILE``."""
    return Secret in type_parts(field)
