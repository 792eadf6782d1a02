"""Charts: coordinates without bounds, in which a solver never leaves the domain of its parameters."""

import abc
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fimlag._types import as_field


class AbstractChart(eqx.Module):
    r"""A smooth one-to-one map between a domain of parameters and all of $\mathbb R^d$, on flat vectors."""

    @abc.abstractmethod
    def point(self, free: Float[Array, " d"]) -> Float[Array, " d"]:
        """The parameters of free coordinates."""

    @abc.abstractmethod
    def free(self, theta: Float[Array, " d"]) -> Float[Array, " d"]:
        """The free coordinates of parameters, NaN outside the domain."""

    @abc.abstractmethod
    def displacement(self, theta0: Float[Array, " d"], theta1: Float[Array, " d"]) -> Float[Array, " d"]:
        """`free(theta1) - free(theta0)` without cancellation: close pairs keep all digits."""


class IdentityChart(AbstractChart):
    """The chart of parameters that are free already."""

    def point(self, free):
        return free

    def free(self, theta):
        return theta

    def displacement(self, theta0, theta1):
        return theta1 - theta0


class CoordinatewiseChart(AbstractChart):
    r"""The chart of a box: for each coordinate the logarithms of its distances from the ends that are finite.

    $$u = \theta, \qquad u = \log(\theta - l), \qquad u = -\log(r - \theta), \qquad
    u = \log\frac{\theta - l}{r - \theta}$$

    on the line, the half-lines above l and below r, and the interval between them.

    **Arguments:** `lower`, `upper`: the ends of each coordinate, numbers of which some may be infinite; `upper` left
    out, all are.

    **Raises:** `ValueError` for ends that enclose nothing, and for vectors of another length.

    **Reference:** Stan Development Team (2024), reference manual, section 10 (transforms of constrained variables).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> chart = fl.CoordinatewiseChart((-jnp.inf, 0.0))
    >>> print(chart.free(jnp.array([3.0, 1.0])), chart.point(jnp.array([3.0, 0.0])))
    [3. 0.] [3. 1.]

    ```
    """

    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, lower: Sequence[float | int], upper: Sequence[float | int] | None = None):
        self.lower = tuple(float(end) for end in lower)
        self.upper = (math.inf,) * len(self.lower) if upper is None else tuple(float(end) for end in upper)
        if len(self.lower) != len(self.upper) or not np.all(np.less(self.lower, self.upper)):
            raise ValueError(f"Each lower end must lie below its upper one, but they are {lower} and {upper}.")

    def point(self, free):
        below, above = self._bounded
        lower, upper, width = self._ends(free)
        half, sign = below ^ above, jnp.asarray(np.where(below, 1.0, -1.0), free.dtype)
        growth = sign * jnp.exp(sign * _select(half, free, jnp.zeros_like(free)))
        value = _select(half, _select(below, lower, upper) + growth, free)
        # From the nearer end, so that the distance to it keeps its digits.
        rise, fall = lower + width * jax.nn.sigmoid(free), upper - width * jax.nn.sigmoid(-free)
        return _select(below & above, jnp.where(free < 0.0, rise, fall), value)

    def free(self, theta):
        down, up = self._distances(theta)
        below, above = self._bounded
        return _select(below | above, jnp.log(down) - jnp.log(up), theta)

    def displacement(self, theta0, theta1):
        (down0, up0), (down1, up1) = self._distances(theta0), self._distances(theta1)
        below, above = self._bounded
        step = theta1 - theta0
        # down1 up0 - down0 up1 = step / width: the difference of the two products without cancellation.
        mean = jnp.sqrt(down0) * jnp.sqrt(up1) * jnp.sqrt(down1) * jnp.sqrt(up0)
        return _select(below | above, 2.0 * jnp.arcsinh(0.5 * (step / self._ends(step)[2]) / mean), step)

    def _distances(self, theta):
        """The distances from both ends in widths, NaN beyond them, 1 from an end that is infinite."""
        below, above = self._bounded
        lower, upper, width = self._ends(theta)
        down = jnp.where(theta > lower, (theta - lower) / width, jnp.nan)
        up = jnp.where(theta < upper, (upper - theta) / width, jnp.nan)
        return _select(below, down, jnp.ones_like(theta)), _select(above, up, jnp.ones_like(theta))

    def _ends(self, vector):
        """The ends, 0 where infinite, and the widths of the intervals, else 1, in the precision of the vector."""
        if vector.shape != (len(self.lower),):
            raise ValueError(f"The chart has {len(self.lower)} coordinates, but a vector of {vector.shape} came.")
        below, above = self._bounded
        lower, upper = np.where(below, self.lower, 0.0), np.where(above, self.upper, 0.0)
        width = np.where(below & above, upper - lower, 1.0)
        return tuple(jnp.asarray(each, vector.dtype) for each in (lower, upper, width))

    @property
    def _bounded(self):
        """Whether each coordinate is bounded below, and above."""
        return np.isfinite(self.lower), np.isfinite(self.upper)


class SimplexChart(AbstractChart):
    r"""The chart of all but the last of several probabilities, by their logarithms relative to the last.

    $$u_i = \log\frac{p_i}{p_{k-1}}, \qquad p_i = \frac{e^{u_i}}{1 + \sum_j e^{u_j}}$$

    **Reference:** Aitchison (1982), section 4 (additive log-ratio transformation).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(fl.SimplexChart().point(jnp.log(jnp.array([2.0, 1.0]))))
    [0.5  0.25]

    ```
    """

    def point(self, free):
        return jax.nn.softmax(jnp.append(free, 0.0))[:-1]

    def free(self, theta):
        p = self._probabilities(theta)
        return jnp.log(p[:-1]) - jnp.log(p[-1])

    def displacement(self, theta0, theta1):
        step = theta1 - theta0
        step = jnp.append(step, -jnp.sum(step))
        p0, p1 = self._probabilities(theta0), self._probabilities(theta1)
        changes = 2.0 * jnp.arcsinh(0.5 * step / (jnp.sqrt(p0) * jnp.sqrt(p1)))
        return changes[:-1] - changes[-1]

    def _probabilities(self, theta):
        everything = jnp.append(theta, 1.0 - jnp.sum(theta))
        return jnp.where(jnp.all(everything > 0.0), everything, jnp.nan)


class ShapeMeanChart(AbstractChart):
    r"""The chart of a shape and a rate by the logarithms of the shape and of the mean, their ratio.

    $$u = \Big(\log a, \log\frac ab\Big)$$

    With a base chart other than that of two positive numbers $u = (f_0, f_0 - f_1)$ in its free coordinates f. Shape
    and mean of gamma and of negative binomial distributions are orthogonal in the Fisher metric.

    **Arguments:** `base`: a chart of two parameters; left out, that of two positive ones.

    **Reference:** Cox & Reid (1987), section 3.1.

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> print(jnp.exp(fl.ShapeMeanChart().free(jnp.array([2.0, 4.0]))))
    [2.  0.5]

    ```
    """

    base: AbstractChart

    def __init__(self, base: AbstractChart | None = None):
        self.base = CoordinatewiseChart((0.0, 0.0)) if base is None else base

    def point(self, free):
        return self.base.point(_shear(free))

    def free(self, theta):
        return _shear(self.base.free(theta))

    def displacement(self, theta0, theta1):
        return _shear(self.base.displacement(theta0, theta1))


def _shear(pair):
    """A map that is its own inverse."""
    return jnp.stack([pair[0], pair[0] - pair[1]])


class FunctionChart(AbstractChart):
    r"""The chart of a pair of functions, inverse to each other.

    The displacement is $\int_0^1 J(\theta_0 + s \delta)\, \delta\, ds$ with $\delta = \theta_1 - \theta_0$ and J the
    derivative of `free` where that varies by less than a tenth on the way, which four Gauss points integrate to
    round-off; farther apart it is the difference of the free coordinates.

    **Arguments:** `point(free)`: the parameters of free coordinates; `free(theta)`: the free coordinates of
    parameters, which should be NaN outside the domain. Both take and return flat vectors.

    **Raises:** `TypeError` for what is no function.

    **Reference:** Abramowitz & Stegun (1964), table 25.4 (Gauss points).

    ```python
    >>> import jax.numpy as jnp, fimlag as fl
    >>> chart = fl.FunctionChart(jnp.exp, jnp.log)
    >>> print(chart.displacement(jnp.array([1.0]), jnp.array([1.0 + 2.0**-50])) * 2.0**50)
    [1.]

    ```
    """

    to_point: Callable
    to_free: Callable

    def __init__(self, point: Callable, free: Callable):
        self.to_point, self.to_free = as_field(point), as_field(free)

    def point(self, free):
        return self.to_point(free)

    def free(self, theta):
        return self.to_free(theta)

    def displacement(self, theta0, theta1):
        step = theta1 - theta0
        points, weights = (jnp.asarray(each, step.dtype) for each in np.polynomial.legendre.leggauss(4))

        def slope(s):
            return jax.jvp(self.to_free, (theta0 + s * step,), (step,))[1]

        slopes = jax.vmap(slope)(0.5 * (points + 1.0))
        steady = jnp.ptp(slopes, axis=0) < 0.1 * jnp.max(jnp.abs(slopes), axis=0)
        return jnp.where(steady, 0.5 * (weights @ slopes), self.to_free(theta1) - self.to_free(theta0))


def _select(chosen, new, old):
    """The new coordinates where chosen, else the old: what is chosen is known before tracing."""
    return new if np.all(chosen) else jnp.where(chosen, new, old) if np.any(chosen) else old
