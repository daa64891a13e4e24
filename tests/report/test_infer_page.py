from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from srrd_ray.core.bones import BONES
from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS
from srrd_ray.core.records import COMPARTMENTS
from srrd_ray.core.volume import Volume
from srrd_ray.report.content import Json
from srrd_ray.report.infer_page import Inference, render_inference
from tests.report.test_overlays import knee

RECORD: dict[str, Json] = {
    "side": "R", "in_distribution": True, "distance": 1.2, "flags": [], "cubes": 40, "cubes_outside_volume": 2,
    "cubes_outside_bone": 3, "probability": 0.41, "model_sha256": {"fold-0": "ab" * 32},
}  # fmt: skip


def inference(*, value: float = 0.3, **changes: Json) -> Inference:
    images = knee()
    values = np.where(images.bones.array > 0, value, np.nan).astype(np.float32)
    rows = [
        {
            "bone": b,
            "compartment": c,
            "cubes": 10,
            **dict.fromkeys(PARAMETERS, 0.3),
            **{p.cubes_sd: 0.02 for p in PARAMETER_OF.values()},
        }
        for b in BONES
        for c in COMPARTMENTS
    ]
    maps = dict.fromkeys(PARAMETERS, Volume(array=values, geometry=images.ct.geometry))
    return Inference(
        ct=images.ct, bones=images.bones, maps=maps, regions=pd.DataFrame(rows), record=RECORD | changes
    )


@pytest.fixture(scope="module")
def trusted() -> str:
    return render_inference(inference())


def test_the_page_holds_maps_table_and_probability(trusted: str) -> None:
    assert "data:image/png;base64," in trusted
    assert len(re.findall("0.300 ± 0.020", trusted)) == 12
    assert "0.41" in trusted
    assert "right knee" in trusted
    assert "outside the images" not in trusted.split("Trust</h2>")[0]


def test_a_scan_outside_the_training_set_is_flagged_at_the_top_with_its_reasons() -> None:
    page = render_inference(inference(in_distribution=False, flags=["voxel z 3.0 (training 0.8 ± 0.1) <b>"]))
    assert page.index("extrapolations") < page.index("Parameter maps</h2>")
    assert "voxel z 3.0 (training 0.8 ± 0.1) &lt;b&gt;" in page


def test_nothing_measured_is_said_in_words() -> None:
    page = render_inference(inference(value=float("nan"), probability=None))
    assert "No map can be drawn" in page
    assert "not estimable" in page
