"""``aries-bridge redrive``: dead letters go through the pipeline again, and what they become is published.

Start with ``run.py``; ``reprocessing.py`` decides what becomes of a letter.
"""
