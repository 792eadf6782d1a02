"""The likelihood of all data as one function of the parameters."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from fimlag._flat import Structure
from fimlag.information import AbstractModel


class JointLikelihood(eqx.Module):
    """The log-likelihood of all data as a function of the flat parameters; what it closes over stands in its fields."""

    log_likelihood: Callable

    def __init__(self, model: AbstractModel, data: PyTree, structure: Structure, theta: Float[Array, " d"]):
        def log_likelihood(vector):
            return model.joint_log_likelihood(structure.unflatten(vector), data)

        self.log_likelihood = eqx.filter_closure_convert(log_likelihood, theta)

    def score(self, theta):
        return jax.grad(self.log_likelihood)(theta)

    def observed_information(self, theta):
        return -jax.jacfwd(self.score)(theta)
