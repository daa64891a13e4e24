"""What inference refuses or names before any network reads a voxel; whole readings are in `test_pipeline.py`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from srrd_ray.core.errors import ConfigError, InputError, exit_code
from srrd_ray.execution.executor import PlainLoop
from srrd_ray.imaging.nifti_writer import write_nifti
from srrd_ray.pipeline.ct_images import name_images, relative_name, side_in_name
from srrd_ray.pipeline.inference import InferenceRequest, infer_all, parse_bone_labels
from srrd_ray.stages.shared.models import CARD
from tests.registration import phantoms


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a card: none of these tests comes as far as its weights."""
    folder = tmp_path / "models" / "distilled"
    folder.mkdir(parents=True)
    (folder / CARD).write_text("{}")
    return folder


def read(ct: Path, model: Path, out: Path) -> int:
    return infer_all(InferenceRequest(ct=ct, model=model, out=out), lambda _: PlainLoop())


def test_a_knee_whose_side_nothing_tells_is_refused(model: Path, tmp_path: Path) -> None:
    ct = tmp_path / "ct.nii.gz"
    write_nifti(ct, phantoms.knee()[0])
    with pytest.raises(InputError, match=r"\[side-unknown\].*--side"):
        read(ct, model, tmp_path / "out")


def test_a_folder_without_models_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model-missing") as refused:
        read(tmp_path / "ct.nii.gz", tmp_path, tmp_path / "out")
    assert exit_code(refused.value) == 2
    assert not (tmp_path / "out").exists()


def test_results_among_the_images_are_refused(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cts"
    folder.mkdir()
    (folder / "a.nii.gz").touch()
    for out in (folder, folder / "out"):
        with pytest.raises(ConfigError, match="output-in-input"):
            read(folder, model, out)
    assert [path.name for path in folder.iterdir()] == ["a.nii.gz"]


def test_a_name_of_any_bytes_has_a_row_of_one_line(model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "cts", tmp_path / "out"
    folder.mkdir()
    for name in (b"lat\xe9.nii.gz", b"two\nlines.nii.gz", "größe.nii.gz".encode()):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    assert read(folder, model, out) == 1
    lines = (out / "knees.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert {line.split(",")[0] for line in lines[1:]} == {
        "lat\\xe9.nii.gz", "two\\nlines.nii.gz", "größe.nii.gz",
    }  # fmt: skip


def test_a_ct_of_a_folder_without_a_mask_of_its_name_fails_alone(model: Path, tmp_path: Path) -> None:
    for name in ("cts", "masks"):
        (tmp_path / name).mkdir()
    write_nifti(tmp_path / "cts" / "a.nii.gz", phantoms.knee()[0])
    request = InferenceRequest(
        ct=tmp_path / "cts", model=model, out=tmp_path / "out", side="R", bone_mask=tmp_path / "masks"
    )
    assert infer_all(request, lambda _: PlainLoop()) == 1
    assert ",failed,mask-missing," in (tmp_path / "out" / "knees.csv").read_text()


@pytest.mark.parametrize("text", ["femur", "femur=0", "femur=x", "patella=1", "=1"])
def test_what_is_no_label_of_a_bone_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="option-invalid"):
        parse_bone_labels([text])


def test_a_label_without_a_mask_is_refused(model: Path, tmp_path: Path) -> None:
    request = InferenceRequest(
        ct=tmp_path / "a.nii.gz", model=model, out=tmp_path / "out", bone_labels=(("femur", 1),)
    )
    with pytest.raises(ConfigError, match="--bone-mask MASK with it"):
        infer_all(request, lambda _: PlainLoop())


def test_a_folder_without_images_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder-empty"):
        read(tmp_path / "models", model, tmp_path / "out")


def test_what_looks_like_a_ct_and_is_not_read_is_named_once(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cts"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"")
    (folder / "pair.img").write_bytes(b"x")
    with caplog.at_level("WARNING", logger="srrd_ray"):
        assert read(folder, model, tmp_path / "out") == 1
    assert [line for line in caplog.messages if "not read" in line] == [
        "infer  1 of the files are not read: pair.img; convert those that are volumes, e.g. to NIfTI"
    ]


@pytest.mark.parametrize(
    ("name", "side"),
    [("sub-1_side-L_ct.nii.gz", "L"), ("x_side-R", "R"), ("inside-L.nii", None), ("side-Left.nii", None)],
)
def test_a_name_tells_a_side_as_those_of_a_cohort_do(name: str, side: str | None) -> None:
    assert side_in_name(Path("folder") / name) == side


def test_each_image_has_a_folder_of_its_own_and_no_name_leaves_it(tmp_path: Path) -> None:
    images = ["a b.nii.gz", "a-b.nii", "-x.mha", "sub/ä.nrrd"]
    for image in images:
        path = tmp_path / image
        path.parent.mkdir(exist_ok=True)
        path.touch()
    named = name_images(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in named.values()) == sorted(images)
    assert {"x", "sub"} <= set(named)
    assert all(Path(name).name == name and name.isascii() and not name.startswith(".") for name in named)


def test_the_cts_of_a_list_are_named_after_their_place_and_no_folder_of_a_person(tmp_path: Path) -> None:
    elsewhere = tmp_path / "Jane_Doe" / "knee.nii.gz"
    for path in (tmp_path / "lists" / "a" / "knee.nii.gz", elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    given = tmp_path / "lists" / "cts.txt"
    given.write_text(f"# of today\n\na/knee.nii.gz\n{elsewhere}\ns3://bucket/b/knee.nii.gz\n")
    named = name_images(given)
    assert list(named.values())[:2] == [given.parent / "a" / "knee.nii.gz", elsewhere]
    first, *others = named
    assert first == "a-knee"
    assert all(re.fullmatch(r"knee-[0-9a-f]{8}", name) for name in others)
    assert [relative_name(image, given) for image in named.values()] == [
        "a/knee.nii.gz",
        *["knee.nii.gz"] * 2,
    ]


@pytest.mark.parametrize(("text", "code"), [("# none\n", "list-empty"), ("a.nii\na.nii\n", "list-repeats")])
def test_a_list_of_nothing_or_of_one_ct_twice_is_refused(
    text: str, code: str, model: Path, tmp_path: Path
) -> None:
    given = tmp_path / "cts.txt"
    given.write_text(text)
    with pytest.raises(ConfigError, match=code):
        read(given, model, tmp_path / "out")
