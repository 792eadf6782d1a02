"""Steps of a fictive time, on eccentric orbits and driven systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import fimlag as fl
from fimlag import problems
from fimlag.integrators._method import advanced
from fimlag.mechanics._lagrangian import flat_arguments

KEPLER = problems.Kepler()
START, PUSH = jnp.array([1.0, 0.5]), jnp.array([0.0, 1.0])


def gravity_density(q, p):
    """The frequency of a circular orbit here."""
    return (q @ q) ** -0.75


def moving_density(q, p):
    return 1 + q @ q + p @ p


@fl.Separable
def driven(t, q, v):
    """Constant mass, a term linear in the velocity, and a potential below zero that moves."""
    return v @ v / 2 + jnp.array([0.3, -0.4]) @ v - (q @ q) ** 2 * (1 + 0.5 * jnp.sin(t)) + 5.0


@jax.jit
def ellipse(t):
    return jax.vmap(lambda time: KEPLER.solution(time, 0.9))(t)


def worst_distance(t1, steps, method):
    """The largest distance from the motion in 100 rows of an orbit of eccentricity 0.9, and their last time."""
    flow = fl.integrate(
        KEPLER.lagrangian, *KEPLER.start(0.9), t1=t1, steps=steps, save_every=steps // 100, method=method
    )
    return float(jnp.max(jnp.linalg.norm(flow.q - ellipse(flow.t), axis=1))), float(flow.t[-1])


def test_logarithmic_leapfrog_traces_the_exact_ellipse():
    late = []
    for steps in (100, 200):
        flow = fl.integrate(
            KEPLER.lagrangian, *KEPLER.start(0.9), t1=2 * jnp.pi, steps=steps, method=fl.TimeTransformedLeapfrog()
        )
        (x, y), (u, w) = np.asarray(flow.q).T, np.asarray(flow.v).T
        # Round-off of the steps, magnified by 1 / (1 - e^2).
        np.testing.assert_allclose((x + 0.9) ** 2 + y**2 / (1 - 0.81), 1, atol=1e-13)
        lenz = np.stack([w, -u]) * (x * w - y * u) + np.stack([-x, -y]) / np.hypot(x, y)
        np.testing.assert_allclose(lenz, np.array([[0.9], [0]]) + 0 * lenz, atol=1e-12)
        late.append(float(flow.t[-1]) - 2 * np.pi)  # fictive time is the eccentric anomaly
    assert 0 < abs(late[1]) < abs(late[0]) < 3e-3
    np.testing.assert_allclose(late[0] / late[1], 4, rtol=0.02)  # c h^2


def test_transformed_and_adaptive_steps_beat_equal_steps_on_an_eccentric_orbit():
    forces, orbit = 3000, 2 * np.pi
    equal, _ = worst_distance(orbit, forces, fl.StormerVerlet())
    transformed, end = worst_distance(orbit, forces, fl.TimeTransformedLeapfrog())
    assert abs(end - orbit) < 1e-4
    assert transformed < equal / 1000
    # The slope of the density asks for one force more a step.
    method = fl.ReversibleAdaptive(gravity_density)
    adaptive, end = worst_distance(9.3, forces // 2, method)
    assert abs(end - orbit) < 0.05
    assert adaptive < equal / 50


def test_the_default_density_and_higher_order_resolve_an_eccentric_orbit():
    frequency, end = worst_distance(9.3, 1000, fl.ReversibleAdaptive())
    assert frequency < 2e-3
    assert end > 6
    method = fl.ReversibleAdaptive(gravity_density, fl.KahanLi8())
    assert (method.order, method.structure, method.symmetric, method.explicit) == (8, None, True, True)
    eighth, _ = worst_distance(9.3, 100, method)
    assert eighth < 1e-7


@pytest.mark.parametrize(
    ("method", "steps"),
    [
        (fl.TimeTransformedLeapfrog(jnp.sqrt), (60, 80, 100)),
        pytest.param(fl.Composition(fl.TimeTransformedLeapfrog(), 6), (14, 17, 20), marks=pytest.mark.slow),
        (fl.ReversibleAdaptive(moving_density, fl.BlanesMoan4()), (24, 30, 36)),
    ],
    ids=["root", "composed", "adaptive"],
)
def test_order_structure_and_symmetry_hold_on_a_driven_system(method, steps):
    flat, t, q, v = flat_arguments(driven, 0.3, START, PUSH)
    p = jax.grad(flat, argnums=2)(t, q, v)

    def reference(time):
        flow = fl.integrate(driven, START, PUSH, t1=time, steps=200, save_every=200, method=fl.KahanLi8(), throw=False)
        return flow.q[-1]

    @jax.jit
    def measured():
        equations, _ = method.prepare(flat, t, q, v, None)

        def walk(h, state):
            return lax.fori_loop(0, 20, lambda _, state: advanced(method, equations, t, h, *state)[:3], state)

        first = q, p, method.memory(equations, t, q, p, v, None)
        back = walk(-0.1, walk(0.1, first))
        fit = fl.observed_order(method, driven, START, PUSH, t1=2.0, steps=steps, reference=reference)
        return fit.order, first, back, fl.symplecticity_defect(method, driven, 0.3, START, PUSH, 0.1)

    order, first, back, defect = measured()
    assert abs(order - method.order) < 0.15
    for there, again in zip(jax.tree.leaves(first), jax.tree.leaves(back), strict=True):
        np.testing.assert_allclose(again, there, atol=1e-13)  # round-off of 40 steps
    assert defect < 1e-14 if method.symplectic else defect > 1e-4


@pytest.mark.slow
def test_reversible_steps_keep_the_energy_without_drift():
    flow = fl.integrate(
        KEPLER.lagrangian,
        *KEPLER.start(0.6),
        t1=7000.0,
        steps=140_000,
        save_every=140,
        method=fl.ReversibleAdaptive(gravity_density),
    )
    drift = fl.energy_drift(KEPLER.lagrangian, flow)
    assert flow.t[-1] > 5000
    assert abs(drift.drift) * flow.t[-1] < drift.oscillation < 1e-3


@pytest.mark.slow
def test_gradients_of_the_physical_state_are_those_of_differences():
    def end(speed):
        flow = fl.integrate(
            KEPLER.lagrangian, START, PUSH * speed, t1=2.0, steps=20, method=fl.TimeTransformedLeapfrog()
        )
        return flow.q[-1, 0] + flow.t[-1]

    gradient = jax.jit(jax.grad(end))(1.1)
    difference = (end(1.1 + 1e-5) - end(1.1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(gradient, difference, rtol=1e-8)  # the square of the difference, and its round-off


def test_structured_coordinates_reach_the_density_in_single_precision():
    lagrangian = fl.Separable(lambda t, q, v: (v["x"] ** 2 + v["y"] ** 2) / 2 + 1 / jnp.hypot(q["x"], q["y"]))
    method = fl.ReversibleAdaptive(lambda q, p: (q["x"] ** 2 + q["y"] ** 2) ** -0.75)
    q0, v0 = ({"x": x[0], "y": x[1]} for x in (y.astype(jnp.float32) for y in KEPLER.start(0.6)))
    flow = fl.integrate(lagrangian, q0, v0, t1=6.0, steps=400, method=method)
    assert {leaf.dtype for leaf in jax.tree.leaves((flow.t, flow.q, flow.p))} == {jnp.dtype("float32")}
    exact = KEPLER.solution(flow.t[-1].astype(float), 0.6)
    np.testing.assert_allclose([flow.q["x"][-1], flow.q["y"][-1]], exact, atol=2e-3)  # c h^2 with h = 0.015


def test_a_time_that_stops_is_reported_in_its_member():
    def hill(t, q, v):
        return v @ v / 2 - q[0]  # a potential that vanishes at q[0] = 0

    def end(method, q0):
        return fl.integrate(fl.Separable(hill), q0, PUSH, t1=5.0, steps=50, method=method, throw=False)

    starts = jnp.array([[1.0, 0.0], [0.0, 0.0], [-9.0, 0.0], [np.nan, 0.0]])
    climbs = jax.vmap(lambda q0: end(fl.TimeTransformedLeapfrog(), q0))(starts)
    assert (climbs.result == fl.RESULTS.time_stopped).tolist() == [True, True, False, False]
    assert (climbs.result == fl.RESULTS.nonfinite).tolist() == [False, False, False, True]
    assert climbs.succeeded.tolist() == [False, False, True, False]
    # A density that falls from 1 to nothing as q[0] falls to -2: coarse steps cannot follow it.
    method = fl.ReversibleAdaptive(lambda q, p: (2 + q[0]) ** 4)
    assert end(method, jnp.array([-1.0, 0.0])).result == fl.RESULTS.time_stopped


@pytest.mark.parametrize("method", [fl.SymplecticEuler(), fl.GaussLegendre(2)], ids=repr)
def test_adaptive_steps_need_a_symmetric_explicit_method(method):
    with pytest.raises((TypeError, ValueError), match=r"SymplecticEuler|method"):
        fl.ReversibleAdaptive(None, method)


@pytest.mark.parametrize("method", [fl.TimeTransformedLeapfrog(), fl.ReversibleAdaptive()], ids=["time", "steps"])
def test_what_is_not_separable_is_refused(method):
    with pytest.raises(ValueError, match="not separable"):
        fl.integrate(problems.NormalFisher().lagrangian, START, PUSH, t1=1.0, steps=2, method=method)


def test_a_density_must_be_a_number():
    with pytest.raises(ValueError, match="scalar"):
        fl.integrate(driven, START, PUSH, t1=1.0, steps=2, method=fl.ReversibleAdaptive(lambda q, p: q))
