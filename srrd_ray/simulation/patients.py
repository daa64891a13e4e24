"""The patients of a simulated cohort: covariates, disease and the anatomical sizes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal, TypeAlias

import numpy as np

from srrd_ray.core.errors import ConfigError
from srrd_ray.core.hashing import seed_from
from srrd_ray.core.records import Knee, Side

Profile: TypeAlias = Literal["quick", "joint", "paper"]
Sex: TypeAlias = Literal["F", "M"]
HOSPITALS = 4
"""Number of simulated hospitals: each has a CT protocol of its own (`ct.PROTOCOLS`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedKnee:
    """One knee of the plan: all that `simulate_knee` needs, and all that the cohort's tables say.

    `seed` is the cohort's; every random number derives from it and the names of participant and knee.
    """

    knee: Knee
    profile: Profile
    seed: int
    kl_grade: int
    oa: int
    age: float
    sex: Sex
    bmi: float
    hospital: int
    valgus: bool

    def generator(self, use: str) -> np.random.Generator:
        """Return the random numbers for one use in this knee."""
        return np.random.default_rng(seed_from(self.seed, self.knee.key, use))

    def patient_generator(self, use: str) -> np.random.Generator:
        """Return the random numbers for one use, the same in both knees of the patient."""
        return np.random.default_rng(seed_from(self.seed, self.knee.participant, use))


def simulate_cohort_plan(knees: int, seed: int, profile: Profile = "quick") -> tuple[SimulatedKnee, ...]:
    """Return the sampled knees of a cohort, sorted by participant and side.

    Eight patients in nine knees: one patient in eight brings both sides, those with osteoarthritis first,
    which often is bilateral. Kellgren-Lawrence grades are spread so that half of the patients have
    osteoarthritis (grade 2 or more); age, sex and BMI shift with the grade, as in clinics.

    Raises
    ------
    ConfigError
        `cohort-size` where `knees` is below two: both classes need a knee.
    """
    if knees < 2:
        raise ConfigError("cohort-size", "a cohort needs at least two knees", got=str(knees), expected=">= 2")
    patients = max(ceil(knees * 8 / 9), 2)
    rng = np.random.default_rng(seed_from(seed, "plan"))
    grades = rng.permutation(_grades(patients))
    digits = max(3, len(str(patients)))
    plans = [sample_patient(f"{n + 1:0{digits}d}", int(grades[n]), seed, profile) for n in range(patients)]
    both = sorted(rng.permutation(patients), key=lambda n: -plans[n].oa)[: knees - patients]
    plans += [_other_side(plans[n]) for n in both]
    return tuple(sorted(plans, key=lambda plan: plan.knee))


def _grades(patients: int) -> list[int]:
    """Return grades: half below two, half from two on, alternating so that every prefix is balanced."""
    healthy, diseased = (0, 1, 0, 0, 1), (2, 3, 4, 3, 2, 4)
    return [
        healthy[n // 2 % len(healthy)] if n % 2 == 0 else diseased[n // 2 % len(diseased)]
        for n in range(patients)
    ]


def sample_patient(participant: str, grade: int, seed: int, profile: Profile) -> SimulatedKnee:
    """Return the first knee of a patient of that Kellgren-Lawrence grade."""
    rng = np.random.default_rng(seed_from(seed, participant, "patient"))
    side: Side = "L" if rng.random() < 0.5 else "R"
    sex: Sex = "F" if rng.random() < 0.5 + 0.03 * grade else "M"
    return SimulatedKnee(
        knee=Knee(participant=participant, side=side),
        profile=profile,
        seed=seed,
        kl_grade=grade,
        oa=int(grade >= 2),
        age=round(float(np.clip(rng.normal(54 + 2.5 * grade, 9), 35, 85)), 1),
        sex=sex,
        bmi=round(float(np.clip(rng.normal(25.5 + 0.8 * grade, 3.5), 18, 42)), 1),
        hospital=int(rng.integers(HOSPITALS)),
        valgus=bool(rng.random() < 0.15),
    )


def _other_side(plan: SimulatedKnee) -> SimulatedKnee:
    """Return the other knee of the patient: a grade at most one away, in the same class."""
    rng = np.random.default_rng(seed_from(plan.seed, plan.knee.participant, "other side"))
    lowest, highest = (2, 4) if plan.oa else (0, 1)
    grade = int(np.clip(plan.kl_grade + rng.integers(-1, 2), lowest, highest))
    other: Side = "R" if plan.knee.side == "L" else "L"
    return SimulatedKnee(
        knee=Knee(participant=plan.knee.participant, side=other),
        profile=plan.profile,
        seed=plan.seed,
        kl_grade=grade,
        oa=int(grade >= 2),
        age=plan.age,
        sex=plan.sex,
        bmi=plan.bmi,
        hospital=plan.hospital,
        valgus=plan.valgus,
    )
