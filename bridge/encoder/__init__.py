"""The fast path from an update to the bytes of its records; ``records`` and ``codec`` are its judge and fallback."""

from bridge.encoder.binary import long_bytes, string_bytes
from bridge.encoder.encoder import Encode, Encoder
from bridge.encoder.shapes import Shape, Shapes

__all__ = ["Encode", "Encoder", "Shape", "Shapes", "long_bytes", "string_bytes"]
