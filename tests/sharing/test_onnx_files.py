"""ONNX gives the numbers of torch, or is refused. Needs the extra `onnx`, which the extra `test` brings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srrd_ray.core.errors import StoreError
from srrd_ray.distillation.inference import predict
from srrd_ray.sharing.export import ExportRequest, export_model
from srrd_ray.sharing.onnx_files import CubeReader, compare, regressor_export
from srrd_ray.sharing.verify import verify
from srrd_ray.stages.shared.models import load_model

pytestmark = pytest.mark.slow


def test_what_is_exported_is_what_a_knee_is_read_with(student: Path) -> None:
    network = load_model(student).networks[0]
    image, mask = regressor_export(network).example
    mean, sd = predict(network, image[:, 0].numpy(), mask[:, 0].numpy().astype(np.uint8))
    exported_mean, exported_sd = CubeReader(network)(image, mask)
    np.testing.assert_allclose(exported_mean.detach().numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(exported_sd.detach().numpy(), sd, rtol=1e-5)


def test_onnx_of_a_student_equals_torch_and_that_of_another_fold_does_not(
    student: Path, tmp_path: Path
) -> None:
    out = export_model(ExportRequest(model=student, out=tmp_path / "out", onnx=True))
    assert {check.status for check in verify(out)} == {"OK"}
    networks = load_model(student).networks
    with pytest.raises(StoreError, match="onnx-differs"):
        compare(out / "fold-1.onnx", regressor_export(networks[0]), "fold-1.onnx")
    (out / "fold-0.onnx").write_bytes(b"no onnx")
    told = {check.name: check.told for check in verify(out) if check.status == "FAIL"}
    assert "onnx-unreadable" in told["fold-0.onnx"] or "SHA256SUMS" in told["fold-0.onnx"]


def test_onnx_of_the_segmenter_equals_torch(segmenter: Path, tmp_path: Path) -> None:
    out = export_model(ExportRequest(model=segmenter, out=tmp_path / "out", onnx=True))
    assert {check.status for check in verify(out)} == {"OK"}
