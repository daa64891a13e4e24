"""`srrd measure` of a bone in MR and CT: its fraction, its references and its plate, named in the row."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from srrd_ray.imaging.images import read_image
from srrd_ray.imaging.nifti_writer import write_nifti
from tests.knee_bones.class_reader import leaking
from tests.stages.test_measure import BVTV, SHAPE, STEPS, label_mask, mr_image
from tests.test_cli import code_of

Found = dict[str, float | str | None]
PLATE_MM = 2.25


def write(path: Path, array: NDArray[np.generic]) -> Path:
    """Write along LPS axes."""
    affine = np.diag([-STEPS[2], -STEPS[1], STEPS[0], 1.0])
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), affine), path)
    return path


def ct_image() -> NDArray[np.int16]:
    """Return a bone of 0.25 volume fraction between marrow of -60 and mineral of 1440 HU, with a plate on top, in muscle."""
    rng = np.random.default_rng(3)
    fraction = np.clip(0.25 + 0.12 * rng.standard_normal(SHAPE), 0, 0.6)
    fraction[SHAPE[0] - 2 - round(PLATE_MM / STEPS[0]) :] = 1.0
    return np.where(label_mask(), -60 + 1500 * fraction, 50 + 5 * rng.standard_normal(SHAPE)).astype(np.int16)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Found:
    assert code_of("measure", *map(str, arguments)) == 0
    found: Found = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    labels = label_mask().astype(np.uint8) * 2
    labels[0] = 1  # another bone
    return write(tmp_path / "labels.nii.gz", labels)


@pytest.fixture
def mr(tmp_path: Path) -> Path:
    return write(tmp_path / "mr.nii.gz", mr_image(700.0).array)


def test_mr_gives_the_bone_fraction_and_names_its_reference(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mr: Path, mask: Path
) -> None:
    maps, picture = tmp_path / "maps", tmp_path / "mr.png"
    options = ("--from", "mr", "--bone", "tibia", "--bone-mask", mask)
    found = run(capsys, mr, *options, "--maps", maps, "--picture", picture)
    assert found["BV/TV"] == pytest.approx(BVTV, abs=0.05)
    assert (found["modality"], found["polarity"], found["marrow_from"]) == (
        "mr",
        "marrow bright, bone dark",
        "image",
    )
    assert found["marrow"] == pytest.approx(700, rel=0.15)
    assert found["Tb.Th"] == pytest.approx(float(found["BV/TV"] or 0) / float(found["Tb.N"] or 1))
    assert found["DA"] is None
    assert sorted(path.name for path in maps.iterdir()) == ["fraction.nrrd", "spacing.nrrd", "thickness.nrrd"]
    fraction = read_image(maps / "fraction.nrrd").volume
    assert fraction.geometry.matches(read_image(mr).volume.geometry)
    assert picture.stat().st_size > 10_000


def test_a_marrow_signal_that_is_given_is_used(
    capsys: pytest.CaptureFixture[str], mr: Path, mask: Path
) -> None:
    options = (mr, "--from", "mr", "--bone", "tibia", "--bone-mask", mask)
    low, high = (run(capsys, *options, "--marrow", marrow) for marrow in (650, 1000))
    assert (low["marrow"], low["marrow_from"]) == (650, "given")
    assert float(high["BV/TV"] or 0) > float(low["BV/TV"] or 0) + 0.1


def test_the_published_algorithm_is_named_and_has_four_values(
    capsys: pytest.CaptureFixture[str], mr: Path, mask: Path
) -> None:
    found = run(capsys, mr, "--from", "mr", "--bone", "tibia", "--bone-mask", mask, "--method", "paper")
    assert str(found["method"]).startswith("published 2D algorithm")
    assert all(found[name] for name in ("BV/TV", "Tb.Th", "Tb.Sp", "Tb.N"))
    assert found["Tb.Sp.SD"] is None


def test_fat_suppressed_mr_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Path) -> None:
    dark = np.where(label_mask(), mr_image(60.0).array, 400).astype(np.float32)
    path = write(tmp_path / "dark.nii.gz", dark)
    assert code_of("measure", str(path), "--from", "mr", "--bone", "tibia", "--bone-mask", str(mask)) == 1
    assert "marrow-dark" in capsys.readouterr().err


def test_ct_gives_the_fraction_between_its_references_and_the_plate_but_no_thickness(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Path
) -> None:
    ct = write(tmp_path / "ct.nii.gz", ct_image())
    options = ("--from", "ct", "--bone", "tibia", "--bone-mask", mask, "--marrow", -60, "--mineral", 1440)
    found = run(capsys, ct, *options, "--maps", tmp_path / "maps")
    assert found["BV/TV"] == pytest.approx(0.25, abs=0.01)
    assert (found["marrow"], found["mineral"], found["marrow_from"]) == (-60, 1440, "given")
    assert found["Tb.Th"] is None
    assert "do not resolve trabeculae" in str(found["method"])
    assert found["Plate.Th"] == pytest.approx(PLATE_MM, abs=0.3)  # normals tilt at the edges of the block
    assert found["Plate.method"] == "mineral along the normal"
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["fraction.nrrd"]


def test_a_threshold_in_hu_is_taken_at_its_word(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Path
) -> None:
    array = ct_image()
    roi = np.zeros(SHAPE, np.uint8)
    roi[6:16, 20:70, 20:70] = 1
    options = (
        "--from",
        "ct",
        "--bone",
        "tibia",
        "--bone-mask",
        mask,
        "--roi",
        write(tmp_path / "roi.nii.gz", roi),
    )
    found = run(capsys, write(tmp_path / "ct.nii.gz", array), *options, "--threshold", 400)
    assert found["threshold"] == 400
    assert found["BV/TV"] == pytest.approx((array[roi > 0] > 400).mean(), abs=1e-12)
    assert found["Tb.Th"] is not None


def test_labels_of_another_numbering_are_refused_until_the_bones_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    labels = label_mask().astype(np.uint8) * 6
    labels[0] = 2  # tibial cartilage
    ct, mask = write(tmp_path / "ct.nii.gz", ct_image()), write(tmp_path / "oai.nii.gz", labels)
    options = ("--from", "ct", "--bone", "tibia", "--bone-mask", str(mask))
    assert code_of("measure", str(ct), *options) == 1
    assert "[mask-label] which label is the tibia? in oai.nii.gz: got labels [0, 2, 6]" in (
        capsys.readouterr().err
    )
    alone = write(tmp_path / "alone.nii.gz", (labels == 6).astype(np.uint8))
    named, split = (
        run(capsys, ct, *options, *more) for more in (("--bone-label", 6), ("--bone-mask", alone))
    )
    assert named["BV/TV"] == split["BV/TV"]
    assert named["n_voxels"] == split["n_voxels"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bone-label", "6"], "--bone-label is of a mask"),
        (["--from", "mr"], "bone-mask-missing"),
        (["--from", "ct"], "--bone femur or tibia"),
        (["--from", "mr", "--threshold", "300"], "--threshold has no meaning here"),
        (["--from", "mr", "--mineral", "1500"], "--mineral has no meaning here"),
        (["--method", "paper"], "--from mr"),
        (["--marrow", "100"], "--marrow has no meaning here"),
        (["--mode", "bonej", "--surface", "subvoxel"], "no sub-voxel surface"),
        (["--from", "ct", "--threshold", "400", "--marrow", "0"], "a threshold needs no calibration"),
    ],
)
def test_options_that_contradict_each_other_are_usage_errors(
    capsys: pytest.CaptureFixture[str], mr: Path, options: list[str], words: str
) -> None:
    assert code_of("measure", str(mr), *options) == 2
    assert words in capsys.readouterr().err


def test_the_bone_of_an_image_that_resolves_it_has_a_plate_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mask: Path
) -> None:
    path = write(tmp_path / "bone.nii.gz", (ct_image() > 1000).astype(np.uint8))
    found = run(capsys, path, "--threshold", "binary", "--bone", "tibia", "--bone-mask", mask)
    assert found["Plate.Th"] == pytest.approx(PLATE_MM, abs=0.5 * STEPS[0])
    assert found["n_voxels"] == label_mask().sum()


@pytest.mark.usefixtures("class_reader")
def test_a_lump_that_was_cut_off_a_bone_that_was_found_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_nifti(tmp_path / "ct.nii.gz", leaking("L")[0])
    assert code_of("measure", str(tmp_path / "ct.nii.gz"), "--from", "ct", "--bone", "femur") == 0
    said = capsys.readouterr()
    told = "FLAG bone-lump: femur: bone-lump, got "
    assert told in str(json.loads(said.out)["notes"])
    assert f"srrd: ct.nii.gz: {told}" in said.err
    assert "side-uncertain" not in said.err
