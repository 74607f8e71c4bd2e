"""Checkpoints: read without loading, measured in one pass, judged by scale signatures, repaired into a new folder."""
