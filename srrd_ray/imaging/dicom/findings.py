"""What was found in the CT of a knee, and who found it: what the results in DICOM are written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from numpy.typing import NDArray
from pydicom.sr.codedict import codes

from srrd_ray import __version__
from srrd_ray.core.bones import BoneName
from srrd_ray.core.hashing import hash_json, hash_voxels
from srrd_ray.core.parameters import ParameterSymbol
from srrd_ray.core.records import Compartment, Side
from srrd_ray.core.volume import Volume
from srrd_ray.imaging.dicom.writer import MAKER

RESEARCH = "Research software, not a medical device. Predicted from CT by a network, not measured."


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """The network that read a knee: its name, the hash of all that the reading depends on in it, and whether
    it is known to have learnt from simulated knees.
    """

    name: str
    sha256: str
    simulated: bool

    @property
    def version(self) -> str:
        """Software and model, in one word."""
        return f"{__version__}+{self.sha256[:12]}"

    def identify(self) -> AlgorithmIdentificationSequence:
        """Return the algorithm as segments name it."""
        return AlgorithmIdentificationSequence(
            name=f"{MAKER} {self.name}",
            family=codes.DCM.ArtificialIntelligence,
            version=self.version,
            source=MAKER,
            parameters={"model_sha256": self.sha256},
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Region:
    """The subchondral bone of one compartment that was read.

    Parameters
    ----------
    mask
        Where it is, on the grid of the bones.
    means, sds
        Of the predicted values over its `cubes`.
    """

    bone: BoneName
    compartment: Compartment
    mask: NDArray[np.bool_]
    cubes: int
    means: Mapping[ParameterSymbol, float]
    sds: Mapping[ParameterSymbol, float]

    @property
    def name(self) -> str:
        """``femur medial``."""
        return f"{self.bone} {self.compartment}"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KneeFindings:
    """The results of one knee.

    Parameters
    ----------
    bones_given
        Whether the bones are the user's own and not found in the CT.
    cautions
        What a reader has to know, one sentence each.
    """

    side: Side
    bones: Volume[np.uint8]
    bones_given: bool
    regions: tuple[Region, ...]
    maps: Mapping[ParameterSymbol, Volume[np.float32]]
    algorithm: Algorithm
    cautions: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that a reader has to be told, the most important first."""
        return (RESEARCH, *self.cautions)

    def digest(self) -> str:
        """Return a hash of all of it, from which UIDs derive: the same findings have the same UIDs."""
        values = [[one.name, one.cubes, dict(one.means), dict(one.sds)] for one in self.regions]
        masks = [Volume(array=one.mask, geometry=self.bones.geometry) for one in self.regions]
        volumes: list[Volume[np.generic]] = [self.bones, *self.maps.values(), *masks]
        hashes = [hash_voxels(volume) for volume in volumes]
        return hash_json([self.side, self.algorithm.version, self.warnings, values, hashes])
