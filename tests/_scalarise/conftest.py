"""Functions compared with themselves as scalar code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fimlag._scalarise import scalarised


def _equal(name, wanted, found, ulps):
    assert jax.typeof(wanted) == jax.typeof(found), name
    if jnp.issubdtype(wanted.dtype, jax.dtypes.prng_key):
        wanted, found = jax.random.key_data(wanted), jax.random.key_data(found)
    if not jnp.issubdtype(wanted.dtype, jnp.inexact):
        np.testing.assert_array_equal(wanted, found, err_msg=name)
        return
    eps, wide = float(jnp.finfo(wanted.dtype).eps), complex if jnp.iscomplexobj(wanted) else float
    wanted, found = np.asarray(wanted).astype(wide), np.asarray(found).astype(wide)
    size = np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))
    np.testing.assert_allclose(found, wanted, rtol=ulps * eps, atol=ulps * eps * size, err_msg=name)


@pytest.fixture(scope="session")
def compare():
    """Hold functions as scalar code to what they give as written: `{name: (function, *arguments)}`.

    Types, weak types and shapes are equal, whole numbers too, and real ones but for some units in the last place of
    the largest entry: sums are taken in another order, constants computed by numpy.
    """

    def check(cases, transformed=lambda function: function, ulps=8):
        functions = {name: function for name, (function, *_) in cases.items()}
        arguments = {name: args for name, (_, *args) in cases.items()}

        def everything(by, arguments):
            return {name: transformed(by(function))(*arguments[name]) for name, function in functions.items()}

        wanted = jax.jit(lambda arguments: everything(lambda function: function, arguments))(arguments)
        found = jax.jit(lambda arguments: everything(scalarised, arguments))(arguments)
        for name in cases:
            assert jax.tree.structure(wanted[name]) == jax.tree.structure(found[name]), name
            for pair in zip(jax.tree.leaves(wanted[name]), jax.tree.leaves(found[name]), strict=True):
                _equal(name, *pair, ulps)

    return check
