"""Stage ``predict``: the parameters of the cubes of a shard, by models that never saw their patients."""

from __future__ import annotations

from srrd_ray.execution.stage import NoSettings, Stage, Work
from srrd_ray.execution.work import Produced
from srrd_ray.stages.shared.gather import read_folds


def predict(work: Work[NoSettings]) -> Produced:
    """Predict the cubes of a shard by models that never saw their patients."""
    from srrd_ray.stages.shared.reading import predict_shard  # torch takes seconds to import

    layout, shard = work.layout, work.item.name
    path = layout.shard_part("predictions", shard)
    folds = read_folds(layout, {knee.participant for knee in work.item.knees})
    predict_shard(layout, layout.shard_named(shard), path, folds)
    return Produced(paths=(path,))


STAGE = Stage(
    name="predict",
    scope="shard",
    function=predict,
    settings=NoSettings,
    needs=("patches", "tables", "teach", "distil"),
    outputs=("tables/parts/predictions",),
)
