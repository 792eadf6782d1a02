"""Tao's method: two copies of the phase space that stay one motion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import fimlag as fl
from fimlag import problems
from fimlag.mechanics._lagrangian import flat_arguments

PENDULUM = problems.DoublePendulum()
START, PUSH = jnp.array([1.0, 2.0]), jnp.array([0.0, 0.3])


def driven_hamiltonian(t, q, p):
    """Not separable, and driven."""
    return (q @ q + 1) * (p @ p + 1) / 2 + q[1] * jnp.sin(t)


DRIVEN = fl.lagrangian(driven_hamiltonian)


@pytest.fixture(scope="module")
def exact():
    """The motion by Hamilton's equations and a Runge-Kutta method of order 8."""

    @jax.jit
    def rates(t, z):
        q, p = jnp.split(z, 2)
        slope_q, slope_p = jax.grad(driven_hamiltonian, argnums=(1, 2))(t, q, p)
        return jnp.concatenate([slope_p, -slope_q])

    start = np.array([0.25, 0.5, 0.0, 0.3])
    return start, scipy.integrate.solve_ivp(rates, (0.0, 1.0), start, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]


@pytest.mark.parametrize(
    ("method", "steps"), [(fl.Tao(6.0), 128), (fl.Composition(fl.Tao(6.0), order=4), 64)], ids=["2", "4"]
)
def test_a_hamiltonian_of_the_user_is_followed_to_the_order_declared(method, steps, exact):
    start, end = exact
    q0, p0 = jnp.split(jnp.asarray(start), 2)

    @jax.jit
    def flow(t1):
        v0 = jax.grad(driven_hamiltonian, argnums=2)(0.0, q0, p0)
        return fl.integrate(DRIVEN, q0, v0, t1=t1, steps=steps, method=method, throw=False)

    coarse, fine = flow(2.0), flow(1.0)  # the first reaches time 1 half way, with steps twice as long
    assert coarse.result == fl.RESULTS.successful
    errors = [
        np.max(np.abs(np.concatenate([each.q[row], each.p[row]]) - end))
        for each, row in ((coarse, steps // 2), (fine, -1))
    ]
    assert abs(np.log2(errors[0] / errors[1]) - method.order) < 0.15


def test_a_step_back_undoes_a_step_of_both_copies():
    method = fl.Tao(5.0)

    @jax.jit
    def there_and_back():
        lagrangian, t, q, v = flat_arguments(PENDULUM, 0.0, START, PUSH)
        equations, _ = method.prepare(lagrangian, t, q, v, None)
        p, h = jax.grad(lagrangian, argnums=2)(t, q, v), jnp.asarray(0.1)
        memory = (q + 0.02, p - 0.03, jnp.zeros(()))
        there = method.step(equations, t, h, q, p, memory)
        back = method.step(equations, t + h, -h, q + there.dq, p + there.dp, there.memory)
        return there, back, memory

    there, back, memory = there_and_back()
    np.testing.assert_allclose(there.dq + back.dq, 0, atol=1e-14)  # round-off of momenta of ten
    np.testing.assert_allclose(there.dp + back.dp, 0, atol=1e-14)
    np.testing.assert_allclose(back.memory[0], memory[0], atol=1e-14)
    np.testing.assert_allclose(back.memory[1], memory[1], atol=1e-14)


def test_copies_that_part_are_reported_in_their_member_alone():
    # The first start is quiet, the second chaotic: a weak coupling holds the copies of the first only.
    starts = jnp.array([[0.05, 0.02], [2.0, 2.5], [jnp.nan, 0.0]])

    def flow(q0):
        return fl.integrate(
            PENDULUM, q0, 0 * PUSH, t1=40.0, steps=4000, save_every=400, method=fl.Tao(0.5), throw=False
        )

    results = jax.jit(jax.vmap(flow))(starts).result
    assert (results == fl.RESULTS.successful).tolist() == [True, False, False]
    assert (results == fl.RESULTS.copies_parted).tolist() == [False, True, False]
    assert (results == fl.RESULTS.nonfinite).tolist() == [False, False, True]


def test_single_precision_stays_single():
    single = START.astype(jnp.float32), PUSH.astype(jnp.float32)
    flow = jax.eval_shape(lambda q, v: fl.integrate(PENDULUM, q, v, t1=1.0, steps=2, method=fl.Tao(5.0)), *single)
    assert flow.q.dtype == flow.v.dtype == flow.p.dtype == flow.t.dtype == jnp.float32


@pytest.mark.parametrize(
    ("system", "words"),
    [
        (fl.Forced(PENDULUM, lambda t, q, v: -v), "takes no forces"),
        (fl.Constrained(PENDULUM, lambda q: q[0]), "Use Rattle"),
        (fl.Herglotz.linear(PENDULUM, 0.1), "not a Herglotz"),
    ],
    ids=["forced", "constrained", "contact"],
)
def test_systems_without_a_hamiltonian_are_refused(system, words):
    with pytest.raises(ValueError, match=words):
        fl.integrate(system, START, PUSH, t1=1.0, steps=2, method=fl.Tao(5.0))


@pytest.mark.parametrize("frequency", [0.0, -1.0, float("inf"), float("nan")])
def test_a_frequency_is_positive(frequency):
    with pytest.raises(ValueError, match="frequency"):
        fl.Tao(frequency)
