"""A loop compiled as one function of a CPU, whatever the size of its body."""

from collections.abc import Callable

import jax
from jax import lax
from jax.custom_batching import custom_vmap
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import jaxpr_as_fun


def in_one_function(function: Callable, *values, otherwise: Callable | None = None) -> list:
    """The values of a function, which on CPUs is compiled as a whole; on other platforms of `otherwise`, if given.

    XLA compiles a loop whose body is small as one function of the CPU. It runs the operations of any other one by one,
    at some 50 ns each, which is more than most of them take. The attributes that it gives to small loops itself say
    here that this one is to be treated so too.

    The function may call no library, as XLA does for contractions of two matrices and for sums over an axis of some
    thousand entries, and its loops have more than one step: the compiler takes a loop of one step apart, and what it
    makes of that cannot be a function of its own. Nor may it hold what the compiler gives to several threads, as
    elementwise operations on some 30,000 entries, or be taken apart by reverse mode, which makes functions that ignore
    an input: the compiler aborts at those.
    """

    def as_one(*values):
        traced = jax.make_jaxpr(function)(*values)
        # XLA moves constants among the inputs inside, and aborts where an input is then not used: they are hidden.
        values = [lax.optimization_barrier(value) for value in values]
        # The program is traced before: its own operations do not carry the attributes.
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return jax.jit(jaxpr_as_fun(traced))(*values)

    return lax.platform_dependent(*values, cpu=as_one, default=lambda *values: list((otherwise or function)(*values)))


def alone_in_one_function(function: Callable, otherwise: Callable, *values) -> list:
    """The values of a function, which on CPUs is compiled as a whole unless a `vmap` lets its arrays grow.

    `otherwise` is a function with the same values, evaluated under `vmap` and on other platforms.
    """

    @custom_vmap
    def evaluate(*values):
        return in_one_function(function, *values, otherwise=otherwise)

    @evaluate.def_vmap
    def _(lanes, batched, *values):
        axes = [0 if own else None for own in batched]
        outputs = jax.vmap(lambda *values: list(otherwise(*values)), axes, axis_size=lanes)(*values)
        return outputs, [True] * len(outputs)

    return evaluate(*values)
