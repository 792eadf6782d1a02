"""Rules for expectations over outcomes: each turns theta into weighted outcomes, in equal blocks."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, PyTree

from fimlag._flat import flatten
from fimlag._types import Coordinates, LogLikelihood, Outcomes, as_field
from fimlag.information._sums import (
    BLOCK,
    count_blocks,
    count_outcomes,
    dtype_of,
    log_likelihoods,
    take_block,
    weighted_by_density,
)


class ExactSum(eqx.Module):
    r"""The exact sum over a finite support.

    $$\mathrm{E}_\theta[f] = \sum_x e^{\ell(\theta, x)} f(x)$$

    **Arguments:** `outcomes`: every possible outcome once, stacked along axis 0 of each leaf. `chunk`: outcomes
    treated together, which bounds the memory.

    An infinite support is truncated by the list given; what is missing shows in the sum of the weights.
    """

    support: Outcomes
    chunk: int = eqx.field(static=True)

    def __init__(self, outcomes: PyTree[ArrayLike], chunk: int = BLOCK):
        self.support, self.chunk = jax.tree_util.tree_map(jnp.asarray, outcomes), chunk
        count_outcomes(self.support, "outcomes")

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return count_blocks(count_outcomes(self.support, "outcomes"), self.chunk)

    def outcomes(self, log_likelihood: LogLikelihood, theta: Coordinates, block=0) -> tuple[Outcomes, Array]:
        """One block of the support and its probabilities."""
        x, inside = take_block(self.support, self.blocks, block)
        return weighted_by_density(log_likelihood, theta, x, inside.astype(dtype_of(theta)))


class MonteCarlo(eqx.Module):
    r"""The mean over a random sample, with the likelihood ratio that makes every derivative unbiased.

    $$\mathrm{E}_\theta[f] \approx \frac1n \sum_{i=1}^n e^{\ell(\theta, x_i) - \bar\ell(x_i)} f(x_i)$$

    Without a reference $x_i \sim p(\cdot \mid \theta)$ and $\bar\ell$ is $\ell(\theta, x_i)$ held constant:
    the ratio is 1, its derivative is the score. With a reference $x_i \sim p(\cdot \mid \theta_{ref})$ and
    $\bar\ell = \ell(\theta_{ref}, x_i)$: one smooth function of theta, good near the reference.

    **Arguments:** `sample(key, theta, n)`: draws n outcomes, stacked on axis 0. `n`: how many count.
    `key`: a key of `jax.random`; block b uses `fold_in(key, b)`. `reference`: a theta, or None. `chunk`: outcomes
    drawn and treated together, inside the sum, which bounds the memory. `start`: the number of the first block,
    so that shares of one sample can be summed apart and merged: where n is a multiple of `chunk` in each, the
    outcomes are those of the whole.

    **Raises:** `ValueError` where n or chunk is not positive.

    **Reference:** Mohamed, Rosca, Figurnov & Mnih (2020), section 4 (the score-function estimator).
    """

    sample: Callable
    n: int = eqx.field(static=True)
    key: Array
    reference: PyTree | None
    chunk: int = eqx.field(static=True)
    start: int = eqx.field(static=True)
    kind: str | None = eqx.field(static=True)

    def __init__(
        self,
        sample: Callable,
        n: int,
        key: Array,
        reference: Coordinates | None = None,
        chunk: int = BLOCK,
        start: int = 0,
    ):
        if n < 1:
            raise ValueError(f"n must be at least 1, but is {n}.")
        self.sample, self.n, self.reference = as_field(sample), n, reference
        self.chunk, self.start = chunk, start
        # Reverse mode through a sum that stops early cannot carry a typed key: its bits and its kind are kept.
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        self.key, self.kind = (jax.random.key_data(key), str(jax.random.key_impl(key))) if typed else (key, None)

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return count_blocks(self.n, self.chunk)

    @property
    def block_size(self) -> int:
        """Outcomes drawn in each block: a sum may stop after any of them."""
        return math.ceil(self.n / self.blocks)

    @property
    def smooth(self) -> bool:
        """Whether the expectation is one smooth function of theta: with a reference it is."""
        return self.reference is not None

    @property
    def sample_size(self) -> int:
        """Number of outcomes that count."""
        return self.n

    def outcomes(self, log_likelihood: LogLikelihood, theta: Coordinates, block=0) -> tuple[Outcomes, Array]:
        """One block of the sample and its weights; outcomes drawn beyond n have weight 0."""
        size = self.block_size
        source = jax.lax.stop_gradient(theta if self.reference is None else self._reference_like(theta))
        x = jax.lax.stop_gradient(self.sample(self._key_of(block + self.start), source, size))
        drawn = count_outcomes(x, "the result of sample(key, theta, n)")
        if drawn != size:
            raise ValueError(f"sample(key, theta, n) was asked for {size} outcomes along axis 0 and drew {drawn}.")
        value = log_likelihoods(log_likelihood, theta, x)
        if self.reference is None:
            base = jax.lax.stop_gradient(value)
        else:
            base = jax.lax.stop_gradient(log_likelihoods(log_likelihood, source, x))
        inside = jnp.arange(size) + block * size < self.n
        return x, jnp.where(inside, jnp.exp(value - base) / self.n, 0.0)

    def independent(self, number) -> "MonteCarlo":
        """The rule with draws of its own, one for each number."""
        key = self._key_of(number)
        bits = key if self.kind is None else jax.random.key_data(key)
        return eqx.tree_at(lambda rule: rule.key, self, bits)

    def _key_of(self, number):
        key = self.key if self.kind is None else jax.random.wrap_key_data(self.key, impl=self.kind)
        return jax.random.fold_in(key, number)

    def _reference_like(self, theta):
        vector, structure = flatten(theta, "theta")
        return structure.unflatten(structure.flatten(self.reference, "reference").astype(vector.dtype))


class Reparametrised(eqx.Module):
    r"""The mean over outcomes made from fixed noise: the outcomes carry the dependence on theta.

    $$\mathrm{E}_\theta[f] \approx \frac1n \sum_{i=1}^n f(x_i), \qquad
    x_i = \mathtt{transform}(\theta, \epsilon_i)$$

    **Arguments:** `transform(theta, noise)`: ONE outcome, differentiable in theta, distributed as the density
    states. `noise`: n draws stacked along axis 0 of each leaf. `chunk`: outcomes treated together.

    **Reference:** Mohamed, Rosca, Figurnov & Mnih (2020), section 5 (the pathwise estimator).
    """

    transform: Callable
    noise: Outcomes
    chunk: int = eqx.field(static=True)

    def __init__(self, transform: Callable, noise: PyTree[ArrayLike], chunk: int = BLOCK):
        self.transform, self.chunk = as_field(transform), chunk
        self.noise = jax.tree_util.tree_map(jnp.asarray, noise)
        count_outcomes(self.noise, "noise")

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return count_blocks(self.sample_size, self.chunk)

    @property
    def sample_size(self) -> int:
        """Number of outcomes that count."""
        return count_outcomes(self.noise, "noise")

    def outcomes(self, log_likelihood: LogLikelihood, theta: Coordinates, block=0) -> tuple[Outcomes, Array]:
        """One block of transformed noise, each outcome of weight 1/n."""
        noise, inside = take_block(self.noise, self.blocks, block)
        x = jax.vmap(self.transform, (None, 0))(theta, noise)
        return x, inside.astype(dtype_of(theta)) / self.sample_size


class Empirical(eqx.Module):
    r"""The mean over observed data.

    $$\mathrm{E}[f] = \frac1n \sum_{i=1}^n f(x_i)$$

    Away from the parameters that produced the data this is not the expectation under theta: the information
    becomes the mean outer product of scores (the empirical Fisher matrix) or minus the mean Hessian, and the
    two differ.

    **Arguments:** `data`: observations, stacked along axis 0 of each leaf. `chunk`: observations treated together.
    """

    data: Outcomes
    chunk: int = eqx.field(static=True)

    def __init__(self, data: PyTree[ArrayLike], chunk: int = BLOCK):
        self.data, self.chunk = jax.tree_util.tree_map(jnp.asarray, data), chunk
        count_outcomes(self.data, "data")

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return count_blocks(self.sample_size, self.chunk)

    @property
    def centred(self) -> bool:
        """Whether the mean score must vanish: only at the maximum of the likelihood, so no."""
        return False

    @property
    def sample_size(self) -> int:
        """Number of outcomes that count."""
        return count_outcomes(self.data, "data")

    def outcomes(self, log_likelihood: LogLikelihood, theta: Coordinates, block=0) -> tuple[Outcomes, Array]:
        """One block of the data, each observation of weight 1/n."""
        x, inside = take_block(self.data, self.blocks, block)
        return x, inside.astype(dtype_of(theta)) / self.sample_size
