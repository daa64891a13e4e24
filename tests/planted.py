"""Cohorts of DICOM series with a patient's data in every place a hospital fills, and a search of all that a run leaves."""

from __future__ import annotations

import base64
import gzip
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import zarr

from srrd_ray.cohort.pseudonyms import pseudonym
from srrd_ray.cohort.tables import Cohort, read_cohort
from srrd_ray.core.records import CohortKnee, Modality, Series
from srrd_ray.imaging.images import read_image
from tests.imaging import makers

KEY = b"0123456789abcdef"
MODALITIES: tuple[Modality, ...] = ("ct", "mr")
SECRETS = (*makers.PLANTED, "ELSEWHERE", "alert(", KEY.decode())
"""What a planted cohort holds, its participants' ids included, and what nothing outside it may hold."""
_INLINE = re.compile(rb"base64,([A-Za-z0-9+/=]+)")


def planted_cohort(source: Path, root: Path, most: int | None = None) -> Path:
    """Return a copy of a cohort, or of its first `most` knees, with its images as planted DICOM series, its participants named by record numbers.

    The name of every file holds the patient's name and date of birth.
    """
    whole = read_cohort(source)
    cohort = replace(whole, knees=whole.knees[:most])
    ids = {k.knee.participant: f"{makers.MRN}{k.knee.participant}" for k in cohort.knees}
    for number, knee in enumerate(cohort.knees):
        for modality in MODALITIES:
            series = knee.series(modality)
            if series is not None:
                _as_dicom(series, root / f"sub-{ids[knee.knee.participant]}" / modality, ids, number)
    _write_tables(cohort, root, ids)
    return root


def _as_dicom(series: Series, folder: Path, ids: dict[str, str], number: int) -> None:
    volume = read_image(series.path).volume
    target = folder / f"sub-{ids[series.knee.participant]}_side-{series.knee.side}_{series.modality}"
    kind = makers.CT if series.modality == "ct" else makers.MR
    # A part of the UID begins with 0, which breaks the standard: a reader that warns repeats the value.
    files = makers.series(
        target,
        geometry=volume.geometry,
        values=volume.array.astype(np.int16),
        kind=kind,
        uid=f"0{number + 1}{kind[-1]}",
    )
    for k, file in enumerate(files):
        file.rename(file.with_name(f"Winterbottom_Agatha_{makers.BIRTH}_{k:04d}.dcm"))


def _write_tables(cohort: Cohort, root: Path, ids: dict[str, str]) -> None:
    people: dict[str, CohortKnee] = {knee.knee.participant: knee for knee in cohort.knees}
    rows = [f"{ids[name]}\t{knee.age or 'n/a'}\t{knee.sex or 'n/a'}" for name, knee in people.items()]
    knees = [
        f"{ids[k.knee.participant]}\t{k.knee.side}\t{'n/a' if k.kl_grade is None else k.kl_grade}\t{k.oa}"
        for k in cohort.knees
    ]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tage\tsex", *rows]) + "\n")
    (root / "knees.tsv").write_text("\n".join(["participant_id\tside\tkl_grade\toa", *knees]) + "\n")


def key_file(folder: Path) -> Path:
    """Return a file with the key of the pseudonyms."""
    path = folder / "key"
    path.write_bytes(KEY)
    return path


def names(root: Path) -> list[str]:
    """Return the pseudonyms of a planted cohort under `KEY`."""
    return sorted({pseudonym(knee.knee.participant, KEY) for knee in read_cohort(root).knees})


def leaks(folder: Path, secrets: tuple[str, ...] = SECRETS) -> list[tuple[str, str]]:
    """Return (secret, file) for every secret in a name or a byte below `folder`, compressed bytes opened."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        contents = [name.encode(), *(_bytes_of(path) if path.is_file() or path.suffix == ".zarr" else ())]
        found += [(secret, name) for secret in secrets if any(secret.encode() in data for data in contents)]
    return found


def _bytes_of(path: Path) -> Iterator[bytes]:
    """Yield what a file holds, as it lies and opened."""
    if path.is_dir():
        for _, array in zarr.open_group(path, mode="r").arrays():
            yield np.ascontiguousarray(array[...]).tobytes()
        return
    data = path.read_bytes()
    yield data
    match path.suffix:
        case ".parquet":
            table = pq.read_table(path)
            yield repr((table.schema.metadata, table.to_pydict())).encode()
        case ".gz":
            yield gzip.decompress(data)
        case ".zip":
            with zipfile.ZipFile(path) as archive:
                yield from (archive.read(name) for name in archive.namelist())
        case ".html":
            yield from (base64.b64decode(part) for part in _INLINE.findall(data))
