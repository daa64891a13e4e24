"""pydicom, and highdicom, without their warnings, which repeat values of a header."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

import pydicom


@dataclass(slots=True)
class _Readers:
    """How many threads read, and the mode to go back to when none does."""

    count: int = 0
    before: int | None = None
    lock: Lock = field(default_factory=Lock)


_READERS = _Readers()


@contextmanager
def unvalidated() -> Iterator[None]:
    """Switch pydicom's validation of values off while any thread is in the block:
    its warnings repeat values, maybe a name.

    The setting is global to the process: the first thread switches it off and the last one on again.
    """
    settings = pydicom.config.settings
    with _READERS.lock:
        if _READERS.count == 0:
            _READERS.before = settings._reading_validation_mode
            settings.reading_validation_mode = pydicom.config.IGNORE
        _READERS.count += 1
    try:
        yield
    finally:
        with _READERS.lock:
            _READERS.count -= 1
            if _READERS.count == 0:
                settings._reading_validation_mode = _READERS.before


@contextmanager
def quiet() -> Iterator[None]:
    """Switch off what the libraries warn of: it repeats values of the header, maybe a name."""
    logger = logging.getLogger("highdicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), unvalidated():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
