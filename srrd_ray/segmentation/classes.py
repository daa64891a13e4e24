"""What the network tells apart."""

from __future__ import annotations

from typing import Final

CLASSES: Final = ("background", "femur", "tibia", "fibula", "patella", "cartilage")
"""In the order of the network's outputs; the bones have the numbers of simulated label maps."""
FEMUR, TIBIA, FIBULA, PATELLA, CARTILAGE = range(1, 6)
BONES: Final = CLASSES[1:5]
