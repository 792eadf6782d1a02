"""Functions of one trajectory, of many computed by what is fast on the device."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from fimlag.integrators._fused import fused
from fimlag.integrators._lanes import axes, blocks_in_cache, in_blocks


def ensemble(function: Callable, kernels: bool | None = None) -> Callable:
    """A function of one trajectory that under any number of `vmap`s is computed once, with all their lanes.

    On a CPU the lanes pass through its caches block after block. On a CUDA device each loop of numbers is one kernel,
    where a kernel can compute it. Elsewhere all lanes go together. It is not differentiable: it computes the values
    inside of a rule for derivatives.

    **Arguments:** `function`: of arrays, closed over no array that a `vmap` batches; `kernels`: whether CUDA gets
    kernels, None for where jax has such a device at hand. They are not lowered for several platforms at once, and in a
    `jax.shard_map` only with `check_vma=False`.
    """

    @custom_vmap
    def evaluate(*args):
        return function(*args)

    @evaluate.def_vmap
    def _(lanes, batched, *args):
        return _batched(_with_lanes(function, tuple(batched), kernels)(*args))

    return evaluate


def _with_lanes(function, own, kernels):
    """A function of arguments that have a leading axis of lanes, of their `own`, or are shared by all lanes."""

    @custom_vmap
    def together(*args):
        return _on_each_platform(function, own, kernels, args)

    @together.def_vmap
    def _(size, batched, *args):
        lanes = next(arg.shape[has] for arg, had, has in zip(args, own, batched, strict=True) if had)
        merged = [_merged(*each, size, lanes) for each in zip(args, own, batched, strict=True)]
        now_own = tuple(had or has for had, has in zip(own, batched, strict=True))
        outputs = _with_lanes(function, now_own, kernels)(*merged)
        return _batched(jax.tree.map(lambda leaf: leaf.reshape(size, lanes, *leaf.shape[1:]), outputs))

    return together


def _on_each_platform(function, own, kernels, args):
    arrays = [arg for arg, has_lanes in zip(args, own, strict=True) if has_lanes]
    lanes = arrays[0].shape[0]
    ways = {"default": jax.vmap(function, axes(own))}
    if blocks_in_cache(arrays) != (1, lanes):
        ways["cpu"] = partial(in_blocks, function, own)
    if lanes and (_cuda_at_hand() if kernels is None else kernels):
        ways["cuda"] = jax.vmap(fused(function), axes(own))
    return lax.platform_dependent(*args, **ways)


def _merged(arg, has_lanes, is_batched, size, lanes):
    """An argument in a batch, with as many lanes in one as there are in all its members."""
    if not has_lanes:
        return jnp.repeat(arg, lanes, axis=0) if is_batched else arg
    rows = arg if is_batched else jnp.broadcast_to(arg, (size, *arg.shape))
    return rows.reshape(size * lanes, *rows.shape[2:])


def _batched(outputs):
    return outputs, jax.tree.map(lambda _: True, outputs)


def _cuda_at_hand() -> bool:
    try:
        return bool(jax.devices("cuda"))
    except RuntimeError:
        return False
