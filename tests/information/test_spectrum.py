"""Spectra, log-determinants and identifiability: small eigenvalues survive, and what is null is named."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import fimlag as fl
from fimlag.information import _log_determinant, _root, _spectrum, _triangular

NORMAL = fl.families.Normal()
TIMES = np.linspace(0.0, 2.0, 101)[1:].astype(np.float32)
LOG_RATES = np.log(np.geomspace(0.1, 10.0, 8)).astype(np.float32)
spectrum_of = eqx.filter_jit(lambda model, theta, k=None: fl.sloppiness_spectrum(model, theta, k, throw=False))


def exponentials(log_rates, t):
    return jnp.stack([jnp.sum(jnp.exp(-jnp.exp(log_rates) * t)), jnp.ones((), t.dtype)])


def sloppy(dtype):
    return fl.ConditionalModel(exponentials, NORMAL, jnp.asarray(TIMES, dtype)), jnp.asarray(LOG_RATES, dtype)


def sloppy_eigenvalues():
    """The spectrum of the eight exponentials at these single-precision numbers, to 60 digits."""
    with mpmath.workdps(60):
        rates = [mpmath.exp(mpmath.mpf(float(x))) for x in LOG_RATES]
        times = [mpmath.mpf(float(t)) for t in TIMES]
        rows = mpmath.matrix([[-rate * t * mpmath.exp(-rate * t) for rate in rates] for t in times])
        return np.array(sorted((float(e) for e in mpmath.eigsy(rows.T * rows, eigvals_only=True)), reverse=True))


EIGENVALUES = sloppy_eigenvalues()


def linear(matrix):
    def predict(theta, row):
        return jnp.stack([row @ theta, jnp.ones((), row.dtype)])

    return fl.ConditionalModel(predict, NORMAL, matrix), jnp.zeros(matrix.shape[1])


MATRIX = jax.random.normal(jax.random.key(5), (60, 40)) * jnp.geomspace(3.0, 0.1, 40)[None, :]


def test_single_precision_keeps_thirteen_decades_of_a_sloppy_spectrum():
    assert np.log10(EIGENVALUES[0] / EIGENVALUES[-1]) > 13.0
    found = spectrum_of(*sloppy(jnp.float32))
    assert found.succeeded
    assert found.eigenvalues.dtype == jnp.float32
    # A singular value is off by a few eps of the largest: 1e-7 of it over 2.4e-7, lessened as 100 rows average, twice.
    errors = np.abs(np.asarray(found.eigenvalues, float) / EIGENVALUES - 1.0)
    assert np.all(errors < np.maximum(1e-5, 0.3 * np.finfo(np.float32).eps * np.sqrt(EIGENVALUES[0] / EIGENVALUES)))


def test_the_gram_matrix_loses_what_the_square_root_keeps():
    model, theta = sloppy(jnp.float32)
    eigenvalues = np.asarray(jnp.linalg.eigvalsh(fl.fisher_information(model, theta))[::-1], float)
    # Half the digits are gone: the last two of eight are noise of 1e-7 of the first.
    errors = np.abs(eigenvalues / EIGENVALUES - 1.0)
    assert errors[-1] > 100.0
    assert errors[-2] > 1.0


def test_rows_in_parcels_give_the_spectrum_of_all_rows(monkeypatch):
    monkeypatch.setattr(_triangular, "PARCEL", 0)
    monkeypatch.setattr(_root, "PARCEL", 1_000)
    model, theta = sloppy(jnp.float64)
    found = jax.jit(lambda: fl.sloppiness_spectrum(model, theta, throw=False))()
    errors = np.abs(np.asarray(found.eigenvalues) / EIGENVALUES - 1.0)
    # Round-off in the singular values: a few eps of the largest.
    assert np.all(errors < 100.0 * np.finfo(float).eps * np.sqrt(EIGENVALUES[0] / EIGENVALUES))


def test_eigenvectors_diagonalise_the_information():
    model, theta = sloppy(jnp.float64)
    found, matrix = spectrum_of(model, theta), fl.fisher_information(model, theta)
    vectors = found.eigenvectors
    assert jnp.max(jnp.abs(vectors @ vectors.T - jnp.eye(8))) < 1e-14
    rebuilt = vectors.T @ (found.eigenvalues[:, None] * vectors)
    assert jnp.max(jnp.abs(rebuilt - matrix)) < 1e-13 * jnp.max(jnp.abs(matrix))
    assert jnp.all(jnp.max(vectors, axis=1) == jnp.max(jnp.abs(vectors), axis=1))


@pytest.mark.slow
def test_leading_eigenvalues_are_those_of_the_whole_by_every_route(monkeypatch):
    model, theta = linear(MATRIX)
    whole = spectrum_of(model, theta)
    monkeypatch.setattr(_spectrum, "DENSE", 39)
    monkeypatch.setattr(_spectrum, "OVERSAMPLING", 1)
    for iterations in (9, 20):  # a space of 36 dimensions, and all 40
        krylov = jax.jit(partial(fl.sloppiness_spectrum, model, k=3, iterations=iterations, throw=False))(theta)
        assert (whole.route, krylov.route) == ("svd of the triangular root", "block Krylov space")
        assert krylov.succeeded
        # Eigenvalues of a space are off by the square of the residual.
        assert jnp.max(jnp.abs(krylov.eigenvalues / whole.eigenvalues[:3] - 1.0)) < 1e-12
        assert jnp.max(jnp.abs(krylov.eigenvectors - whole.eigenvectors[:3])) < 1e-6
    few = fl.GaussianModel(lambda theta: MATRIX[:5] @ theta, jnp.ones(()))
    rows = fl.sloppiness_spectrum(few, theta, 3)
    assert rows.route == "svd of the rows"
    expected = jnp.linalg.svd(MATRIX[:5], compute_uv=False)[:3] ** 2
    assert jnp.max(jnp.abs(rows.eigenvalues / expected - 1.0)) < 1e-12


def test_equal_eigenvalues_do_not_break_the_krylov_space(monkeypatch):
    monkeypatch.setattr(_spectrum, "DENSE", 10)
    model = fl.GaussianModel(lambda theta: 2.0 * theta, jnp.ones(()))
    found = fl.sloppiness_spectrum(model, jnp.zeros(50), 3)
    assert jnp.max(jnp.abs(found.eigenvalues - 4.0)) < 1e-13


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_of_fewer_rows_than_asked_for_the_further_eigenvalues_are_zero(monkeypatch, scale):
    monkeypatch.setattr(_spectrum, "DENSE", 10)
    model = fl.GaussianModel(lambda theta: scale * jnp.arange(1.0, 4.0) * theta[:3], jnp.ones(()))
    found = fl.sloppiness_spectrum(model, jnp.ones(30), 5)
    expected = scale * np.array([9.0, 4.0, 1.0, 0.0, 0.0])
    assert found.route == "block Krylov space"
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-13)
    np.testing.assert_allclose(found.eigenvectors @ found.eigenvectors.T, np.eye(5), atol=1e-13)
    assert float(found.residual) < 1e-13


def test_a_space_too_small_is_reported(monkeypatch):
    monkeypatch.setattr(_spectrum, "DENSE", 39)
    monkeypatch.setattr(_spectrum, "OVERSAMPLING", 0)
    model, theta = linear(MATRIX)
    found = jax.jit(lambda: fl.sloppiness_spectrum(model, theta, 3, iterations=2, throw=False))()
    assert found.result == fl.RESULTS.inaccurate_solution
    assert found.residual > 1e-8


def test_derivatives_of_eigenvalues_sum_to_that_of_the_log_determinant():
    model, theta = sloppy(jnp.float64)

    def by_spectrum(theta):
        return jnp.sum(jnp.log(fl.sloppiness_spectrum(model, theta, throw=False).eigenvalues))

    def by_factor(theta):
        return fl.log_determinant(model, theta, throw=False).value

    slopes = jax.jit(lambda theta: (jax.grad(by_spectrum)(theta), jax.grad(by_factor)(theta)))(theta)
    # Both lose the condition number of the root, 4e6.
    assert jnp.max(jnp.abs(slopes[0] - slopes[1])) < 1e-8 * jnp.max(jnp.abs(slopes[1]))


@pytest.mark.slow
def test_log_determinant_is_that_of_the_matrix_by_every_route(monkeypatch):
    model, theta = linear(MATRIX)
    expected = jnp.linalg.slogdet(MATRIX.T @ MATRIX + 0.3 * jnp.eye(40))[1]
    log_determinant = jax.jit(lambda damping: fl.log_determinant(model, theta, damping, key=key, throw=False))
    key = jax.random.key(3)
    dense = log_determinant(0.3)
    assert abs(dense.value - expected) < 1e-11
    assert abs(fl.log_determinant(model, theta).value - jnp.linalg.slogdet(MATRIX.T @ MATRIX)[1]) < 1e-10
    few = fl.GaussianModel(lambda theta: MATRIX[:5] @ theta, jnp.ones(()))
    monkeypatch.setattr(_log_determinant, "DENSE", 39)
    rows = fl.log_determinant(few, theta, 0.3)
    assert rows.route == "QR step in the space of the rows"
    assert abs(rows.value - jnp.linalg.slogdet(MATRIX[:5].T @ MATRIX[:5] + 0.3 * jnp.eye(40))[1]) < 1e-11
    sampled = jax.jit(lambda d: fl.log_determinant(model, theta, d, key=key, depth=40, throw=False))(0.3)
    assert sampled.route == "stochastic Lanczos quadrature"
    # A full Krylov space is exact: what is left are four standard errors of the probes.
    assert abs(sampled.value - expected) < 4.0 * sampled.standard_error
    values, vectors = jnp.linalg.eigh(MATRIX.T @ MATRIX + 0.3 * jnp.eye(40))
    beside = ((vectors * jnp.log(values)[None, :]) @ vectors.T) * (1.0 - jnp.eye(40))
    # Hutchinson: the variance of a probe is twice the sum of squares beside the diagonal; of 32 the deviation is
    # known to 13 %, here four times that.
    assert abs(sampled.standard_error / jnp.sqrt(2.0 * jnp.sum(beside**2) / 32) - 1.0) < 0.52


def test_derivative_of_the_sampled_log_determinant_is_that_of_its_own_value(monkeypatch):
    monkeypatch.setattr(_log_determinant, "DENSE", 3)
    inputs = jax.random.normal(jax.random.key(1), (12, 6))
    key, theta = jax.random.key(2), 0.1 * jnp.arange(6.0)
    probes = jax.random.rademacher(key, (4, 6), float)

    def predict(theta, row):
        return jnp.stack([jnp.sin(row @ theta), jnp.ones(())])

    model = fl.ConditionalModel(predict, NORMAL, inputs)

    def sampled(theta):
        return fl.log_determinant(model, theta, 0.2, key=key, samples=4, depth=6, throw=False).value

    def by_matrix(theta):
        values, vectors = jnp.linalg.eigh(fl.fisher_information(model, theta) + 0.2 * jnp.eye(6))
        return jnp.mean((probes @ vectors) ** 2 @ jnp.log(values))

    (value, slope), (expected, truth) = jax.jit(
        lambda theta: (jax.value_and_grad(sampled)(theta), jax.value_and_grad(by_matrix)(theta))
    )(theta)
    assert abs(value - expected) < 1e-11
    assert jnp.max(jnp.abs(slope - truth)) < 1e-10 * jnp.max(jnp.abs(truth))


def test_a_krylov_space_used_up_early_is_cut_there(monkeypatch):
    monkeypatch.setattr(_log_determinant, "DENSE", 3)
    model = fl.GaussianModel(lambda theta: 2.0 * theta, jnp.ones(()))
    found = fl.log_determinant(model, jnp.zeros(50), 0.01, key=jax.random.key(0), samples=2)
    assert abs(found.value - 50.0 * jnp.log(4.01)) < 1e-11


def test_a_depth_too_small_and_a_singular_matrix_are_reported(monkeypatch):
    model, theta = linear(MATRIX)
    singular = fl.ConditionalModel(lambda theta, x: jnp.stack([x * jnp.sum(theta), 1.0]), NORMAL, jnp.arange(5.0))
    assert fl.log_determinant(singular, jnp.ones(3), throw=False).result == fl.RESULTS.singular_information
    monkeypatch.setattr(_log_determinant, "DENSE", 39)
    shallow = fl.log_determinant(model, theta, 1e-6, key=jax.random.key(0), depth=6, throw=False)
    assert shallow.result == fl.RESULTS.inaccurate_solution
    with pytest.raises(ValueError, match="damping"):
        fl.log_determinant(model, theta)
    with pytest.raises(ValueError, match="key"):
        fl.log_determinant(model, theta, 0.1)
    with pytest.raises(ValueError, match="negative"):
        fl.log_determinant(model, theta, -0.1)
    with pytest.raises(ValueError, match="between 1 and 40"):
        fl.sloppiness_spectrum(model, theta, 41)


def test_null_directions_are_found_and_named():
    def predict(theta, x):
        mean = theta["gain"] * theta["scale"] * x + jnp.exp(-(theta["rates"][0] + theta["rates"][1]) * x)
        return jnp.stack([mean, jnp.exp(theta["noise"])])

    model = fl.ConditionalModel(predict, NORMAL, jnp.arange(1.0, 6.0))
    theta = {"gain": 2.0, "scale": 3.0, "rates": jnp.array([0.3, 0.5]), "noise": 0.1, "unused": 1.0}
    found = fl.identifiability(model, theta)
    assert found.rank == 3
    assert found.names == (
        "0.55 theta['gain'] - 0.83 theta['scale']",
        "0.71 theta['rates'][0] - 0.71 theta['rates'][1]",
        "1 theta['unused']",
    )
    # Leaves in the order of their keys: gain, noise, rates, scale, unused.
    assert found.identifiable.tolist() == [False, True, False, False, False, False]
    expected = np.zeros((3, 6))
    expected[0, [0, 4]] = np.array([2.0, -3.0]) / np.sqrt(13.0)
    expected[1, [2, 3]] = np.array([1.0, -1.0]) / np.sqrt(2.0)
    expected[2, 5] = 1.0
    signs = np.sign(np.sum(expected * found.null_directions, axis=1))[:, None]
    assert np.max(np.abs(signs * found.null_directions - expected)) < 1e-10
    assert found.null_trees["rates"].shape == (3, 2)


def test_identifiability_does_not_depend_on_units_nor_confuse_sloppy_with_null():
    model, theta = sloppy(jnp.float64)
    assert fl.identifiability(model, theta).rank == 8
    scaled = fl.ConditionalModel(
        lambda theta, x: jnp.stack([1e9 * theta[0] * x + 1e-9 * theta[1] + 1e-9 * theta[2], 1.0]),
        NORMAL,
        jnp.arange(4.0),
    )
    found = fl.identifiability(scaled, jnp.ones(3))
    assert found.rank == 2
    assert found.names == ("0.71 theta[1] - 0.71 theta[2]",)
    far = fl.GaussianModel(lambda theta: jnp.array([1e-160, 1e160]) * theta, jnp.ones(()))
    assert fl.identifiability(far, jnp.ones(2)).rank == 2


def test_identifiability_asks_for_known_numbers():
    model, theta = sloppy(jnp.float64)
    with pytest.raises(TypeError, match="known numbers"):
        jax.jit(lambda theta: fl.identifiability(model, theta).spectrum)(theta)
    bad = fl.StatisticalModel(NORMAL.log_likelihood, fl.Quadrature(-jnp.inf, jnp.inf, nodes=9))
    assert fl.identifiability(bad, jnp.array([0.0, 0.5]), throw=False).result == fl.RESULTS.poor_quadrature
