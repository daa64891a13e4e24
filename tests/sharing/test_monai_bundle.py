"""MONAI runs a bundle from its configuration alone, and gets the numbers of the model. Nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser

from srrd_ray.distillation.inference import predict
from srrd_ray.knee_bones.segmenter_model import load_segmenter
from srrd_ray.patches.sampling import CT_SHAPE
from srrd_ray.sharing.export import ExportRequest, export_model
from srrd_ray.stages.shared.models import load_model

KEYS = ("version", "monai_version", "task", "description", "intended_use", "network_data_format")


def bundle(model: Path, out: Path) -> tuple[Path, ConfigParser]:
    folder = export_model(ExportRequest(model=model, out=out, bundle=True)) / "monai"
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert all(metadata[key] for key in KEYS)
    assert not list(folder.rglob("*.pt"))
    parser = ConfigParser()
    parser.read_config(folder / "configs" / "inference.json")
    parser["bundle_root"] = str(folder)
    return folder, parser


def test_the_network_of_a_segmenter_bundle_gives_the_same_logits(segmenter: Path, tmp_path: Path) -> None:
    _, parser = bundle(segmenter, tmp_path / "out")
    parser["device"] = "cpu"
    network, image = parser.get_parsed_content("network"), torch.rand(1, 1, 32, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), load_segmenter(segmenter)[0](image))


def test_a_segmenter_bundle_writes_labels_on_the_grid_of_the_image(segmenter: Path, tmp_path: Path) -> None:
    affine = np.diag([-2.0, 1.0, 1.5, 1.0])
    nib.save(nib.Nifti1Image(np.zeros((20, 30, 40), np.int16), affine), tmp_path / "knee.nii.gz")
    folder, parser = bundle(segmenter, tmp_path / "out")
    parser["device"], parser["image"] = "cpu", str(tmp_path / "knee.nii.gz")
    parser["output_dir"] = str(folder / "eval")
    parser.get_parsed_content("run")
    (written,) = (folder / "eval").rglob("*.nii.gz")
    labels = nib.load(written)
    assert labels.shape == (20, 30, 40)
    np.testing.assert_allclose(labels.affine, affine)


def test_a_student_bundle_reads_cubes_as_the_student_does(student: Path, tmp_path: Path) -> None:
    folder, parser = bundle(student, tmp_path / "out")
    rng = np.random.default_rng(0)
    images = rng.normal(300, 200, (2, *CT_SHAPE)).astype(np.int16)
    masks = np.ones((2, *CT_SHAPE), np.uint8)
    for name, array in (("images", images), ("masks", masks)):
        np.save(tmp_path / f"{name}.npy", array)
        parser[name] = str(tmp_path / f"{name}.npy")
    parser.get_parsed_content("run")
    expected = predict(load_model(student).networks[0], images, masks)
    np.testing.assert_allclose(np.load(folder / "means_and_sds.npy"), np.stack(expected), rtol=1e-6)
