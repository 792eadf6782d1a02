"""Scalar code under the transformations of jax, and on every Lagrangian of the problems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import fimlag as fl
from fimlag import problems
from fimlag._linear import solve
from fimlag._scalarise import scalarised

X, BATCH = jnp.array([0.3, 0.7, 1.1]), jnp.arange(1.0, 7.0).reshape(3, 2) / 5
KEY = jax.random.key(0)
MATRIX = jnp.array([[2.0, 1, 0], [1, 3, 0.5], [0, 0.5, 4]])


@jax.custom_jvp
def ruled(x):
    return jnp.sum(jnp.sin(x))


ruled.defjvp(lambda primals, tangents: (ruled(*primals), 7 * jnp.sum(tangents[0])))


@jax.custom_vjp
def backwards(x):
    return jnp.sum(x**2)


backwards.defvjp(lambda x: (backwards(x), x), lambda x, ct: (5 * x * ct,))

FUNCTIONS = {
    "loop": lambda x: lax.fori_loop(0, 3, lambda i, c: jnp.sin(c * x[1]) + i.astype(x.dtype), x[0]),
    "rows": lambda x: lax.scan(jax.checkpoint(lambda c, y: (jnp.sin(c) * y, None)), x[0], x)[0],
    "branch": lambda x: lax.cond(x[0] > 0.2, lambda x: jnp.sum(x**3), lambda x: x[1], x),
    "solve": lambda x: jnp.sum(solve(MATRIX * x[0] + jnp.diag(x), x**2)),
    "ruled": lambda x: ruled(x) * x[0],
    "stopped": lambda x: jnp.sum(lax.stop_gradient(x) * x) + jnp.floor(x[0]),
    "powers": lambda x: jnp.sum(x**2.5 + x**-1.5),
    "places": lambda x: x[jnp.array([0, 2, 2])] @ x + x.at[1].set(x[0] ** 2)[1] * x[jnp.argmax(x)],
    "constant": lambda x: jnp.asarray(3.0),
    "random": lambda x: jnp.sum(jax.random.normal(KEY, (3,)) * x**2),
    "itself": lambda x: scalarised(lambda x: jnp.sum(x**3))(x) * x[0],
}
TRANSFORMATIONS = {
    "gradient": jax.grad,
    "along": lambda f: lambda x: jax.jvp(f, (x,), (2 * x,)),
    "Hessian": jax.hessian,
    "forward over reverse": lambda f: jax.jacfwd(jax.jacrev(f)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f)),
    "batched gradient": lambda f: lambda x: jax.vmap(jax.grad(f), in_axes=1, out_axes=1)(x[:, None] + BATCH),
    "gradient of a batch": lambda f: jax.grad(lambda x: jnp.sum(jax.vmap(f, in_axes=1)(x[:, None] * BATCH))),
    "linearised": lambda f: lambda x: jax.linearize(f, x)[1](x),
    "recomputed": lambda f: jax.grad(jax.checkpoint(f)),
}
CASES = {name: (function, X) for name, function in FUNCTIONS.items()}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_transformations_agree_with_those_of_the_function(compare, name):
    compare(CASES, TRANSFORMATIONS[name], ulps=64)  # condition of the matrix


def test_rules_in_reverse_alone_are_kept(compare):
    case = {"backwards": (lambda x: backwards(x) * x[0], X)}
    for name in ("gradient", "batched gradient", "gradient of a batch"):
        compare(case, TRANSFORMATIONS[name])


def test_arguments_and_outputs_may_be_nested_and_traced_outside():
    def outer(by, scale):
        function = by(lambda tree, n: {"sum": scale * tree["a"] + tree["b"][0] * n.astype(float), "n": (n, None, ())})
        return function({"a": scale, "b": [X]}, jnp.asarray(3))

    for by in (lambda function: function, scalarised):
        out, change = jax.jvp(lambda scale, by=by: outer(by, scale)["sum"], (2.0,), (1.0,))
        np.testing.assert_allclose(out, 4.0 + 3 * X)
        np.testing.assert_allclose(change, np.full(3, 4.0))
    assert jax.tree.structure(outer(scalarised, 2.0)) == jax.tree.structure(outer(lambda function: function, 2.0))


def test_outputs_outside_of_jit_are_arrays():
    assert all(isinstance(leaf, jax.Array) for leaf in scalarised(lambda x: (x * 0, 2 * x, jnp.arange(3)))(X))


KEPLER, DAMPED = problems.Kepler(2.0), problems.DampedOscillator(1.3, 2.0, 0.3)
LAGRANGIANS = {  # each with the number of its coordinates
    "oscillator": (problems.HarmonicOscillator(1.3, 0.7).lagrangian, 2),
    "double pendulum": (problems.DoublePendulum(), 2),
    "Henon-Heiles": (problems.henon_heiles(), 2),
    "Kepler": (KEPLER.lagrangian, 2),
    "normal family": (fl.NaturalLagrangian(problems.NormalFisher()), 2),
    "Kepler, polar": (KEPLER.in_polar, 2),
    "damped": (DAMPED.forced, 2),
    "growing": (DAMPED.growing, 2),
    "driven": (problems.Mathieu(1.3, 0.2), 2),
    "magnetic": (problems.MagneticField(1.7, 0.6), 2),
    "relativistic": (problems.RelativisticParticle(1.2, 1.5, 0.8), 2),
    "Schwarzschild": (problems.Schwarzschild(1.0, 8.0, 12.0).lagrangian, 3),
    "pendulum": (problems.SphericalPendulum().lagrangian, 3),
    "sleigh": (problems.ChaplyginSleigh(1.5, 0.7, 0.4).lagrangian, 3),
    "three bodies": (problems.FigureEight().lagrangian, 6),
}
VALUED = {name for name, (system, _) in LAGRANGIANS.items() if callable(system)}


def point(size):
    q = jnp.array([0.4, 9.3, 0.6, 2.2, -1.4, 5.0]) if size != 2 else jnp.array([0.4, 1.3])
    v, shape = jnp.array([0.5, -0.3, 0.2, 0.1, 0.4, -0.2]), (size,) if size < 6 else (3, 2)
    return q[:size].reshape(shape), v[:size].reshape(shape)


def test_lagrangians_and_their_equations_of_motion_are_those_of_the_arrays(compare):
    values = {
        name: (lambda q, v, L=L: L(0.3, q, v), *point(size))
        for name, (L, size) in LAGRANGIANS.items()
        if name in VALUED
    }
    compare(values)
    compare(values, jax.grad, ulps=32)
    motion = {
        name: (lambda q, v, L=L: fl.acceleration(L, 0.3, q, v), *point(size)) for name, (L, size) in LAGRANGIANS.items()
    }
    compare(motion, ulps=1000)  # condition of the mass matrix


LARGE = {
    "library": lambda x: jnp.linalg.eigvalsh(MATRIX * x[0])[0],
    "many operations": lambda x: sum(jnp.sin(k * x[0]) for k in range(1000)),
}


@pytest.mark.parametrize("name", LARGE)
def test_an_alternative_takes_over_what_does_not_come_apart_into_a_few_numbers(name):
    def other(x):
        return jnp.array(7.0)

    assert scalarised(LARGE[name], otherwise=other)(X) == 7
    np.testing.assert_allclose(scalarised(LARGE[name])(X), LARGE[name](X), rtol=1e-13)
    assert scalarised(lambda x: x[0] * x[1], otherwise=other)(X) == X[0] * X[1]
