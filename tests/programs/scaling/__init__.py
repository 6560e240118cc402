"""What a group of bridges takes of processors, memory and brokers, by symbols, rate and shards."""
