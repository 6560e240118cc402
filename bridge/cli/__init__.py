"""The command line: one module per command, which turns options into a call."""
