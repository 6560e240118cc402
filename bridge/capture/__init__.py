"""Captures: frames of the feed as they were received, in files; README.md has the format."""
