"""What a library met in a file that it cannot read, in words: an exception's name tells a user nothing."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib

REASONS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((gzip.BadGzipFile,), "bytes that are not those of gzip, or whose checksum is another"),
    ((zlib.error, lzma.LZMAError), "compressed bytes that are damaged"),
    ((EOFError, StopIteration), "the end of the file"),
    ((json.JSONDecodeError,), "text that is no JSON"),
    ((UnicodeError,), "bytes that are no text"),
    ((FileNotFoundError,), "a part that is not there"),
    ((MemoryError, RecursionError), "more than there is memory for"),
    ((NotImplementedError,), "a coding that is not supported"),
    ((OverflowError, ArithmeticError), "a number that is out of range"),
    ((KeyError, AttributeError, IndexError), "an entry that is missing or of another kind"),
    ((ValueError, TypeError, AssertionError), "a value that the format does not have"),
)
"""Classes of exceptions, the more specific first, and what they say of a file."""


def explain(error: Exception) -> str:
    """Return why a library could not read a file; nothing of what stands in it.

    Examples
    --------
    >>> explain(zlib.error("Error -3 while decompressing data"))
    'compressed bytes that are damaged'
    >>> explain(OSError(5, "Input/output error"))
    'Input/output error'
    """
    for kinds, words in REASONS:
        if isinstance(error, kinds):
            return words
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "bytes that cannot be decoded"
