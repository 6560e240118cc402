"""The guard of schema evolution: today's schemas against those of every release."""
