"""Functions compiled quickly where they may be, with the results and derivatives of the plain ones everywhere."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fimlag import _compiled
from fimlag._compiled import compiled

X = jnp.linspace(0.1, 1.0, 5)


@compiled
def wave(x, scale=2.0):
    return scale * jnp.sin(x)


AROUND = {
    "eager": lambda f: f,
    "jit": jax.jit,
    "vmap": jax.vmap,
    "checkpoint": jax.checkpoint,
    "map": lambda f: lambda x: jax.lax.map(f, x),
    "cond": lambda f: lambda x: jax.lax.cond(x[0] > 0, f, jnp.cos, x),
    "constants in jit": lambda f: lambda x: jax.jit(lambda: f(x))(),
    "constants in vmap": lambda f: lambda x: jax.vmap(lambda _: f(x))(jnp.ones(2))[1],
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_values_and_derivatives_stand_every_transformation(around):
    transformed = around(wave)
    np.testing.assert_allclose(transformed(X), 2 * np.sin(X), rtol=1e-15)
    np.testing.assert_allclose(jax.jvp(transformed, (X,), (X,))[1], 2 * X * np.cos(X), rtol=1e-15)
    np.testing.assert_allclose(jax.grad(lambda x: jnp.sum(transformed(x)))(X), 2 * np.cos(X), rtol=1e-15)
    np.testing.assert_allclose(jax.jacfwd(jax.jacrev(transformed))(X).sum((1, 2)), -2 * np.sin(X), rtol=1e-15)


def test_derivative_reaches_what_a_closure_holds():
    def total(scale):
        return jnp.sum(compiled(lambda x: scale * jnp.sin(x))(X))

    np.testing.assert_allclose(jax.grad(total)(2.0), np.sum(np.sin(X)), rtol=1e-15)
    np.testing.assert_allclose(jax.jvp(total, (2.0,), (1.0,))[1], np.sum(np.sin(X)), rtol=1e-15)


def test_error_of_the_function_arrives_alone():
    @compiled
    def refuse(x):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        refuse(X)
    assert caught.value.__context__ is None


def test_compiler_that_lacks_the_option_compiles_without_it(monkeypatch):
    monkeypatch.setattr(_compiled, "_QUICK", {"xla_no_such_option": True})
    _compiled._quick_compiler.cache_clear()
    try:
        assert not _compiled._quick_compiler()
        np.testing.assert_allclose(compiled(jnp.sin)(X), np.sin(X), rtol=1e-15)
    finally:
        _compiled._quick_compiler.cache_clear()


def test_option_reaches_the_compiler_outside_transformations_alone(tmp_path):
    if not _compiled._quick_compiler():
        pytest.skip("this release of XLA has no other emitters")

    def without_emitters(call):
        """Whether XLA's own record of the compilation of a call says that it does without them."""
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        script = f"import jax\nfrom fimlag._compiled import compiled\n@compiled\ndef wave(x): return x + 1\n{call}"
        flags = {"XLA_FLAGS": f"--xla_dump_to={folder}"}
        subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, **flags})
        return "xla_cpu_use_fusion_emitters: false" in next(folder.glob("*jit_wave*debug_options")).read_text()

    assert without_emitters("wave(1.0)")
    assert not without_emitters("jax.jit(wave)(1.0)")
