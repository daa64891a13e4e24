"""The methods of a run in words to be cited, made from its configuration, versions and metrics alone."""

from __future__ import annotations

from collections.abc import Mapping

from srrd_ray.core.json_tree import Json, at
from srrd_ray.report.page import Block, Note, Text
from srrd_ray.report.references import KEYS, bibtex

USE = (
    "To be copied into a paper and adapted: it says what this run did with its settings, nothing of how the "
    "cohort was recruited or scanned."
)

LABELS: Mapping[str, str] = {
    "measured": "the values measured on MR",
    "reader": "what readers, trained on simulated knees alone, read in MR and CT together",
}
_BASELINES = {
    "measured": "the same student without MR",
    "reader": "a student of the values measured on MR, without teacher and without those readers",
}


def methods_blocks(manifest: Json, metrics: Json) -> tuple[Block, ...]:
    """Return the text of the methods and the references in BibTeX; a note where run.json is missing."""
    if not isinstance(manifest, Mapping) or not isinstance(at(manifest, "config"), Mapping):
        return (Note(text="Nothing to show yet: the run has no run.json.", tone="warning"),)
    return (
        Text(label="Methods", lines=methods_text(manifest, metrics)),
        Text(
            label="References (BibTeX)",
            lines=tuple(bibtex(str(at(manifest, "software"))).splitlines()),
            code=True,
        ),
    )


def methods_text(manifest: Json, metrics: Json) -> tuple[str, ...]:
    """Return the methods as paragraphs; keys of `references` stand in brackets."""
    config = at(manifest, "config")
    return (
        _cohort(manifest, metrics),
        _synthesis(at(config, "synthesis"), metrics),
        _registration(at(config, "registration")),
        _measures(config),
        _learning(config),
        _diagnosis(config),
        _software(manifest),
    )


def _cohort(manifest: Json, metrics: Json) -> str:
    simulated = at(metrics, "cohort", "simulated") is True
    kind = "simulated knees (no patient)" if simulated else "knees"
    people = "simulated people" if simulated else "people"
    counts = f"{at(manifest, 'knees')} {kind}"
    patients = at(metrics, "cohort", "patients")
    scanned = "each with a simulated CT and MR" if simulated else "each scanned with CT and MR"
    return (
        f"{counts}{f' of {patients} {people}' if patients is not None else ''}, {scanned}, "
        f"were processed with SRRD-Ray {at(manifest, 'software')} [{KEYS['srrd']}], an implementation of "
        f"Synthesis, Registration, Regression and Diagnosis [{KEYS['paper']}]. All splits were by patient; "
        "no model of a parameter or of the diagnosis was fitted on its test patients. The seed was "
        f"{at(manifest, 'config', 'seed')}."
    )


def _synthesis(config: Json, metrics: Json) -> str:
    epochs, school = _at(config, "epochs"), _at(config, "start") == "school"
    aligned = at(metrics, "synthesis", "round_two", "used") is True
    use = "Synthetic CT served registration only; no value was measured on it."
    second = "A second round learnt from slices that registration had aligned. " if aligned else ""
    saw = (
        f"{second}It saw images alone, also of patients that later were test patients; a share of "
        f"{_at(config, 'held_out')} of the patients, at most 40, was held out for its figures. {use}"
    )
    if school and epochs == "0":
        alone = "A network that had learnt from simulated knees alone turned MR into synthetic CT."
        return f"{alone} {saw}" if aligned else f"{alone} It learnt nothing of these images. {use}"
    begun = "It began at weights that had learnt from simulated knees. " if school else ""
    pixels = "" if school else f"of {_at(config, 'pixel_mm')} mm pixels, {_at(config, 'slice_mm')} mm apart, "
    return (
        f"A cycle-consistent adversarial network [{KEYS['cyclegan']}] turned MR into synthetic CT on slices "
        f"{pixels}in {epochs} epochs of {_at(config, 'steps')} steps with {_at(config, 'batch')} tiles "
        f"each (learning rate {_at(config, 'start_rate' if school else 'learning_rate')}; cycle weight "
        f"{_at(config, 'cycle_weight')}, mutual information weight {_at(config, 'mi_weight')}). {begun}{saw}"
    )


def _registration(config: Json) -> str:
    how = {
        "auto": "a segmentation network where the image shows the joint as a whole, else by rules on grey "
        "values",
        "network": "a segmentation network",
        "rules": "rules on grey values",
    }
    finish = f"mutual information with the MR itself on {_at(config, 'refine_mm')} mm"
    found = how.get(str(at(config, "bones", "by")), "(not recorded)")
    return (
        f"Femur and tibia, found by {found}, were registered rigidly and separately: surfaces first, then "
        f"correlation of CT and synthetic CT on grids of {_list(at(config, 'levels_mm'))} mm, then "
        + (finish if at(config, "refine_on_mr") else "no more")
        + f". A bone was refused below a Dice of {_at(config, 'minimum_dice')} or with surfaces more than "
        f"{_at(config, 'maximum_surface_mm')} mm apart, and not used further."
    )


def _measures(config: Json) -> str:
    patches, morphometry = at(config, "patches"), at(config, "morphometry")
    return (
        f"At most {_at(patches, 'per_region')} cubes of 12.8 mm a region (medial and lateral, femur and "
        f"tibia) were cut {_at(patches, 'depth_mm')} mm below the joint surface. BV/TV, Tb.Th, Tb.Sp and "
        f"Tb.N [{KEYS['asbmr']}] were measured on the MR cubes (method “{_at(morphometry, 'method')}”, "
        f"thickness “{_at(morphometry, 'thickness')}”; local thickness after [{KEYS['thickness']}])."
    )


def _learning(config: Json) -> str:
    learning, tune = at(config, "distillation"), at(config, "tune")
    student = at(learning, "student")
    size = f"width {_at(student, 'width')}, {_at(student, 'blocks')} blocks"
    if _at(learning, "labels") == "reader":
        size = "of the size of the readers that it learnt from"
    return (
        f"A {_at(student, 'architecture')} network ({size}) read the parameters from CT cubes "
        "under the guidance of a teacher that read MR "
        f"[{KEYS['distillation']}], in {_at(learning, 'folds')}-fold cross-validation, "
        f"{_at(learning, 'student_epochs')} epochs of batches of {_at(learning, 'batch_size')} with AdamW. "
        "Temperature and weights of the terms of the loss were chosen in each fold on inner validation "
        f"patients ({_at(tune, 'trials')} trials, asynchronous successive halving [{KEYS['asha']}], Ray "
        f"[{KEYS['ray']}]). The baseline is {_BASELINES.get(_at(learning, 'labels'), '(not recorded)')}. "
        "The student learnt " + LABELS.get(_at(learning, "labels"), "(not recorded)") + "."
    )


def _diagnosis(config: Json) -> str:
    return (
        "Osteoarthritis was classified from the mean and the medial-lateral difference of each parameter "
        "by ridge logistic regression in nested cross-validation by patient "
        f"({_at(config, 'diagnosis', 'inner_folds')} inner folds). Agreement is ICC(A,1) [{KEYS['icc']}] "
        f"over patients; AUCs were compared after DeLong [{KEYS['delong']}] with the knees of a patient as "
        "a cluster; other intervals are BCa bootstrap intervals over patients."
    )


def _software(manifest: Json) -> str:
    libraries = at(manifest, "libraries")
    listed = libraries if isinstance(libraries, Mapping) else {}
    versions = ", ".join(f"{name} {version}" for name, version in sorted(listed.items()))
    return (
        f"Python {at(manifest, 'python')}; {versions}. The whole configuration is in run.json. The cohort's "
        f"tables and list of series have the SHA-256 {at(manifest, 'cohort')}."
    )


def _at(data: Json, *keys: str) -> str:
    found = at(data, *keys)
    if found is None:
        return "(not recorded)"
    return f"{found:g}" if isinstance(found, float) else str(found)


def _list(value: Json) -> str:
    return " and ".join(f"{one:g}" for one in value) if isinstance(value, list | tuple) else "(not recorded)"
