"""The preflight: check everything that the bridge needs, and say how to fix what is wrong."""
