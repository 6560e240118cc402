"""The events that the bridge logs: constant texts, to search and alert by.

``bridge/README.md`` has a table of them with level, fields and meaning.
"""

from typing import Final

SETTINGS_WARNING: Final = "settings warning"
STARTING: Final = "starting"
FATAL_ERROR: Final = "fatal error"
SIGNAL_RECEIVED: Final = "signal received, shutting down"
SECOND_SIGNAL_RECEIVED: Final = "second signal received, exiting immediately"
CONNECTING_TO_ARIES: Final = "connecting to Aries"
DRAINING: Final = "shutting down: Aries connection closed, draining records"
STOPPED: Final = "stopped"
HTTP_LISTENING: Final = "HTTP server listening"
SESSION_STARTED: Final = "session started"
SUBSCRIBED: Final = "subscribed"
SYMBOL_REJECTED: Final = "symbol rejected by Aries"
SERVER_ERROR: Final = "error message from Aries"
REAUTHENTICATED: Final = "reauthenticated on the open connection"
REAUTHENTICATION_FAILED: Final = "reauthentication failed, session continues with current token"
PONG_MISSING: Final = "ping not answered while data is received, keeping the connection"
DATA_MISSING: Final = "no data although pings are answered, subscribing again"
LIFETIME_IGNORED: Final = "implausible lifetime ignored"
CONNECTION_LOST: Final = "Aries connection lost"
GAP_ENDED: Final = "data resumed after gap"
TOKEN_REFRESH_FAILED: Final = "token refresh failed, using current token"  # noqa: S105 - no password
REFRESH_TOKEN_ROTATED: Final = "refresh token rotated by the server"  # noqa: S105 - no password
SUBSCRIPTIONS_CHANGED: Final = "subscriptions changed"
SUBSCRIPTIONS_REJECTED: Final = "new subscriptions rejected, keeping current ones"
FILE_WATCH_UNAVAILABLE: Final = "file notifications unavailable, polling"
KAFKA_CONNECTED: Final = "Kafka connected"
KAFKA_UNAVAILABLE: Final = "Kafka unavailable, retrying"
REGISTRY_UNAVAILABLE: Final = "schema registry unavailable, retrying"
PRODUCER_REPLACED: Final = "producer replaced, resending"
PRODUCER_READY: Final = "new producer ready"
TOPIC_BLOCKED: Final = "topic not writable, buffering"
TOPIC_RECOVERED: Final = "topic writable again"
PARTITION_COUNT_CHANGED: Final = "partition counts changed, restart to use them"
OVERLOAD_STARTED: Final = "overload started"
OVERLOAD_ENDED: Final = "overload ended"
LOG_LINES_DROPPED: Final = "log lines dropped"
SIMULATOR_FAULT: Final = "simulator fault injected"
