"""Variational integrators: discrete Lagrangians of every kind, and the maps that they generate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import problems

KEPLER, NORMAL = problems.Kepler(), problems.NormalFisher()
STANDARD, TILT = jnp.array([0.0, 1.0]), jnp.array([1.0, 0.3])


def relative_entropy(one, other):
    """Between normal distributions of means and deviations."""
    return jnp.log(other[1] / one[1]) + (one[1] ** 2 + (one[0] - other[0]) ** 2) / (2 * other[1] ** 2) - 0.5


def half_jeffreys(one, other):
    return (relative_entropy(one, other) + relative_entropy(other, one)) / 2


def half_square(one, other):
    return (other - one) @ (other - one) / 2


def leapfrog_action(t, h, q0, q1):
    """Störmer and Verlet's discrete Lagrangian of Kepler's problem."""
    v = (q1 - q0) / h
    return h * (v @ v / 2) + h / 2 * (1 / jnp.linalg.norm(q0) + 1 / jnp.linalg.norm(q1))


def test_as_many_gauss_points_as_degrees_make_the_gauss_method():
    variational, gauss = (
        fl.integrate(NORMAL.lagrangian, STANDARD, TILT, t1=4.0, steps=8, method=method)
        for method in (fl.Variational(fl.Galerkin(2)), fl.GaussLegendre(2))
    )
    np.testing.assert_allclose(variational.q, gauss.q, atol=1e-13)  # round-off
    np.testing.assert_allclose(variational.p, gauss.p, atol=1e-13)


@pytest.mark.parametrize(
    "method",
    [
        fl.Variational(fl.Trapezoidal()),
        fl.Variational(leapfrog_action, order=2, symmetric=True),
        fl.Variational(fl.DivergenceLagrangian(half_square, lambda q: -1 / jnp.linalg.norm(q), symmetric=True)),
    ],
    ids=["trapezoidal rule", "own action", "divergence and potential"],
)
def test_discrete_lagrangians_of_the_leapfrog_make_the_leapfrog(method):
    start = KEPLER.start(0.3)
    variational = fl.integrate(KEPLER.lagrangian, *start, t1=3.0, steps=48, method=method)
    leapfrog = fl.integrate(KEPLER.lagrangian, *start, t1=3.0, steps=48, method=fl.StormerVerlet())
    # Differences of points a step apart carry the round-off of the points.
    np.testing.assert_allclose(variational.q, leapfrog.q, atol=1e-12)
    np.testing.assert_allclose(variational.v, leapfrog.v, atol=1e-12)


def test_more_points_keep_the_order_and_every_rule_keeps_the_charge_of_a_symmetry():
    method = fl.Variational(fl.Galerkin(2, 3))

    @jax.jit
    def flow(t1):
        return fl.integrate(KEPLER.lagrangian, *KEPLER.start(0.3), t1=t1, steps=64, method=method, throw=False)

    coarse, fine, exact = flow(4.0), flow(2.0), KEPLER.solution(2.0, 0.3)
    errors = jnp.max(jnp.abs(coarse.q[32] - exact)), jnp.max(jnp.abs(fine.q[64] - exact))
    assert method.order == 4
    assert abs(jnp.log2(errors[0] / errors[1]) - 4) < 0.15
    spin = coarse.q[:, 0] * coarse.p[:, 1] - coarse.q[:, 1] * coarse.p[:, 0]
    np.testing.assert_allclose(spin, spin[0], rtol=1e-13)  # discrete Noether theorem; round-off of 64 steps


@jax.jit
@jax.vmap
def jeffreys_flow(q0, v0, t1):
    method = fl.Variational(fl.DivergenceLagrangian(half_jeffreys, symmetric=True))
    return fl.integrate(NORMAL.lagrangian, q0, v0, t1=t1, steps=64, method=method, throw=False)


def test_jeffreys_divergence_follows_the_fisher_geodesic_to_second_order():
    starts = jnp.stack([STANDARD, STANDARD, STANDARD]), jnp.stack([TILT, TILT, 4000 * TILT])
    flows = jeffreys_flow(*starts, jnp.array([2.0, 1.0, 1.0]))
    exact = NORMAL.geodesic(1.0, STANDARD, TILT)
    coarse, fine = jnp.max(jnp.abs(flows.q[0, 32] - exact)), jnp.max(jnp.abs(flows.q[1, 64] - exact))
    assert abs(jnp.log2(coarse / fine) - 2) < 0.05
    # A step across thousands of standard deviations has no solution: its member alone fails.
    assert (flows.result == fl.RESULTS.successful).tolist() == [True, True, False]
    assert (flows.result == fl.RESULTS.implicit_step_failed).tolist() == [False, False, True]


def test_relative_entropy_follows_the_fisher_geodesic_to_first_order():
    method = fl.Variational(fl.DivergenceLagrangian(relative_entropy))
    assert (method.order, method.symmetric, method.symplectic) == (1, False, True)

    @jax.jit
    def flow(t1):
        return fl.integrate(NORMAL.lagrangian, STANDARD, TILT, t1=t1, steps=512, method=method, throw=False)

    coarse, fine, exact = flow(2.0).q[256], flow(1.0).q[512], NORMAL.geodesic(1.0, STANDARD, TILT)
    errors = jnp.max(jnp.abs(coarse - exact)), jnp.max(jnp.abs(fine - exact))
    assert abs(jnp.log2(errors[0] / errors[1]) - 1) < 0.15
    np.testing.assert_allclose(2 * fine - coarse, exact, atol=1e-5)  # c h^2 after extrapolation, h = 1 / 512


@pytest.mark.parametrize("discrete", [fl.Trapezoidal(), fl.Galerkin(2, 3)], ids=repr)
def test_forces_enter_by_the_principle_of_lagrange_and_dalembert(discrete):
    damped = fl.Forced(lambda t, q, v: v @ v / 2 - q @ q / 2, lambda t, q, v: -0.4 * v)
    method = fl.Variational(discrete)

    @jax.jit
    def flow(t1):
        return fl.integrate(damped, jnp.ones(1), jnp.zeros(1), t1=t1, steps=32, method=method, throw=False)

    rate = jnp.sqrt(1 - 0.04)
    exact = jnp.exp(-0.4) * (jnp.cos(2 * rate) + 0.2 / rate * jnp.sin(2 * rate))
    coarse, fine = flow(4.0).q[16, 0] - exact, flow(2.0).q[32, 0] - exact
    assert abs(jnp.log2(coarse / fine) - method.order) < 0.1


def test_derivatives_are_implicit_and_right():
    def end(scale):
        system = fl.NaturalLagrangian(lambda q: jnp.eye(2) * (1 + scale * q[0] ** 2), lambda q: jnp.cos(scale * q[1]))
        method = fl.Variational(fl.Galerkin(2))
        flow = fl.integrate(system, STANDARD, scale * TILT, t1=scale, steps=4, method=method, throw=False)
        return jnp.sum(jnp.sin(flow.q[-1])) + flow.p[-1, 0]

    value, h = jnp.asarray(1.3), 1e-5
    reverse, ends = jax.jit(lambda x: (jax.grad(end)(x), jax.vmap(end)(x + jnp.array([h, -h]))))(value)
    np.testing.assert_allclose(reverse, (ends[0] - ends[1]) / (2 * h), rtol=1e-8)  # c h^2 + round-off / h


def test_single_precision_stays_single():
    single = STANDARD.astype(jnp.float32), TILT.astype(jnp.float32)
    for discrete in (fl.Galerkin(2), fl.Trapezoidal(), fl.DivergenceLagrangian(half_jeffreys)):
        method = fl.Variational(discrete)
        flow = jax.eval_shape(
            lambda q, v, method=method: fl.integrate(NORMAL.lagrangian, q, v, t1=1.0, steps=2, method=method), *single
        )
        assert flow.q.dtype == flow.v.dtype == flow.p.dtype == flow.t.dtype == jnp.float32


def test_what_is_not_declared_is_refused():
    for arguments in ({}, {"order": 0}, {"order": True}):
        with pytest.raises(ValueError, match="needs its order"):
            fl.Variational(leapfrog_action, **arguments)
    with pytest.raises(ValueError, match="declares its order"):
        fl.Variational(fl.Galerkin(1), order=2)
    with pytest.raises(ValueError, match="points >= degree"):
        fl.Galerkin(3, 2)


@pytest.mark.parametrize(
    ("system", "discrete", "words"),
    [
        (fl.Forced(KEPLER.lagrangian, lambda t, q, v: v), leapfrog_action, "where a force acts"),
        (KEPLER.lagrangian, lambda t, h, q0, q1: q1 - q0, "scalar of shape"),
        (fl.Constrained(KEPLER.lagrangian, lambda q: q @ q - 1), leapfrog_action, "Use Rattle"),
    ],
    ids=["force", "no scalar", "constraint"],
)
def test_systems_that_do_not_fit_are_refused(system, discrete, words):
    with pytest.raises(ValueError, match=words):
        fl.integrate(system, *KEPLER.start(0.0), t1=1.0, steps=1, method=fl.Variational(discrete, order=1))
