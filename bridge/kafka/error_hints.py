"""What a person can do about the words with which aiokafka gives a connection up."""

from __future__ import annotations

_OTHER_NAME = (
    "The broker's certificate is for another host name: connect by that name, or set KAFKA_SSL_CHECK_HOSTNAME=false."
)
_HUNG_UP = (
    "The broker hung up: this port may speak TLS or ask for SASL (KAFKA_SECURITY_PROTOCOL), or for a client "
    "certificate (KAFKA_SSL_CERTFILE)."
)
_NOT_THERE = "Check KAFKA_BOOTSTRAP_SERVERS, and that Kafka runs and can be reached from here."
# aiokafka takes a refused OAUTHBEARER token for accepted, and gets no answer of use from then on.
_NO_METADATA = (
    "The broker tells nothing of itself. With OAUTHBEARER a refused token looks like this: check the KAFKA_OAUTH_* "
    "settings and the brokers' log."
)
# The first that is found counts. aiokafka logs the reason of a failed connection and raises without it.
_ADVICE = (
    ("certificate is not valid for", _OTHER_NAME),
    ("CERTIFICATE_VERIFY_FAILED", "Name the authority that signed the brokers' certificates in KAFKA_SSL_CAFILE."),
    ("SaslAuthenticationFailed", "Check the KAFKA_SASL_* settings against the brokers' users."),
    ("UnsupportedSaslMechanism", "Set KAFKA_SASL_MECHANISM to one that the brokers enable."),
    ("IllegalSaslState", "This port asks for no SASL: check KAFKA_SECURITY_PROTOCOL and the port."),
    ("Token endpoint", ""),  # says itself what to do
    (" closed", _HUNG_UP),
    ("[SSL", "This port may speak no TLS: check KAFKA_SECURITY_PROTOCOL and the port."),
    ("Name or service not known", "Check the host names in KAFKA_BOOTSTRAP_SERVERS and the DNS."),
    ("Connection refused", _NOT_THERE),  # as uvloop says it
    ("Connect call failed", _NOT_THERE),  # as asyncio says it
    ("update metadata", _NO_METADATA),
    ("No broker metadata", _NO_METADATA),
)
_NO_WORDS = "The connection was cut: this port may speak no TLS; check KAFKA_SECURITY_PROTOCOL and the port."


def advice(reason: str) -> str:
    """Return a sentence on what to do about ``reason``, empty where there is nothing particular.

    ``reason`` is what aiokafka's client logged last, or the text of what it raised.
    """
    if reason.endswith(": "):  # a reset has no text of its own
        return _NO_WORDS
    return next((remedy for words, remedy in _ADVICE if words in reason), "")
