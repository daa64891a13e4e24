"""The examples in the docstrings of the public numerics are true, and none of these has lost its own."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Callable

import pytest

from srrd_ray.core.geometry import Geometry
from srrd_ray.core.hashing import seed_from
from srrd_ray.morphometry.thickness import local_thickness
from srrd_ray.statistics import delong_test, icc

PUBLIC: tuple[Callable[..., object], ...] = (Geometry, seed_from, local_thickness, icc, delong_test)


@pytest.mark.parametrize("function", PUBLIC, ids=lambda function: function.__name__)
def test_a_public_function_shows_an_example_that_is_true(function: Callable[..., object]) -> None:
    module = sys.modules[function.__module__]
    tests = doctest.DocTestFinder(recurse=False).find(function, module=module, globs=vars(module).copy())
    assert [test.name for test in tests if test.examples] == [function.__name__], (
        "no example in its docstring"
    )
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(tests[0], out=said.append)
    assert result.failed == 0, "".join(said)
