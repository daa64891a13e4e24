"""Where everything of a run lies. Paths are made here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from srrd_ray.core.bones import BoneName
from srrd_ray.core.records import Image, Knee


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLayout:
    """The folder of one run."""

    root: Path

    def volume(self, knee: Knee, image: Image) -> Path:
        """``volumes/<knee>/<image>.ome.zarr``."""
        return self.root / "volumes" / knee.key / f"{image}.ome.zarr"

    def transform(self, knee: Knee, bone: BoneName) -> Path:
        """``volumes/<knee>/transform_<bone>.json``: a `BoneTransform`."""
        return self.root / "volumes" / knee.key / f"transform_{bone}.json"

    def shard(self, index: int) -> Path:
        """``patches/shard-00000.zarr``; its index is the Parquet file of the same stem beside it."""
        return self.root / "patches" / f"shard-{index:05d}.zarr"

    def shard_number(self, shard: str) -> int:
        """The index of the shard of that name."""
        return int(shard.removeprefix("shard-"))

    def table(self, name: str) -> Path:
        """``tables/<name>.parquet``."""
        return self.root / "tables" / f"{name}.parquet"

    def part(self, name: str, knee: Knee) -> Path:
        """``tables/parts/<name>/<knee>.parquet``: the rows of one knee, before they are gathered."""
        return self.root / "tables" / "parts" / name / f"{knee.key}.parquet"

    def shard_part(self, name: str, shard: str) -> Path:
        """``tables/parts/<name>/<shard>.parquet``: the rows of one shard, before they are gathered."""
        return self.root / "tables" / "parts" / name / f"{shard}.parquet"

    def shard_named(self, shard: str) -> Path:
        """``patches/<shard>.zarr``."""
        return self.root / "patches" / f"{shard}.zarr"

    def model(self, name: str) -> Path:
        """``models/<name>``: a folder with safetensors and ``model.json``."""
        return self.root / "models" / name

    def sidecar(self, stage: str, unit: str) -> Path:
        """``.state/<stage>/<unit>.json``: written last; its presence with the right key means done."""
        return self.root.joinpath(".state", stage, f"{unit}.json")

    @property
    def tune(self) -> Path:
        """``tune/``: the searches as Ray Tune leaves them."""
        return self.root / "tune"

    @property
    def run_json(self) -> Path:
        """``run.json``: configuration, versions, hashes, one outcome a knee and stage."""
        return self.root / "run.json"

    @property
    def metrics(self) -> Path:
        """``metrics.json``."""
        return self.root / "metrics.json"

    @property
    def report(self) -> Path:
        """``report.html``."""
        return self.root / "report.html"
