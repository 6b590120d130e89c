"""How many cores there are to work with."""

import os


def available_cores() -> int:
    """Return how many cores this process may use; all, where the system cannot say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
