"""Where everything of a run lies. Paths are made here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from srrd_ray.core.bones import BoneName
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.records import Image, Knee


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLayout:
    """The folder of one run.

    Every path is of a kind, e.g. ``volumes/ct`` or ``tables/knees``. Stages declare the kinds that they
    write; the layout that the function of a stage receives is `restricted` to what it may open.

    Raises
    ------
    ConfigError
        `path-undeclared` where a path is asked for that the layout is not open to: a defect of a declaration.
    """

    root: Path
    kinds: frozenset[str] | None = None

    def restricted(self, kinds: frozenset[str]) -> RunLayout:
        """Return this layout open to paths of these kinds alone."""
        return replace(self, kinds=kinds)

    def opens(self, kind: str) -> bool:
        """Return whether paths of this kind may be asked for."""
        return self.kinds is None or kind in self.kinds

    def _path(self, kind: str, *parts: str) -> Path:
        if self.kinds is not None and not self.opens(kind):
            raise ConfigError(
                "path-undeclared", "a stage opens what it does not declare", got=kind,
                expected=", ".join(sorted(self.kinds)),
                todo="Declare the stage that writes it under `needs`.",
            )  # fmt: skip
        return self.root.joinpath(*parts)

    def knee_folder(self, knee: Knee) -> Path:
        """``volumes/<knee>``: the folder of its volumes and transforms."""
        return self.root / "volumes" / knee.key

    def volume(self, knee: Knee, image: Image) -> Path:
        """``volumes/<knee>/<image>.ome.zarr``, of kind ``volumes/<image>``."""
        return self._path(f"volumes/{image}", "volumes", knee.key, f"{image}.ome.zarr")

    def transform(self, knee: Knee, bone: BoneName) -> Path:
        """``volumes/<knee>/transform_<bone>.json``: a `BoneTransform`; kind ``volumes/transform``."""
        return self._path("volumes/transform", "volumes", knee.key, f"transform_{bone}.json")

    def first(self, knee: Knee) -> Path:
        """``first/<knee>/``: what round one of the synthesis led to, of kind ``first``."""
        return self._path("first", "first", knee.key)

    def registered_knees(self) -> tuple[Knee, ...]:
        """Return the knees of which any transform is stored."""
        folder = self._path("volumes/transform", "volumes")
        return tuple(
            Knee.parse(name) for name in sorted({p.parent.name for p in folder.glob("*/transform_*.json")})
        )

    def shard(self, index: int) -> Path:
        """``patches/shard-00000.zarr``; its index is the Parquet file of the same stem. Kind ``patches``."""
        return self.shard_named(f"shard-{index:05d}")

    def shard_named(self, shard: str) -> Path:
        """``patches/<shard>.zarr``."""
        return self._path("patches", "patches", f"{shard}.zarr")

    def shards(self) -> Iterator[Path]:
        """Yield the shards that are stored, in order."""
        for index in sorted(self._path("patches", "patches").glob("shard-*.parquet")):
            yield index.with_suffix(".zarr")

    def table(self, name: str) -> Path:
        """``tables/<name>.parquet``, of kind ``tables/<name>``."""
        return self._path(f"tables/{name}", "tables", f"{name}.parquet")

    def part(self, name: str, knee: Knee) -> Path:
        """``tables/parts/<name>/<knee>.parquet``: the rows of one knee, before they are gathered."""
        return self._part(name, knee.key)

    def shard_part(self, name: str, shard: str) -> Path:
        """``tables/parts/<name>/<shard>.parquet``: the rows of one shard, before they are gathered."""
        return self._part(name, shard)

    def _part(self, name: str, item: str) -> Path:
        return self._path(f"tables/parts/{name}", "tables", "parts", name, f"{item}.parquet")

    def model(self, name: str) -> Path:
        """``models/<name>``: a folder with safetensors and ``model.json``; kind ``models/<name>``."""
        return self._path(f"models/{name}", "models", name)

    @property
    def models_readme(self) -> Path:
        """``models/README.md``: the card of the student; kind ``models/README.md``."""
        return self._path("models/README.md", "models", "README.md")

    @property
    def tune(self) -> Path:
        """``tune/``: the searches as Ray Tune leaves them, and the scores of their trials beside them."""
        return self._path("tune", "tune")

    def tensorboard(self, stage: str) -> Path:
        """``tensorboard/<stage>/``: the losses of a stage that trains, as scalars; kind of the same name."""
        return self._path(f"tensorboard/{stage}", "tensorboard", stage)

    def qc_picture(self, knee: Knee) -> Path:
        """``qc/<knee>.webp``, of kind ``qc/pictures``."""
        return self._path("qc/pictures", "qc", f"{knee.key}.webp")

    def qc_thumbnail(self, knee: Knee) -> Path:
        """``qc/thumbnails/<knee>.webp``, of kind ``qc/pictures``."""
        return self._path("qc/pictures", "qc", "thumbnails", f"{knee.key}.webp")

    def qc_page(self, number: int) -> Path:
        """``qc/index.html``, further pages ``qc/page-2.html`` …; kind ``qc/pages``."""
        return self._path("qc/pages", "qc", "index.html" if number == 1 else f"page-{number}.html")

    @property
    def metrics(self) -> Path:
        """``metrics.json``."""
        return self._path("metrics.json", "metrics.json")

    @property
    def report(self) -> Path:
        """``report.html``."""
        return self._path("report.html", "report.html")

    def beside_report(self, name: str) -> Path:
        """A file that tells other software of the run, e.g. ``citation.bib``; its name is its kind."""
        return self._path(name, name)

    @property
    def run_json(self) -> Path:
        """``run.json``: configuration, versions, hashes, one outcome a knee and stage."""
        return self._path("run.json", "run.json")

    @property
    def trainings(self) -> Path:
        """``.training/``: checkpoints of trainings that go on; nothing of them is kept."""
        return self.root / ".training"

    def sidecar(self, stage: str, item: str) -> Path:
        """``.state/<stage>/<item>.json``: committed last; with the right input hash it means done."""
        return self.root.joinpath(".state", stage, f"{item}.json")

    @property
    def state(self) -> Path:
        """``.state/``: the sidecars of all stages."""
        return self.root / ".state"
