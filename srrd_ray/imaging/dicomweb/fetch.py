"""The series of a study, fetched from a server into folders of DICOM files, each whole or absent."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
)

from srrd_ray.core.errors import ConfigError, StoreError
from srrd_ray.imaging.dicomweb.address import Address, is_uid
from srrd_ray.imaging.dicomweb.server import Server, connect
from srrd_ray.storage.atomic import replacing
from srrd_ray.storage.paths import remove_tree

log = logging.getLogger(__name__)

IMAGES: Final = frozenset({
    CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage,
    MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage,
})  # fmt: skip
"""What a volume is made of: no captures, reports or doses, which may be of the modality CT too."""
AS_STORED = (("application/dicom", "*"),)
"""Compressed as the server has it: nothing is decoded and encoded on the way."""
PREFIX = "series-"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Series:
    """A series on the server: its UID, its folder, and the file of each of its images by UID."""

    uid: str
    folder: str
    files: Mapping[str, str]


def fetch(address: Address, folder: Path, modalities: Collection[str]) -> Path:
    """Return the folder of the images of an address: below `folder` a folder a study, below it one a series.

    Of a study the series of these modalities are fetched that hold slices, localisers apart; a series that is
    named is fetched as it is. What is there already as the server lists it is not fetched again; series of
    the study that are no longer on the server are removed. Names of folders and files derive from UIDs.

    Raises
    ------
    ConfigError
        `dicomweb-address` where the address names no study; `dicomweb-empty`; `dicomweb-missing`.
    StoreError
        As `Server.ask`; `dicomweb-incomplete`; `output-full`, `output-unwritable`.
    """
    if not address.study:
        raise ConfigError(
            "dicomweb-address", "this address names no study", where=address.host,
            expected="…/studies/UID or …/studies/UID/series/UID",
        )  # fmt: skip
    server = connect(address)
    study = folder / f"study-{_digest(address.study)}"
    found = [one for one in _list_series(server, address, modalities) if one.files]
    if not found:
        raise ConfigError(
            "dicomweb-empty", "the server has no such images", where=address.host,
            expected=f"a series of {' or '.join(sorted(modalities))}", todo="Check the UIDs of the address.",
        )  # fmt: skip
    for one in found:
        _fetch_series(server, address.study, one, study / one.folder)
    if address.series:
        return study / found[0].folder
    _remove_others(study, {one.folder for one in found})
    return study


def _list_series(server: Server, address: Address, modalities: Collection[str]) -> Iterable[_Series]:
    answers = server.search(
        lambda client, known: client.search_for_series(
            address.study, fields=["Modality", "SeriesNumber"], offset=known
        )
    )
    for answer in answers:
        uid = str(answer.get("SeriesInstanceUID"))
        wanted = uid == address.series if address.series else answer.get("Modality") in modalities
        if is_uid(uid) and wanted:
            images = _list_images(server, address, uid)
            files = {image: f"{_digest(image)}.dcm" for image in images}
            yield _Series(uid=uid, folder=f"{PREFIX}{_number(answer):03d}-{_digest(uid)}", files=files)


def _list_images(server: Server, address: Address, uid: str) -> list[str]:
    found = server.search(
        lambda client, known: client.search_for_instances(
            address.study, uid, fields=["ImageType"], offset=known
        )
    )
    return [str(one.SOPInstanceUID) for one in found if address.series or _is_slice(one)]


def _is_slice(instance: Dataset) -> bool:
    kinds = instance.get("ImageType") or ()
    return instance.get("SOPClassUID") in IMAGES and "LOCALIZER" not in kinds


def _number(answer: Dataset) -> int:
    """Return the number of a series; 0 where it has none, as a number from outside becomes a path."""
    text = str(answer.get("SeriesNumber"))
    return int(text) if text.isdecimal() and len(text) < len("1000000") else 0


def _fetch_series(server: Server, study: str, series: _Series, folder: Path) -> None:
    if folder.is_dir() and {path.name for path in folder.iterdir()} == set(series.files.values()):
        log.info("fetch  %s is here", series.folder)
        return
    count = server.ask(
        lambda client: _download(client.iter_series(study, series.uid, AS_STORED), series.files, folder)
    )
    log.info("fetch  %s %d files", series.folder, count)


def _download(instances: Iterable[Dataset], files: Mapping[str, str], folder: Path) -> int:
    with replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        for instance in instances:
            name = files.get(str(instance.get("SOPInstanceUID")))
            if name is not None:
                instance.save_as(temporary / name, enforce_file_format=True)
        count = sum(1 for _ in temporary.iterdir())
        if count < len(files):
            raise StoreError(
                "dicomweb-incomplete", "the server did not send all of a series", where=folder.name,
                got=str(count), expected=f"{len(files)} files", todo="Run the same command again.",
            )  # fmt: skip
    return count


def _remove_others(study: Path, kept: Collection[str]) -> None:
    others: Sequence[Path] = [path for path in study.iterdir() if path.name.startswith(PREFIX)]
    for path in others:
        if path.name not in kept:
            log.info("fetch  %s is no longer on the server: removed", path.name)
            remove_tree(path)


def _digest(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:16]
