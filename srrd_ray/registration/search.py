"""The pose of a bone on CT, synthetic CT and MR, and a wider search where
the inner structure does not confirm it.

A pose that the inner structure confirms needs no more than the candidates of the surfaces. Where it does not,
the descent may have ended in a wrong minimum: starts around the pose are tried too, and the information
decides again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from srrd_ray.core.geometry import Matrix4, Points, matrix4, transform_points
from srrd_ray.core.volume import Scalar, Volume
from srrd_ray.registration.quality import structure_confirms
from srrd_ray.registration.rigid import RegistrationConfig, RigidResult, choose_by_information, register_bone

Mask = NDArray[np.bool_]


def find_pose(
    fixed: Volume[Scalar],
    moving: Volume[np.float32],
    masks: tuple[Mask, Mask],
    mr: Volume[np.float32],
    config: RegistrationConfig,
) -> RigidResult:
    """Return the pose of one bone from CT to MR.

    Parameters
    ----------
    fixed, moving
        CT and synthetic CT, Hounsfield units.
    masks
        The bone on the grid of each.
    mr
        The MR over its local marrow level.

    Raises
    ------
    RegistrationError
        As `register_bone`.
    """
    result = register_bone(fixed, moving, *masks, config, mr=mr)
    if structure_confirms(fixed, moving, masks[0], result.matrix, config):
        return result
    centre = fixed.geometry.index_to_lps(np.argwhere(masks[0]).mean(axis=0))
    starts = [result.matrix, *starts_around(result.matrix, centre, config)]
    return choose_by_information(fixed, mr, masks[0], starts, config)


def starts_around(matrix: Matrix4, centre: Points, config: RegistrationConfig) -> list[Matrix4]:
    """Return `matrix` shifted by `around_mm` along and turned by `around_deg` about each axis of the moving
    image, both ways; it turns about the image of `centre`.
    """
    starts = []
    pivot = transform_points(matrix, centre)
    for axis in np.vstack([np.eye(3), -np.eye(3)]):
        shift, turn = np.eye(4), np.eye(4)
        shift[:3, 3] = config.around_mm * axis
        turn[:3, :3] = Rotation.from_rotvec(np.radians(config.around_deg) * axis).as_matrix()
        turn[:3, 3] = pivot - turn[:3, :3] @ pivot
        starts += [matrix4(small @ np.array(matrix)) for small in (shift, turn)]
    return starts
