"""The trabecular parameters that are measured and predicted: all that is known of each in one record.

A fifth parameter begins here. Their order is that of every array with a parameter axis, and of the weights of
a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

ParameterSymbol: TypeAlias = Literal["BV/TV", "Tb.Th", "Tb.Sp", "Tb.N"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter.

    Parameters
    ----------
    symbol
        The ASBMR symbol: its column in tables, its key in metrics.
    name
        In words.
    unit
        Empty where it has none.
    digits
        Decimals shown.
    support
        Physical range in its unit, over which a network spreads its histogram.
    shown
        Ends of the colours of its map: the same on every page, so that maps can be compared.
    file_stem
        Name in lower case with the unit, for files.
    colour_map
        Of its map over an image (a name of matplotlib).
    """

    symbol: ParameterSymbol
    name: str
    unit: str
    digits: int
    support: tuple[float, float]
    shown: tuple[float, float]
    file_stem: str
    colour_map: str = "viridis"

    @property
    def label(self) -> str:
        """``Tb.Th (mm)``: the parameter as axes and tables name it."""
        return f"{self.symbol} ({self.unit})" if self.unit else self.symbol

    @property
    def predictive_sd(self) -> str:
        """``Tb.Th.predictive_sd``: the column with the SD of the predictive distribution.

        It goes with the column of the predicted mean. It is not ``Tb.Th.SD``, which in morphometry is the SD
        of the thickness over the voxels of a region.
        """
        return f"{self.symbol}.predictive_sd"

    @property
    def cubes_sd(self) -> str:
        """``Tb.Th.cubes_sd``: the column with the SD of the predicted means over the cubes of a region."""
        return f"{self.symbol}.cubes_sd"


PARAMETER_OF: Mapping[ParameterSymbol, Parameter] = {
    parameter.symbol: parameter
    for parameter in (
        Parameter(
            symbol="BV/TV",
            name="bone volume fraction",
            unit="",
            digits=3,
            support=(0.0, 0.65),
            shown=(0.05, 0.45),
            file_stem="bvtv",
        ),
        Parameter(
            symbol="Tb.Th",
            name="trabecular thickness",
            unit="mm",
            digits=3,
            support=(0.05, 0.60),
            shown=(0.10, 0.50),
            file_stem="tb_th_mm",
        ),
        Parameter(
            symbol="Tb.Sp",
            name="trabecular separation",
            unit="mm",
            digits=3,
            support=(0.2, 1.6),
            shown=(0.3, 1.5),
            file_stem="tb_sp_mm",
        ),
        Parameter(
            symbol="Tb.N",
            name="trabecular number",
            unit="1/mm",
            digits=2,
            support=(0.4, 2.4),
            shown=(0.4, 1.6),
            file_stem="tb_n_per_mm",
        ),
    )
}
PARAMETERS: tuple[ParameterSymbol, ...] = tuple(PARAMETER_OF)
