"""All the turns of a loop in one kernel of a GPU, one trajectory a thread."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from fimlag.integrators._kernel import WIDE, Launch, launched
from fimlag.integrators._lanes import axes
from fimlag.integrators._lanewise import INNER, on_cuda, valued


def fused(function: Callable, launch: Launch = WIDE) -> Callable:
    """A function of one trajectory whose loops of numbers are kernels under `vmap`, each of them launched once.

    It is for CUDA alone. A loop that no kernel can compute stays as it is, unless the launch is to be interpreted:
    then it raises a `NotImplementedError`.

    **Arguments:** `function`: of arrays, under one `vmap` over their leading axis.
    """

    def evaluate(*args):
        program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        values = _evaluated(program.jaxpr, program.consts, jax.tree.leaves(args), launch)
        return jax.tree.unflatten(jax.tree.structure(shapes), values)

    return evaluate


def _evaluated(jaxpr: Jaxpr, consts: Sequence, values: Sequence, launch: Launch) -> list:
    """The results of a jaxpr, its loops computed by kernels."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*map(jnp.asarray, consts), *values), strict=True))

    def read(atom):
        return jnp.asarray(valued(atom)) if isinstance(atom, Literal) else known[atom]

    for eqn in jaxpr.eqns:
        results = _results(eqn, [read(atom) for atom in eqn.invars], launch)
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _results(eqn, values, launch):
    name = eqn.primitive.name
    if name in INNER:
        return _opened(eqn.params[INNER[name]], values, launch)
    if name == "platform_index":
        return [on_cuda(eqn.params["platforms"])]
    if name == "cond" and isinstance(values[0], int):
        return _opened(eqn.params["branches"][values[0]], values[1:], launch)
    if name in ("scan", "while"):
        return _loop(eqn, launch)(*values)
    return _bound(eqn, values)


def _opened(jaxpr, values, launch):
    if isinstance(jaxpr, ClosedJaxpr):
        return _evaluated(jaxpr.jaxpr, jaxpr.consts, values, launch)
    return _evaluated(jaxpr, (), values, launch)


def _bound(eqn, values):
    """What an equation computes as it stands."""
    results = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
    return results if eqn.primitive.multiple_results else [results]


def _loop(eqn, launch):
    """A loop that is a kernel under `vmap`."""

    @custom_vmap
    def loop(*values):
        return _bound(eqn, values)

    @loop.def_vmap
    def _(lanes, batched, *values):
        kernel = partial(launched, eqn, tuple(batched), lanes, launch)
        if launch.interpret or _lowers(kernel, values):
            ends = kernel(*values)
        else:
            ends = jax.vmap(lambda *values: _bound(eqn, values), axes(batched))(*values)
        return ends, [True] * len(ends)

    return loop


def _lowers(kernel, values):
    """Whether a kernel lowers for CUDA: found by trying it, which takes no such device before jax 0.12."""
    try:
        shapes = [jax.ShapeDtypeStruct(value.shape, value.dtype) for value in values]
        jax.jit(kernel).trace(*shapes).lower(lowering_platforms=("cuda",))
    except Exception:  # each release of jax has its own words for what it does not lower
        return False
    return True
