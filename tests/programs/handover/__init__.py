"""How long consumers miss a shard when its owner ends, measured on Apache Kafka."""
