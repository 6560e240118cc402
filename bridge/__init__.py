"""Bridge the Aries market-data WebSocket to Kafka."""

__version__ = "0.1.0"
