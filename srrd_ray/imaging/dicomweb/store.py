"""Results sent to a server, one file a request; what it has already is not sent again."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeAlias

from pydicom import dcmread
from pydicom.dataset import Dataset

from srrd_ray.core.errors import StoreError
from srrd_ray.imaging.dicomweb.address import Address
from srrd_ray.imaging.dicomweb.server import WAITS_S, Server, connect

log = logging.getLogger(__name__)

Place: TypeAlias = tuple[str, str]
"""The UIDs of a study and of a series."""
IN_ONE_PIECE = 2**62
"""Bytes of a chunk. There are servers that answer 200 to a body in chunks and keep nothing of it."""


def store(files: Sequence[Path], address: Address) -> int:
    """Return how many of the files were sent; the others are on the server. It lists all of them afterwards.

    Raises
    ------
    StoreError
        As `Server.ask`; `dicomweb-refused` where it does not keep a file.
    """
    server = connect(address)
    server.client.set_chunk_size(IN_ONE_PIECE)
    sent = 0
    for place, paths in _by_series(files).items():
        there = _list_stored(server, place)
        waiting = [path for uid, path in paths.items() if uid not in there]
        for path in waiting:
            _send(server, path)
        sent += len(waiting)
        if waiting:
            _require_stored(server, place, paths)
    log.info("store  %d files sent to %s, %d were there", sent, address.host, len(files) - sent)
    return sent


def _by_series(files: Sequence[Path]) -> dict[Place, dict[str, Path]]:
    found: dict[Place, dict[str, Path]] = defaultdict(dict)
    for path in files:
        with path.open("rb") as file:
            header = dcmread(file, stop_before_pixels=True)
        found[header.StudyInstanceUID, header.SeriesInstanceUID][header.SOPInstanceUID] = path
    return found


def _require_stored(server: Server, place: Place, uids: Collection[str]) -> None:
    for wait in (0.0, *WAITS_S):  # an archive may list what it took a little later
        time.sleep(wait)
        missing = set(uids) - _list_stored(server, place)
        if not missing:
            return
    raise _not_kept(server.host, f"{len(missing)} of {len(uids)} files that it took are not listed")


def _list_stored(server: Server, place: Place) -> set[str]:
    found = server.search(lambda client, known: client.search_for_instances(*place, offset=known))
    return {str(one.SOPInstanceUID) for one in found}


def _send(server: Server, path: Path) -> None:
    with path.open("rb") as file:
        dataset = dcmread(file)
        answer = server.ask(lambda client: client.store_instances([dataset]))
    failed: Sequence[Dataset] = answer.get("FailedSOPSequence") or ()
    if failed:
        reason = failed[0].get("FailureReason")
        raise _not_kept(
            server.host, "" if reason is None else f"reason {int(reason):04X}H (DICOM PS3.4, table GG.4-2)"
        )


def _not_kept(host: str, got: str) -> StoreError:
    return StoreError(
        "dicomweb-refused", "the server does not keep a result", where=host, got=got,
        todo="Ask whoever runs it whether it takes segmentations, parametric maps and structured reports.",
    )  # fmt: skip
