"""A geodesic of the normal family, from its log-likelihood and from its metric in closed form."""

from functools import partial

import jax.numpy as jnp
import numpy as np
from _c import marching
from _timing import agreement, beside_c, compare, compiled
from jax.scipy.stats import norm

import fimlag as fl
from fimlag.problems import NormalFisher

POINT, VELOCITY, MOMENTUM, END = np.array([0.0, 1.0]), np.array([1.0, 0.3]), np.array([1.0, 0.6]), 4.0
FREQUENCY = 20.0
AIM = 3.0


def log_likelihood(theta, x):
    return norm.logpdf(x, theta[0], theta[1])


def rule():
    return fl.Quadrature(-jnp.inf, jnp.inf, location=lambda theta: theta[0], scale=lambda theta: theta[1])


def nodes() -> tuple[np.ndarray, np.ndarray]:
    """The rule's nodes in units of the scale and their weights, for C to use the same."""
    unit, weights = rule().outcomes(lambda theta, x: 0 * x, jnp.asarray([0.0, 1.0]))
    return np.array(unit), np.array(weights)


def through_the_library(q, v, lagrangian, method, steps):
    flow = fl.integrate(lagrangian, q, v, t1=END, steps=steps, save_every=steps, method=method, throw=False)
    return jnp.concatenate([flow.q[-1], flow.p[-1]])


def in_c(loops, way, method, steps):
    """The call of the same method and metric in C."""
    state = np.concatenate([POINT, MOMENTUM])
    given = () if way == "closed" else (*nodes(), nodes()[0].size)
    if isinstance(method, fl.Tao):
        given = (*given, method.frequency)
    metric = "normal" if way == "closed" else "quadrature"
    loop = getattr(loops, f"{metric}_{'tao' if isinstance(method, fl.Tao) else 'midpoint'}")
    return marching(loop, state, *given, END / steps, steps)


def measure(loops, quick):
    model = fl.StatisticalModel(log_likelihood, rule())
    ways = {"closed": NormalFisher().lagrangian, "log-likelihood": fl.FisherLagrangian(model)}
    titles = {"closed": "metric in closed form", "log-likelihood": f"log-likelihood, {nodes()[0].size} nodes"}
    for way, lagrangian in ways.items():
        steps, rounds = (50, 2) if quick else (4000 if way == "closed" else 1000, 9)
        # Compiling the sums over the nodes takes seconds.
        for method in (fl.ImplicitMidpoint(), fl.Tao(FREQUENCY))[: 1 if quick and way != "closed" else 2]:
            function = partial(through_the_library, lagrangian=lagrangian, method=method, steps=steps)
            executable, seconds = compiled(function, jnp.asarray(POINT), jnp.asarray(VELOCITY))
            runs = {} if loops is None else {"C": in_c(loops, way, method, steps)}
            runs["fimlag"] = partial(executable, jnp.asarray(POINT), jnp.asarray(VELOCITY))
            contenders = beside_c(runs, words, {"fimlag": seconds}, {"fimlag": AIM})
            compare(f"geodesic of normals, {type(method).__name__}, {titles[way]}, {steps} steps", contenders, rounds)


def words(state, first) -> str:
    exact = NormalFisher().geodesic(END, jnp.asarray(POINT), jnp.asarray(VELOCITY))
    error = np.max(np.abs(np.asarray(state)[:2] - np.asarray(exact)))
    # The momentum grows a hundredfold on the way, and each of thousands of steps rounds it.
    return f"error {error:.0e}, {agreement(state, first, 1e-9)}"
