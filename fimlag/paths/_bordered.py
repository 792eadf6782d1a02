"""The second variation of an action over the nodes of a path and a border of globals, factorised."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from fimlag.paths._block_tridiagonal import CondensedElements
from fimlag.paths._discrete_action import DiscreteAction, Expansion, Unknowns


class SecondVariation(eqx.Module):
    r"""The factor of the matrix of second derivatives of a discrete action, bordered by its globals.

    $$\begin{pmatrix} H & B \\ B^\top & D \end{pmatrix}, \qquad \Sigma = D - B^\top H^{-1} B$$

    H is factorised element by element, $\Sigma$ by its eigenvalues, those that vanish to round-off being left out: a
    periodic path of an autonomous Lagrangian may begin anywhere along itself.

    **Attributes:** `inner`: the factor of H; `columns`: B by rows; `reduced`: $H^{-1} B$ by rows; `eigenvalues`,
    `eigenvectors`: of $\Sigma$ scaled by `scales` on both sides; `multipliers`: how many globals are such.

    **Reference:** Govaerts (2000), sec. 3.6 (block elimination); Nocedal & Wright (2006), theorem 16.3 (inertia).
    """

    inner: CondensedElements
    columns: Float[Array, "globals unknowns d lanes"]
    reduced: Float[Array, "globals unknowns d lanes"]
    scales: Float[Array, "globals lanes"]
    eigenvalues: Float[Array, "globals lanes"]
    eigenvectors: Float[Array, "globals globals lanes"]
    multipliers: int = eqx.field(static=True)

    def __init__(self, problem: DiscreteAction, y: Unknowns, expansion: Expansion, matrices=None, damping=None):
        """The factor for an expansion at `y`, with damped element `matrices` in the place of its own where given.

        Of `y` the globals alone count: the nodes may be those of elements of another degree.
        """
        matrices = problem.assemble(y, expansion.hessians) if matrices is None else matrices
        self.inner = CondensedElements(matrices, problem.d, problem.mesh.held.tolist())
        columns = expansion.slope.shape[0]
        self.columns = jnp.zeros((0, problem.mesh.unknowns, *y.nodes.shape[1:]), y.nodes.dtype)
        if columns:
            self.columns = jax.vmap(problem.projected)(expansion.forces)
        self.reduced = jax.vmap(self.inner.solve)(self.columns) if columns else self.columns
        free = problem.stations.count
        self.multipliers = columns - free
        schur = expansion.block - jnp.sum(self.columns[:, None] * self.reduced[None], axis=(2, 3))
        if damping is not None and free:
            schur = schur.at[:free, :free].set(_convex(schur[:free, :free], damping))
        self.scales = _equilibrating(schur)
        self.eigenvalues, self.eigenvectors = _eigen(_scaled(schur, self.scales))

    def solve(self, right: Unknowns) -> Unknowns:
        """The solution of the bordered linear system."""
        nodes = self.inner.solve(right.nodes)
        if not self.columns.size:
            return Unknowns(nodes, right.border)
        border = self._solve_schur(right.border - jnp.sum(self.columns * nodes[None], axis=(1, 2)))
        return Unknowns(nodes - jnp.sum(self.reduced * border[:, None, None], axis=0), border)

    def negative_directions(self) -> Int[Array, " lanes"]:
        """The number of negative directions among those that keep the constraints; -1 where it cannot be told.

        It is that of the bordered matrix less one for each multiplier.
        """
        inner = self.inner.negative_directions()
        border = jnp.sum((self.eigenvalues < 0) & self._regular, axis=0) - self.multipliers
        return jnp.where(inner < 0, -1, inner + border)

    @property
    def _regular(self):
        size = jnp.max(jnp.abs(self.eigenvalues), axis=0, initial=0.0)
        return jnp.abs(self.eigenvalues) > jnp.finfo(size.dtype).eps ** 0.75 * size[None]

    def _solve_schur(self, right):
        inverses = jnp.where(self._regular, 1 / jnp.where(self._regular, self.eigenvalues, 1.0), 0.0)
        components = jnp.sum(self.eigenvectors * (self.scales * right)[:, None], axis=0)
        return self.scales * jnp.sum(self.eigenvectors * (inverses * components)[None], axis=1)


def _convex(block, damping):
    """A block, where the damping is positive with its eigenvalues turned positive and lifted in proportion to it."""
    scales = _equilibrating(block)
    values, vectors = _eigen(_scaled(block, scales))
    lifted = jnp.abs(values) + damping[None] * jnp.max(jnp.abs(values), axis=0, initial=0.0)[None]
    turned = jnp.sum(vectors[:, None] * (vectors * lifted[None])[None], axis=2)
    return jnp.where(damping[None, None] > 0, _scaled(turned, 1 / scales), block)


def _equilibrating(matrix: Float[Array, "n n lanes"]) -> Float[Array, "n lanes"]:
    """Scales of rows and columns, alike, that bring the largest entry of each near one."""
    scales = jnp.ones(matrix.shape[1:], matrix.dtype)
    for _ in range(3):
        largest = jnp.max(jnp.abs(_scaled(matrix, scales)), axis=1, initial=0.0)
        scales = scales / jnp.sqrt(jnp.where(largest > 0, largest, 1.0))
    return scales


def _scaled(matrix, scales):
    return scales[:, None] * matrix * scales[None]


def _eigen(matrix: Float[Array, "n n lanes"]):
    """Eigenvalues (n, lanes) and eigenvectors, the columns of (n, n, lanes), of a symmetric matrix in every lane."""
    if not matrix.size:
        return jnp.zeros(matrix.shape[1:], matrix.dtype), matrix
    values, vectors = jnp.linalg.eigh(jnp.moveaxis(0.5 * (matrix + matrix.swapaxes(0, 1)), -1, 0))
    return values.T, jnp.moveaxis(vectors, 0, -1)
