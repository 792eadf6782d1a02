"""What an integration returns."""

from jaxtyping import Array, Float, PyTree

from fimlag._results import RESULTS, AbstractSolution
from fimlag.integrators._method import AbstractMethod


class Trajectory(AbstractSolution):
    """The states at the rows saved, the start included.

    **Attributes:** `t`, shape (steps / save_every + 1,); `q`, `v`, `p`: points, velocities and momenta, each
    leaf of the caller's structure with the rows stacked on axis 0; `result`: a member of `RESULTS`; `method`:
    the method used; `s`: the action of a contact system, shape (rows,), else None; `multipliers` of the
    constraints, shape (rows, m), else None.
    """

    t: Float[Array, " rows"]
    q: PyTree[Array]
    v: PyTree[Array]
    p: PyTree[Array]
    result: RESULTS
    method: AbstractMethod
    s: Float[Array, " rows"] | None = None
    multipliers: Float[Array, "rows m"] | None = None
