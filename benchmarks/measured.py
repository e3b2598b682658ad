"""What numbers were measured on, and the processor time of a piece of work."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def machine(*variables: str) -> str:
    """Return the processor, Python, and how environment variables are set."""
    model = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        lines = described.read_text(encoding="utf-8").splitlines()
        model = next((x.split(": ")[1] for x in lines if x.startswith("model name")), model)
    settings = [f"{name} {os.environ.get(name, 'unset')}" for name in variables]
    python = f"Python {platform.python_version()}"
    return ", ".join([model, f"{os.cpu_count()} cores", *settings, python])


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return the processor seconds of a piece of work, and what it gives."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result
