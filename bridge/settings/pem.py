"""The types of settings that name PEM files, validated at start: OpenSSL's own errors come late and are unclear."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from bridge.secrets import files

MAX_BYTES = 1 << 24


def _readable(path: Path) -> Path:
    try:
        files.read(path, MAX_BYTES)
    except files.Unreadable as error:
        raise ValueError(f"{error}; use a PEM file") from None
    return path


def _authorities(path: Path) -> Path:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise ValueError("has no certificate; use a PEM file of trusted authorities") from None
    return path


PemFile = Annotated[Path, AfterValidator(_readable)]
AuthoritiesFile = Annotated[PemFile, AfterValidator(_authorities)]
