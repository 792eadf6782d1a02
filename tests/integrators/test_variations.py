"""Monodromy matrices, linearised displacements and Lyapunov exponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import fimlag as fl
from fimlag import problems

KEPLER = problems.Kepler()
PENDULUM = problems.DoublePendulum()
HENON_HEILES = problems.henon_heiles()
FORM = np.kron([[0, 1], [-1, 0]], np.eye(2))


def on_section(y, energy=1 / 8):
    """The state of Hénon and Heiles with x = 0 and no momentum along y."""
    return jnp.array([0.0, y]), jnp.array([np.sqrt(2 * energy - y**2 + 2 / 3 * y**3), 0.0])


def test_the_monodromy_of_an_oscillator_is_a_rotation():
    system = problems.HarmonicOscillator(mass=2.0, frequency=3.0).lagrangian
    flow = fl.monodromy(system, jnp.array([0.3]), jnp.array([0.1]), t1=1.0, steps=200, method=fl.KahanLi8())
    sine, cosine = np.sin(3.0), np.cos(3.0)
    # c h^8, and round-off of 200 steps of some 20 stages
    np.testing.assert_allclose(flow.matrix, [[cosine, sine / 6], [-6 * sine, cosine]], atol=1e-12)
    np.testing.assert_allclose(np.sort_complex(flow.multipliers), [cosine - 1j * sine, cosine + 1j * sine], atol=1e-12)


def test_kepler_has_unit_multipliers_and_the_shear_of_its_third_law():
    start = KEPLER.start(0.3)
    flow = fl.monodromy(KEPLER.lagrangian, *start, t1=2 * jnp.pi, steps=400, method=fl.KahanLi8())
    np.testing.assert_allclose(flow.multipliers, 1, atol=1e-5)  # a Jordan block: the square root of the matrix's error
    np.testing.assert_allclose(flow.matrix.T @ FORM @ flow.matrix, FORM, atol=1e-10)  # round-off times its shear
    field = jnp.concatenate([start[1], -start[0] / 0.7**3])
    gradient = jnp.concatenate([start[0] / 0.7**3, start[1]])  # of the energy: T = 2 pi (-2 E)^(-3/2), dT/dE = 6 pi
    exact = np.eye(4) - 6 * np.pi * np.outer(field, gradient)
    np.testing.assert_allclose(flow.matrix, exact, atol=1e-9)


@pytest.mark.slow
def test_the_monodromy_of_a_nonseparable_motion_is_symplectic_and_agrees_with_finite_differences():
    options = {"t1": 2.0, "steps": 40, "method": fl.GaussLegendre(3)}
    start = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
    flow = fl.monodromy(PENDULUM, *start, **options)
    np.testing.assert_allclose(flow.matrix.T @ FORM @ flow.matrix, FORM, atol=1e-13)
    push = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    moved = fl.variation(PENDULUM, *start, *push, **options)
    dp = jax.jvp(lambda q, v: fl.momentum(PENDULUM, 0.0, q, v), start, push)[1]
    column = flow.matrix @ jnp.concatenate([push[0], dp])
    np.testing.assert_allclose(column, jnp.concatenate([moved.dq[-1], moved.dp[-1]]), rtol=1e-11)
    ends = [fl.integrate(PENDULUM, start[0] + e * push[0], start[1] + e * push[1], **options) for e in (1e-5, -1e-5)]
    for name in ("q", "v", "p"):
        difference = (getattr(ends[0], name) - getattr(ends[1], name)) / 2e-5
        np.testing.assert_allclose(
            getattr(moved, "d" + name), difference, atol=1e-7
        )  # truncation 1e-10 times curvature


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_mathieu_loses_stability_at_its_characteristic_values(strength):
    def trace(a):
        system = fl.Separable(lambda t, q, v: v**2 / 2 - (a - 2 * strength * jnp.cos(2 * t)) * q**2 / 2)
        flow = fl.monodromy(system, 1.0, 0.0, t1=jnp.pi, steps=200, method=fl.KahanLi8(), throw=False)
        return jnp.trace(flow.matrix)

    edges = [scipy.special.mathieu_a(0, strength), scipy.special.mathieu_b(1, strength)]
    edges += [scipy.special.mathieu_a(1, strength), scipy.special.mathieu_b(2, strength)]
    traces = jax.vmap(trace)(jnp.array(edges))
    # periodic (trace 2) or antiperiodic (trace -2): c h^8 with h = pi / 200
    np.testing.assert_allclose(traces, [2, -2, -2, 2], atol=1e-10)


def test_contact_and_first_order_flows_contract_and_keep_areas():
    damped = fl.Herglotz.linear(lambda t, q, v: v**2 / 2 - q**2 / 2, 0.2)
    flow = fl.monodromy(damped, 1.0, 0.0, t1=2.0, steps=40, method=fl.GaussLegendre(3))
    np.testing.assert_allclose(jnp.linalg.det(flow.matrix), np.exp(-2 * 0.2 * 2.0), rtol=1e-8)  # c h^6
    plane = fl.PhaseSpaceLagrangian(lambda t, z: jnp.array([z[1], 0.0]), lambda t, z: z @ z / 2)
    quarter = fl.monodromy(plane, jnp.array([1.0, 0.0]), None, t1=jnp.pi / 2, steps=40, method=fl.GaussLegendre(3))
    np.testing.assert_allclose(quarter.matrix, [[0, 1], [-1, 0]], atol=1e-11)


def test_lyapunov_exponents_of_henon_heiles_tell_chaos_from_order():
    starts = [jnp.stack(each) for each in zip(on_section(-0.25), on_section(0.55), strict=True)]

    def exponents(q0, v0):
        return fl.lyapunov_exponents(
            HENON_HEILES, q0, v0, t1=40000.0, steps=400000, method=fl.Yoshida4(), renormalise_every=40, throw=False
        )

    chaos = jax.vmap(exponents)(*starts)
    largest, error = chaos.exponents[:, 0], chaos.standard_error[:, 0]
    # Skokos (2010), section 5, for this orbit: about 0.047, read off a figure; four standard errors and a tenth of it.
    assert abs(largest[0] - 0.047) < 4 * error[0] + 0.005
    assert largest[1] < 3 * np.log(4e4) / 4e4
    assert chaos.history[1, 99, 0] > 5 * chaos.history[1, -1, 0]  # falls like log t / t
    # the flow keeps volumes, and the exponents come in pairs: log t / t of what has not converged
    np.testing.assert_allclose(chaos.exponents.sum(axis=1), 0, atol=1e-10)
    np.testing.assert_allclose(chaos.exponents + chaos.exponents[:, ::-1], 0, atol=5e-4)


@pytest.mark.slow
def test_friction_shifts_the_sum_of_the_exponents():
    system = fl.Forced(PENDULUM, lambda t, q, v: -0.1 * fl.momentum(PENDULUM, t, q, v))
    start = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])
    spread = fl.lyapunov_exponents(system, *start, t1=20.0, steps=400, method=fl.GaussLegendre(2))
    np.testing.assert_allclose(spread.exponents.sum(), -0.2, atol=1e-6)  # c h^4, h = 0.05
    first = fl.lyapunov_exponents(system, *start, t1=20.0, steps=400, method=fl.GaussLegendre(2), count=1)
    np.testing.assert_allclose(first.exponents[0], spread.exponents[0], rtol=1e-6)


def test_a_variation_that_does_not_exist_is_reported():
    cusp = fl.Separable(lambda t, q, v: v**2 / 2 - jnp.abs(q) ** 1.5)  # at rest at zero, where its force has no slope
    field = fl.variation(cusp, 0.0, 0.0, 1.0, 0.0, t1=1.0, steps=2, throw=False)
    assert field.trajectory.succeeded
    assert field.result == fl.RESULTS.nonfinite


def test_constraints_and_wrong_counts_are_refused():
    rod = fl.Constrained(lambda t, q, v: v @ v / 2, lambda q: q @ q - 1.0)
    start = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    for function in (fl.monodromy, fl.lyapunov_exponents):
        with pytest.raises(ValueError, match="constraints"):
            function(rod, *start, t1=1.0, steps=20)
    for wrong in ({"renormalise_every": 3}, {"renormalise_every": 20}, {"count": 5}, {"count": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fl.lyapunov_exponents(HENON_HEILES, *start, t1=1.0, steps=20, **wrong)
