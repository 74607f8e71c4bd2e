"""Metric series: read, split into runs, and judged."""
