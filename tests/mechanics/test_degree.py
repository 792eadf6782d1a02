"""What a traced function tells of its degree."""

import jax
import jax.numpy as jnp
import pytest

from fimlag import problems
from fimlag.mechanics._degree import polynomial_degree

POINT = jnp.array([0.3, -0.7])


def scanned(v):
    def add(total, weight):
        return total + weight * (v @ v), None

    return jax.lax.scan(add, jnp.zeros(()), jnp.array([1.0, 2.0]))[0]


FUNCTIONS = {
    "constant": (lambda v: 3.0 + 0 * jnp.sum(POINT), 1),
    "linear": (lambda v: POINT @ v - 2.0, 1),
    "linear and compiled": (jax.jit(lambda v: jnp.sum(jnp.sin(POINT) * v)), 1),
    "quadratic": (lambda v: v @ v + v[0], 2),
    "quadratic and compiled": (jax.jit(lambda v: jnp.sum(v**2)), 2),
    "quadratic in parts": (jax.checkpoint(lambda v: jnp.sum(jax.vmap(jnp.square)(v))), 2),
    "pendulum": (lambda v: problems.DoublePendulum()(0.0, POINT, v), 2),
    "product of linear": (lambda v: v[0] * jnp.exp(POINT[0]) * v[1], 2),
    "cubic": (lambda v: v[0] ** 2 * v[1], None),
    "relativistic": (lambda v: -jnp.sqrt(1 - v @ v), None),
    "quadratic on either side": (lambda v: jnp.sum(jnp.where(v > 0, v**2, 2 * v**2)), None),
    "quadratic with a kink": (lambda v: v @ v / 2 + jnp.abs(v[0]), None),
    "quadratic with an edge": (lambda v: v @ v / 2 + jnp.maximum(v[0], 0), None),
    "quadratic with steps": (lambda v: v @ v / 2 + jnp.round(v[0]) * v[1], None),
    "quadratic with a part held fixed": (lambda v: v @ v / 2 + jax.lax.stop_gradient(v[0]) * v[1], None),
    "quadratic with a remainder": (lambda v: v @ v / 2 + jax.lax.rem(v[0], 1.0) * v[1], None),
    "quadratic with an index": (lambda v: v @ v / 2 + v[jnp.argmax(v)], None),
    "even": (lambda v: jnp.sum(jnp.abs(v) ** 3), None),
    "behind a loop": (scanned, None),
    "behind a branch": (lambda v: jax.lax.cond(v[0] > 0, lambda v: v @ v, lambda v: v @ v / 2, v), None),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_degrees_are_told_by_the_program_and_never_guessed(name):
    function, degree = FUNCTIONS[name]
    assert polynomial_degree(function, POINT) == degree
    assert jax.jit(lambda v: polynomial_degree(function, v) == degree)(POINT)
