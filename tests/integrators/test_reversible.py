"""Gradients of motions that are run back, against direct differentiation and extended precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fimlag as fl

EPS = float(np.finfo(np.float64).eps)
X = jnp.array([0.8, 0.4, 0.1, 0.9, 0.2, 1.7, 1.1])  # point, velocity, t0, t1 and a parameter
EXACT = fl.ReversibleAdjoint(exact=True)


def driven(k):
    return fl.Separable(lambda t, q, v: k * v @ v / 2 - q @ q / 2 + jnp.cos(q[0] * q[1]) + k * q[1] * jnp.sin(t))


def coupled(k):
    return lambda t, q, v: k * (v @ v + v[0] * v[1] * jnp.cos(q[0] - q[1])) / 2 + jnp.cos(q[0]) + k * q[1] * jnp.sin(t)


def forced(k):
    return fl.Forced(coupled(k), lambda t, q, v: -0.1 * k * v)


def kepler(k):
    return fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: -k / jnp.sqrt(q @ q))


def pendulum(k):
    return fl.Constrained(fl.NaturalLagrangian(fl.EuclideanMetric(k), lambda q: k * q[1]), lambda q: q @ q - 1)


CASES = {
    "leapfrog": (driven, fl.StormerVerlet(), fl.ReversibleAdjoint()),
    "leapfrog on a grid": (driven, fl.StormerVerlet(), EXACT),
    "drift first on a grid": (driven, fl.StormerVerlet("dkd"), EXACT),
    "composition on a grid": (kepler, fl.Composition(fl.StormerVerlet(), 4), EXACT),
    "time-transformed": (kepler, fl.TimeTransformedLeapfrog(), fl.ReversibleAdjoint()),
    "forced midpoint": (forced, fl.ImplicitMidpoint(), fl.ReversibleAdjoint()),
    "tao": (coupled, fl.Tao(20.0), fl.ReversibleAdjoint()),
    "rattle": (pendulum, fl.Rattle(), fl.ReversibleAdjoint()),
}


def outcome(name, adjoint=None, compensated=False):
    make, method, given = CASES[name]

    def of(x):
        q, v = x[:2], x[2:4]
        if name == "rattle":
            q = q / jnp.sqrt(q @ q)
            v = v - q * (q @ v)
        options = {"steps": 60, "save_every": 12, "method": method, "throw": False, "compensated": compensated}
        flow = fl.integrate(make(x[6]), q, v, t0=x[4], t1=x[5], adjoint=adjoint or given, **options)
        return jnp.sum(jnp.sin(flow.q @ jnp.array([1.0, 2.0]))) + flow.p[3] @ flow.v[2] + jnp.sum(flow.t)

    return of


@pytest.mark.parametrize("name", ["leapfrog", "leapfrog on a grid", "drift first on a grid", "time-transformed"])
def test_gradients_are_the_direct_ones(name):
    assert_direct(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["composition on a grid", "forced midpoint", "tao", "rattle"])
def test_gradients_of_more_methods_are_the_direct_ones(name):
    assert_direct(name)


def assert_direct(name):
    """Gradients in start, times and a parameter, from every row, in a batch."""
    batch = jnp.stack([X, 1.01 * X, 0.99 * X])
    direct = jax.jit(jax.vmap(jax.grad(outcome(name, fl.DirectAdjoint()))))(batch)
    back = jax.jit(jax.vmap(jax.grad(outcome(name))))(batch)
    # rounding to a grid of 2^-46 of the motion's extent, in each of 60 steps
    np.testing.assert_allclose(back, direct, rtol=0, atol=2.0**-40 * jnp.max(jnp.abs(direct)))


def test_the_orders_of_vmap_and_grad_do_not_matter():
    batch = jnp.stack([X, 1.01 * X])
    function = outcome("leapfrog")
    outside = jax.jit(jax.grad(lambda batch: jnp.sum(jax.vmap(function)(batch))))(batch)
    np.testing.assert_allclose(outside, jax.jit(jax.vmap(jax.grad(function)))(batch), rtol=64 * EPS)


def test_compensated_sums_are_run_back_too():
    direct, back = (
        jax.jit(jax.grad(outcome("leapfrog", adjoint, compensated=True)))(X)
        for adjoint in (fl.DirectAdjoint(), fl.ReversibleAdjoint())
    )
    np.testing.assert_allclose(back, direct, rtol=1e-13)  # round-off of 60 steps


@pytest.mark.slow
def test_forward_mode_and_second_derivatives_are_those_of_the_loop():
    function, direct = outcome("leapfrog"), outcome("leapfrog", fl.DirectAdjoint())
    along = [jax.jit(lambda x, f=f: jax.jvp(f, (x,), (jnp.cos(x),))[1])(X) for f in (function, direct)]
    np.testing.assert_allclose(*along, rtol=1e-13)
    second = [jax.jit(jax.hessian(f))(X) for f in (function, direct)]
    np.testing.assert_allclose(*second, rtol=0, atol=1e-12 * jnp.max(jnp.abs(second[1])))


def orbit(x, steps, adjoint):
    """The end of an orbit of a thousand steps a revolution."""
    options = {"t1": x[4], "steps": steps, "save_every": steps, "method": fl.StormerVerlet(), "throw": False}
    flow = fl.integrate(kepler(x[5]), x[:2], x[2:4], adjoint=adjoint, **options)
    return flow.q[-1] @ jnp.array([0.7, 0.3])


def on_an_orbit(steps):
    return jnp.array([0.4, 0.0, 0.0, 2.0, 2 * np.pi * steps / 1000, 1.0])


@pytest.mark.parametrize("adjoint", [fl.ReversibleAdjoint(), EXACT], ids=["floating", "exact"])
def test_the_memory_of_a_gradient_does_not_grow_with_the_steps(adjoint):
    few, many = (
        jax.jit(jax.grad(lambda x, steps=steps: orbit(x, steps, adjoint))).lower(on_an_orbit(steps)).compile()
        for steps in (1_000, 1_000_000)
    )
    sizes = [compiled.memory_analysis().temp_size_in_bytes for compiled in (few, many)]
    assert max(sizes) < 50_000  # a block of steps of five numbers each, and no more
    assert abs(sizes[1] - sizes[0]) < 20_000  # blocks differ by a few steps


def test_gradients_through_many_revolutions_are_the_direct_ones():
    steps = 100_000
    x = on_an_orbit(steps)
    direct = jax.jit(jax.jacfwd(lambda x: orbit(x, steps, fl.DirectAdjoint())))(x)
    back = jax.jit(jax.grad(lambda x: orbit(x, steps, fl.ReversibleAdjoint())))(x)
    # a reversal off by 1e-10 after 1e5 steps, of which the gradient sees the shear
    np.testing.assert_allclose(back, direct, rtol=0, atol=1e-8 * jnp.max(jnp.abs(direct)))


def step_matrices(points, h):
    """The linear maps of leapfrog steps between given points of a Kepler orbit, in extended precision."""
    place = points.astype(np.longdouble)
    squares = np.sum(place**2, axis=1)[:, None, None]
    hessian = np.eye(2) / squares**1.5 - 3 * place[:, :, None] * place[:, None, :] / squares**2.5
    kicks, drift = np.tile(np.eye(4, dtype=np.longdouble), (len(place), 1, 1)), np.eye(4, dtype=np.longdouble)
    kicks[:, 2:, :2], drift[:2, 2:] = -h / 2 * hessian, h * np.eye(2)
    return kicks[1:] @ drift @ kicks[:-1]


@pytest.mark.slow
def test_the_exact_gradient_through_a_thousand_revolutions_does_not_gather_round_off():
    steps = 1_000_000
    x = on_an_orbit(steps)
    gradient = jax.jit(jax.grad(lambda x: orbit(x, steps, EXACT)))(x)

    def points(x):
        options = {"t1": x[4], "steps": steps, "method": fl.StormerVerlet(), "adjoint": EXACT, "throw": False}
        return fl.integrate(kepler(x[5]), x[:2], x[2:4], **options).q

    places, h = np.asarray(jax.jit(points)(x)), np.longdouble(float(x[4] / steps))
    exact = np.array([0.7, 0.3, 0, 0], np.longdouble)
    for start in range(steps - 100_000, -1, -100_000):
        for matrix in step_matrices(places[start : start + 100_001], h)[::-1]:
            exact = exact @ matrix
    # In an orbit that meets the same places in each turn rounding gathers: that of sums to 6e-10, that of increments to
    # about h of it.
    assert np.max(np.abs(np.asarray(gradient)[:4] - exact)) < 1e-10 * np.max(np.abs(exact))


CHAOTIC = np.array([0.0, 0.1, 0.49, 0.2])  # an orbit of Hénon and Heiles of energy 0.145
H = 0.01


def henon_heiles(x, steps, adjoint, save_every=None, throw=False):
    system = fl.Separable(lambda t, q, v: v @ v / 2 - q @ q / 2 - q[0] ** 2 * q[1] + q[1] ** 3 / 3)
    options = {"save_every": save_every or steps, "method": fl.StormerVerlet(), "throw": throw}
    return fl.integrate(system, x[:2], x[2:], t1=H * steps, steps=steps, adjoint=adjoint, **options)


@functools.cache
def states(steps):
    """Every state of a chaotic run on the grid."""
    flow = jax.jit(lambda x: henon_heiles(x, steps, EXACT, save_every=1))(CHAOTIC)
    return np.concatenate([flow.q, flow.p], axis=1)


def linearised(states, weights):
    """The gradient of an end in the start by the linear map of each step, in extended precision, where rounding of
    increments is passed through."""
    cotangent, h = weights.astype(np.longdouble), np.longdouble(H)

    def hessian(q):
        x, y = q.astype(np.longdouble)
        return np.array([[1 + 2 * y, 2 * x], [2 * x, 1 - 2 * y]], np.longdouble)

    for before, after in zip(states[-2::-1], states[:0:-1], strict=True):
        dq, dp = cotangent[:2], cotangent[2:]
        dq = dq - h / 2 * hessian(after[:2]) @ dp
        dp = dp + h * dq
        dq = dq - h / 2 * hessian(before[:2]) @ dp
        cotangent = np.concatenate([dq, dp])
    return cotangent


@pytest.mark.parametrize("steps", [3_000, 30_000])
def test_the_exact_gradient_of_a_chaotic_orbit_is_that_of_its_own_states(steps):
    weights = np.array([0.7, 0.3, -0.2, 0.5])

    def end(x):
        flow = henon_heiles(x, steps, EXACT)
        return flow.q[-1] @ weights[:2] + flow.p[-1] @ weights[2:]

    exact = linearised(states(steps), weights)
    gradient = jax.jit(jax.grad(end))(CHAOTIC)
    np.testing.assert_allclose(gradient, exact.astype(float), rtol=0, atol=1e-10 * float(np.max(np.abs(exact))))


def test_steps_on_the_grid_at_once_are_those_one_by_one_bit_for_bit():
    together, singly = (jax.jit(lambda x, k=k: henon_heiles(x, 3_000, EXACT, k))(CHAOTIC) for k in (500, 1))
    np.testing.assert_array_equal(together.q, singly.q[::500])
    np.testing.assert_array_equal(together.p, singly.p[::500])


def test_a_reversal_that_misses_makes_the_gradient_nan_or_raises():
    def end(x, throw):
        return jnp.sum(henon_heiles(x, 30_000, fl.ReversibleAdjoint(), throw=throw).q[-1])

    assert np.all(np.isnan(jax.jit(jax.grad(lambda x: end(x, False)))(CHAOTIC)))
    with pytest.raises(Exception, match=r"exact=True.*CheckpointedAdjoint"):
        jax.grad(lambda x: end(x, True))(CHAOTIC)


def test_an_audit_reports_whether_the_motion_run_back_lands():
    def result(exact, steps, reach=64.0):
        adjoint = fl.ReversibleAdjoint(exact=exact, audit=True, reach=reach)
        return henon_heiles(CHAOTIC, steps, adjoint).result

    assert result(False, 1_000) == fl.RESULTS.successful
    assert result(False, 30_000) == fl.RESULTS.reversal_missed
    assert result(True, 30_000) == fl.RESULTS.successful


def test_a_motion_that_leaves_the_grid_is_reported():
    free = fl.NaturalLagrangian(fl.EuclideanMetric(1.0), lambda q: jnp.cos(q))
    adjoint = fl.ReversibleAdjoint(exact=True, audit=True, reach=1.0)
    flow = fl.integrate(free, 0.1, 10.0, t1=1e3, steps=10_000, save_every=10_000, adjoint=adjoint, throw=False)
    assert flow.result == fl.RESULTS.reversal_missed


def test_single_precision_stays_single():
    def end(q):
        system = fl.Separable(lambda t, q, v: v @ v / 2 - q @ q / 2)
        return jnp.sum(fl.integrate(system, q, q, t1=1.0, steps=50, adjoint=fl.ReversibleAdjoint(), throw=False).q[-1])

    gradient = jax.jit(jax.grad(end))(jnp.array([1.0, 2.0], jnp.float32))
    assert gradient.dtype == jnp.float32
    # h^2 / 24 of the oscillator's phase, and round-off of fifty steps in 24 bits
    np.testing.assert_allclose(gradient, np.cos(1.0) + np.sin(1.0), rtol=1e-4)


@pytest.mark.parametrize(
    ("method", "adjoint", "message"),
    [
        (fl.SymplecticEuler(), fl.ReversibleAdjoint(), r"not symmetric. Use CheckpointedAdjoint\(n\) or DirectAdjoint"),
        (fl.ImplicitMidpoint(), EXACT, "products of drifts and kicks"),
    ],
)
def test_methods_that_cannot_be_run_back_are_refused(method, adjoint, message):
    with pytest.raises(ValueError, match=message):
        fl.integrate(driven(1.0), X[:2], X[2:4], t1=1.0, steps=4, method=method, adjoint=adjoint)


def test_a_grid_of_no_reach_is_refused():
    with pytest.raises(ValueError, match="reach"):
        fl.ReversibleAdjoint(exact=True, reach=0.5)


def test_on_the_grid_a_chaotic_motion_run_back_lands_bit_for_bit(monkeypatch):
    monkeypatch.setattr(fl.ReversibleAdjoint, "landed", lambda self, gap: gap == 0)
    # A reach of its own, so that nothing compiled before is used.
    adjoint = fl.ReversibleAdjoint(exact=True, audit=True, reach=48.0)
    assert henon_heiles(CHAOTIC, 30_000, adjoint).result == fl.RESULTS.successful
    inexact = fl.ReversibleAdjoint(audit=True, reach=48.0)
    assert henon_heiles(CHAOTIC, 1_000, inexact, throw=False).result == fl.RESULTS.reversal_missed
