"""How a synthetic CT compares with the CT of the same bone, once their poses are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from srrd_ray.core.volume import Scalar, Volume

RANGE_HU = 2000.0
SPACING_MM = 0.75
SURROUND_MM = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisMetrics:
    """Mean absolute error (HU), peak signal to noise ratio (dB) and structural similarity,
    over a range of 2000 HU.
    """

    mae_hu: float
    psnr_db: float
    ssim: float

    @classmethod
    def unknown(cls) -> SynthesisMetrics:
        """Return the figures of a bone without a pose: not a number."""
        return cls(mae_hu=float("nan"), psnr_db=float("nan"), ssim=float("nan"))


def compare(
    ct: Volume[Scalar], sct: Volume[Scalar], mask: NDArray[np.bool_], to_sct: ArrayLike
) -> SynthesisMetrics:
    """Return the figures inside the bone `mask` (on the grid of `ct`) and 3 mm around it,
    on a grid of 0.75 mm.

    `to_sct` maps CT LPS to the synthetic CT's LPS. Both images are clipped to -200…1800 HU; SSIM is MONAI's,
    over the bounding box of the region, with what lies outside the
    region or one of the images set to one value.
    """
    region, still, there = _sample(ct, sct, mask, np.asarray(to_sct, dtype=np.float64))
    if not region.any():
        return SynthesisMetrics.unknown()
    import torch  # here: both take seconds to import, and registration needs them for this alone
    from monai.metrics import MAEMetric, PSNRMetric, SSIMMetric

    a, b = (
        torch.from_numpy(np.where(region, image, 0.0).astype(np.float32))[None, None]
        for image in (still, there)
    )
    inside = torch.from_numpy(region)[None, None]
    ssim = SSIMMetric(spatial_dims=3, data_range=RANGE_HU)(b, a)
    return SynthesisMetrics(
        mae_hu=float(MAEMetric()(b[inside][None], a[inside][None])),
        psnr_db=float(PSNRMetric(max_val=RANGE_HU)(b[inside][None], a[inside][None])),
        ssim=float(ssim.mean()),
    )


def _sample(
    ct: Volume[Scalar], sct: Volume[Scalar], mask: NDArray[np.bool_], to_sct: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Return region, CT and synthetic CT on an isotropic grid round the bone."""
    boxes = ndimage.find_objects(mask.astype(np.int32))[0]
    start = np.array([box.start for box in boxes])
    size = np.array([box.stop for box in boxes]) - start
    grid = ct.geometry.crop(
        (int(start[0]), int(start[1]), int(start[2])), (int(size[0]), int(size[1]), int(size[2]))
    )
    margin = SURROUND_MM / np.array(grid.spacing_mm)
    low = np.floor(-margin).astype(int)
    depth, height, width = (int(n) for n in size - 2 * low)
    wide = grid.crop((int(low[0]), int(low[1]), int(low[2])), (depth, height, width))
    shape = [max(round(n * s / SPACING_MM), 8) for n, s in zip(wide.shape, wide.spacing_mm, strict=True)]
    fine = wide.rescaled((shape[0], shape[1], shape[2]))
    bone = Volume(array=mask, geometry=ct.geometry).resample_onto(fine).array > 0.5
    region = ndimage.distance_transform_edt(~bone, sampling=fine.spacing_mm) <= SURROUND_MM
    still, there = (
        ct.resample_onto(fine, fill=np.nan).array,
        sct.resample_onto(fine, to_sct, fill=np.nan).array,
    )
    common = region & np.isfinite(still) & np.isfinite(there)
    return common, np.clip(np.nan_to_num(still), -200, 1800), np.clip(np.nan_to_num(there), -200, 1800)
