"""A network that reads classes off grey values, and CTs for it: training one takes hours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srrd_ray.core.records import Side
from srrd_ray.core.volume import Volume
from srrd_ray.segmentation.classes import CLASSES
from srrd_ray.segmentation.grey_values import WINDOW_HU
from tests.segmentation.planted import shaped_knee


class ClassReader(nn.Module):
    """A network that reads the class of a voxel off its grey value."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.linspace(0, 1, len(CLASSES)), requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        return -((image - self.level[None, :, None, None, None]) ** 2) * 100


def painted(side: Side) -> Volume[np.float32]:
    """A CT in which each class has its place in the window of HU."""
    labels = shaped_knee(side)
    low, high = WINDOW_HU
    grey = low + (high - low) * labels.array.astype(np.float64) / (len(CLASSES) - 1)
    return Volume(array=grey.astype(np.float32), geometry=labels.geometry)


def leaking(side: Side) -> tuple[Volume[np.float32], NDArray[np.bool_]]:
    """The same with a box beside the femur that the reader takes for femur, and where it is."""
    image = painted(side)
    leak = np.zeros(image.array.shape, np.bool_)
    leak[50:58, 14:26, 4:14] = shaped_knee(side).array[50:58, 14:26, 4:14] == 0
    image.array[leak] = WINDOW_HU[0] + 0.27 * (WINDOW_HU[1] - WINDOW_HU[0])
    return image, leak
