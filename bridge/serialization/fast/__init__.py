"""Serialization by code generated from the schemas; ``records`` and ``serializer`` are its reference and fallback."""

from bridge.serialization.fast.binary import long_bytes, string_bytes
from bridge.serialization.fast.field_layouts import Shape, Shapes
from bridge.serialization.fast.serializer import Encode, FastSerializer

__all__ = ["Encode", "FastSerializer", "Shape", "Shapes", "long_bytes", "string_bytes"]
