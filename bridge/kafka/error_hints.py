"""What to do about the reasons that aiokafka reports for a failed connection."""

from __future__ import annotations

_HOST_NAME = (
    "The broker's certificate is for another host name: connect by that name, or set KAFKA_SSL_CHECK_HOSTNAME=false."
)
_EXPIRED = "The broker's certificate must be renewed by the operator of Kafka; also check this machine's clock."
_CONNECTION_CLOSED = (
    "The broker closed the connection: this port may require TLS or SASL (KAFKA_SECURITY_PROTOCOL), or a client "
    "certificate (KAFKA_SSL_CERTFILE)."
)
_NOT_LISTENING = "Check KAFKA_BOOTSTRAP_SERVERS, and that Kafka runs and can be reached from here."
_DNS = "Check the host names in KAFKA_BOOTSTRAP_SERVERS and the DNS."
# aiokafka does not notice a rejected OAUTHBEARER token; its next requests get no usable response.
_NO_METADATA = (
    "The broker sent no metadata, which is how a rejected OAUTHBEARER token looks: check the KAFKA_OAUTH_* settings "
    "(with AWS_MSK_IAM the role's policy and AWS_REGION), and the brokers' log."
)
_NO_PRODUCER_ID = (
    "The bridge writes without duplicates and needs a producer id for that (idempotent producer): use Apache Kafka 2.1 "
    "or newer, or a service that supports idempotent producers, and see the brokers' log."
)
_NO_TLS = "This port may not use TLS: check KAFKA_SECURITY_PROTOCOL and the port."
#: Part of a reason and its hint; the first match counts.
_HINTS = (
    # These messages have their own hint.
    ("Token endpoint", ""),
    ("KAFKA_OAUTH_", ""),
    ("AWS_MSK_IAM", ""),
    ("certificate is not valid for", _HOST_NAME),
    ("certificate has expired", _EXPIRED),
    ("certificate is not yet valid", "Check this machine's clock."),
    ("CERTIFICATE_VERIFY_FAILED", "Set KAFKA_SSL_CAFILE to the CA that signed the brokers' certificates."),
    ("SaslAuthenticationFailed", "Check the KAFKA_SASL_* settings against the brokers' users."),
    ("UnsupportedSaslMechanism", "Set KAFKA_SASL_MECHANISM to one that the brokers enable."),
    ("IllegalSaslState", "This port does not use SASL: check KAFKA_SECURITY_PROTOCOL and the port."),
    ("ClusterAuthorizationFailed", "Grant Write on the topics, or IdempotentWrite on the cluster."),
    ("during InitProducerId", _NO_PRODUCER_ID),
    (" closed", _CONNECTION_CLOSED),
    ("[SSL", _NO_TLS),
    ("Name or service not known", _DNS),
    ("label too long", _DNS),  # the host name cannot exist (IDNA)
    ("Connection refused", _NOT_LISTENING),  # uvloop
    ("Connect call failed", _NOT_LISTENING),  # asyncio
    ("update metadata", _NO_METADATA),
    ("No broker metadata", _NO_METADATA),
)


def error_hint(reason: str) -> str:
    """Return a sentence on what to do about ``reason``, empty if there is no specific hint.

    ``reason`` is the last message that aiokafka's client logged, or the text of its error.
    """
    if reason.endswith(": "):  # a connection reset has no text
        return f"The connection was reset. {_NO_TLS}"
    return next((hint for part, hint in _HINTS if part in reason), "")
