import numpy as np
import pytest

from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.mr import (
    MARROW_FAT,
    OFFSETS_HZ,
    RELAXATION,
    MrProtocol,
    Relaxation,
    bias_field,
    rician,
    signal,
    signal_table,
)

HERE = np.zeros(1)


def test_bssfp_on_resonance_is_the_closed_form() -> None:
    p, t = MrProtocol(), Relaxation(density=0.8, t1=1240, t2=37)
    e1, e2, flip = np.exp(-p.tr / t.t1), np.exp(-p.tr / t.t2), np.radians(p.flip)
    steady = t.density * np.sin(flip) * (1 - e1) / (1 - (e1 - e2) * np.cos(flip) - e1 * e2)
    assert abs(signal(p, t, HERE)[0]) == pytest.approx(steady * np.exp(-p.te / t.t2))


def test_bssfp_has_nulls_half_a_band_away() -> None:
    p, t = MrProtocol(), RELAXATION[tissue.CARTILAGE]
    edge = abs(signal(p, t, np.array([500 / p.tr]))[0])
    assert edge < 0.2 * abs(signal(p, t, HERE)[0])


@pytest.mark.parametrize(
    ("label", "expected"),
    [(tissue.CARTILAGE, 0.038), (tissue.MUSCLE, 0.031), (tissue.MENISCUS, 0.009)],
)
def test_signals_are_those_computed_in_the_method_notes(label: int, expected: float) -> None:
    p = MrProtocol(tr=11, te=5.1, flip=60)
    assert abs(signal(p, RELAXATION[label], HERE)[0]) == pytest.approx(expected, abs=0.004)


def test_marrow_fat_is_bright_at_the_chosen_repetition_time_and_bone_is_dark() -> None:
    p = MrProtocol()
    fat = abs(signal(p, MARROW_FAT, HERE)[0])
    assert fat > 0.25
    assert abs(signal(p, RELAXATION[tissue.COMPACT], HERE)[0]) < 0.01 * fat


def test_dess_and_proton_density_order_tissues_as_they_should() -> None:
    fluid, cartilage = RELAXATION[tissue.FLUID], RELAXATION[tissue.CARTILAGE]
    dess = MrProtocol(sequence="dess", tr=16.3, te=4.7, flip=25)
    pd = MrProtocol(sequence="pd", tr=3000, te=30, flip=90)
    for protocol in (dess, pd):
        assert abs(signal(protocol, fluid, HERE)[0]) > abs(signal(protocol, cartilage, HERE)[0])


def test_susceptibility_between_trabeculae_dims_marrow_where_bone_is_dense() -> None:
    table = np.abs(signal_table(MrProtocol())[:, len(OFFSETS_HZ) // 2])
    assert table[tissue.MARROW + 12] < table[tissue.MARROW + 2]


def test_noise_in_air_is_rayleigh_and_in_bright_tissue_gaussian() -> None:
    rng = np.random.default_rng(0)
    air = rician(rng, np.zeros((80, 80, 20), np.complex64), 2.0)
    bright = rician(rng, np.full((80, 80, 20), 100 + 0j, np.complex64), 2.0)
    assert air.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)
    assert bright.std() == pytest.approx(2.0, rel=0.02)
    assert bright.mean() == pytest.approx(np.sqrt(100**2 + 2.0**2), abs=0.02)


def test_the_bias_reaches_its_size_and_no_further() -> None:
    bias = bias_field(np.random.default_rng(1), (20, 20, 20), 0.4)
    assert np.abs(np.log(bias)).max() == pytest.approx(np.log(1.4), rel=1e-5)
