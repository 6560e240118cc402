"""Group mode: which process owns which shard, decided by Kafka's group coordinator and a log of marks."""
