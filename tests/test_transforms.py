"""jit, eager, vmap and a loop give the same numbers, and every solver lowers for devices that are not at hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

POINTS = jnp.array([[0.0, 1.0], [0.7, 1.6], [-0.4, 0.8]])
OTHERS = POINTS + jnp.array([[0.5, 0.3], [-0.2, 0.4], [0.1, 0.6]])
VELOCITIES = jnp.array([[0.3, -0.1], [0.2, 0.2], [-0.5, 0.1]])
METRIC = fl.Metric(lambda q: jnp.diag(jnp.array([1.0, 2.0], q.dtype)) / q[1] ** 2)
FREE = fl.NaturalLagrangian(METRIC)
FALLING = fl.NaturalLagrangian(fl.EuclideanMetric(2.0), potential=lambda q: jnp.sum(q**4))
NORMAL = fl.families.Normal()
SAMPLES = jnp.array([0.3, -1.2, 2.5, 0.8])


def motion(q, v):
    return lambda t: q + t * v + 0.1 * t**2


CASES = {
    "christoffel": lambda q, r, v: fl.christoffel(METRIC, q),
    "riemann_curvature": lambda q, r, v: fl.riemann_curvature(METRIC, q),
    "ricci_curvature": lambda q, r, v: fl.ricci_curvature(METRIC, q),
    "scalar_curvature": lambda q, r, v: fl.scalar_curvature(METRIC, q),
    "sectional_curvature": lambda q, r, v: fl.sectional_curvature(METRIC, q, v, r),
    "volume_density": lambda q, r, v: fl.volume_density(METRIC, q),
    "conformal_metric": lambda q, r, v: fl.ConformalMetric(METRIC, lambda q: q[0])(q),
    "pullback_metric": lambda q, r, v: fl.PullbackMetric(METRIC, lambda q: q + 0.1 * q**2)(q),
    "momentum": lambda q, r, v: fl.momentum(FREE, 0.0, q, v),
    "energy": lambda q, r, v: fl.energy(FREE, 0.0, q, v),
    "mass_matrix": lambda q, r, v: fl.mass_matrix(FREE, 0.0, q, v),
    "acceleration": lambda q, r, v: fl.acceleration(FREE, 0.0, q, v),
    "euler_lagrange_residual": lambda q, r, v: fl.euler_lagrange_residual(FREE, motion(q, v), 0.5),
    "hamiltonian": lambda q, r, v: fl.hamiltonian(FREE)(0.0, q, v),
    "lagrangian": lambda q, r, v: fl.lagrangian(fl.hamiltonian(FREE))(0.0, q, v),
    "velocity": lambda q, r, v: fl.velocity(FREE, 0.0, q, v),
    "integrate explicit": lambda q, r, v: fl.integrate(FALLING, q, v, t1=1.0, steps=8, throw=False).q,
    "integrate implicit": lambda q, r, v: fl.integrate(FREE, q, v, t1=1.0, steps=8, throw=False).p,
    "action": lambda q, r, v: fl.action(FREE, motion(q, v)),
    "least_action_path": lambda q, r, v: fl.least_action_path(FREE, q, r, throw=False).path(0.4),
    "stationary path": lambda q, r, v: fl.least_action_path(FREE, q, r, stationary=True, throw=False).action,
    "geodesic": lambda q, r, v: fl.geodesic(METRIC, q, r, throw=False).action,
    "distance": lambda q, r, v: fl.distance(METRIC, q, r),
    "log_map": lambda q, r, v: fl.log_map(METRIC, q, r),
    "exp_map": lambda q, r, v: fl.exp_map(METRIC, q, v),
    "maximum_likelihood": lambda q, r, v: fl.maximum_likelihood(NORMAL.model, SAMPLES + q[0], r, throw=False).theta,
}
SOLVERS = [
    "integrate explicit",
    "integrate implicit",
    "least_action_path",
    "stationary path",
    "geodesic",
    "distance",
    "log_map",
    "exp_map",
    "maximum_likelihood",
]


# Of solvers that share one the others are variants.
VARIANTS = ("stationary path", "geodesic", "log_map")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in CASES]
)
def test_jit_of_vmap_equals_an_eager_loop(name):
    function = CASES[name]
    batched = jax.jit(jax.vmap(function))(POINTS, OTHERS, VELOCITIES)
    loop = jnp.stack([function(*member) for member in zip(POINTS, OTHERS, VELOCITIES, strict=True)])
    assert bool(jnp.all(jnp.isfinite(loop)))
    # the compiler may order sums otherwise: round-off of solves, 1e3 eps
    np.testing.assert_allclose(batched, loop, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_lowers_without_the_device(name):
    traced = jax.jit(CASES[name]).trace(POINTS[0], OTHERS[0], VELOCITIES[0])
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()


MANIFOLDS = {
    "parallel_transport": lambda q, r, v: fl.parallel_transport(METRIC, motion(q, v), r, steps=4),
    "frechet_mean": lambda q, r, v: fl.frechet_mean(METRIC, jnp.stack([q, r]), elements=2, nodes=4, throw=False).mean,
    "conjugate_points": lambda q, r, v: fl.conjugate_points(METRIC, q, v, 1.0, steps=4, throw=False).times,
    "alpha_geodesic": lambda q, r, v: fl.alpha_geodesic(NORMAL, q, r, 0.5, elements=2, points=4, throw=False).residual,
}


@pytest.mark.parametrize("name", MANIFOLDS)
def test_motion_on_a_manifold_lowers_without_the_device(name):
    traced = jax.jit(MANIFOLDS[name]).trace(POINTS[0], OTHERS[0], VELOCITIES[0])
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda", "tpu")).as_text()


@pytest.mark.parametrize("name", ["least_action_path", "distance", "log_map", "integrate implicit"])
def test_gradient_of_a_solver_lowers_without_the_device(name):
    def value(*arguments):
        return jnp.sum(CASES[name](*arguments))

    traced = jax.jit(jax.grad(value, (0, 1))).trace(POINTS[0], OTHERS[0], VELOCITIES[0])
    assert "stablehlo" in traced.lower(lowering_platforms=("cuda",)).as_text()


def test_fisher_lagrangian_of_a_likelihood_lowers_without_the_device():
    lagrangian = fl.FisherLagrangian(NORMAL.model)

    def solve(q, r):
        return fl.least_action_path(lagrangian, q, r, throw=False).action

    traced = jax.jit(solve).trace(POINTS[0], OTHERS[0])
    assert "stablehlo" in traced.lower(lowering_platforms=("tpu",)).as_text()
