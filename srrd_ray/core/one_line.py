"""Names and messages from outside as text that can stand in one line of a log, a table or a terminal."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def printable(text: str) -> str:
    r"""Return a name or message as one line; bytes that are no letters, and control codes, become escapes.

    >>> printable("new\nline.nii")
    'new\\nline.nii'
    """
    try:
        raw = text.encode("utf-8", "surrogateescape")  # as the system gave a name
    except UnicodeEncodeError:  # half a letter that is no byte of a name
        raw = text.encode("utf-8", "backslashreplace")
    letters = raw.decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), letters)
