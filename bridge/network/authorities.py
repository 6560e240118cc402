"""Which certificate authorities a connection trusts: those of the system, and those that a setting names."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.errors import SettingsError

if TYPE_CHECKING:
    from os import PathLike

#: Variables by which OpenSSL takes other authorities than the system's.
_OPENSSL_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def trusting(setting: str, cafile: str | PathLike[str] | None, *, also_system: bool = False) -> ssl.SSLContext:
    """Return a client's context that trusts the authorities in a PEM file, or the system's if there is none.

    ``also_system`` adds the system's to those of the file. ``setting`` is the variable that names the file. Raises
    SettingsError if the file cannot be read.
    """
    if cafile is None:
        context = ssl.create_default_context()
        if not any(os.environ.get(name) for name in _OPENSSL_VARIABLES):
            return context
    else:
        context = _trusting_file(setting, cafile)
        if also_system:
            context.load_default_certs()
    # Python 3.13 checks for key identifiers (RFC 5280), which authorities of companies and of Strimzi often lack. Who
    # names an authority has decided to trust it, also one in the middle of a chain.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _trusting_file(setting: str, cafile: str | PathLike[str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=cafile)
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").lower().replace("_", " ")
        problem = f"{Path(cafile)} contains no valid PEM certificate ({reason})"
    except OSError as error:
        problem = f"{Path(cafile)} cannot be read ({error.strerror})"
    raise SettingsError((f"{setting}: {problem}",)) from None
