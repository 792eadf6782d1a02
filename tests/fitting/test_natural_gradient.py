"""Natural gradient steps: exact where the Fisher matrix is the Hessian, free of coordinates, and reported if bad."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fimlag as fl

EPS = float(np.finfo(float).eps)
INPUTS = jax.random.normal(jax.random.key(0), (40, 3))
RESPONSES = INPUTS @ jnp.array([1.0, -2.0, 0.5]) + 0.3 * jax.random.normal(jax.random.key(1), (40,))
LINE = fl.ConditionalModel(lambda theta, x: jnp.stack([x @ theta, 0.3]), fl.families.Normal(), INPUTS)
NORMAL = fl.families.Normal()
DATA = jnp.array([1.0, 2.0, 6.0, 4.5, -0.3])
INDEFINITE = fl.Metric(lambda q: jnp.diag(jnp.stack([1.0 + 0 * q[0], q[1]])))


def misfit(theta):
    return -LINE.log_likelihood(theta, RESPONSES)


def updated(descent, gradient, params, state=None):
    step, state = descent.update(gradient, descent.init(params) if state is None else state, params)
    return optax.apply_updates(params, step), state


def test_one_step_solves_a_linear_regression_from_any_point():
    descent = fl.natural_gradient(LINE, 1.0)
    starts = 10 * jax.random.normal(jax.random.key(2), (5, 3))
    found, _ = jax.jit(jax.vmap(lambda theta: updated(descent, jax.grad(misfit)(theta), theta)))(starts)
    expected = np.linalg.lstsq(np.asarray(INPUTS), np.asarray(RESPONSES))[0]
    np.testing.assert_allclose(found, np.broadcast_to(expected, (5, 3)), atol=1e-12)  # eps times a step of 30


def test_one_step_solves_an_exponential_family_in_mean_coordinates():
    # The normal with coordinates (E x, E x^2): the maximum-likelihood estimate is the mean of (x, x^2).
    def deviation(mean):
        return jnp.sqrt(mean[1] - mean[0] ** 2)

    def log_likelihood(mean, x):
        return jax.scipy.stats.norm.logpdf(x, mean[0], deviation(mean))

    rule = fl.Quadrature(-jnp.inf, jnp.inf, location=lambda m: m[0], scale=deviation)
    descent = fl.natural_gradient(fl.StatisticalModel(log_likelihood, rule), 1.0)
    start = jnp.array([0.5, 3.0])
    gradient = jax.grad(lambda mean: -jnp.mean(jax.vmap(lambda x: log_likelihood(mean, x))(DATA)))(start)
    found, state = jax.jit(lambda *point: updated(descent, *point))(gradient, start)
    np.testing.assert_allclose(found, [jnp.mean(DATA), jnp.mean(DATA**2)], rtol=1e-11)  # of the quadrature
    # the length of the step in the Fisher metric
    difference = found - start
    expected = jnp.sqrt(
        difference @ fl.fisher_information(fl.StatisticalModel(log_likelihood, rule), start) @ difference
    )
    np.testing.assert_allclose(state.decrement, expected, rtol=1e-10)


def test_a_step_does_not_depend_on_coordinates_to_first_order():
    def to_theta(xi):
        return jnp.stack([xi[0] + xi[1] ** 2, jnp.exp(xi[1])])

    def objective(theta):
        return -jnp.mean(jax.vmap(lambda x: NORMAL.log_likelihood(theta, x))(DATA))

    def gap(rate):
        xi = jnp.array([0.3, 0.2])
        here, there = fl.natural_gradient(NORMAL, rate), fl.natural_gradient(pulled, rate)
        theta, _ = updated(here, jax.grad(objective)(to_theta(xi)), to_theta(xi))
        moved, _ = updated(there, jax.grad(lambda xi: objective(to_theta(xi)))(xi), xi)
        return jnp.linalg.norm(to_theta(moved) - theta)

    pulled = fl.PullbackMetric(fl.FisherMetric(NORMAL), to_theta)
    rates = jnp.array([1e-2, 1e-3])
    gaps = jax.jit(jax.vmap(gap))(rates)
    np.testing.assert_allclose(jnp.log10(gaps[0] / gaps[1]), 2.0, atol=0.05)


def test_in_the_euclidean_metric_it_is_gradient_descent():
    params, gradient = {"a": jnp.ones(3), "b": jnp.array(2.0)}, {"a": jnp.arange(3.0), "b": jnp.array(-1.0)}
    for metric in (None, fl.EuclideanMetric()):
        for rate in (0.3, optax.exponential_decay(0.5, 1, 0.9)):
            ours, theirs = fl.natural_gradient(metric, rate), optax.sgd(rate)
            one, other, state, their_state = params, params, ours.init(params), theirs.init(params)
            for _ in range(3):
                one, state = updated(ours, gradient, one, state)
                other, their_state = updated(theirs, gradient, other, their_state)
            for a, b in zip(jax.tree_util.tree_leaves(one), jax.tree_util.tree_leaves(other), strict=True):
                np.testing.assert_allclose(a, b, rtol=4 * EPS)
    assert int(state.count) == 3


def test_damping_is_added_and_told():
    theta, gradient = jnp.array([0.4, 1.3]), jnp.array([1.0, -2.0])
    expected = theta - 0.7 * np.linalg.solve(np.diag([1, 2]) / 1.3**2 + 0.25 * np.eye(2), gradient)
    for metric, damping in (
        (NORMAL, 0.25),
        (fl.FisherMetric(NORMAL), lambda count: 0.25 + count.astype(float)),
        (fl.DampedMetric(NORMAL.fisher, 0.25), 0.0),
    ):
        found, _ = updated(fl.natural_gradient(metric, 0.7, damping), gradient, theta)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert float(updated(fl.natural_gradient(NORMAL, 0.7, 0.25), gradient, theta)[1].damping) == 0.25


def test_a_damping_follows_the_model_of_the_objective():
    adaptive = fl.AdaptiveDamping(4.0, factor=3.0, most=10.0)
    descent = fl.natural_gradient(LINE, 1.0, adaptive)
    theta = jnp.zeros(3)
    gradient, information = jax.grad(misfit)(theta), fl.fisher_information(LINE, theta)
    update = jax.jit(descent.update)
    moved, state = update(gradient, descent.init(theta), theta, value=misfit(theta))
    # The misfit of a line is its own quadratic model.
    np.testing.assert_allclose(state.predicted, misfit(theta) - misfit(theta + moved), rtol=1e-9)
    np.testing.assert_allclose(moved, -jnp.linalg.solve(information + 4.0 * jnp.eye(3), gradient), rtol=1e-10)
    for share, expected in ((1.0, 4 / 3), (0.5, 4.0), (0.1, 10.0), (-1.0, 10.0), (jnp.nan, 10.0)):
        value = misfit(theta) - share * state.predicted
        after = update(gradient, state, theta, value=value)[1]
        np.testing.assert_allclose(after.damping, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="AdaptiveDamping"):
        descent.update(gradient, state, theta)


def wide(count):
    """A network of one layer and many parameters, its parameters and a gradient there."""
    inputs = jax.random.normal(jax.random.key(3), (6, count))

    def predict(theta, x):
        return jnp.stack([jnp.tanh(x @ theta["weights"] + theta["bias"]), 1.0])

    theta = {"bias": jnp.array(0.1), "weights": 0.1 * jax.random.normal(jax.random.key(4), (count,))}
    gradient = {"bias": jnp.array(1.0), "weights": jnp.cos(jnp.arange(float(count)))}
    return fl.ConditionalModel(predict, NORMAL, inputs), theta, gradient


@pytest.mark.parametrize(
    "method", [pytest.param(None, marks=pytest.mark.slow), fl.ConjugateGradient(rtol=1e-12), fl.SampleSpace()]
)
def test_large_models_need_no_matrix(method):
    model, theta, gradient = wide(300 if method is None else 20)
    descent = fl.natural_gradient(model, 0.5, 0.01, method)
    step, state = jax.jit(descent.update)(gradient, descent.init(theta), theta)
    flat, unravel = jax.flatten_util.ravel_pytree(gradient)
    matrix = fl.fisher_information(model, theta) + 0.01 * jnp.eye(flat.size)
    expected = unravel(-0.5 * jnp.linalg.solve(matrix, flat))
    for name in theta:
        np.testing.assert_allclose(step[name], expected[name], rtol=1e-6, atol=1e-8)  # round-off to the power 1/2
    assert bool(state.result == fl.RESULTS.successful)


def test_failures_are_nan_and_named():
    point, gradient = jnp.array([1.0, -1.0]), jnp.ones(2)
    cases = (
        (INDEFINITE, point, gradient, fl.RESULTS.indefinite_mass),
        (fl.EuclideanMetric(jnp.array([1.0, -1.0])), point, gradient, fl.RESULTS.indefinite_mass),
        (None, point, gradient.at[0].set(jnp.nan), fl.RESULTS.nonfinite),
        (NORMAL, point, gradient, fl.RESULTS.nonfinite),  # no scale is negative
        (
            fl.ConditionalModel(lambda theta, x: jnp.stack([(theta[0] + theta[1]) * x, 1.0]), NORMAL, jnp.arange(3.0)),
            point, gradient, fl.RESULTS.singular_information,
        ),
    )  # fmt: skip
    for metric, params, slope, failure in cases:
        descent = fl.natural_gradient(metric, 1.0)
        found, state = updated(descent, slope, params)
        assert bool(jnp.all(jnp.isnan(found)))
        assert bool(state.result == failure)
        # what failed once is not forgotten
        found, state = updated(descent, gradient, jnp.array([1.0, 1.0]), state)
        assert bool(jnp.all(jnp.isnan(found)))
        assert bool(state.result == failure)


def test_mistakes_are_refused():
    descent = fl.natural_gradient(NORMAL, 1.0)
    with pytest.raises(ValueError, match="params"):
        descent.update(jnp.ones(2), descent.init(jnp.ones(2)))
    with pytest.raises(ValueError, match="structure"):
        descent.update(jnp.ones(3), descent.init(jnp.ones(2)), jnp.ones(2))
    with pytest.raises(ValueError, match="damping"):
        fl.natural_gradient(NORMAL, 1.0, -0.1)
    with pytest.raises(ValueError, match="initial"):
        fl.AdaptiveDamping(0.0)
    with pytest.raises(ValueError, match="damping"):
        fl.natural_gradient(NORMAL, 1.0, 0.0, fl.SampleSpace())
    with pytest.raises(ValueError, match="model"):
        fl.natural_gradient(None, 1.0, 0.1, fl.SampleSpace())
    model, theta, gradient = wide(300)
    with pytest.raises(ValueError, match="301 parameters"):
        updated(fl.natural_gradient(model, 1.0), gradient, theta)


def test_it_chains_scans_and_differentiates():
    def last(rate):
        descent = optax.chain(optax.clip_by_global_norm(1.0), fl.natural_gradient(LINE, rate))

        def step(carry, _):
            theta, state = carry
            gradient = jax.grad(misfit)(theta) / 100
            return updated(descent, gradient, theta, state), None

        start = jnp.zeros(3)
        return misfit(jax.lax.scan(step, (start, descent.init(start)), length=4)[0][0])

    rates = jnp.array([0.5, 2.0])
    slopes = jax.jit(jax.vmap(jax.grad(last)))(rates)
    differences = (jax.vmap(last)(rates + 1e-5) - jax.vmap(last)(rates - 1e-5)) / 2e-5
    np.testing.assert_allclose(slopes, differences, rtol=1e-6)  # h^2 and eps / h of a central difference
    tuned = optax.inject_hyperparams(fl.natural_gradient, static_args="metric")(metric=LINE, learning_rate=0.5)
    state = tuned.init(jnp.zeros(3))
    step, _ = tuned.update(jnp.ones(3), state, jnp.zeros(3))
    expected = updated(fl.natural_gradient(LINE, 0.5), jnp.ones(3), jnp.zeros(3))[0]
    np.testing.assert_allclose(step, expected, rtol=1e-12)


def test_single_precision_stays_single():
    theta, gradient = jnp.array([0.4, 1.3], jnp.float32), jnp.array([1.0, -2.0], jnp.float32)
    for metric, damping in (
        (NORMAL, 0.1),
        (None, fl.AdaptiveDamping(jnp.array(0.1))),
        (fl.DampedMetric(NORMAL.fisher, 0.2), 0.0),
    ):
        descent = fl.natural_gradient(metric, 0.7, damping)
        step, state = descent.update(gradient, descent.init(theta), theta, value=1.0)
        assert step.dtype == state.decrement.dtype == state.damping.dtype == jnp.float32
        assert bool(jnp.all(jnp.isfinite(step)))
