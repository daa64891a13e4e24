from dataclasses import replace

import numpy as np

from srrd_ray.simulation import anatomy
from srrd_ray.simulation.anatomy import sample_anatomy
from srrd_ray.simulation.microstructure import Microstructure, sample_microstructure, volume_fraction
from srrd_ray.simulation.patients import SimulatedKnee
from srrd_ray.simulation.scene import Extent


def profile(plan: SimulatedKnee, micro: Microstructure) -> tuple[float, float]:
    """Return medial tibial BV/TV 1 mm and 12 mm under the plateau."""
    a = sample_anatomy(plan)
    xyz = Extent(low=(a.centers_x[0] - 1, -1, -25), high=(a.centers_x[0] + 1, 1, 5)).nodes(-99, 99)
    shape = anatomy.tibia(a, *xyz)
    fraction = volume_fraction(np.random.default_rng(0), micro, 1, shape, xyz)
    near, deep = (np.abs(shape.under_joint - d) < 0.8 for d in (1.0, 12.0))
    return float(fraction[near].mean()), float(fraction[deep].mean())


def test_osteoarthritis_densifies_under_the_surface_and_thins_below(plan: SimulatedKnee) -> None:
    plan = replace(plan, valgus=False)
    micro = sample_microstructure(plan, sample_anatomy(plan))

    def with_effect(effect: float) -> Microstructure:
        femur, (medial, lateral) = micro.regions
        return replace(micro, regions=(femur, (replace(medial, effect=effect), lateral)))

    healthy, diseased = profile(plan, with_effect(0.0)), profile(plan, with_effect(0.4))
    assert diseased[0] > healthy[0] * 1.05
    assert diseased[1] < healthy[1] * 0.95


def test_bone_thins_with_depth(plan: SimulatedKnee) -> None:
    near, deep = profile(plan, sample_microstructure(plan, sample_anatomy(plan)))
    assert near > deep


def test_a_valgus_knee_wears_its_lateral_side(plan: SimulatedKnee) -> None:
    for valgus in (False, True):
        worn = replace(plan, kl_grade=4, oa=1, valgus=valgus)
        a = sample_anatomy(worn)
        assert (a.joint_space[1] < a.joint_space[0]) == valgus
        assert (a.tibial_cartilage[1] < a.tibial_cartilage[0]) == valgus
