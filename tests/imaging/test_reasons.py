"""What a user reads of a broken file: words, never the name of an exception."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from srrd_ray.core.errors import InputError
from srrd_ray.imaging import foreign_zarr, nifti, nrrd_reader, tiff
from srrd_ray.imaging.dicom.files import UNREADABLE
from srrd_ray.imaging.reasons import explain
from tests.fuzzing import TARGETS, broken

EXCEPTION = re.compile(r"\b[A-Z]\w*(Error|Exception|Iteration)\b")


def kinds() -> Iterator[type[Exception]]:
    """Yield every class of exception that a reader takes for a broken file."""
    for module in (nifti, nrrd_reader, foreign_zarr, tiff):
        yield from module._BROKEN
    yield from (*UNREADABLE, KeyError, ValueError, OverflowError)


@pytest.mark.parametrize("kind", sorted(set(kinds()), key=str))
def test_each_exception_of_a_library_has_words(kind: type[Exception]) -> None:
    try:
        error = kind("what stood in the file")
    except TypeError:  # it asks for more
        error = kind.__new__(kind)
    words = explain(error)
    assert " " in words
    assert kind.__name__ not in words
    assert "what stood in the file" not in words


@pytest.mark.parametrize("name", ["nifti-gz", "nrrd-gz", "mha", "zarr-3", "dicom", "tiff"])
def test_no_refusal_of_a_broken_image_holds_the_name_of_an_exception(tmp_path: Path, name: str) -> None:
    target, refusals = TARGETS[name], []
    (tmp_path / "sound").mkdir()
    target.make(tmp_path / "sound")
    for seed in range(12):
        try:
            target.read(broken(tmp_path / "sound", tmp_path / "case", seed))
        except InputError as error:
            refusals.append(str(error))
    assert refusals
    assert [text for text in refusals if EXCEPTION.search(text)] == []
