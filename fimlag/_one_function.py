"""A loop compiled as one function of a CPU, whatever the size of its body."""

from collections.abc import Callable

import jax
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import jaxpr_as_fun


def in_one_function(function: Callable, *values) -> list:
    """The values of a function, which on CPUs is compiled as a whole.

    XLA compiles a loop whose body is small as one function of the CPU. It runs the operations of any other one by one,
    at some 50 ns each, which is more than most of them take. The attributes that it gives to small loops itself say
    here that this one is to be treated so too.

    The function may call no library, not for sums over an axis either, and its loops have more than one step: the
    compiler takes a loop of one step apart, and what it makes of that cannot be a function of its own. Nor may it hold
    what the compiler gives to several threads, as elementwise operations on some 30,000 entries, or be taken apart by
    reverse mode, which makes functions that ignore an input: the compiler aborts at those.
    """

    def as_one(*values):
        traced = jax.make_jaxpr(function)(*values)
        # XLA moves constants among the inputs inside, and aborts where an input is then not used: they are hidden.
        values = [lax.optimization_barrier(value) for value in values]
        # The program is traced before: its own operations do not carry the attributes.
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return jax.jit(jaxpr_as_fun(traced))(*values)

    return lax.platform_dependent(*values, cpu=as_one, default=lambda *values: list(function(*values)))
