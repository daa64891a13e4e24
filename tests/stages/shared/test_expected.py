from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from srrd_ray.core.parameters import PARAMETERS
from srrd_ray.stages.shared.expected import EXPECTED, read_expected, write_expected
from srrd_ray.storage.tables import CONTRACTS, write_table
from tests.run_folder import Made, make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(tmp_path_factory.mktemp("run"), patients=20)


def test_what_is_written_beside_the_models_is_read_back(made: Made) -> None:
    write_expected(made.layout, simulated=True)
    found = read_expected(made.layout.model("distilled"))
    assert found is not None
    assert (found.simulated, found.patients, found.women + found.men) == (True, 20, 20)
    assert set(found.models) == {"baseline", "distilled"}
    for one in found.models.values():
        assert [error.parameter for error in one.errors] == list(PARAMETERS)
        assert all(error.within_90 is not None and error.within_90 > 0 for error in one.errors)
        assert one.ranges


def test_errors_of_a_student_of_the_readers_are_from_what_the_reader_reads(tmp_path: Path) -> None:
    made = make_run(tmp_path, patients=20)
    path = made.layout.table("predictions")
    predictions = pd.read_parquet(path)
    school = predictions[predictions["model"] == "distilled"].assign(model="school")
    write_table(path, pd.concat([predictions, school], ignore_index=True), CONTRACTS["predictions"])
    write_expected(made.layout, simulated=True)
    found = read_expected(made.layout.model("distilled"))
    assert found is not None
    references = {name: one.reference for name, one in found.models.items()}
    assert references == {"baseline": "measured", "distilled": "read", "school": "read"}


def test_no_participant_is_named(made: Made) -> None:
    write_expected(made.layout, simulated=False)
    assert "participant" not in made.layout.model(EXPECTED).read_text()


def test_a_model_alone_has_nothing_to_expect(tmp_path: Path) -> None:
    assert read_expected(tmp_path / "models" / "distilled") is None
