"""Kafka as it is reached from here: security, producers, partitions, topics, and a broker for dev and tests."""
