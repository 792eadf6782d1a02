"""What the step of a method preserves, and how far a step is from it."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class AbstractStructure(eqx.Module):
    """A geometric structure that a step preserves.

    **Attributes:** `symplectic`: whether it is a symplectic form.
    """

    symplectic: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def defect(self, method, equations, t, h, q, p, v, s) -> Float[Array, ""]:
        """How far one step from a state is from preserving it, shape (); round-off where it does."""


class Canonical(AbstractStructure):
    r"""The symplectic form $dq^i \wedge dp_i$ on the phase space of the system.

    $$\max |J^\top \Omega J - \Omega|$$
    """

    symplectic: bool = eqx.field(static=True, default=True)

    def defect(self, method, equations, t, h, q, p, v, s):
        def advance(z):
            q, p = jnp.split(z, 2)
            memory = method.memory(equations, t, q, p, v, s)
            step = method.step(equations, t, h, q, p, memory)
            return z + jnp.concatenate([step.dq, step.dp])

        return symplectic_defect(advance, jnp.concatenate([q, p]))


def symplectic_defect(advance, z: Float[Array, " n"], tangents: Float[Array, "n k"] | None = None) -> Float[Array, ""]:
    r"""The largest entry of $W^\top (J^\top \Omega J - \Omega) W$, with W the identity or given tangent vectors."""
    size = z.size // 2
    jacobian = jax.jacfwd(advance)(z)
    form = jnp.kron(jnp.asarray([[0, 1], [-1, 0]], z.dtype), jnp.eye(size, dtype=z.dtype))
    difference = jacobian.T @ form @ jacobian - form
    return jnp.max(jnp.abs(difference if tangents is None else tangents.T @ difference @ tangents))


class ConformalContact(AbstractStructure):
    r"""The contact form $\eta = \mathrm d s - p_i\, \mathrm d q^i$ on the phase space with the action, up to a factor.

    $$\max |\eta_1 J - \lambda\, \eta_0|, \qquad J = \frac{\partial (q_1, p_1, s_1)}{\partial (q_0, p_0, s_0)}$$

    with $\lambda$ the component of $\eta_1 J$ along $\mathrm d s_0$.

    **Reference:** Bravetti, Seri, Vermeeren & Zadra (2020).
    """

    symplectic: bool = eqx.field(static=True, default=False)

    def defect(self, method, equations, t, h, q, p, v, s):
        def advance(z):
            (q, p), s = jnp.split(z[:-1], 2), z[-1]
            step = method.step(equations, t, h, q, p, method.memory(equations, t, q, p, v, s))
            q, p = q + step.dq, p + step.dp
            seen = method.observe(equations, t + h, q, p, method.kept(step.memory))
            return jnp.append(jnp.concatenate([q, p]), seen.s)

        def form(z):
            point, momentum = jnp.split(z[:-1], 2)
            return jnp.append(jnp.concatenate([-momentum, jnp.zeros_like(point)]), jnp.ones_like(z[-1]))

        z = jnp.append(jnp.concatenate([q, p]), s)
        pulled = form(advance(z)) @ jax.jacfwd(advance)(z)
        return jnp.max(jnp.abs(pulled - pulled[-1] * form(z)))


class Extended(AbstractStructure):
    r"""The symplectic form $\mathrm d q^i \wedge \mathrm d p_i + \mathrm d t \wedge \mathrm d p_t$ of the extended
    phase space, on which time is a coordinate; `t` and `p_t` are fields of the memory.

    **Reference:** Hairer, Lubich & Wanner (2006), section VIII.2.1.
    """

    symplectic: bool = eqx.field(static=True, default=True)

    def defect(self, method, equations, t, h, q, p, v, s):
        start = method.memory(equations, t, q, p, v, s)

        def advance(z):
            (*q, time), (*p, p_t) = jnp.split(z, 2)
            q, p = jnp.stack(q), jnp.stack(p)
            step = method.step(equations, t, h, q, p, start._replace(t=time, p_t=p_t))
            after = q + step.dq, step.memory.t[None], p + step.dp, step.memory.p_t[None]
            return jnp.concatenate(after)

        return symplectic_defect(advance, jnp.concatenate([q, start.t[None], p, start.p_t[None]]))
