"""Events along motions, and Poincaré sections."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl
from fimlag import RESULTS, problems
from fimlag.integrators._bracket import bracketed_root

HENON_HEILES = problems.henon_heiles()
OSCILLATOR = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: q**2 / 2)


def height(t, q, v):
    return q[1]


def position(t, q, v):
    return q


@pytest.mark.parametrize(
    "function", [lambda x: jnp.cos(x) - x, lambda x: 0.3 - x, lambda x: (x - 0.7) ** 3, lambda x: jnp.exp(30 * x) - 2]
)
def test_a_bracketed_root_is_exact_and_cheap(function):
    root = bracketed_root(function, function(jnp.array(0.0)), function(jnp.array(1.0)))
    below, above = root - 4e-16, root + 4e-16
    assert function(below) * function(above) <= 0


def projectile(parameters, method=None):
    """Time and place of landing on a slope."""
    gravity, high, speed, slope = parameters
    system = fl.Separable(lambda t, q, v: v @ v / 2 - gravity * q[1])
    start = jnp.stack([0 * high, high]), jnp.stack([speed, 0 * speed])
    ground = fl.integrate_to_event(system, *start, lambda t, q, v: q[1] - slope * q[0], t1=3.0, steps=20, method=method)
    return jnp.stack([ground.t, ground.q[0], ground.v[1]])


def landing(parameters):
    gravity, high, speed, slope = parameters
    t = (-slope * speed + jnp.sqrt((slope * speed) ** 2 + 2 * gravity * high)) / gravity
    return jnp.stack([t, speed * t, -gravity * t])


@pytest.mark.parametrize("method", [fl.StormerVerlet(), fl.GaussLegendre(2)], ids=repr)
def test_a_projectile_lands_at_the_time_of_the_closed_form_with_its_derivatives(method):
    # both methods are exact on parabolas: all that is left is round-off
    parameters = jnp.array([2.0, 1.0, 0.7, 0.1])
    np.testing.assert_allclose(projectile(parameters, method), landing(parameters), rtol=1e-14)
    exact = jax.jacfwd(landing)(parameters)
    derivative = jax.jacfwd if method.explicit else jax.jacrev
    np.testing.assert_allclose(derivative(lambda x: projectile(x, method))(parameters), exact, rtol=1e-12)


def test_gradients_agree_with_finite_differences_on_a_curved_motion():
    def time(x):
        crossing = fl.integrate_to_event(
            HENON_HEILES,
            jnp.stack([x, 0.1 * x]),
            jnp.array([0.3, 0.2]),
            lambda t, q, v: q[0] + 0.1 * v[1],
            t1=9.0,
            steps=90,
        )
        return crossing.t + crossing.q[1]

    slope = jax.jit(jax.value_and_grad(time))
    difference = (slope(0.1 + 1e-5)[0] - slope(0.1 - 1e-5)[0]) / 2e-5
    np.testing.assert_allclose(slope(0.1)[1], difference, rtol=1e-8)  # truncation 1e-10, round-off 1e-11


def test_members_without_an_event_say_so_and_leave_the_gradient_of_the_others_alone():
    def time(stiffness, x):
        system = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: stiffness * q**2 / 2)
        event = fl.integrate_to_event(
            system, x, 0.0, lambda t, q, v: q - 1.2, t1=3.0, steps=600, method=fl.Yoshida4(), throw=False
        )
        return event.t, (event.index, event.result == RESULTS.no_event)

    def total(stiffness):
        times, rest = jax.vmap(lambda x: time(stiffness, x))(jnp.array([2.0, 0.5, 1.5]))
        return jnp.sum(jnp.where(jnp.isnan(times), 0, times)), (times, rest)

    (_, (times, (index, missing))), slope = jax.value_and_grad(total, has_aux=True)(1.0)
    exact = np.arccos(1.2 / np.array([2.0, 1.5]))
    np.testing.assert_allclose(times, [exact[0], np.nan, exact[1]], atol=1e-10)  # c h^4, h = 0.005
    assert missing.tolist() == [False, True, False]
    assert index.tolist() == [int(exact[0] / 0.005), -1, int(exact[1] / 0.005)]
    np.testing.assert_allclose(slope, -exact.sum() / 2, rtol=1e-8)  # t = acos(1.2 / x) / sqrt(k)


def test_crossings_come_in_order_in_their_direction_and_missing_ones_are_nan():
    both = fl.crossings(OSCILLATOR, 1.0, 0.0, position, count=4, t1=10.0, steps=1000, method=fl.KahanLi8())
    np.testing.assert_allclose(both.t[:3], np.pi * np.array([0.5, 1.5, 2.5]), rtol=1e-13)
    assert both.found.tolist() == [True, True, True, False]
    assert np.isnan(both.t[3])
    assert np.isnan(both.q[3])
    rising = fl.crossings(OSCILLATOR, 1.0, 0.0, position, count=1, t1=10.0, steps=1000, direction=1)
    np.testing.assert_allclose(rising.t, [1.5 * np.pi], rtol=1e-4)  # c h^2
    assert (rising.v > 0).all()


def test_backward_motions_and_clocks_of_the_method_reach_their_events():
    back = fl.integrate_to_event(OSCILLATOR, 1.0, 0.0, position, t1=-3.0, steps=300, method=fl.KahanLi8())
    np.testing.assert_allclose(back.t, -np.pi / 2, rtol=1e-13)
    kepler, start = problems.Kepler(), problems.Kepler().start(0.6)
    method = fl.TimeTransformedLeapfrog()
    half = fl.integrate_to_event(kepler.lagrangian, *start, height, t1=6.0, steps=3000, method=method)
    np.testing.assert_allclose(half.q, [-1.6, 0.0], atol=1e-12)  # its orbit has no error
    np.testing.assert_allclose(half.t, np.pi, rtol=1e-5)  # its time has c h^2


def test_a_section_of_henon_heiles_keeps_the_energy_of_the_method():
    section = fl.poincare_section(
        HENON_HEILES,
        jnp.array([0.0, 0.1]),
        jnp.array([0.35, 0.1]),
        lambda t, q, v: q[0],
        count=30,
        t1=220.0,
        steps=4400,
        method=fl.KahanLi8(),
    )
    assert section.found.all()
    assert (section.v[:, 0] > 0).all()
    assert jnp.max(jnp.abs(section.q[:, 0])) < 1e-16  # round-off of the velocity times the step
    energies = jax.vmap(lambda t, q, v: fl.energy(HENON_HEILES, t, q, v))(section.t, section.q, section.v)
    np.testing.assert_allclose(energies, energies[0], rtol=1e-11)  # c h^8, h = 0.05


def test_the_section_of_an_integrable_oscillator_is_a_circle():
    system = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: q[0] ** 2 / 2 + q[1] ** 2)
    section = fl.poincare_section(
        system, jnp.array([0.0, 0.4]), jnp.array([1.0, 0.3]), lambda t, q, v: q[0], count=20, t1=130.0, steps=2600,
        method=fl.KahanLi8(),
    )  # fmt: skip
    # round-off of a few thousand steps, and c h^8
    np.testing.assert_allclose(2 * section.q[:, 1] ** 2 + section.v[:, 1] ** 2, 2 * 0.16 + 0.09, rtol=1e-10)
    np.testing.assert_allclose(section.t, 2 * np.pi * np.arange(1, 21), rtol=1e-10)


def test_failures_are_named():
    jump = fl.integrate_to_event(
        OSCILLATOR, 1.0, 0.0, lambda t, q, v: jnp.where(q > 0.3, 1.0, -1.0), t1=3.0, steps=100, throw=False
    )
    assert jump.result == RESULTS.discontinuous_event
    few = fl.poincare_section(OSCILLATOR, 1.0, 0.0, position, count=3, t1=9.0, steps=900, throw=False)
    assert few.result == RESULTS.no_event
    assert few.found.tolist() == [True, False, False]
    with pytest.raises(Exception, match="does not change sign"):
        fl.integrate_to_event(OSCILLATOR, 1.0, 0.0, lambda t, q, v: q - 2, t1=3.0, steps=10)
    for wrong in ({"direction": 2}, {"direction": True}, {"steps": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            fl.integrate_to_event(OSCILLATOR, 1.0, 0.0, position, **{"t1": 3.0, "steps": 10} | wrong)
    with pytest.raises(ValueError, match="count"):
        fl.crossings(OSCILLATOR, 1.0, 0.0, position, count=0, t1=3.0, steps=10)
    with pytest.raises(ValueError, match="one direction"):
        fl.poincare_section(OSCILLATOR, 1.0, 0.0, position, count=1, t1=3.0, steps=10, direction=0)
    with pytest.raises(ValueError, match="scalar"):
        fl.integrate_to_event(OSCILLATOR, 1.0, 0.0, lambda t, q, v: jnp.ones(2), t1=3.0, steps=10)


def test_single_precision_and_pytrees_pass_through():
    system = fl.Separable(lambda t, q, v: (v["x"] ** 2 - q["x"] ** 2) / 2)
    start = {"x": jnp.float32(1.0)}, {"x": jnp.float32(0.0)}
    event = fl.integrate_to_event(system, *start, lambda t, q, v: q["x"], t1=3.0, steps=60, method=fl.Yoshida4())
    assert event.q["x"].dtype == event.t.dtype == jnp.float32
    np.testing.assert_allclose(event.t, np.pi / 2, rtol=1e-5)
