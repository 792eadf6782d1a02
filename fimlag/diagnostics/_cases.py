"""The textbook cases on which a method is verified where none is given."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fimlag._types import Coordinates
from fimlag.diagnostics._march import prepared
from fimlag.geometry import EuclideanMetric
from fimlag.integrators import AbstractMethod
from fimlag.integrators._motion import checked_start
from fimlag.mechanics import Herglotz, NaturalLagrangian


class Case(NamedTuple):
    """A motion, its end, a point at any time of it where a closed form is known, and its symmetries."""

    system: Callable
    q0: Coordinates
    v0: Coordinates | None
    t1: float
    reference: Callable | None = None
    generators: tuple[Callable, ...] = ()


def default_case(method: AbstractMethod) -> Case:
    """The first textbook case that a method takes, those that ask more of it first."""
    for case in textbook_cases().values():
        if _takes(method, case):
            return case
    raise ValueError(f"{type(method).__name__} takes no textbook case: give a system with its start and end.")


@functools.cache
def textbook_cases() -> dict[str, Case]:
    """Motions of every kind of system."""
    from fimlag import problems

    kepler, sphere, sleigh = problems.Kepler(), problems.SphericalPendulum(), problems.ChaplyginSleigh()
    ellipse, rise, glide = (0.3,), (-0.9, 0.3), (0.3, 1.2)
    swinging = NaturalLagrangian(EuclideanMetric(1.0), _height)
    return {
        "not separable": Case(
            kepler.in_polar, *kepler.polar_start(*ellipse), 3.0, _at(kepler.polar_solution, ellipse), (_second,)
        ),
        "separable": Case(kepler.lagrangian, *kepler.start(*ellipse), 3.0, _at(kepler.solution, ellipse), (_turn,)),
        "nonholonomic": Case(sleigh.lagrangian, *sleigh.start(*glide), 2.0, _at(sleigh.solution, glide)),
        "constrained": Case(sphere.lagrangian, *sphere.start(*rise), 3.0, _at(sphere.solution, rise), (_turn,)),
        "contact": Case(Herglotz.linear(swinging, 0.1), jnp.ones(1), jnp.zeros(1), 3.0),
    }


def _at(solution, parameters):
    """A closed form as a function of time alone."""
    return jax.tree_util.Partial(lambda t: solution(t, *parameters))


def _takes(method, case):
    def equations():
        return jax.tree.leaves(prepared(checked_start(case.system, case.q0, case.v0, 0.0, case.t1, 1, method, 0.0)))

    try:
        jax.eval_shape(equations)
    except ValueError:
        return False
    return True


def _height(q):
    return -jnp.cos(q[0])


def _second(t, q):
    return jnp.stack([jnp.zeros_like(q[0]), jnp.ones_like(q[1])])


def _turn(t, q):
    """The rotation in the plane of the first two coordinates."""
    return jnp.concatenate([jnp.stack([-q[1], q[0]]), jnp.zeros_like(q[2:])])
