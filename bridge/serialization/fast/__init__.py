"""Serialization by code generated from the schemas; ``records`` and ``serializer`` are its reference and fallback."""

from bridge.serialization.fast.binary import encode_long, encode_string
from bridge.serialization.fast.field_layouts import FieldLayout, FieldLayoutCache
from bridge.serialization.fast.serializer import FastSerializer, RecordEncoder

__all__ = ["FastSerializer", "FieldLayout", "FieldLayoutCache", "RecordEncoder", "encode_long", "encode_string"]
