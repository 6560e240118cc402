"""Validate PEM files at start, before OpenSSL fails at connecting with a message hard to understand."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from bridge import files

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1 << 24


def read_error(path: Path) -> str | None:
    """Return a clause that says why a file cannot be read, None if it can."""
    try:
        files.read(path, MAX_BYTES)
    except files.Unreadable as error:
        return str(error)
    return None


def has_authorities(path: Path) -> bool:
    """Return whether a readable file has certificates to trust."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def is_pair(certificate: Path, key: Path) -> bool:
    """Return whether two readable files are a certificate and its private key, not encrypted."""
    try:
        # Without a password argument, OpenSSL would prompt for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError):
        return False
    return True
