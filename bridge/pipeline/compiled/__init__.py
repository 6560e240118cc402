"""The compiled step from usual lines to queued records, where it was built: optional, and equal to Python's way.

``lines.c`` takes a line only if it is plain in every way; all others are left to ``bridge.pipeline.ingest``, which alone
knows what an odd value means. What records look like is in the plan (``plan.py``), made from the tables and schemas of
Python's own encoder.
"""
