"""The Aries wire, without I/O: bytes and a clock go in, typed events and bytes to send come out."""
