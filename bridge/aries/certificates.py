"""What to do about a certificate that was not accepted."""

from __future__ import annotations

#: OpenSSL's X509_V_ERR_*: what of a certificate was not accepted.
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64


def certificate_remedy(code: int, address: str, *, named_by: str, trusted_by: str, any_name: str = "") -> str:
    """Return what helps against a ``verify_code`` of OpenSSL's.

    ``named_by`` is the setting with the server's address and ``trusted_by`` the one with the authorities to trust;
    ``any_name`` says how to accept a certificate for another name, where that is possible.
    """
    if code == _EXPIRED:
        return f"Have it renewed by whoever runs {address}, and check this machine's clock."
    if code == _NOT_YET_VALID:
        return "Check this machine's clock."
    if code in (_OTHER_HOST, _OTHER_ADDRESS):
        return f"Write the name that the certificate is for into {named_by}{any_name}."
    return f"If an authority of your own signed it, name that authority's PEM file in {trusted_by}."
