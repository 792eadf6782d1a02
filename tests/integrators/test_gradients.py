"""Derivatives through a trajectory against finite differences and closed forms."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import fimlag as fl
from fimlag import problems

START = {"q0": jnp.array([1.0, 2.0]), "v0": jnp.array([0.1, 0.3]), "t1": 1.0, "strength": 1.3}
FLAT, UNRAVEL = ravel_pytree(START)
DIRECTION = jnp.array([0.7, -0.4, 1.1, 0.5, -0.8, 0.6])


class Coupled(eqx.Module):
    """Not separable, forced in time, not quadratic in the velocity; its strength is a field."""

    strength: float

    def __call__(self, t, q, v):
        kinetic = self.strength * (v @ v + v[0] * v[1] * jnp.cos(q[0] - q[1])) + 0.1 * v[0] ** 4
        return kinetic + jnp.cos(q[0]) + q[1] * jnp.sin(t) * self.strength


def closure(strength):
    return lambda t, q, v: Coupled(strength)(t, q, v)


def curved(strength):
    def metric(q):
        return jnp.eye(2) * (1 + strength * q[0] ** 2) + 0.3 * jnp.outer(q, q)

    return fl.NaturalLagrangian(metric, lambda q: strength * jnp.cos(q[0] * q[1]))


def vouched(strength):
    return fl.Separable(lambda t, q, v: strength * (v @ v) - jnp.cos(q[0] - strength * q[1]) - q @ q)


def natural(strength):
    return fl.NaturalLagrangian(fl.EuclideanMetric(strength), lambda q: jnp.cos(q[0] * q[1]) + q @ q)


CASES = {
    "midpoint, field": (Coupled, fl.ImplicitMidpoint()),
    "gauss, closure": (curved, fl.GaussLegendre(2)),
    "leapfrog, closure": (vouched, fl.StormerVerlet()),
    "yoshida, natural": (natural, fl.Yoshida4()),
}


def outcome(make, method, adjoint=None):
    """A scalar of points, velocities and momenta at several rows, by the flat parameters."""

    def of(flat):
        x = UNRAVEL(flat)
        flow = fl.integrate(
            make(x["strength"]),
            x["q0"],
            x["v0"],
            t1=x["t1"],
            steps=12,
            save_every=3,
            method=method,
            adjoint=adjoint,
            throw=False,
        )
        return jnp.sin(flow.q[-1]) @ jnp.array([1.0, 2.0]) + flow.p[3] @ flow.v[2]

    return of


def slope(function, h=1e-5):
    """The central difference along one direction that moves every parameter."""
    forward, backward = function(FLAT + h * DIRECTION), function(FLAT - h * DIRECTION)
    return (forward - backward) / (2 * h)


@functools.cache
def gradient(name):
    return jax.jit(jax.grad(outcome(*CASES[name])))


@pytest.mark.parametrize("name", CASES)
def test_gradients_forward_and_reverse_meet_finite_differences(name):
    function = jax.jit(outcome(*CASES[name]))
    reverse = gradient(name)(FLAT) @ DIRECTION
    forward = jax.jit(lambda x, dx: jax.jvp(outcome(*CASES[name]), (x,), (dx,))[1])(FLAT, DIRECTION)
    np.testing.assert_allclose(forward, reverse, rtol=1e-12)
    # c h^2 of the central difference plus round-off / h
    np.testing.assert_allclose(reverse, slope(function), rtol=1e-8)


@pytest.mark.parametrize("name", ["gauss, closure", "yoshida, natural"])
def test_second_derivatives_meet_finite_differences(name):
    second = jax.jit(lambda x, dx: jax.jvp(gradient(name), (x,), (dx,))[1])(FLAT, DIRECTION)
    np.testing.assert_allclose(second, slope(gradient(name)), rtol=1e-7, atol=1e-7)


def test_a_module_field_and_a_closure_differentiate_alike():
    by_closure = jax.jit(jax.grad(outcome(closure, fl.ImplicitMidpoint())))(FLAT)
    np.testing.assert_allclose(gradient("midpoint, field")(FLAT), by_closure, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("name", "segments"), [("gauss, closure", 2), ("yoshida, natural", 12)])
def test_checkpointed_gradients_of_a_batch_are_the_direct_ones(name, segments):
    batch = jnp.stack([FLAT, 1.1 * FLAT])
    function = outcome(*CASES[name], fl.CheckpointedAdjoint(segments))
    checkpointed = jax.jit(jax.vmap(jax.grad(function)))(batch)
    direct = jnp.stack([gradient(name)(x) for x in batch])
    np.testing.assert_allclose(checkpointed, direct, rtol=1e-12, atol=1e-13)  # round-off


@pytest.mark.parametrize("adjoint", [fl.DirectAdjoint(), fl.CheckpointedAdjoint(2), fl.ReversibleAdjoint()])
def test_the_gradient_of_one_of_many_rows_is_that_of_the_end_alone(adjoint):
    def end(q0, save_every):
        system = problems.henon_heiles()
        flow = fl.integrate(system, q0, -q0, t1=2.0, steps=2000, save_every=save_every, adjoint=adjoint, throw=False)
        return flow.q[-1, 0]

    every, last = (jax.jit(jax.grad(lambda q0, n=n: end(q0, n)))(jnp.array([0.1, 0.2])) for n in (1, 1000))
    np.testing.assert_allclose(every, last, rtol=1e-12)  # round-off


@pytest.mark.parametrize("adjoint", [fl.DirectAdjoint(), fl.CheckpointedAdjoint(2), fl.ReversibleAdjoint()])
def test_gradients_of_more_lanes_than_a_thread_takes_alone_are_those_of_each(adjoint):
    def end(q0):
        flow = fl.integrate(problems.henon_heiles(), q0, -q0, t1=0.2, steps=2, adjoint=adjoint, throw=False)
        return flow.q[-1, 0]

    starts = jnp.linspace(0.0, 0.2, 80_000).reshape(40_000, 2)
    found = jax.jit(jax.vmap(jax.grad(end)))(starts)
    np.testing.assert_allclose(found[::7_000], jnp.stack([jax.grad(end)(q0) for q0 in starts[::7_000]]), rtol=1e-13)


def test_checkpointing_saves_memory():
    def loss(q0, adjoint):
        system = problems.henon_heiles()
        flow = fl.integrate(system, q0, q0, t1=1.0, steps=10_000, save_every=10_000, adjoint=adjoint, throw=False)
        return jnp.sum(flow.q[-1])

    direct, checkpointed = (
        jax.jit(jax.grad(lambda q0, a=adjoint: loss(q0, a)))
        .lower(jnp.array([0.1, 0.2]))
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for adjoint in (fl.DirectAdjoint(), fl.CheckpointedAdjoint(100))
    )
    assert checkpointed < direct / 10  # 2 sqrt(N) states instead of N, N = 10,000, each of at most five times as much


def test_the_gradient_of_an_oscillator_is_that_of_its_solution():
    q0, v0 = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])

    def numerical(q0, v0, t1, frequency):
        system = problems.HarmonicOscillator(1.0, frequency).lagrangian
        flow = fl.integrate(system, q0, v0, t1=t1, steps=64, method=fl.GaussLegendre(3), throw=False)
        return jnp.sum(flow.q[-1])

    def exact(q0, v0, t1, frequency):
        return jnp.sum(problems.HarmonicOscillator(1.0, frequency).solution(t1, q0, v0))

    arguments = (q0, v0, 2.0, 0.7)
    found, expected = (jax.jit(jax.grad(f, argnums=(0, 1, 2, 3)))(*arguments) for f in (numerical, exact))
    # c h^6 with h = 0.03
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), found, expected)
