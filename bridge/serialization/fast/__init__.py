"""The fast path from an update to the bytes of its records; ``records`` and ``codec`` are its judge and fallback."""

from bridge.serialization.fast.binary import long_bytes, string_bytes
from bridge.serialization.fast.field_layouts import Shape, Shapes
from bridge.serialization.fast.serializer import Encode, Encoder

__all__ = ["Encode", "Encoder", "Shape", "Shapes", "long_bytes", "string_bytes"]
