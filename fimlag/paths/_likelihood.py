"""The likelihood of a whole path of a diffusion process."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from fimlag._types import RealScalarLike
from fimlag.mechanics import OnsagerMachlup
from fimlag.mechanics._diffusion import DiffusionLike
from fimlag.paths._action import action
from fimlag.paths._path import Path


def path_log_likelihood(
    drift: Callable,
    diffusion: DiffusionLike,
    noise: RealScalarLike,
    path: Path | Callable | Float[Array, "knots ..."],
    t0: RealScalarLike = 0.0,
    t1: RealScalarLike = 1.0,
) -> Float[Array, ""]:
    r"""The log-likelihood of a path of a diffusion process, up to a constant that the drift does not enter.

    $$\ell = -\frac S\varepsilon = \lim_{r \to 0} \log \frac{P[\text{tube of radius } r]}{P_0(r)}$$

    with S the Onsager-Machlup action and $P_0$ the probability that noise without drift stays as near to a point. The
    difference between two drifts is the logarithm of Girsanov's ratio of their laws: for sampled paths as well, given
    as nodes at short intervals, where the polygon's integral tends to that of Stratonovich. The constant depends on
    `noise` and `diffusion`, which therefore cannot be estimated by this function: sampled paths know them exactly.

    **Arguments:** `drift`, `diffusion`, `noise`: as for `OnsagerMachlup`; `path`: a `Path`, a callable of time, or
    nodes at equal intervals stacked on axis 0, joined by straight lines; `t0`, `t1`: the interval of one that is no
    `Path`.

    **Returns:** a scalar (nats).

    **Raises:** `ValueError` as `OnsagerMachlup` and `action`.

    **Reference:** Durr & Bach (1978); Takahashi & Watanabe (1981).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> nodes = jnp.array([[0.0], [1.0]])
    >>> round(float(fl.path_log_likelihood(lambda q: 0.0 * q, 1.0, 0.5, nodes)), 9)
    -1.0

    ```
    """
    value = action(OnsagerMachlup(drift, diffusion, noise), path, t0, t1)
    return -value / jnp.asarray(noise, value.dtype)
