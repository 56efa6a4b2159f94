"""Whitening: its constants, its inverse, the noise that a network sees, and the training crops made with it."""

import math

import msgspec
import numpy as np
import pytest
import torch

from ddpmcodec.errors import ConfigurationError
from ddpmcodec.models import configuration as configurations
from ddpmcodec.models import whitening
from ddpmcodec.models.configuration import Whitening
from ddpmcodec.models.whitened_crops import RandomWhitening

CPU = torch.device("cpu")
OPTIONS = Whitening(share=0.5, power=1.3, field_share=0.5, field=4.0, margin=8)


def picture(height=37, width=52, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (3, height, width)).astype(np.float32)


def test_the_colour_transforms():
    T, O = whitening.T, whitening.O  # noqa: E741
    np.testing.assert_allclose(O @ O.T, np.eye(3), atol=1e-15)
    np.testing.assert_allclose(O[1:], [[-0.28364, -0.521249, 0.80489], [0.765647, -0.628463, -0.137183]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(T[1:], axis=1), 1)
    gray = np.full(3, 0.7)
    np.testing.assert_allclose(T @ gray, [0.7 * math.sqrt(3), 0, 0], atol=1e-15)
    np.testing.assert_allclose(O.T @ T @ gray, gray)  # gray stays gray
    chroma_noise = np.linalg.inv(T)[:, 1:]
    np.testing.assert_allclose(np.array(whitening.LUMA) @ chroma_noise, 0, atol=1e-15)  # which changes no luma
    # of all orthonormal pairs, O's is the nearest to T's: no rotation of it in its plane is nearer
    distances = []
    for angle in np.linspace(-0.5, 0.5, 101):
        c, s = math.cos(angle), math.sin(angle)
        distances.append(np.linalg.norm(np.array([[c, -s], [s, c]]) @ O[1:] - T[1:]))
    assert int(np.argmin(distances)) == 50


def test_multipliers_at_the_nodes_between_and_beyond():
    """Linear in log2 f, by hand for coefficients on the first row, whose frequency is their column over the width."""
    table = ((0, 32, 0, 0, 0, 64), (0, 0, 0, 0, 0, 0), (32, 32, 32, 32, 32, 32))
    log2_m = whitening.log2_multipliers(48, 960, table)
    assert log2_m.shape == (3, 48, 960)
    for column, expected in ((0, 0), (3, 0), (15, 0), (40, 1), (80, 0), (360, 0), (768, 2), (959, 2)):
        assert log2_m[0, 0, column] == pytest.approx(expected)
    between = math.log2(20 / 960 * 64) / math.log2(64 / 24)
    assert log2_m[0, 0, 20] == pytest.approx(between)
    assert not log2_m[1].any() and (log2_m[2] == 1).all()
    assert log2_m[0, 47, 100] == pytest.approx(whitening.log2_multipliers(48, 960, table)[0, 47, 100])
    corner = math.hypot(20 / 48, 200 / 960)
    assert log2_m[0, 20, 200] == pytest.approx(2 * math.log2(corner / (3 / 8)) / math.log2(0.8 / (3 / 8)))


def test_the_default_table_is_table_f():
    luma, blue_yellow, red_green = (2 ** (np.array(row) / whitening.UNITS) for row in whitening.TABLES[1])
    np.testing.assert_allclose(luma, [1.1, 1, 1, 1.3, 1.6, 3.75], rtol=0.012)
    for chroma in (blue_yellow, red_green):
        np.testing.assert_allclose(chroma, [1.2, 1.4, 1.7, 2.5, 2.8, 4], rtol=0.012)


# docs/format.md, Shaped noise: the levels and the frequencies of gains
LEVELS, FREQUENCIES = (-512, 0, 512, 1024, 1536, 2048, 2560), (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)
OTHER_GAINS = tuple(tuple((13 * i + 29 * j + 7 * i * j) % 65 for j in range(7)) for i in range(7))


def weights_at(at, nodes):
    """What each node counts at a place: linear between two of them, all of the outermost one's beyond it."""
    weights = [0.0] * len(nodes)
    if at <= nodes[0] or at >= nodes[-1]:
        weights[0 if at <= nodes[0] else -1] = 1.0
        return weights
    k = max(i for i, node in enumerate(nodes) if node <= at)
    weights[k + 1] = (at - nodes[k]) / (nodes[k + 1] - nodes[k])
    weights[k] = 1 - weights[k + 1]
    return weights


def documented_gain(table, level, i, j, height, width):
    """A coefficient's gain: linear in 256 log2 snr and in log2 f, constant beyond the nodes."""
    f = math.sqrt((i / height) ** 2 + (j / width) ** 2)
    of_rows = weights_at(level, LEVELS)
    of_columns = weights_at(math.log2(f) if f else -math.inf, [math.log2(node) for node in FREQUENCIES])
    return sum(p * q * table[r][c] for r, p in enumerate(of_rows) for c, q in enumerate(of_columns)) / 64


@pytest.mark.parametrize(
    "table", [*whitening.GAINS_OF[1], *whitening.GAINS_OF[3], OTHER_GAINS], ids=["luma 1", "chroma 1", "luma 3", "chroma 3", "another"]
)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (16, 32), (37, 70)], ids=str)
def test_gains_are_bilinear_in_the_level_and_in_log2_f(size, table):
    places = whitening.FrequencyPlaces(*size)
    for level in (-8192, -700, -512, -511, -100, 0, 333, 512, 1535, 1536.5, 2000, 2559, 2560, 2561, 8192):
        expected = [[documented_gain(table, level, i, j, *size) for j in range(size[1])] for i in range(size[0])]
        plane = np.random.default_rng(0).uniform(0.5, 2, size).astype(np.float32)
        factors = plane.copy()
        places.apply_(factors, whitening.gains_at(level / 256, table))
        assert factors.dtype == np.float32
        np.testing.assert_allclose(factors / plane, expected, atol=1e-6)


def test_gains_by_hand():
    """At the nodes those of the table, and between two of them, of four, their mean; f beyond 1, in corners, has that of 1."""
    ones = np.ones((16, 32), np.float32)
    places = whitening.FrequencyPlaces(16, 32)
    places.apply_(ones, whitening.gains_at(-2, whitening.GAINS_OF[1][0]))  # at the first level
    assert [ones[0, j] * 64 for j in (0, 1, 2, 4, 8, 12, 16, 24)] == pytest.approx([64, 64, 64, 64, 45, 35, 21, 6], abs=1e-4)
    assert ones[15, 31] == 0 and ones[8, 0] * 64 == pytest.approx(21, abs=1e-4)
    assert whitening.gains_at(-1, whitening.GAINS_OF[1][0])[2:5] * 64 == pytest.approx([(45 + 57) / 2, (35 + 53) / 2, (21 + 35) / 2])
    ones = np.ones((1, 64), np.float32)
    whitening.FrequencyPlaces(1, 64).apply_(
        ones, whitening.gains_at(7, whitening.GAINS_OF[1][1])
    )  # (33 + 60) / 2 and (7 + 51) / 2 at f = .5, .75
    share = math.log2(40 / 32) / math.log2(48 / 32)
    assert ones[0, 40] * 64 == pytest.approx(46.5 + share * (29 - 46.5), abs=1e-4)


def test_gains_of_one_leave_a_plane_as_it_is():
    plane = picture()[0]
    for table, level in ((whitening.GAINS_OF[1][0], 10), (whitening.GAINS_OF[1][1], 32), (((64,) * 7,) * 7, -3)):
        after = plane.copy()
        whitening.FrequencyPlaces(*plane.shape).apply_(after, whitening.gains_at(level, table))
        np.testing.assert_array_equal(after, plane)


def test_the_dct_matrix_is_scipys_dct():
    from scipy.fft import dct

    matrix = whitening.dct_matrix(23)
    x = np.random.default_rng(0).standard_normal((23, 5))
    np.testing.assert_allclose(matrix @ x, dct(x, axis=0, norm="ortho"), atol=1e-12)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(23), atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(64, 37), (1, 9), (65, 37), (3, 101)])
def test_the_transforms_of_small_and_of_large_planes_are_scipys(height, width):
    from scipy.fft import dctn

    x = picture(height, width)
    u = whitening.dct_(x.copy())
    np.testing.assert_allclose(u, dctn(x.astype(float), axes=(1, 2), norm="ortho"), atol=1e-5)
    np.testing.assert_allclose(whitening.idct_(u), x, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(37, 52), (1, 1), (1, 9), (64, 48), (70, 65)])
def test_whitening_has_an_inverse(height, width):
    x = picture(height, width)
    field = np.random.default_rng(1).uniform(0, 2, (height, width))
    m = np.exp2(1.3 * whitening.log2_multipliers(height, width))
    u = whitening.coefficients(x, np.exp2(field))
    np.testing.assert_allclose(whitening.picture_(u.copy(), np.exp2(field)), x, atol=3e-6)
    y = whitening.whiten(u, m)
    np.testing.assert_allclose(whitening.unwhiten(y, m), u, atol=3e-5)
    assert y.dtype == u.dtype == np.float32


def test_noise_of_the_shape_is_white_to_the_network():
    """Covariance of y's noise over 4000 draws: unit variances, no correlation between any two of its 3 x 6 x 8 elements."""
    rng = np.random.default_rng(0)
    m = np.exp2(whitening.log2_multipliers(6, 8))
    draws = 4000
    noise = np.stack([whitening.whiten(m * rng.standard_normal(m.shape), m).ravel() for _ in range(draws)])
    covariance = noise.T @ noise / draws
    error = 1 / math.sqrt(draws)
    assert np.abs(np.diag(covariance) - 1).max() < 5 * math.sqrt(2) * error
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 5.5 * error  # of 10,000 numbers
    assert np.diag(covariance).mean() == pytest.approx(1, abs=4 * math.sqrt(2 / noise.size))


# ---- in training


def test_crops_are_whitened_as_pictures_are():
    side = 48
    whitener = RandomWhitening(OPTIONS, side, CPU)
    x = np.stack([picture(side, side, seed) for seed in range(2)])
    power, fields = np.array([0.0, 1.1]), np.random.default_rng(3).uniform(0, 2, (2, side, side))
    out = whitener.whiten(torch.from_numpy(x), torch.from_numpy(power).float(), torch.from_numpy(fields).float()).numpy()
    for i in range(2):
        m = np.exp2(power[i] * whitening.log2_multipliers(side, side))
        expected = whitening.whiten(whitening.coefficients(x[i], np.exp2(fields[i])), m)
        np.testing.assert_allclose(out[i], expected, atol=1e-5)


def test_which_crops_are_whitened():
    whitener = RandomWhitening(OPTIONS, 48, CPU)
    x = torch.from_numpy(np.stack([picture(48, 48, seed) for seed in range(8)]))
    before = x.clone()
    first, again, other = (whitener(x, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(x, before) and torch.equal(first.x_0, again.x_0) and not torch.equal(first.x_0, other.x_0)
    assert int(first.whitened.sum()) == 4 and first.x_0.shape == (8, 3, 32, 32)
    for i, whitened in enumerate(first.whitened.tolist()):
        same = torch.equal(first.x_0[i], x[i, :, 8:40, 8:40])  # an unfiltered crop is as it was, to the last bit
        assert same != whitened


def test_random_fields_span_what_they_may():
    whitener = RandomWhitening(OPTIONS, 48, CPU)
    fields = whitener.fields(400, torch.Generator().manual_seed(0))
    spans = (fields.amax((1, 2)) - fields.amin((1, 2))).numpy()
    assert fields.min() >= 0 and 1.5 < spans.max() <= 2 and 0.4 < (spans == 0).mean() < 0.6
    assert float((fields[:, 1:] - fields[:, :-1]).abs().max()) < 0.1  # smooth
    none = RandomWhitening(msgspec.structs.replace(OPTIONS, field_share=0.0), 48, CPU).fields(9, torch.Generator())
    assert not none.any()


def test_the_bundled_configuration_differs_from_photos_by_whitening_alone():
    photo, whitened = (msgspec.to_builtins(configurations.load(name)) for name in ("photo", "photo-3"))
    options = whitened["data"].pop("whiten")
    assert photo["data"].pop("whiten") is None
    assert (options["share"], options["power"], options["field_share"], options["field"]) == (0.5, 1.3, 0.5, 4.0)
    assert configurations.load("photo-3").data.side == 96 + 2 * 16 and configurations.load("photo").data.side == 96
    assert photo == whitened


@pytest.mark.parametrize(
    ("field", "value"), [("share", 1.5), ("power", -0.1), ("field", 0.5), ("field_share", 2), ("margin", -1), ("shape", 1)]
)
def test_a_field_out_of_range_is_named(tmp_path, field, value):
    text = (configurations.BUNDLED / "photo-3.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(f"{field} =")]
    lines.insert(lines.index("[data.whiten]") + 1, f"{field} = {value}")
    path = tmp_path / "bad.toml"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=field):
        configurations.load(str(path))
