"""Rules for expectations over outcomes: each turns theta into weighted outcomes, in equal blocks."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree

from fimlag._flat import flatten
from fimlag._types import Coordinates, LogLikelihood, Outcomes, as_field

BLOCK = 8192
"""Outcomes in one block at most: the size at which the scan over blocks is fastest and memory small."""


class ExactSum(eqx.Module):
    r"""The exact sum over a finite support.

    $$\mathrm{E}_\theta[f] = \sum_x e^{\ell(\theta, x)} f(x)$$

    **Arguments:** `outcomes`: every possible outcome once, stacked along axis 0 of each leaf.

    An infinite support is truncated by the list given; what is missing shows in the sum of the weights.
    """

    support: Outcomes

    def __init__(self, outcomes: Outcomes):
        self.support = jax.tree_util.tree_map(jnp.asarray, outcomes)
        count_outcomes(self.support, "outcomes")

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return _blocks(count_outcomes(self.support, "outcomes"))

    def outcomes(self, log_likelihood: LogLikelihood, theta: Coordinates, block=0) -> tuple[Outcomes, Array]:
        """One block of the support and its probabilities."""
        x, inside = take_block(self.support, self.blocks, block)
        return weighted_by_density(log_likelihood, theta, x, inside.astype(dtype_of(theta)))


class MonteCarlo(eqx.Module):
    r"""The mean over a random sample, with the likelihood ratio that makes every derivative unbiased.

    $$\mathrm{E}_\theta[f] \approx \frac1n \sum_{i=1}^n e^{\ell(\theta, x_i) - \bar\ell(x_i)} f(x_i)$$

    Without a reference $x_i \sim p(\cdot \mid \theta)$ and $\bar\ell$ is $\ell(\theta, x_i)$ held constant: the ratio is 1,
    its derivative is the score. With a reference $x_i \sim p(\cdot \mid \theta_{ref})$ and
    $\bar\ell = \ell(\theta_{ref}, x_i)$: one smooth function of theta, good near the reference.

    **Arguments:** `sample(key, theta, n)`: draws n outcomes, stacked on axis 0. `n`: how many count.
    `key`: a key of `jax.random`; block b uses `fold_in(key, b)`. `reference`: a theta, or None.

    **Raises:** `ValueError` where n is not positive.

    **Reference:** Mohamed, Rosca, Figurnov & Mnih (2020), section 4 (the score-function estimator).
    """

    sample: Callable
    n: int = eqx.field(static=True)
    key: Array
    reference: PyTree | None

    def __init__(self, sample: Callable, n: int, key: Array, reference: Coordinates | None = None):
        if n < 1:
            raise ValueError(f"n must be at least 1, but is {n}.")
        self.sample, self.n, self.key, self.reference = as_field(sample), n, key, reference

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return _blocks(self.n)

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
        size = math.ceil(self.n / self.blocks)
        source = theta if self.reference is None else _like(self.reference, theta)
        source = jax.lax.stop_gradient(source)
        x = jax.lax.stop_gradient(self.sample(jax.random.fold_in(self.key, block), source, size))
        drawn = count_outcomes(x, "the result of sample(key, theta, n)")
        if drawn != size:
            raise ValueError(
                f"sample(key, theta, n) was asked for {size} outcomes along axis 0 and drew {drawn}."
            )
        value = log_likelihoods(log_likelihood, theta, x)
        if self.reference is None:
            base = jax.lax.stop_gradient(value)
        else:
            base = jax.lax.stop_gradient(log_likelihoods(log_likelihood, source, x))
        inside = jnp.arange(size) + block * size < self.n
        return x, jnp.where(inside, jnp.exp(value - base) / self.n, 0.0)


class Reparametrised(eqx.Module):
    r"""The mean over outcomes made from fixed noise: the outcomes carry the dependence on theta.

    $$\mathrm{E}_\theta[f] \approx \frac1n \sum_{i=1}^n f(x_i), \qquad x_i = \mathtt{transform}(\theta, \epsilon_i)$$

    **Arguments:** `transform(theta, noise)`: ONE outcome, differentiable in theta, distributed as the density states.
    `noise`: n draws stacked along axis 0 of each leaf.

    **Reference:** Mohamed, Rosca, Figurnov & Mnih (2020), section 5 (the pathwise estimator).
    """

    transform: Callable
    noise: Outcomes

    def __init__(self, transform: Callable, noise: Outcomes):
        self.transform = as_field(transform)
        self.noise = jax.tree_util.tree_map(jnp.asarray, noise)
        count_outcomes(self.noise, "noise")

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return _blocks(self.sample_size)

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

    Away from the parameters that produced the data this is not the expectation under theta: the information becomes
    the mean outer product of scores (the empirical Fisher matrix) or minus the mean Hessian, and the two differ.

    **Arguments:** `data`: observations, stacked along axis 0 of each leaf.
    """

    data: Outcomes

    def __init__(self, data: Outcomes):
        self.data = jax.tree_util.tree_map(jnp.asarray, data)
        count_outcomes(self.data, "data")

    @property
    def blocks(self) -> int:
        """Number of equal blocks."""
        return _blocks(self.sample_size)

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


def expectation(rule, log_likelihood: LogLikelihood, theta: Coordinates, integrand: Callable):
    r"""The sum of `integrand(x, weights)` over the rule's blocks: how every expectation is taken.

    Blocks beyond the first are scanned and rematerialised, so memory does not grow with their number, forward or
    backward.

    **Arguments:** `integrand(x, weights)`: any pytree of sums over ONE block of outcomes `x` with `weights`.

    **Returns:** the pytree, summed.
    """

    def part(block):
        return integrand(*rule.outcomes(log_likelihood, theta, block))

    return sum_blocks(part, rule.blocks)


def sum_blocks(part: Callable, blocks: int):
    """`part(0) + ... + part(blocks - 1)`, each rematerialised; the parts are pytrees of equal shapes."""
    if blocks == 1:
        return part(0)
    rematerialised = jax.checkpoint(part, prevent_cse=False)  # pyright: ignore[reportPrivateImportUsage]

    def add(total, block):
        return jax.tree_util.tree_map(jnp.add, total, rematerialised(block)), None

    shapes = jax.eval_shape(part, jnp.zeros((), jnp.arange(1).dtype))
    zero = jax.tree_util.tree_map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(add, zero, jnp.arange(blocks))[0]


def sum_over_data(values: Callable, data: Outcomes, block_size: int = BLOCK):
    """The sum over data stacked along axis 0 of `values(block of data)`, a pytree of values stacked likewise."""
    blocks = math.ceil(count_outcomes(data, "data") / block_size)

    def part(block):
        x, inside = take_block(data, blocks, block)
        return jax.tree_util.tree_map(
            lambda leaf: jnp.sum(jnp.where(_column(inside, leaf), leaf, 0.0), axis=0), values(x)
        )

    return sum_blocks(part, blocks)


def weighted_by_density(
    log_likelihood: LogLikelihood, theta: Coordinates, x: Outcomes, node_weights: Inexact[Array, " n"]
) -> tuple[Outcomes, Float[Array, " n"]]:
    """Outcomes and their weights `node_weights * exp(log_likelihood)`, differentiable in theta.

    Far in the tails the derivatives of a log-density overflow where its weight has long vanished. An outcome
    whose share is far below round-off is therefore replaced by the heaviest one, with weight exactly 0.
    """
    log_mass = jnp.log(node_weights) + log_likelihoods(log_likelihood, jax.lax.stop_gradient(theta), x)
    log_mass = jax.lax.stop_gradient(jnp.where(jnp.isfinite(log_mass), log_mass, -jnp.inf))
    heaviest = jnp.argmax(log_mass)
    limits = jnp.finfo(log_mass.dtype)
    # In single precision round-off alone would let x ** -0.5 reach values whose inverse squares overflow.
    negligible = max(1.5 * math.log(limits.eps), 0.23 * math.log(limits.tiny))
    live = log_mass > log_mass[heaviest] + negligible
    live = live | jnp.all(~live)
    x = jax.tree_util.tree_map(lambda leaf: jnp.where(_column(live, leaf), leaf, leaf[heaviest][None]), x)
    density = jnp.exp(log_likelihoods(log_likelihood, theta, x))
    return x, jnp.where(live, node_weights, 0.0) * density


def log_likelihoods(log_likelihood: LogLikelihood, theta: Coordinates, x: Outcomes) -> Float[Array, " n"]:
    """The log-likelihood of each outcome stacked along axis 0."""
    values = jax.vmap(log_likelihood, (None, 0))(theta, x)
    if jnp.ndim(values) != 1:
        raise ValueError(
            f"log_likelihood(theta, x) returned an array of shape {jnp.shape(values)[1:]} for one outcome: write it "
            "for ONE observation, returning a scalar."
        )
    return values


def count_outcomes(x: Outcomes, name: str) -> int:
    """The common length of axis 0; a `ValueError` where leaves disagree, have no axis or are empty."""
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree_util.tree_leaves(x)}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        raise ValueError(
            f"{name} must be stacked along axis 0, the same length in every leaf and at least 1, but the leaves have "
            f"shapes {[jnp.shape(leaf) for leaf in jax.tree_util.tree_leaves(x)]}."
        )
    return lengths.pop()[0]


def take_block(x: Outcomes, blocks: int, block) -> tuple[Outcomes, Array]:
    """Block number `block` of `blocks` equal ones, and which of its entries lie inside the data."""
    n = count_outcomes(x, "outcomes")
    if blocks == 1:
        return x, jnp.ones(n, bool)
    size = math.ceil(n / blocks)
    index = jnp.arange(size) + block * size
    return jax.tree_util.tree_map(lambda leaf: leaf[jnp.minimum(index, n - 1)], x), index < n


def dtype_of(theta: Coordinates):
    """The floating-point dtype in which theta is computed with."""
    return flatten(theta, "theta")[0].dtype


def _blocks(n: int) -> int:
    return math.ceil(n / BLOCK)


def _like(reference: Coordinates, theta: Coordinates) -> Coordinates:
    """The reference in the dtypes of theta."""
    return jax.tree_util.tree_map(lambda r, t: jnp.asarray(r, t.dtype), reference, theta)


def _column(live, leaf):
    return jnp.reshape(live, (-1,) + (1,) * (leaf.ndim - 1))
