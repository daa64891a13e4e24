"""What tissue a point outside of every bone is, compiled into the loop of `compose_kernel`."""

from __future__ import annotations

import numpy as np

from srrd_ray.core.kernels import kernel

FAR_MM = np.float32(-9.0)
"""A corner deeper outside a bone than this needs no channel but the depth: neither cartilage nor meniscus
reaches into its brick.
"""
SKIN_MM = np.float32(1.6)
NEAR_FEMUR_MM, NEAR_TIBIA_MM = np.float32(-3.5), np.float32(-4.5)
"""Between the bones, nearer than this to both, is synovial fluid; the patella counts as the tibia does."""
MENISCUS_FEMUR_MM, MENISCUS_TIBIA_MM = np.float32(-6.0), np.float32(-7.5)
"""A meniscus fills what the bones leave between them in its ring, up to so far from each."""
FASCIA_MM, SEPTA, STREAK = np.float32(0.2), np.float32(0.04), np.float32(2.2)
SEPTUM_FROM = np.float32(0.4)
"""Half the thickness of the deep fascia; what of the first noise is a septum in fat where the second is over
`SEPTUM_FROM`, and what of the second is fat in muscle."""
ZERO = np.float32(0)

inlined = kernel(error_model="numpy", fastmath={"nnan", "ninf", "nsz"}, forceinline=True, _nrt=False)


@inlined
def lerp(line, b, w, c):  # type: ignore[no-untyped-def]
    """Return channel `c` of bone `b` at `w` between the ends of a line."""
    return line[b, 0, c] + w * line[b, 1, c]


@inlined
def soft_label(line, soft, w, deepest):  # type: ignore[no-untyped-def]
    """Return the label of a point outside every bone."""
    limb = soft[0, 0, 4] + w * soft[0, 1, 4]
    if limb < SKIN_MM:
        return 0 if limb < 0 else 7
    if deepest > FAR_MM:
        code = _joint(line, w)
        if code > 0:
            return code
    if soft[0, 0, 0] + w * soft[0, 1, 0] > 0:
        return 6
    if soft[0, 0, 2] + w * soft[0, 1, 2] > 0:
        return 10
    if soft[0, 0, 1] + w * soft[0, 1, 1] > 0:
        return 1 if soft[0, 0, 6] + w * soft[0, 1, 6] > STREAK else 2
    if abs(soft[0, 0, 3] + w * soft[0, 1, 3]) < FASCIA_MM:
        return 6
    septum = (
        abs(soft[0, 0, 5] + w * soft[0, 1, 5]) < SEPTA and soft[0, 0, 6] + w * soft[0, 1, 6] > SEPTUM_FROM
    )
    return 6 if septum else 1


@inlined
def _joint(line, w):  # type: ignore[no-untyped-def]
    """Return the label of a point between the bones: cartilage, meniscus or fluid; 0 elsewhere."""
    for b in range(line.shape[0]):
        if -lerp(line, b, w, 0) < lerp(line, b, w, 1):
            return 4
    femur, tibia = lerp(line, 0, w, 0), lerp(line, 1, w, 0)
    if femur > MENISCUS_FEMUR_MM and tibia > MENISCUS_TIBIA_MM and lerp(line, 1, w, 10) > 0:
        return 5
    if line.shape[0] > 3:
        tibia = max(tibia, lerp(line, 3, w, 0))
    return 3 if femur > NEAR_FEMUR_MM and tibia > NEAR_TIBIA_MM else 0
