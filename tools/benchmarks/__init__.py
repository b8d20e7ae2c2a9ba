"""Measurements of speed and memory; see tools/benchmark.py."""
