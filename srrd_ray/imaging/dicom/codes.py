"""Coded words of the results in DICOM: of the standard where it has them, else of a scheme of our own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from srrd_ray.core.bones import BoneName
from srrd_ray.core.parameters import PARAMETER_OF, Parameter, ParameterSymbol
from srrd_ray.core.records import Compartment, Side

SCHEME = "99SRRD"
"""The standard reserves designators with 99 for private schemes."""
BONE_CODES: Mapping[BoneName, Code] = MappingProxyType({"femur": codes.SCT.Femur, "tibia": codes.SCT.Tibia})
SIDE_CODES: Mapping[Side, Code] = MappingProxyType({"L": codes.SCT.Left, "R": codes.SCT.Right})
COMPARTMENT_CODES: Mapping[Compartment, Code] = MappingProxyType(
    {"medial": codes.SCT.Medial, "lateral": codes.SCT.Lateral}
)
SUBCHONDRAL = Code("SUBCHONDRAL", SCHEME, "Subchondral bone that was read")
CUBES = Code("CUBES", SCHEME, "Number of cubes that were read")
CUBE = Code("{cubes}", "UCUM", "cubes")


def scheme_of_our_own() -> CodingSchemeIdentificationItem:
    """Return the declaration of our scheme, which every file that uses it has to hold."""
    return CodingSchemeIdentificationItem(
        designator=SCHEME,
        name="SRRD-Ray parameters of trabecular bone",
        responsible_organization="SRRD-Ray",
    )


def parameter_code(symbol: ParameterSymbol) -> CodedConcept:
    """Return the code of a parameter: its ASBMR symbol, in our scheme, as no standard one has it.

    >>> code = parameter_code("Tb.Th")
    >>> code.value, code.scheme_designator, code.meaning
    ('Tb.Th', '99SRRD', 'trabecular thickness')
    """
    return CodedConcept(symbol, SCHEME, PARAMETER_OF[symbol].name)


def unit_code(parameter: Parameter) -> CodedConcept:
    """Return the UCUM code of a parameter's unit.

    Examples
    --------
    >>> print(*(unit_code(parameter).value for parameter in PARAMETER_OF.values()))
    1 mm mm 1/mm
    """
    return CodedConcept(parameter.unit or "1", "UCUM", parameter.unit or "no units")
