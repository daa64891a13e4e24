"""A run as one frozen record, read from one YAML file.

The configuration of every stage is defined with its owner.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from srrd_ray.core import serial
from srrd_ray.core.errors import ConfigError
from srrd_ray.core.settings import Natural, setting_error, validate_fields
from srrd_ray.diagnosis import DiagnosisConfig
from srrd_ray.distillation.config import DistillationConfig
from srrd_ray.execution.config import ClusterConfig, TuneConfig
from srrd_ray.morphometry.resolve import MorphometryConfig
from srrd_ray.patches import PatchConfig
from srrd_ray.registration.rigid import RegistrationConfig
from srrd_ray.stages.shared.ingest_config import IngestConfig
from srrd_ray.synthesis.config import AlignedConfig, CycleGanConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Everything that a run depends on besides its cohort. The defaults suit two cores and a small cohort.

    Parameters
    ----------
    seed
        All that is drawn at random follows from it: folds, samples, the start of each training.
    """

    seed: Natural = 1
    ingest: IngestConfig = field(default_factory=IngestConfig)
    synthesis: CycleGanConfig = field(default_factory=CycleGanConfig)
    synthesis_aligned: AlignedConfig = field(default_factory=AlignedConfig)
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    patches: PatchConfig = field(default_factory=PatchConfig)
    morphometry: MorphometryConfig = field(default_factory=MorphometryConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    tune: TuneConfig = field(default_factory=TuneConfig)
    diagnosis: DiagnosisConfig = field(default_factory=DiagnosisConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)

    def __post_init__(self) -> None:
        validate_fields(self)
        epochs = self.distillation.search.epochs
        if self.tune.grace_epochs > epochs:
            raise setting_error(self, "tune.grace_epochs", f"at most distillation.search.epochs ({epochs})")


def read_config(path: Path | None) -> RunConfig:
    """Return the configuration of a YAML file (absent keys keep their defaults), or the defaults without one.

    Raises
    ------
    ConfigError
        `config-missing`, `config-invalid`, `key-repeated`, `key-unknown`, `setting-invalid`.
    """
    if path is None:
        return RunConfig()
    if not path.is_file():
        raise ConfigError(
            "config-missing", "no such configuration file", where=path.name, todo="Check --config."
        )
    return serial.from_yaml(RunConfig, path)
