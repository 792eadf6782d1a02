"""Accelerated descent: symplectic steps of the Bregman motion, their rates, and what they say when they fail."""

import functools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fimlag as fl

EPS = float(np.finfo(float).eps)
POINT, MOMENTUM = jnp.array([0.4, 0.7]), jnp.array([0.03, -0.09])
NORMAL = fl.families.Normal()


def objective(x):
    return jnp.log(jnp.cosh(x[0] - 2 * x[1])) + 0.1 * (x[0] + x[1] - 1) ** 2


def potential(x):
    return jnp.sum(jnp.exp(x)) + x[0] * x[1] / 3


GEOMETRIES = {
    "euclidean": None,
    "mass": fl.EuclideanMetric(jnp.array([[2.0, 0.5], [0.5, 1.0]])),
    "mirror": potential,
    "fisher": NORMAL,
}


def descended(descent, f, start, steps):
    """The end, its state, and the values on the way, of a number of updates."""

    def step(carry, _):
        x, state = carry
        value, gradient = jax.value_and_grad(f)(x)
        moved, state = descent.update(gradient, state, x, value=value)
        return (optax.apply_updates(x, moved), state), value

    (x, state), values = jax.lax.scan(step, (start, descent.init(start)), length=steps)
    return x, state, values


@pytest.mark.parametrize("name", GEOMETRIES)
def test_an_update_is_a_symplectic_map(name):
    # In (x, P) with P = e^gamma w = t^p w: the state after each update is on the phase space of the Lagrangian.
    descent, p = fl.accelerated_natural_gradient(GEOMETRIES[name], 0.04, 3.0), 3.0
    t, h = 0.7, 0.2
    state = descent.init(POINT)._replace(time=jnp.asarray(t), pace=jnp.asarray(h))

    def advance(z):
        x, P = jnp.split(z, 2)
        moved, after = descent.update(jax.grad(objective)(x), state._replace(momentum=P / t**p), x)
        return jnp.concatenate([x + moved, after.momentum * (t + h) ** p])

    jacobian = jax.jit(jax.jacfwd(advance))(jnp.concatenate([POINT, MOMENTUM]))
    form = np.kron([[0, 1], [-1, 0]], np.eye(2))
    # Round-off of the Jacobian's entries, up to 10, and of its implicit equations.
    np.testing.assert_allclose(jacobian.T @ form @ jacobian, form, atol=1e-12)


def published_motion(name, duration):
    """The end of the motion for p = 2, C = 1/4 from rest at POINT, by an adaptive solver of the published equation."""

    def pull(t, x, v):
        ahead, gradient = x + t / 2 * v, jax.grad(objective)(x)
        if name == "mirror":
            return jnp.linalg.solve(jax.hessian(potential)(ahead), gradient)
        if name == "mass":
            return jnp.linalg.solve(GEOMETRIES[name].mass, gradient)
        return gradient if name == "euclidean" else gradient * x[1] ** 2 * jnp.array([1.0, 0.5])

    def field(t, state, _):
        x, v = state
        bend = jnp.stack([2 * v[0] * v[1], v[1] ** 2 - v[0] ** 2 / 2]) / x[1] if name == "fisher" else jnp.zeros(2)
        return v, bend - 3 / t * v - pull(t, x, v)

    early = jnp.asarray(1e-3)
    direction = pull(early, POINT, 0 * POINT)
    start = POINT - early**2 / 8 * direction, -early / 4 * direction
    controller = diffrax.PIDController(rtol=1e-10, atol=1e-12)
    term, solver = diffrax.ODETerm(field), diffrax.Dopri8()
    solution = diffrax.diffeqsolve(term, solver, early, duration, 1e-4, start, stepsize_controller=controller)
    return solution.ys[0][-1]


SLOW = {"mirror", "fisher"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in GEOMETRIES])
def test_updates_follow_the_published_motion_to_second_order(name):
    duration = 2.0

    def error(steps):
        descent = fl.accelerated_natural_gradient(GEOMETRIES[name], (duration / steps) ** 2)
        return descended(descent, objective, POINT, steps)[0]

    there = published_motion(name, duration)
    errors = [float(jnp.linalg.norm(jax.jit(error, static_argnums=0)(steps) - there)) for steps in (20, 80)]
    np.testing.assert_allclose(np.log(errors[0] / errors[1]) / np.log(4), 2.0, atol=0.15)


@pytest.mark.parametrize("p", [2.0, 3.0, 4.0])
def test_the_objective_falls_with_the_power_of_time(p):
    # On |x|^8 motions tend to f ~ t^(-4 p / 3); the descent keeps that while its steps are short.
    descent = fl.accelerated_natural_gradient(None, 0.01**2, p, 1.0)
    start = jnp.array([1.1, 0.6])
    steps = int(100 * 2 * 10 ** (2 / p))
    values = jax.jit(functools.partial(descended, descent, lambda x: jnp.sum(x**2) ** 4, steps=steps))(start)[2]
    late = np.arange(steps // 2, steps)
    slope = np.polyfit(np.log(late), np.log(values[late]), 1)[0]
    assert slope < -p
    t = 0.01 * np.arange(steps)
    assert np.max(values * t**p) <= np.sum(start**2) / 2 * 1.01  # the Lyapunov function at rest, and h


def nesterov(rate):
    """Nesterov's accelerated gradient method, with the extrapolated points as parameters."""

    def update(gradient, state, y, **extra):
        previous, count = state
        x = y - rate * gradient
        return x + count / (count + 3.0) * (x - previous) - y, (x, count + 1.0)

    return optax.GradientTransformationExtraArgs(lambda x: (x, jnp.zeros(())), update)


METHODS = ("gradient", "nesterov", "plain", "restarted", "by value")


def counts(f, start, least, rate, steps, tolerance, names):
    """Gradients until the gap of the objective is below a tolerance, by method."""
    methods = {
        "gradient": optax.with_extra_args_support(optax.sgd(rate)),
        "nesterov": nesterov(rate),
        "plain": fl.accelerated_natural_gradient(None, rate),
        "restarted": fl.accelerated_natural_gradient(None, 3 * rate, restart="gradient"),
        "by value": fl.accelerated_natural_gradient(None, rate, restart="value"),
    }

    def first(name, method):
        values = jax.jit(functools.partial(descended, method, f, steps=steps))(start)[2]
        below = np.asarray(values) - least <= tolerance
        assert below.any() or name == "gradient"
        return int(np.argmax(below)) if below.any() else steps

    return {name: first(name, methods[name]) for name in names}


def test_an_ill_conditioned_quadratic_takes_few_gradients():
    curvatures = jnp.logspace(-4, 0, 50)
    found = counts(lambda x: jnp.sum(curvatures * x**2) / 2, jnp.ones(50), 0.0, 1.0, 20_000, 1e-6, METHODS)
    assert found["gradient"] == 20_000
    assert found["plain"] < 1.3 * found["nesterov"] < 20_000 / 20
    assert found["restarted"] < 0.6 * found["nesterov"]
    assert found["by value"] < found["nesterov"]


def test_a_logistic_regression_takes_few_gradients():
    inputs = jax.random.normal(jax.random.key(0), (200, 10)) * jnp.logspace(-1.5, 0, 10)[None]
    labels = jax.random.bernoulli(jax.random.key(1), jax.nn.sigmoid(2 * jnp.sum(inputs, axis=1))).astype(float)

    def loss(theta):
        return jnp.mean(jnp.logaddexp(0.0, inputs @ theta) - labels * (inputs @ theta))

    rate = 4 / float(jnp.linalg.eigvalsh(inputs.T @ inputs / 200)[-1])
    best = jax.lax.fori_loop(
        0, 20, lambda _, x: x - jnp.linalg.solve(jax.hessian(loss)(x), jax.grad(loss)(x)), jnp.zeros(10)
    )
    found = counts(loss, jnp.zeros(10), float(loss(best)), rate, 8_000, 1e-6, METHODS[:4])
    assert found["gradient"] > 20 * found["restarted"]
    assert found["plain"] < 1.3 * found["nesterov"]
    assert found["restarted"] < 0.6 * found["nesterov"]


def test_in_the_fisher_metric_units_and_origin_of_the_data_do_not_matter():
    data = jnp.array([1.0, 2.0, 6.0, 4.5, -0.3])
    descent = fl.accelerated_natural_gradient(NORMAL, 0.1, restart="gradient")

    @jax.jit
    def estimates(shift, unit):
        def loss(theta):
            return -jnp.mean(jax.vmap(lambda x: NORMAL.log_likelihood(theta, shift + unit * x))(data))

        theta, state, values = descended(descent, loss, jnp.stack([shift, 3 * unit]), 80)
        return (theta - jnp.stack([shift, jnp.zeros_like(shift)])) / unit, state.restarts, values[-1] - jnp.log(unit)

    here, there = estimates(jnp.array(0.0), jnp.array(1.0)), estimates(jnp.array(50.0), jnp.array(1e-2))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)  # a shift of 5000 units costs four digits
    np.testing.assert_allclose(here[0], [jnp.mean(data), jnp.std(data)], rtol=1e-4)


def test_restarts_are_counted_and_begin_at_rest():
    descent = fl.accelerated_natural_gradient(None, 1.0, restart="gradient")
    x, state, _ = descended(descent, lambda x: x @ x / 2, jnp.array([3.0]), 5)
    assert int(state.restarts) > 0
    assert int(state.count) == 5
    ahead = state._replace(step=jnp.array([1.0]), momentum=jnp.array([7.0]))
    moved, after = descent.update(jnp.array([2.0]), ahead, x)
    fresh, begun = descent.update(jnp.array([2.0]), descent.init(x), x)
    np.testing.assert_array_equal(moved, fresh)
    assert float(after.time) == float(begun.time) == 1.0
    assert int(after.restarts) == int(state.restarts) + 1
    rising = fl.accelerated_natural_gradient(None, 1.0, restart="value")
    _, state = rising.update(jnp.array([2.0]), rising.init(x)._replace(value=jnp.array(1.0)), x, value=2.0)
    assert int(state.restarts) == 1


def test_a_mirror_map_in_closed_form_is_the_one_sought_by_newton():
    def entropy(x):
        return jnp.sum(x * jnp.log(x) - x)

    def loss(x):
        return jnp.sum((x - jnp.array([0.2, 3.0])) ** 2) / 2

    def last(geometry):
        return descended(fl.accelerated_natural_gradient(geometry, 0.1), loss, jnp.array([1.0, 0.5]), 60)

    closed, sought = last(fl.MirrorMap(entropy, jnp.exp)), last(entropy)
    np.testing.assert_allclose(closed[0], sought[0], rtol=1e-10)
    assert float(closed[2][-1]) < 1e-3
    assert bool(jnp.all(closed[0] > 0))


@pytest.mark.slow
def test_schedules_chains_vmap_and_derivatives():
    descent = optax.chain(
        optax.clip_by_global_norm(10.0),
        fl.accelerated_natural_gradient(None, optax.linear_schedule(0.0, 0.1, 5), restart="gradient"),
    )
    params = {"a": POINT[:1], "b": POINT[1:]}

    def folded(x):
        return objective(jnp.concatenate([x["a"], x["b"]]))

    x, state, values = jax.jit(lambda x: descended(descent, folded, x, 50))(params)
    assert bool(state[1].result == fl.RESULTS.successful)
    assert float(values[-1]) < float(values[0])
    flat = fl.accelerated_natural_gradient(None, optax.linear_schedule(0.0, 0.1, 5), restart="gradient")
    np.testing.assert_allclose(x["b"], descended(flat, objective, POINT, 50)[0][1:], rtol=1e-12)

    def end(rate, geometry):
        return descended(fl.accelerated_natural_gradient(geometry, rate), objective, POINT, 6)[0]

    rates = jnp.array([0.02, 0.05])
    for geometry in (None, potential, NORMAL):
        curve = jax.jit(jax.vmap(lambda rate, g=geometry: end(rate, g)))
        slopes = jax.jit(jax.vmap(jax.jacfwd(lambda rate, g=geometry: end(rate, g))))(rates)
        differences = (curve(rates + 1e-6) - curve(rates - 1e-6)) / 2e-6
        np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-8)  # h^2 and eps / h of the difference


def test_failures_are_nan_and_named():
    indefinite = fl.Metric(lambda q: jnp.diag(jnp.stack([1.0 + 0 * q[0], -(q[1] ** 2)])))
    cases = (
        (indefinite, jnp.ones(2), fl.RESULTS.indefinite_mass),
        (fl.EuclideanMetric(-1.0), jnp.ones(2), fl.RESULTS.indefinite_mass),
        (None, jnp.array([jnp.nan, 1.0]), fl.RESULTS.nonfinite),
        (fl.MirrorMap(lambda x: jnp.sum(jnp.exp(x)), jnp.log), 1e3 * jnp.ones(2), fl.RESULTS.stalled),
        (
            fl.MirrorMap(lambda x: jnp.sum(jnp.exp(x)), lambda y: jnp.log(2 * y)),
            0.1 * jnp.ones(2),
            fl.RESULTS.not_inverse,
        ),
        (lambda x: jnp.sum(jnp.exp(x)), 1e3 * jnp.ones(2), fl.RESULTS.stalled),  # no point has a negative gradient
    )
    for geometry, gradient, failure in cases:
        descent = fl.accelerated_natural_gradient(geometry, 1.0)
        update = jax.jit(descent.update)
        moved, state = update(gradient, descent.init(POINT), POINT)
        assert bool(jnp.all(jnp.isnan(moved)))
        assert bool(state.result == failure)
        moved, state = update(0 * POINT, state, POINT)
        assert bool(state.result == failure)


def test_mistakes_are_refused():
    descent = fl.accelerated_natural_gradient(None, 1.0, restart="value")
    with pytest.raises(ValueError, match="parameters"):
        descent.update(POINT, descent.init(POINT))
    with pytest.raises(ValueError, match="value"):
        descent.update(POINT, descent.init(POINT), POINT)
    with pytest.raises(ValueError, match="learning_rate"):
        fl.accelerated_natural_gradient(None, -1.0)
    with pytest.raises(ValueError, match="C must"):
        fl.accelerated_natural_gradient(None, 1.0, C=0.0)
    rule = fl.MonteCarlo(lambda key, theta, n: jax.random.normal(key, (n,)), 8, jax.random.key(0))
    with pytest.raises(TypeError, match="MonteCarlo"):
        fl.accelerated_natural_gradient(fl.StatisticalModel(NORMAL.log_likelihood, rule), 1.0)


def test_single_precision_stays_single():
    x = POINT.astype(jnp.float32)
    for geometry in (None, NORMAL):
        end, state, values = descended(fl.accelerated_natural_gradient(geometry, 0.1), objective, x, 20)
        assert end.dtype == state.time.dtype == state.momentum.dtype == jnp.float32
        assert float(values[-1]) < float(values[0])
