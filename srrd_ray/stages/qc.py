"""Stage ``qc``: one picture of each knee, to be looked at: bones on the CT, and the MR laid over it."""

from __future__ import annotations

from srrd_ray.execution.stage import NoSettings, Stage, Work
from srrd_ray.execution.work import Produced


def qc(work: Work[NoSettings]) -> Produced:
    """Draw a knee, and a thumbnail of the same picture."""
    from srrd_ray.stages.shared.qc_picture import draw_knee  # matplotlib takes a second to import

    return Produced(paths=draw_knee(work.layout, work.item.knees[0]))


STAGE = Stage(
    name="qc",
    scope="knee",
    function=qc,
    settings=NoSettings,
    needs=("ingest", "synthesize", "register"),
    outputs=("qc/pictures",),
    for_the_eye=True,
)
