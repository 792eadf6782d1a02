"""How much time and memory does the Fisher matrix of a random sample take, beside the obvious ways to it?

Regressions with 10 and with 100 parameters: coefficients, the logarithms of scale and of degrees of freedom, Student-t
noise, inputs drawn from the standard normal. Errors are relative, in the Frobenius norm, to the closed form of Lange,
Little & Taylor (1989).
"""

from functools import partial

import jax
import jax.numpy as jnp
from _timing import Contender, compare, compiled, options, print_ratio, print_setting, temporary_bytes
from jax.scipy.special import gammaln, polygamma

import fimlag as fl


def log_likelihood(theta, x):
    inputs, response = x
    scale, dof = jnp.exp(theta[-2]), jnp.exp(theta[-1])
    z = (response - inputs @ theta[:-2]) / scale
    normaliser = gammaln((dof + 1) / 2) - gammaln(dof / 2) - jnp.log(dof * jnp.pi) / 2 - theta[-2]
    of_inputs = -(inputs @ inputs + inputs.size * jnp.log(2 * jnp.pi)) / 2
    return normaliser - (dof + 1) / 2 * jnp.log1p(z**2 / dof) + of_inputs


def sample(key, theta, n):
    first, second, third = jax.random.split(key, 3)
    inputs = jax.random.normal(first, (n, theta.size - 2))
    # Bailey (1994): two uniform numbers make a Student t, where jax.random.t would outweigh what is measured.
    dof, u = jnp.exp(theta[-1]), 1.0 - jax.random.uniform(second, (n,))
    noise = jnp.sqrt(dof * jnp.expm1(-2.0 / dof * jnp.log(u))) * jnp.cos(2 * jnp.pi * jax.random.uniform(third, (n,)))
    return inputs, inputs @ theta[:-2] + jnp.exp(theta[-2]) * noise


def closed_form(theta):
    scale, dof = jnp.exp(theta[-2]), jnp.exp(theta[-1])
    coefficients = (dof + 1) / (dof + 3) / scale**2
    of_dof = (polygamma(1, dof / 2) - polygamma(1, (dof + 1) / 2)) / 4
    of_dof = of_dof - (dof + 5) / (2 * dof * (dof + 1) * (dof + 3))
    cross = -2 * dof / ((dof + 1) * (dof + 3))
    diagonal = jnp.diag(jnp.append(jnp.full(theta.size - 2, coefficients), jnp.zeros(2)))
    corner = jnp.array([[2 * dof / (dof + 3), cross], [cross, dof**2 * of_dof]])
    return diagonal.at[-2:, -2:].set(corner)


def mean_of_hessians(theta, x):
    return -jnp.mean(jax.vmap(jax.hessian(log_likelihood), (None, 0))(theta, x), axis=0)


def hessian_of_mean(theta, x):
    return -jax.hessian(lambda theta: jnp.mean(jax.vmap(log_likelihood, (None, 0))(theta, x)))(theta)


def gram_of_scores(theta, x):
    scores = jax.vmap(jax.grad(log_likelihood), (None, 0))(theta, x)
    return scores.T @ scores / scores.shape[0]


def from_outcomes(theta, x):
    return fl.fisher_information(fl.StatisticalModel(log_likelihood, fl.Empirical(x)), theta)


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    for parameters, n, rounds in ((10, 10_000, 2),) if quick else ((10, 1_000_000, 7), (100, 100_000, 2)):
        of_size(parameters, n, rounds)


def of_size(parameters, n, rounds):
    coefficients = jnp.linspace(-1.0, 1.0, parameters - 2)
    theta = jnp.concatenate([coefficients, jnp.log(jnp.array([0.7, 5.0]))])
    key, truth = jax.random.key(0), closed_form(theta)
    x = jax.jit(sample, static_argnums=2)(key, theta, n)

    def drawn(theta, key):
        rule = fl.MonteCarlo(sample, n, key)
        return fl.fisher_information(fl.StatisticalModel(log_likelihood, rule), theta)

    def drawn_by_hand(theta, key):
        return mean_of_hessians(theta, sample(key, theta, n))

    given = {
        "fimlag, score form": from_outcomes,
        "mean of vmap(hessian)": mean_of_hessians,
        "hessian of the mean": hessian_of_mean,
        "Gram matrix of vmap(grad)": gram_of_scores,
    }
    drawing = {"fimlag, MonteCarlo": drawn, "mean of vmap(hessian)": drawn_by_hand}
    for title, functions, arguments in (
        (f"{n} outcomes given, {parameters} parameters", given, (theta, x)),
        (f"{n} outcomes drawn in each call, {parameters} parameters", drawing, (theta, key)),
    ):
        answer(title, functions, arguments, truth, rounds)


def answer(title, functions, arguments, truth, rounds):
    contenders, memory = [], []
    for name, function in functions.items():
        executable, seconds = compiled(function, *arguments)
        run = partial(executable, *arguments)
        error = jnp.linalg.norm(run() - truth) / jnp.linalg.norm(truth)
        contenders.append(Contender(name, run, f"error {error:.1e}", seconds))
        memory.append((name, temporary_bytes(executable) / 2**20))
    compare(title, contenders, rounds)
    for name, mebibytes in memory[1:]:
        print_ratio(f"temporary memory: {name}", memory[0][1], mebibytes, "MiB")


if __name__ == "__main__":
    main()
