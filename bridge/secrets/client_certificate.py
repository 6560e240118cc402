"""The client certificate of a TLS context, and its private key, which may be encrypted."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.errors import SettingsError

if TYPE_CHECKING:
    import os

    from bridge.secrets.secret import Revealable

#: OpenSSL's reason if a certificate and a key are valid, but do not belong together.
_MISMATCH = "KEY_VALUES_MISMATCH"


def load(
    context: ssl.SSLContext,
    certfile: str | os.PathLike[str],
    keyfile: str | os.PathLike[str] | None = None,
    password: Revealable | None = None,
    *,
    prefix: str = "KAFKA_SSL_",
) -> None:
    """Load a certificate and its key, which may be in the same file, into a context.

    Raises SettingsError with one sentence, in which ``prefix`` begins the names of the settings, and what ``reveal()``
    raises.
    """
    key = f"{prefix}KEYFILE ({Path(keyfile or certfile)})"
    is_encrypted = False

    def decrypting_password() -> str:  # without it, OpenSSL would ask on the terminal
        nonlocal is_encrypted
        is_encrypted = True
        if password is None:
            raise SettingsError((f"{key} is encrypted: set {prefix}KEY_PASSWORD to its password.",))
        return password.reveal()

    try:
        context.load_cert_chain(certfile, keyfile, password=decrypting_password)
    except (ssl.SSLError, ValueError) as error:  # ValueError: a password that is too long for any key
        reason = getattr(error, "reason", None)
        if is_encrypted and reason != _MISMATCH:
            problem = f"{prefix}KEY_PASSWORD is not the password of {key}: set the one that the key was encrypted with."
        else:
            files = f"{Path(certfile)} and {Path(keyfile or certfile)}"
            problem = (
                f"{prefix}CERTFILE and {prefix}KEYFILE: {files} are not a certificate and its private key "
                f"({_in_words(reason)}): use PEM files that match."
            )
        raise SettingsError((problem,)) from None


def _in_words(reason: str | None) -> str:
    return (reason or "not PEM").lower().replace("_", " ")
