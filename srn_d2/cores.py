"""Processor cores."""

import os


def usable_cores() -> int:
    """Number of cores that the scheduler grants this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
