"""Ctrl-C and `kill`, heard wherever the program is."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_heard = threading.Event()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Both signals raise `KeyboardInterrupt`."""
    _heard.clear()
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, _raise) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


def check() -> None:
    """Raise if a signal was heard: Python drops what is raised inside a destructor or a callback of its own."""
    if _heard.is_set():
        raise KeyboardInterrupt


def _raise(*_: object) -> None:
    _heard.set()
    raise KeyboardInterrupt
