from __future__ import annotations

import numpy as np

from srrd_ray.report.synthesis_section import profile


def test_a_profile_runs_from_outside_inwards_whatever_the_order_of_its_layers() -> None:
    lows = ("-1", "-2", "-3", "0", "1", "12", "8")  # as JSON sorts them
    layers = {f"depth {low} to {int(low) + 1} mm": {"ct_hu": float(low), "synthetic_hu": 0.0} for low in lows}
    lines = profile(layers).axes[0].get_lines()[:2]
    assert all((np.diff(np.asarray(line.get_xdata(), dtype=np.float64)) > 0).all() for line in lines)
    assert np.asarray(lines[0].get_ydata()).tolist() == sorted(map(float, lows))
