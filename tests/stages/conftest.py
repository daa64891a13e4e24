from __future__ import annotations

import pytest

from srrd_ray.storage.layout import RunLayout
from tests.stages.small_run import train_all, write_run


@pytest.fixture(scope="session")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """A run of six patients with all its models, trained in a plain loop, made once: look at it, but change nothing."""
    layout = write_run(tmp_path_factory.mktemp("learnt"))
    train_all(layout)
    return layout
