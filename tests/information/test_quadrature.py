"""Quadrature: distances from the ends, circles and breaks, against closed forms."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import fimlag as fl

PI = math.pi
information = eqx.filter_jit(fl.fisher_information)
estimate = eqx.filter_jit(fl.fisher_estimate)


def arcsine(theta, x):
    """x = theta y, y of the symmetric beta density of shape 0.3 on (-1, 1), moved to the interval (2, 4)."""
    normaliser = 2.0 * math.log(2.0) * 0.3 - math.log(2.0) + float(scipy.special.betaln(0.3, 0.3))
    below, above = x
    return theta * (jnp.log(below) - jnp.log(above)) - 0.7 * jnp.log(below * above) - normaliser


def test_distances_from_ends_other_than_zero_keep_all_digits():
    rule = fl.Quadrature(2.0, 4.0, scale=1.5, distances=True)
    x, weights = rule.outcomes(arcsine, jnp.array(0.0))
    # The variance of y is 1 / (2 * 0.3 + 1); round-off of 200 positive terms.
    assert abs(jnp.sum(weights) - 1.0) < 1e-13
    assert abs(weights @ (0.5 * (x[0] - x[1])) ** 2 * 1.6 - 1.0) < 1e-13
    # Rounded outcomes lose eps^0.3 of the mass at either end.
    plain = fl.Quadrature(2.0, 4.0, scale=1.5).outcomes(lambda t, x: arcsine(t, (x - 2.0, 4.0 - x)), jnp.array(0.0))
    assert abs(jnp.sum(plain[1]) - 1.0) > 1e-6


def test_both_distances_are_exact_to_the_last_digit():
    rule = fl.Quadrature(0.0, 1.0, distances=True)
    (below, above), _ = rule.outcomes(lambda theta, x: 0.0 * theta, jnp.array(0.0))
    assert jnp.min(above) < 1e-20
    np.testing.assert_allclose(below + above, 1.0, rtol=4e-16)
    # Round-off of a logarithm of 50.
    np.testing.assert_allclose(jnp.sort(above)[:50], jnp.sort(below)[:50], rtol=1e-13)


def wrapped_cauchy(theta, x):
    """A density on the circle of period 3."""
    angle = 2.0 * PI / 3.0 * (x - theta[0])
    squares = (1.0 - theta[1]) ** 2 + 4.0 * theta[1] * jnp.sin(0.5 * angle) ** 2
    return jnp.log1p(-(theta[1] ** 2)) - jnp.log(squares) - math.log(3.0)


def test_circle_of_any_period_meets_the_wrapped_cauchy_density():
    rule = fl.Quadrature(
        -1.0, 2.0, location=lambda t: t[0], scale=lambda t: 3.0 / (4.0 * PI) * (1.0 - t[1]), periodic=True
    )
    model = fl.StatisticalModel(wrapped_cauchy, rule)
    thetas = jnp.array([[0.3, 1e-3], [1.9, 0.5], [-0.99, 0.99], [5.7, 0.9999]])
    matrices = jax.jit(jax.vmap(lambda t: fl.fisher_information(model, t)))(thetas)
    # Both coordinates are conformal: I = 2 / (1 - r^2)^2 (r'^2 + r^2 angle'^2) (McCullagh 1996, section 2).
    radius = np.asarray(thetas[:, 1])
    closed = 2.0 / (1.0 - radius**2) ** 2
    # Round-off of the angle against its spread, eps / (1 - r).
    np.testing.assert_allclose(matrices[:, 1, 1], closed, rtol=1e-11)
    np.testing.assert_allclose(matrices[:, 0, 0], closed * (radius * 2.0 * PI / 3.0) ** 2, rtol=1e-11)


def test_outcomes_on_a_circle_lie_within_its_turn():
    rule = fl.Quadrature(0.0, 2.0 * PI, location=6.0, scale=1.0, periodic=True)
    x, _ = rule.outcomes(lambda theta, x: -jnp.log(2.0 * PI) + 0.0 * theta, jnp.array(0.0))
    assert jnp.all((x >= 0.0) & (x <= 2.0 * PI))


def asymmetric_laplace(theta, x):
    """Falls off over 1/2 below theta and over 2 above it."""
    z = x - theta
    return jnp.where(z < 0.0, 2.0 * z, -0.5 * z) - math.log(2.5)


@pytest.mark.parametrize(
    ("lower", "upper", "breaks"),
    [(-np.inf, np.inf, lambda t: t), (-50.0, 100.0, lambda t: t), (-np.inf, np.inf, lambda t: jnp.stack([t, t - 1.0]))],
)
def test_kinks_are_met_where_breaks_name_them(lower, upper, breaks):
    rule = fl.Quadrature(lower, upper, scale=1.0, breaks=breaks)
    model = fl.StatisticalModel(asymmetric_laplace, rule)
    # E[s^2] = (4 * 1/2 + 1/4 * 2) / 2.5; what lies beyond 50 is exp(-50).
    assert abs(information(model, jnp.array(0.3))[0, 0] - 1.0) < 1e-12


def test_jumps_are_met_where_breaks_name_them():
    def steps(theta, x):
        return jnp.where(x < 1.0, jnp.log(theta), jnp.where(x < 3.0, jnp.log((1.0 - theta) / 2.0), -jnp.inf))

    model = fl.StatisticalModel(steps, fl.Quadrature(0.0, 3.0, breaks=1))
    # A coin that falls on the first piece with probability theta.
    assert abs(estimate(model, jnp.array(0.2)).value[0, 0] - 6.25) < 1e-11
    with pytest.raises(eqx.EquinoxRuntimeError, match="weights"):
        estimate(fl.StatisticalModel(steps, fl.Quadrature(0.0, 3.0)), jnp.array(0.2))


def test_breaks_outside_the_interval_give_no_legal_weights():
    rule = fl.Quadrature(0.0, 1.0, breaks=2.0)
    model = fl.StatisticalModel(lambda theta, x: theta * 0.0, rule)
    assert not estimate(model, jnp.array(1.0), throw=False).succeeded


def test_atoms_and_distances_go_together():
    def log_likelihood(theta, x):
        # A uniform density on (1, 3) of mass 1 - theta, and an atom at 3.
        return jnp.where(x[1] == 0.0, jnp.log(theta), jnp.log1p(-theta) - math.log(2.0))

    model = fl.StatisticalModel(log_likelihood, fl.Quadrature(1.0, 3.0, atoms=3.0, distances=True))
    assert abs(information(model, jnp.array(0.25))[0, 0] * 0.1875 - 1.0) < 1e-12


def test_single_precision_and_derivatives_pass_through_every_rule():
    def entry(theta, rule, log_likelihood):
        return fl.fisher_information(fl.StatisticalModel(log_likelihood, rule), theta)[-1, -1]

    circle = fl.Quadrature(-1.0, 2.0, location=lambda t: t[0], periodic=True)
    broken = fl.Quadrature(-jnp.inf, jnp.inf, breaks=lambda t: t[0])

    def laplace(theta, x):
        return -jnp.abs(x - theta[0]) / theta[1] - jnp.log(2.0 * theta[1])

    cases = [(circle, wrapped_cauchy, lambda r: 2.0 / (1.0 - r**2) ** 2), (broken, laplace, lambda b: 1.0 / b**2)]
    for rule, log_likelihood, closed in cases:
        run = jax.jit(jax.value_and_grad(lambda t, r=rule, f=log_likelihood: entry(t, r, f)))
        for dtype, tolerance in ((jnp.float64, 1e-10), (jnp.float32, 3e-5)):  # round-off of 200 terms, and their scores
            value, gradient = run(jnp.array([0.3, 0.5], dtype))
            assert value.dtype == dtype
            assert abs(value / closed(0.5) - 1.0) < tolerance
            assert abs(gradient[1] / jax.grad(closed)(0.5) - 1.0) < 10.0 * tolerance


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("finite", {"lower": 0.0, "upper": jnp.inf, "distances": True}),
        ("finite", {"lower": 0.0, "upper": jnp.inf, "periodic": True}),
        ("circle", {"lower": 0.0, "upper": 1.0, "periodic": True, "breaks": 0.5}),
        ("circle", {"lower": 0.0, "upper": 1.0, "periodic": True, "distances": True}),
    ],
)
def test_options_that_contradict_each_other_are_refused(message, options):
    with pytest.raises(ValueError, match=message):
        fl.Quadrature(**options)


def test_breaks_are_numbers():
    rule = fl.Quadrature(0.0, 1.0, breaks=jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="breaks"):
        rule.outcomes(lambda theta, x: theta, jnp.array(1.0))
