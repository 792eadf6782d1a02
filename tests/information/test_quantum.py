"""Quantum states: spins, interferometers and mixtures against closed forms; no measurement tells more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import fimlag as fl

PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], complex)
ANGLES = jnp.array([0.8, -1.3])
AXES = jnp.array([[0.6, -0.3, 0.2], [0.0, 0.0, 0.0], [0.0, 0.9, 0.0]])

tensor = jax.jit(fl.quantum_geometric_tensor, static_argnums=0)
information = jax.jit(fl.quantum_fisher_information, static_argnums=0)


def phase(angle):
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))


def as_complex(x):
    return jax.lax.complex(x, jnp.zeros_like(x))


def spin(angles):
    """The spin that points in the direction of two spherical angles."""
    half = as_complex(jnp.stack([jnp.cos(angles[0] / 2), jnp.sin(angles[0] / 2)]))
    return half * jnp.stack([phase(0.0 * angles[1]), phase(angles[1])])


def qubit(r):
    """The qubit of a Bloch vector."""
    return 0.5 * (jnp.eye(2, dtype=complex) + jnp.einsum("i,iab->ab", as_complex(r), jnp.asarray(PAULI)))


def qubit_closed(r):
    return jnp.eye(3) + jnp.outer(r, r) / (1.0 - r @ r)


def random_hermitian(seed, size):
    parts = np.random.default_rng(seed).normal(size=(2, size, size))
    return (parts[0] + 1j * parts[1]) + (parts[0] + 1j * parts[1]).conj().T


def mixed(theta):
    """A full-rank density matrix of four levels, normalised or not, of two parameters."""
    root = jnp.asarray(random_hermitian(0, 4)) + jnp.einsum(
        "i,iab->ab", as_complex(theta), jnp.asarray(np.stack([random_hermitian(1, 4), random_hermitian(2, 4)]))
    )
    return root @ root.conj().T


def test_tensor_of_a_spin_is_the_sphere_of_radius_one_half():
    found = tensor(spin, ANGLES)
    sine = jnp.sin(ANGLES[0])
    assert np.max(np.abs(np.real(found) - np.diag([0.25, 0.25 * float(sine) ** 2]))) < 1e-15
    assert abs(np.imag(found)[0, 1] - float(sine) / 4) < 1e-15
    assert np.max(np.abs(found - found.conj().T)) == 0.0
    berry = fl.berry_curvature(spin, ANGLES)
    assert jnp.max(jnp.abs(berry - sine / 2 * jnp.array([[0.0, -1.0], [1.0, 0.0]]))) < 1e-15


def test_berry_curvature_is_the_curl_of_the_connection_and_its_flux_a_whole_number():
    def connection(angles):
        slopes = jax.jacfwd(spin)(angles)
        return -jnp.imag(spin(angles).conj() @ slopes)

    slopes = jax.jacfwd(connection)(ANGLES)
    assert jnp.max(jnp.abs(fl.berry_curvature(spin, ANGLES) - (slopes.T - slopes))) < 1e-15
    nodes, weights = np.polynomial.legendre.leggauss(20)
    polar = jnp.asarray(np.pi / 2 * (nodes + 1))
    curvature = jax.vmap(lambda a: fl.berry_curvature(spin, jnp.stack([a, 0.0 * a]))[0, 1])(polar)
    assert abs(np.pi**2 * jnp.asarray(weights) @ curvature / (2 * np.pi) + 1.0) < 1e-13


def test_neither_phase_nor_norm_of_a_state_matters():
    def dressed(angles):
        return (
            as_complex(1e200 * jnp.exp(angles[0] * angles[1])) * phase(3.0 * angles[0] ** 2 - angles[1]) * spin(angles)
        )

    def scattered(angles):
        up, down = spin(angles)
        return {"down": down[None], "up": up}

    for state in (dressed, scattered, lambda a: 1e-200 * spin(a)):
        # Round-off of phase and norm, whose slopes of order 10 cancel.
        assert jnp.max(jnp.abs(tensor(state, ANGLES) - tensor(spin, ANGLES))) < 1e-14


def test_a_real_state_has_no_curvature():
    def circle(t):
        return jnp.stack([jnp.cos(3.0 * t), jnp.sin(3.0 * t)])

    assert jnp.all(fl.berry_curvature(circle, 0.4) == 0.0)
    assert abs(fl.quantum_fisher_information(circle, 0.4)[0, 0] - 36.0) < 1e-12


@pytest.mark.parametrize("n", [1, 4, 7])
def test_entangled_interferometer_gains_a_factor_n(n):
    generators = jnp.asarray([bin(i).count("1") for i in range(2**n)], float)
    entangled = jnp.zeros(2**n).at[jnp.array([0, -1])].set(1.0)
    for amplitudes, expected in ((entangled, n**2), (jnp.ones(2**n), n)):

        def state(angle, amplitudes=amplitudes):
            return as_complex(amplitudes) * phase(generators * angle)

        assert abs(fl.quantum_fisher_information(state, 0.3)[0, 0] - expected) < 1e-12


def test_coherent_states_make_the_plane_of_a_complex_parameter():
    factorials = jnp.asarray(np.cumprod([1.0, *np.sqrt(np.arange(1.0, 40.0))]))

    def coherent(alpha):
        return jnp.cumprod(jnp.concatenate([jnp.ones(1, complex), jnp.repeat(alpha, 39)])) / as_complex(factorials)

    found = tensor(coherent, jnp.array(0.7 - 0.4j))
    # In the real and the imaginary part of alpha, by which theta counts: ds^2 = |d alpha|^2.
    assert np.max(np.abs(found - np.array([[1.0, 1.0j], [-1.0j, 1.0]]))) < 1e-13


def test_information_of_a_mixed_qubit_and_its_derivatives_meet_the_closed_form():
    def with_derivatives(function):
        def both(r):
            return function(r), jax.jacrev(function)(r), jax.jacfwd(jax.jacfwd(function))(r)

        return jax.jit(jax.vmap(both))(AXES)

    found = with_derivatives(lambda r: fl.quantum_fisher_information(qubit, r))
    for one, closed in zip(found, with_derivatives(qubit_closed), strict=True):
        # Round-off over 1 - r^2, raised to the power of three at most.
        assert jnp.max(jnp.abs(one - closed)) < 1e-11 * jnp.max(jnp.abs(closed))


@pytest.mark.slow
def test_pure_density_matrix_has_the_information_of_its_state_and_its_derivatives():
    def state(a):
        return jnp.concatenate([spin(a), as_complex(a[:1] * a[1:])])

    def density(a):
        psi = state(a)
        return jnp.outer(psi, psi.conj())

    def all_of(function):
        return jax.jit(lambda a: (function(a), jax.jacfwd(function)(a), jax.jacrev(jax.jacfwd(function))(a)))

    found = all_of(lambda a: fl.quantum_fisher_information(density, a))(ANGLES)
    expected = all_of(lambda a: fl.quantum_fisher_information(state, a))(ANGLES)
    for one, other in zip(found, expected, strict=True):
        assert jnp.max(jnp.abs(one - other)) < 1e-12 * jnp.max(jnp.abs(other))


def test_information_of_a_mixture_is_that_of_its_logarithmic_derivatives():
    theta = jnp.array([0.2, -0.1])

    def normalised(t):
        return mixed(t) / jnp.trace(mixed(t))

    rho = np.asarray(normalised(theta))
    slopes = np.moveaxis(np.asarray(jax.jacfwd(normalised)(theta)), -1, 0)
    kronecker = np.kron(rho, np.eye(4)) + np.kron(np.eye(4), rho.T)
    logarithms = [np.linalg.solve(kronecker, 2 * slope.ravel()).reshape(4, 4) for slope in slopes]
    expected = np.array([[np.trace(rho @ (a @ b + b @ a)).real / 2 for a in logarithms] for b in logarithms])
    found = information(mixed, theta)
    # Round-off over the smallest eigenvalue, 1e-2 of the largest.
    assert np.max(np.abs(found - expected)) < 1e-11 * np.max(expected)
    assert jnp.all(found == found.T)


def test_information_about_the_temperature_is_the_variance_of_the_energy():
    levels = jnp.array([0.0, 1.0, 1.0, 3.5])

    def thermal(inverse_temperature):
        return jnp.diag(jnp.exp(-inverse_temperature * levels))

    weights = jnp.exp(-0.7 * levels) / jnp.sum(jnp.exp(-0.7 * levels))
    variance = weights @ levels**2 - (weights @ levels) ** 2
    assert abs(fl.quantum_fisher_information(thermal, 0.7)[0, 0] - variance) < 1e-14


def test_information_is_additive_over_independent_systems():
    def pair(r):
        return jnp.kron(qubit(r), qubit(0.5 * r))

    r = AXES[0]
    expected = information(qubit, r) + information(lambda r: qubit(0.5 * r), r)
    assert jnp.max(jnp.abs(information(pair, r) - expected)) < 1e-13


def classical(basis, r):
    """The Fisher information of the outcome of a measurement in an orthonormal basis."""

    def log_likelihood(r, outcome):
        vector = jnp.asarray(basis)[:, outcome]
        return jnp.log(jnp.real(vector.conj() @ qubit(r) @ vector))

    return fl.fisher_information(fl.StatisticalModel(log_likelihood, fl.ExactSum(jnp.arange(2))), r)


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_no_measurement_tells_more_than_the_quantum_information(seed):
    basis = np.linalg.eigh(random_hermitian(seed, 2))[1]
    gain = information(qubit, AXES[0]) - jax.jit(classical)(basis, AXES[0])
    assert np.min(np.linalg.eigvalsh(gain)) > -1e-13


def test_the_basis_of_the_logarithmic_derivative_tells_all():
    r, direction = AXES[0], jnp.array([0.3, 1.0, -0.5])
    rho = np.asarray(qubit(r))
    slope = np.asarray(jax.jvp(qubit, (r,), (direction,))[1])
    eigenvalues, basis = np.linalg.eigh(rho)
    inverse = 2 / (eigenvalues[:, None] + eigenvalues[None, :])
    logarithm = basis @ (inverse * (basis.conj().T @ slope @ basis)) @ basis.conj().T
    best = classical(np.linalg.eigh(logarithm)[1], r)
    expected = direction @ information(qubit, r) @ direction
    assert abs(direction @ best @ direction / expected - 1.0) < 1e-13


def test_what_is_no_state_gives_nan():
    def hopeless(t):
        return 0.0 * jnp.stack([t, t])

    def negative(t):
        return jnp.diag(jnp.stack([1.0 + t, -t]))

    def skew(t):
        return jnp.stack([jnp.stack([1.0 + t, t]), jnp.stack([0.0 * t, 1.0 - t])])

    for state in (hopeless, negative, skew):
        assert jnp.all(jnp.isnan(information(state, 0.3)))
    assert jnp.all(jnp.isnan(fl.berry_curvature(hopeless, 0.3)))


def test_an_eigenvalue_that_crosses_zero_has_infinite_information():
    def coin(p):
        return jnp.diag(jnp.stack([p, 1.0 - p]))

    for p in (1e-12, 1e-3, 1.0 - 1e-3):
        assert abs(information(coin, p)[0, 0] * p * (1.0 - p) - 1.0) < 1e-12
    assert jnp.all(jnp.isnan(information(coin, 0.0)))
    # Touching zero, the eigenvalue leaves the information of the support.
    touching = information(lambda t: jnp.diag(jnp.stack([t**2, 1.0 - t**2])), 0.0)
    assert touching[0, 0] == 0.0


def test_wrong_shapes_and_dtypes_raise():
    with pytest.raises(ValueError, match="density matrix"):
        fl.quantum_geometric_tensor(qubit, AXES[0])
    with pytest.raises(ValueError, match="square"):
        fl.quantum_fisher_information(lambda t: t * jnp.ones((2, 3)), 0.3)
    for function in (fl.quantum_fisher_information, fl.quantum_geometric_tensor):
        with pytest.raises(TypeError, match="int"):
            function(lambda t: jnp.array([1, 0]), 0.3)


def test_states_keep_single_precision_under_vmap():
    angles = jnp.stack([ANGLES, 0.5 * ANGLES]).astype(jnp.float32)
    pure = jax.jit(jax.vmap(lambda a: fl.quantum_geometric_tensor(spin, a)))(angles)
    assert pure.dtype == jnp.complex64
    assert np.max(np.abs(np.asarray(pure[1]) - np.asarray(tensor(spin, 0.5 * ANGLES)))) < 1e-6

    def density(r):
        pauli = jnp.asarray(PAULI, jnp.complex64)
        return 0.5 * (jnp.eye(2, dtype=jnp.complex64) + jnp.einsum("i,iab->ab", as_complex(r), pauli))

    mixtures = jax.jit(jax.vmap(lambda r: fl.quantum_fisher_information(density, r)))(AXES.astype(jnp.float32))
    assert mixtures.dtype == jnp.float32
    for found, r in zip(mixtures, AXES, strict=True):
        # Single round-off over 1 - r^2 = 0.19.
        assert np.max(np.abs(np.asarray(found) - np.asarray(qubit_closed(r)))) < 1e-5


def test_quantum_information_lowers_for_other_devices():
    traced = jax.jit(lambda r: fl.quantum_fisher_information(qubit, r)).trace(AXES[0])
    for platform in ("cuda", "tpu"):
        assert "stablehlo" in traced.lower(lowering_platforms=(platform,)).as_text()
