"""An ensemble is computed by what suits the device, and a vmap adds lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental.pallas import triton

from fimlag.integrators._ensemble import ensemble

needs_no_device = pytest.mark.skipif(
    hasattr(triton, "get_gpu_info"), reason="this jax lowers a kernel only where it finds a GPU"
)


def leapfrog(h, x, p):
    """Kick and drift in the potential x^4 / 4."""
    p = p - h * x**3
    return x + h * p, p


def rows(h, x, p):
    """The state after four steps, and all momenta on the way."""
    return lax.scan(lambda state, _: (leapfrog(h, *state), state[1]), (x, p), length=4)


def counted(steps, x, p):
    return lax.fori_loop(0, steps, lambda _, state: leapfrog(0.1, *state), (x, p))


def starts(*shape):
    return tuple(jnp.asarray(np.random.default_rng(0).uniform(-0.3, 0.3, (2, *shape))))


def text(function, lanes, platform, kernels):
    run = jax.jit(jax.vmap(ensemble(function, kernels), (None, 0, 0)))
    return run.trace(jnp.asarray(0.1), *starts(lanes)).lower(lowering_platforms=(platform,)).as_text()


@needs_no_device
@pytest.mark.parametrize("lanes", [40, 4000])
def test_cuda_gets_a_kernel_and_no_other_platform_does(lanes):
    cuda = text(rows, lanes, "cuda", True)
    assert "triton" in cuda
    assert "while" not in cuda
    for platform in ("cpu", "tpu"):
        assert "triton" not in text(rows, lanes, platform, True)


def test_without_a_cuda_device_no_kernel_is_asked_for():
    if jax.default_backend() == "gpu":
        pytest.skip("there is one")
    assert "triton" not in text(rows, 40, "cuda", None)


def test_only_a_cpu_takes_lanes_in_blocks():
    assert "tensor<1008xf64>" in text(rows, 4000, "cpu", None)
    for platform in ("cuda", "tpu"):
        assert "tensor<1008xf64>" not in text(rows, 4000, platform, None)


@pytest.mark.parametrize(
    ("function", "inner", "outer", "first"),
    [
        (rows, (0, 0, 0), (0, 0, 0), jnp.linspace(0.05, 0.1, 12).reshape(3, 4)),
        (rows, (0, 0, 0), (None, 0, 0), jnp.linspace(0.05, 0.1, 4)),
        (rows, (None, 0, 0), (0, 0, 0), jnp.linspace(0.05, 0.1, 3)),
        (rows, (None, 0, 0), (None, 0, 0), jnp.asarray(0.1)),
        (rows, (None, 0, 0), (0, None, None), jnp.linspace(0.05, 0.1, 3)),
        (counted, (None, 0, 0), (0, 0, 0), jnp.array([1, 5, 3])),
    ],
    ids=["each", "lanes", "own", "one", "start", "steps"],
)
def test_a_batch_of_ensembles_is_one_with_more_lanes(function, inner, outer, first):
    state = starts(4) if outer[1] is None else starts(3, 4)
    ends, expected = (jax.vmap(jax.vmap(each, inner), outer)(first, *state) for each in (ensemble(function), function))
    for end, right in zip(jax.tree.leaves(ends), jax.tree.leaves(expected), strict=True):
        # A few steps compiled twice, some roundings each.
        np.testing.assert_allclose(end, right, rtol=0, atol=1e-15)


def test_vmaps_inside_each_other_march_all_lanes_in_one_loop():
    run = jax.jit(jax.vmap(jax.vmap(ensemble(rows), (None, 0, 0)), (None, 0, 0)))
    lowered = run.trace(jnp.asarray(0.1), *starts(3, 5)).lower().as_text()
    assert "tensor<15xf64>" in lowered
    assert "tensor<3x5x4xf64>" in lowered


def test_an_ensemble_of_none_stays_so():
    (x, p), momenta = jax.vmap(ensemble(rows, True), (None, 0, 0))(jnp.asarray(0.1), *starts(0))
    assert (x.shape, p.shape, momenta.shape) == ((0,), (0,), (0, 4))


def test_alone_a_function_is_computed_as_it_stands():
    x, p = starts()
    assert jax.tree.all(jax.tree.map(jnp.array_equal, ensemble(rows)(0.1, x, p), rows(0.1, x, p)))
