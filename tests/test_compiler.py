"""Cases in which a release of jax gave wrong numbers: if one returns, it is noticed here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("d", [3, 5])
def test_batched_quadratic_form_is_right_above_16384_rows(d):
    # jax issue 39103: jax 0.10.2 on CPU, float64
    root = jnp.asarray(np.random.default_rng(0).normal(size=(d, d)))
    rows = jnp.asarray(np.random.default_rng(1).normal(size=(17_000, d)))
    batched = jax.jit(jax.vmap(lambda v: 0.5 * jnp.sum((root @ v) ** 2)))(rows)
    expected = 0.5 * np.sum((np.asarray(rows) @ np.asarray(root).T) ** 2, axis=1)
    np.testing.assert_allclose(batched, expected, rtol=1e-12)


def test_jitted_fori_loop_ends():
    # reported to hang on CPU with jaxlib 0.11.1
    total = jax.jit(lambda x: jax.lax.fori_loop(0, 1000, lambda i, s: s + i * x, 0.0))(1.0)
    assert float(total) == 499500.0
