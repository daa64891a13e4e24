from dataclasses import replace

import numpy as np
import pytest

from srrd_ray.core.geometry import Geometry
from srrd_ray.simulation import compose as tissue
from srrd_ray.simulation.compose import Scene
from srrd_ray.simulation.mr import (
    MARROW_FAT,
    MARROW_WATER,
    OFFSETS_HZ,
    PROTOCOLS,
    RELAXATION,
    Complex,
    MrProtocol,
    MrSession,
    Readout,
    Relaxation,
    Sequence,
    acquire,
    add_rician_noise,
    dess_echoes,
    excitation,
    k_space_sample,
    reference_signal,
    sample_bias_field,
    signal,
    signal_tables,
    stretch_grid,
)
from srrd_ray.simulation.phantoms import body_scene, edge_scene, identity_poses

HERE = np.zeros(1)
GRID = Geometry.axis_aligned((10, 48, 40), (0.75, 0.2188, 0.2188), (-4, -5, -4))
ODD = Geometry.axis_aligned((9, 47, 41), (0.75, 0.2188, 0.2188), (-4, -5, -4))
SESSION = MrSession(snr=18.0, bias=0.0, field_hz=0.0, gain=1.0, red_marrow=0.0, seed=3)


def test_bssfp_on_resonance_is_the_closed_form() -> None:
    p, t = MrProtocol(), Relaxation(density=0.8, t1=1240, t2=37)
    e1, e2, flip = np.exp(-p.tr / t.t1), np.exp(-p.tr / t.t2), np.radians(p.flip)
    steady = t.density * np.sin(flip) * (1 - e1) / (1 - (e1 - e2) * np.cos(flip) - e1 * e2)
    assert abs(signal(p, t, HERE)[0]) == pytest.approx(steady * np.exp(-p.te / t.t2))


def test_bssfp_has_nulls_half_a_band_away() -> None:
    p, t = MrProtocol(), RELAXATION[tissue.CARTILAGE]
    edge = abs(signal(p, t, np.array([500 / p.tr]))[0])
    assert edge < 0.2 * abs(signal(p, t, HERE)[0])


# Method notes, table C4: bSSFP 11/5.1/60, bSSFP 6/3/40, DESS S+ and S-, PD 3000/30, T2 4000/80; marrow fat on resonance.
TABLE: dict[str, tuple[Relaxation, tuple[float, ...]]] = {
    "marrow fat": (replace(MARROW_FAT, shift=0.0), (0.302, 0.267, 0.174, 0.116, 0.798, 0.548)),
    "cartilage": (RELAXATION[tissue.CARTILAGE], (0.038, 0.053, 0.051, 0.024, 0.324, 0.088)),
    "muscle": (RELAXATION[tissue.MUSCLE], (0.031, 0.045, 0.046, 0.020, 0.293, 0.066)),
    "synovial fluid": (RELAXATION[tissue.FLUID], (0.224, 0.224, 0.129, 0.122, 0.542, 0.603)),
    "meniscus": (RELAXATION[tissue.MENISCUS], (0.009, 0.014, 0.025, 0.001, 0.016, 0.0)),
    "marrow lesion": (MARROW_WATER, (0.080, 0.102, 0.083, 0.049, 0.519, 0.233)),
    "bone": (RELAXATION[tissue.COMPACT], (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", TABLE)
def test_signals_are_those_computed_in_the_method_notes(name: str) -> None:
    relaxation, expected = TABLE[name]

    def one(sequence: Sequence, tr: float, te: float, flip: float) -> float:
        return float(abs(signal(MrProtocol(sequence=sequence, tr=tr, te=te, flip=flip), relaxation, HERE)[0]))

    echoes = dess_echoes(PROTOCOLS["dess"], relaxation)
    found = (
        one("bssfp", 11, 5.1, 60),
        one("bssfp", 6, 3, 40),
        *echoes,
        one("pd", 3000, 30, 90),
        one("pd", 4000, 80, 90),
    )
    np.testing.assert_allclose(found, expected, atol=0.00051)


def test_fat_lies_near_the_middle_of_a_band_at_the_chosen_repetition_time_and_off_it_at_six_ms() -> None:
    def kept(tr: float, flip: float = 50.0) -> float:
        p = MrProtocol(tr=tr, te=tr / 2, flip=flip)
        here, fat = (abs(signal(p, t, HERE)[0]) for t in (replace(MARROW_FAT, shift=0.0), MARROW_FAT))
        return float(fat / here)

    assert min(kept(tr) for tr in (5, 9, 9.2, 11, 13.6)) >= 0.99
    assert kept(6) < 0.9


def test_dess_is_the_sum_of_squares_of_its_echoes() -> None:
    fluid = RELAXATION[tissue.FLUID]
    assert abs(signal(PROTOCOLS["dess"], fluid, HERE)[0]) == pytest.approx(np.hypot(0.129, 0.122), abs=0.001)


def test_marrow_fat_is_bright_at_the_chosen_repetition_time_and_bone_is_dark() -> None:
    p = MrProtocol()
    fat = abs(signal(p, MARROW_FAT, HERE)[0])
    assert fat > 0.25
    assert abs(signal(p, RELAXATION[tissue.COMPACT], HERE)[0]) < 0.01 * fat


def marrow_of(sequence: Sequence, offset_hz: float = 0.0) -> float:
    """Return the signal of yellow marrow over that of cartilage."""
    tables = signal_tables(PROTOCOLS[sequence], 0.1)
    at = int(np.argmin(np.abs(OFFSETS_HZ - offset_hz)))
    marrow, cartilage = (
        abs(sum(table[label, at] for table in tables)) for label in (tissue.MARROW + 5, tissue.CARTILAGE)
    )
    return float(marrow / cartilage)


def test_marrow_is_dark_where_fat_is_suppressed_and_bright_where_not() -> None:
    assert max(marrow_of(name) for name in ("dess", "pd-fs", "t2-fs")) < 0.5
    assert marrow_of("dess") < 0.25
    assert min(marrow_of(name) for name in ("bssfp", "pd", "t1", "t2")) > 1.5


def test_fat_comes_back_where_the_field_is_off() -> None:
    assert marrow_of("dess", 180.0) > 2 * marrow_of("dess")
    assert marrow_of("pd-fs", 180.0) > 2 * marrow_of("pd-fs")


def test_suppression_leaves_water_as_it_is() -> None:
    for fat in ("none", "water-excitation", "saturation"):
        assert excitation(fat, HERE)[0] == pytest.approx(1, abs=1e-6)
    assert excitation("water-excitation", HERE - 440.0)[0] == pytest.approx(0, abs=1e-6)
    assert excitation("water-excitation", HERE - 340.0)[0] < 0.15  # fat stays dark where the field is off


def test_t1_and_t2_order_fat_fluid_and_muscle_as_they_should() -> None:
    def bright(sequence: Sequence) -> list[float]:
        tissues = (RELAXATION[n] for n in (tissue.FAT, tissue.FLUID, tissue.MUSCLE))
        return [float(abs(signal(PROTOCOLS[sequence], t, HERE)[0])) for t in tissues]

    fat, fluid, muscle = bright("t1")
    assert fat > 2 * muscle > 2 * fluid
    fat, fluid, muscle = bright("t2")
    assert min(fat, fluid) > 4 * muscle


def test_dess_and_proton_density_order_tissues_as_they_should() -> None:
    fluid, cartilage = RELAXATION[tissue.FLUID], RELAXATION[tissue.CARTILAGE]
    dess = MrProtocol(sequence="dess", tr=16.3, te=4.7, flip=25)
    pd = MrProtocol(sequence="pd", tr=3000, te=30, flip=90)
    for protocol in (dess, pd):
        assert abs(signal(protocol, fluid, HERE)[0]) > abs(signal(protocol, cartilage, HERE)[0])


def test_susceptibility_between_trabeculae_dims_marrow_where_bone_is_dense() -> None:
    water, fat = signal_tables(MrProtocol())
    table = np.abs(water + fat)[:, len(OFFSETS_HZ) // 2]
    assert table[tissue.MARROW + 12] < table[tissue.MARROW + 2]


def test_noise_in_air_is_rayleigh_and_in_bright_tissue_gaussian() -> None:
    rng = np.random.default_rng(0)
    air = add_rician_noise(rng, np.zeros((80, 80, 20), np.complex64), 2.0)
    bright = add_rician_noise(rng, np.full((80, 80, 20), 100 + 0j, np.complex64), 2.0)
    assert air.mean() == pytest.approx(2.0 * np.sqrt(np.pi / 2), rel=0.01)
    assert bright.std() == pytest.approx(2.0, rel=0.02)
    assert bright.mean() == pytest.approx(np.sqrt(100**2 + 2.0**2), abs=0.02)


def test_the_bias_reaches_its_size_and_no_further() -> None:
    bias = sample_bias_field(np.random.default_rng(1), (20, 20, 20), 0.4)
    assert np.abs(np.log(bias)).max() == pytest.approx(np.log(1.4), rel=1e-5)


def sampled(scene: Scene, grid: Geometry = GRID, fat_shift_px: float = 0.0) -> Complex:
    """Return the noiseless image of a phantom on resonance."""
    tables = signal_tables(MrProtocol(), 0.0)
    readout = Readout(
        tables=tables if fat_shift_px else (tables[0] + tables[1],),
        fat_shift_px=fat_shift_px,
        field_hz=np.zeros((2, 2, 2), np.float32),
        motion=None,
    )
    return k_space_sample(scene, identity_poses(), grid, readout)


@pytest.mark.parametrize("grid", [GRID, ODD])
def test_a_uniform_body_keeps_its_signal_in_every_voxel_of_even_and_odd_images(grid: Geometry) -> None:
    image = sampled(body_scene(tissue.FLUID), grid)
    assert image.shape == grid.shape
    np.testing.assert_allclose(image, signal(MrProtocol(), RELAXATION[tissue.FLUID], HERE)[0], rtol=1e-4)


def test_an_edge_rings_by_the_nine_percent_of_gibbs() -> None:
    flat = np.abs(sampled(body_scene(tissue.FAT))).mean()
    image = np.abs(sampled(edge_scene((1.0, 0.15, 0.0))))
    assert image[3:-3, 8:-8, 10:-10].max() / flat == pytest.approx(1.09, abs=0.03)
    assert np.abs(image[..., -8:]).mean() == pytest.approx(flat, rel=0.02)


def test_fat_lies_440_hz_over_the_bandwidth_beside_its_place_and_water_does_not() -> None:
    assert MrProtocol(bandwidth_hz=220.0).fat_shift_px == -2
    still, shifted = (sampled(edge_scene((1.0, 0.1, 0.0)), fat_shift_px=px) for px in (0.0, -2.0))
    np.testing.assert_allclose(shifted[:, 2:-2, 3:-5], still[:, 2:-2, 5:-3], atol=2e-3)
    np.testing.assert_allclose(
        sampled(body_scene(tissue.MUSCLE), fat_shift_px=-2.0), sampled(body_scene(tissue.MUSCLE)), atol=1e-5
    )


def test_the_signal_to_noise_ratio_measured_in_marrow_is_that_of_the_session() -> None:
    image = acquire(body_scene(tissue.MARROW), identity_poses(), GRID, MrProtocol(), SESSION).array.astype(
        np.float64
    )
    tables = signal_tables(MrProtocol(), SESSION.red_marrow)
    pure = sum(np.abs(table[tissue.MARROW, len(OFFSETS_HZ) // 2]) for table in tables)
    inner = image[2:-2, 8:-8, 8:-8]
    assert inner.mean() / inner.std() == pytest.approx(
        SESSION.snr * pure / reference_signal(MrProtocol(), tables), rel=0.03
    )


def test_air_holds_the_floor_of_rician_noise() -> None:
    image = acquire(body_scene(tissue.AIR), identity_poses(), GRID, MrProtocol(), SESSION).array
    sigma = 1000 / SESSION.snr
    assert image.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.02)
    assert image.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.02)


@pytest.mark.parametrize("sequence", PROTOCOLS)
def test_marrow_or_cartilage_is_near_a_thousand_in_every_sequence(sequence: Sequence) -> None:
    bright = tissue.MARROW if PROTOCOLS[sequence].fat == "none" else tissue.CARTILAGE
    image = acquire(body_scene(bright, 0.0), identity_poses(), GRID, PROTOCOLS[sequence], SESSION).array
    assert np.median(image) == pytest.approx(1000, rel=0.05)


def test_gradients_that_err_stretch_what_is_seen_about_the_middle_and_leave_the_header() -> None:
    seen = stretch_grid(GRID, (1.003, 1.0, 0.998))
    middle = GRID.index_to_lps((np.array(GRID.shape) - 1) / 2)
    expected = middle + (GRID.corners_lps() - middle) * (1.003, 1.0, 0.998)
    np.testing.assert_allclose(seen.corners_lps(), expected, atol=1e-9)
    wrong = replace(SESSION, scale=(1.003, 1.0, 0.998))
    assert acquire(body_scene(tissue.FAT), identity_poses(), GRID, MrProtocol(), wrong).geometry == GRID
