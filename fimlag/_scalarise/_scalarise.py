"""The door: a function with the same values and derivatives, evaluated by scalar code."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from fimlag._scalarise._program import Program, brings_cotangents

_OPERATIONS = 20_000  # the most made while a program is read
_OF_DERIVATIVES = 5_000  # the most for derivatives, which are compiled with what reverse mode adds
_OF_ALTERNATIVES = 800  # the most where arrays are an alternative


def scalarised(
    function: Callable,
    evaluation: Callable[[Callable], Callable] | None = None,
    otherwise: Callable | None = None,
) -> Callable:
    """A function of arrays, evaluated entry by entry: same values, same derivatives, same batching.

    When it is traced, small arrays are taken apart into numbers, known numbers and structural zeros are folded, equal
    terms shared, loops carry numbers, and small symmetric systems are solved by arithmetic. What cannot be taken apart
    stays as it is, and a program too large is left alone. A structural zero times infinity is zero.

    Derivatives of every order are those of the function as written, rules and all, and scalar code in turn.

    **Arguments:** `function`: of pytrees of arrays; what it closes over may be traced; `evaluation`: a transformation
    of a function of arrays, applied to the scalar code where nothing is differentiated; `otherwise`: the same function
    in a form that suits arrays, for where not all of it can be taken apart, or into too much to be compiled quickly.

    **Returns:** a function of the same arguments, its outputs equal up to round-off.
    """

    def evaluate(*args):
        leaves, treedef = jax.tree.flatten(args)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        traced, shape = jax.make_jaxpr(lambda *leaves: function(*treedef.unflatten(leaves)), return_shape=True)(*leaves)
        program = Program(traced, _OPERATIONS)
        if otherwise is not None and not program.is_plain(_OF_ALTERNATIVES, *program.unknown, *leaves):
            return otherwise(*args)
        outputs = _run(program, evaluation)(*program.unknown, *leaves)
        return jax.tree.unflatten(jax.tree.structure(shape), outputs)

    return evaluate


def _run(program: Program, evaluation: Callable | None) -> Callable:
    if brings_cotangents(program.jaxpr):  # such a rule is not to be found by differentiating forwards
        return partial(program.as_scalars, differentiable=True)

    @jax.custom_jvp
    def run(*inputs):
        evaluate = program.as_scalars if evaluation is None else evaluation(program.as_scalars)
        return evaluate(*inputs)

    @partial(run.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        moving = [place for place, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]
        outputs, changes = _along(program, primals, moving, [tangents[place] for place in moving])
        rest = iter(changes)
        return outputs, [
            next(rest) if jnp.issubdtype(output.dtype, jnp.inexact) else np.zeros(output.shape, jax.dtypes.float0)
            for output in outputs
        ]

    return run


def _along(program: Program, primals, moving, directions) -> tuple[list, list]:
    """The outputs of a program, and how those that are real numbers change along directions of some inputs.

    It is no function with a rule of its own: reverse mode takes it apart into what is known and what is linear.
    """

    def along(primals, directions):
        def of(*moved):
            given = dict(zip(moving, moved, strict=True))
            return program.as_written(*(given.get(place, primal) for place, primal in enumerate(primals)))

        outputs, changes = jax.jvp(of, [primals[place] for place in moving], directions)
        return outputs, [change for change in changes if change.dtype != jax.dtypes.float0]

    traced, shape = jax.make_jaxpr(along, return_shape=True)(list(primals), list(directions))
    derivative = Program(traced, _OF_DERIVATIVES)
    values = derivative.as_scalars(*derivative.unknown, *primals, *directions, differentiable=True)
    return jax.tree.unflatten(jax.tree.structure(shape), values)
