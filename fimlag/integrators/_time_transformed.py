"""Adaptive steps that keep structure: equal steps of a fictive time, which runs slower where motion is fast."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from fimlag._results import RESULTS, either_failure, first_failure
from fimlag._types import as_field
from fimlag.integrators._explicit import StormerVerlet
from fimlag.integrators._method import AbstractMethod, Observation, Step
from fimlag.integrators._separable import separable_equations
from fimlag.integrators._splitting import AbstractSplitting
from fimlag.integrators._structure import Extended


class Clock(NamedTuple):
    """What a saved row keeps: the physical time, and whether it has always advanced."""

    t: Float[Array, ""]
    running: Bool[Array, ""]


class AbstractTimeTransformed(AbstractMethod):
    """Methods whose steps are equal in a fictive time, for separable Lagrangians.

    To `integrate` its `t0`, `t1` and `steps` set the fictive time, which is the physical one at `t0` only; the
    `t` of a `Trajectory` is physical. The memory has the fields `t` and `running`.
    """

    explicit: ClassVar[bool] = True

    def kept(self, memory):
        return Clock(memory.t, memory.running)

    def observe(self, equations, t, q, p, kept):
        return Observation(kept.t, equations.velocity(p))

    def inspect(self, equations, t, q, v, kept):
        differ = jnp.any(jax.vmap(equations.differ)(t, q, v))
        return first_failure((~jnp.all(kept.running), RESULTS.time_stopped), (differ, RESULTS.not_separable))


class ExtendedMemory(NamedTuple):
    """Physical time, its momentum, and whether the time has always advanced."""

    t: Float[Array, ""]
    p_t: Float[Array, ""]
    running: Bool[Array, ""]


class TimeTransformedLeapfrog(AbstractTimeTransformed):
    r"""Leapfrog in a fictive time, symplectic on the extended phase space, explicit, of order 2.

    Time t joins the coordinates, with the momentum $p_t = -E$. The motions of $H = T(p) + V(t, q)$ are those of

    $$\Gamma = f(T(p) + p_t) - f(-V(t, q)) = 0, \qquad
    \frac{\mathrm d t}{\mathrm d \tau} = f'(T + p_t), \quad
    \frac{\mathrm d p}{\mathrm d \tau} = -f'(-V)\, V_q, \quad
    \frac{\mathrm d p_t}{\mathrm d \tau} = -f'(-V)\, V_t$$

    a separable Hamiltonian, split into drift (half), kick, drift. For $f = \log$ physical steps are
    $\mathrm d \tau / |V|$, and Kepler's ellipse is traced without error but in time. `t0`, `t1` and `steps` of
    `integrate` set the fictive time $\tau$, equal to t at the start; the `t` of the `Trajectory` is physical.

    **Arguments:** `transformation`: f, increasing, from a number to a number, such as
    `lambda x: x**0.5`; None for the logarithm, which asks for a potential below zero (L may be given a constant).

    **Raises:** `ValueError` from `integrate` for a Lagrangian not known to be separable. Results:
    `time_stopped` where $T + p_t$ or $-V$ leaves the domain on which f increases.

    **Reference:** Mikkola & Tanikawa (1999); Preto & Tremaine (1999).
    """

    transformation: Callable | None = eqx.field(default=None, converter=lambda f: None if f is None else as_field(f))

    order: ClassVar[int] = 2
    structure: ClassVar[Extended] = Extended()
    symmetric: ClassVar[bool] = True
    reference: ClassVar[str] = "Preto & Tremaine (1999)"

    def prepare(self, lagrangian, t, q, v, s):
        equations = separable_equations(lagrangian, t, q, v, type(self).__name__)
        regular = jnp.all(jnp.isfinite(equations.inverse))
        pace = self._pace(equations.lagrangian(t, q, jnp.zeros_like(q)))
        return equations, first_failure((~regular, RESULTS.singular_mass), (jnp.isnan(pace), RESULTS.time_stopped))

    def memory(self, equations, t, q, p, v, s):
        p_t = equations.lagrangian(t, q, jnp.zeros_like(q)) - equations.kinetic(p)
        return ExtendedMemory(t, p_t, jnp.array(True))

    def step(self, equations, t, h, q, p, memory):
        time, p_t, running = memory
        before = h / 2 * self._pace(equations.kinetic(p) + p_t)
        dq = before * equations.velocity(p)
        gradient = jax.value_and_grad(equations.lagrangian, argnums=(0, 1))
        value, (aging, force) = gradient(time + before, q + dq, jnp.zeros_like(q))
        kick = h * self._pace(value)
        dp, p_t = kick * force, p_t + kick * aging
        left = equations.kinetic(p + dp) + p_t
        after = h / 2 * self._pace(left)
        dq = dq + after * equations.velocity(p + dp)
        running = running & _runs(before + kick + after, q, p)
        return Step(dq, dp, ExtendedMemory(time + before + after, p_t, running), jnp.array(True))

    def _pace(self, x):
        """The derivative of f, NaN outside the domain."""
        f = jnp.log if self.transformation is None else self.transformation
        value, slope = jax.value_and_grad(f)(x)
        return jnp.where(jnp.isfinite(value) & (slope > 0), slope, jnp.nan)


class AdaptiveMemory(NamedTuple):
    """The memory of the method that steps, physical time, step density and its slope, and whether it was positive."""

    inner: PyTree
    t: Float[Array, ""]
    density: Float[Array, ""]
    slope: Float[Array, ""]
    running: Bool[Array, ""]


class ReversibleAdaptive(AbstractTimeTransformed):
    r"""Steps whose length follows the motion and that still turn back, of the order of the method that steps.

    With a density $\rho(q, p)$ of steps (steps of length one per unit of time) and fictive steps $\epsilon$,

    $$\rho_{n+1/2} = \rho_n + \tfrac\epsilon2 G(z_n), \quad
    z_{n+1} = \Phi_{\epsilon / \rho_{n+1/2}}(z_n), \quad
    \rho_{n+1} = \rho_{n+1/2} + \tfrac\epsilon2 G(z_{n+1}), \qquad
    G = \frac{\mathrm d}{\mathrm d t} \log \rho$$

    so that $\rho_n$ follows $\rho(q, p)$ without an equation to be solved. The map of $(q, p, \rho)$ is symmetric,
    though not symplectic: on reversible motions the energy does not drift. `t0`, `t1` and `steps` of `integrate`
    set the fictive time $\int \rho\, \mathrm d t$; the `t` of the `Trajectory` is physical.

    **Arguments:** `density`: a callable `(q, p)` returning a positive number, such as
    `lambda q, p: (q @ q) ** -0.75` for gravity; None for the frequency of small oscillations
    $\lVert M^{-1} V_{qq} \rVert^{1/2}$, for few coordinates; `method`: an explicit method that steps.

    **Raises:** `ValueError` for a method that is no symmetric product of drifts and kicks, and from `integrate`
    for a Lagrangian not known to be separable. Results: `time_stopped` where the density is not positive.

    **Reference:** Hairer & Söderlind (2005); Hairer, Lubich & Wanner (2006), section VIII.3.2.
    """

    density: Callable | None = eqx.field(default=None, converter=lambda f: None if f is None else as_field(f))
    method: AbstractSplitting = StormerVerlet()

    structure: ClassVar[None] = None

    def __check_init__(self):
        if not (isinstance(self.method, AbstractSplitting) and self.method.symmetric):
            raise ValueError(
                "ReversibleAdaptive steps by symmetric products of drifts and kicks, such as StormerVerlet() or "
                f"KahanLi8(), but not by {type(self.method).__name__}."
            )

    @property
    def order(self) -> int:
        return self.method.order

    @property
    def symmetric(self) -> bool:
        return True

    @property
    def reference(self) -> str:
        return f"Hairer & Söderlind (2005), of: {self.method.reference}"

    def prepare(self, lagrangian, t, q, v, s):
        equations, result = self.method.prepare(lagrangian, t, q, v, s)
        p = equations.mass * v if equations.mass.ndim == 1 else equations.mass @ v
        p = p if equations.offset is None else p + equations.offset
        sound = jnp.isfinite(self._log_density(equations, t, q, p))
        return equations, either_failure(result, first_failure((~sound, RESULTS.time_stopped)))

    def memory(self, equations, t, q, p, v, s):
        inner = self.method.memory(equations, t, q, p, v, s)
        density = jnp.exp(self._log_density(equations, t, q, p))
        return AdaptiveMemory(inner, t, density, self._slope(equations, t, q, p), jnp.array(True))

    def step(self, equations, t, h, q, p, memory):
        halfway = memory.density + h / 2 * memory.slope
        length = jnp.where(halfway > 0, h / halfway, jnp.nan)
        dq, dp, inner, solved = self.method.step(equations, memory.t, length, q, p, memory.inner)
        slope = self._slope(equations, memory.t + length, q + dq, p + dp)
        running = memory.running & _runs(length, q, p)
        return Step(dq, dp, AdaptiveMemory(inner, memory.t + length, halfway + h / 2 * slope, slope, running), solved)

    def _slope(self, equations, t, q, p):
        """G: how fast the logarithm of the density grows along the motion."""
        along = jnp.ones_like(t), equations.velocity(p), equations.force(t, q)
        return jax.jvp(lambda *state: self._log_density(equations, *state), (t, q, p), along)[1]

    def _log_density(self, equations, t, q, p):
        if self.density is None:
            return jnp.log(_squared_frequency(equations, t, q)) / 2
        unflatten = equations.lagrangian.structure.unflatten
        density = jnp.asarray(self.density(unflatten(q), unflatten(p)))
        if density.shape != ():
            raise ValueError(f"A step density is a scalar of shape (), but this one has shape {density.shape}.")
        return jnp.log(density.astype(q.dtype))


def _squared_frequency(equations, t, q):
    r"""$(\mathrm{tr}\, (M^{-1} V_{qq})^2)^{1/2}$."""
    curvature = -jax.jacfwd(equations.force, argnums=1)(t, q)
    inverse = equations.inverse
    ratio = inverse[:, None] * curvature if inverse.ndim == 1 else inverse @ curvature
    return jnp.sqrt(jnp.sum(ratio * ratio.T))


def _runs(pace, q, p):
    """Whether time went on in a step, or the state had been lost before."""
    return jnp.isfinite(pace) | ~(jnp.all(jnp.isfinite(q)) & jnp.all(jnp.isfinite(p)))
