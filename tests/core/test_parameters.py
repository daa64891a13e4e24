from __future__ import annotations

from dataclasses import fields
from typing import get_args

from srrd_ray.core.parameters import PARAMETER_OF, PARAMETERS, ParameterSymbol
from srrd_ray.morphometry import BoneMeasures
from srrd_ray.storage.schemas import columns_of


def test_every_parameter_has_one_record_under_its_symbol() -> None:
    assert get_args(ParameterSymbol) == PARAMETERS
    assert all(parameter.symbol == symbol for symbol, parameter in PARAMETER_OF.items())


def test_files_are_named_as_the_fields_of_morphometry() -> None:
    assert {parameter.file_stem for parameter in PARAMETER_OF.values()} <= {
        each.name for each in fields(BoneMeasures)
    }


def test_a_support_is_a_range_of_values_that_can_be() -> None:
    assert all(0 <= low < high for low, high in (parameter.support for parameter in PARAMETER_OF.values()))
    assert PARAMETER_OF["BV/TV"].support[1] <= 1


def test_a_label_has_the_unit_where_there_is_one() -> None:
    assert PARAMETER_OF["BV/TV"].label == "BV/TV"
    assert PARAMETER_OF["Tb.N"].label == "Tb.N (1/mm)"


def test_the_spreads_of_predictions_are_no_columns_of_morphometry() -> None:
    spreads = {name for each in PARAMETER_OF.values() for name in (each.predictive_sd, each.cubes_sd)}
    assert len(spreads) == 2 * len(PARAMETERS)
    assert not spreads & set(columns_of("bone").rules)
    assert "Tb.Th.SD" in columns_of("bone").rules
