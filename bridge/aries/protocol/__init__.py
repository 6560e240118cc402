"""The wire protocol, sans-I/O: frames, tokens and times go in, messages, events and frames to send come out."""
