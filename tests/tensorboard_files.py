"""Event files of TensorBoard, read back: records of a length, its checksum, the bytes and theirs."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto import event_pb2


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of an event file."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield data[at + 12 : at + 12 + length]
        at += 12 + length + 4


def scalars(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the scalars of an event file: by tag, steps with values."""
    found: dict[str, list[tuple[int, float]]] = {}
    for event in map(event_pb2.Event.FromString, records(path)):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found
