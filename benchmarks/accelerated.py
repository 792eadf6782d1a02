"""How long does accelerated descent take to an estimate, beside gradient descent, Nesterov's method and optax?

Each method runs until the objective is within a tolerance of its least value, in one compiled loop. The errors are the
remaining gap and the number of updates, of one gradient each but for the line searches of L-BFGS. The first row is
Nesterov's method with the step 1 / L, written by hand; the restarted descents of this library take longer steps, which
they stand. Natural gradients need the model beside the gradient: they solve a system in each step.
"""

from functools import partial

import jax
import jax.numpy as jnp
import optax
from _timing import Contender, compare, compiled, options, print_setting

import fimlag as fl


def nesterov(rate):
    """Nesterov's method with the extrapolated points as parameters."""

    def update(gradient, state, y, **extra):
        previous, count = state
        x = y - rate * gradient
        return x + count / (count + 3.0) * (x - previous) - y, (x, count + 1.0)

    return optax.GradientTransformationExtraArgs(lambda x: (x, jnp.zeros(())), update)


def minimise(method, objective, start, enough, limit):
    """The end of a descent, its value, and the gradients it took."""
    method = optax.with_extra_args_support(method)

    def step(carry):
        x, state, _, count = carry
        value, gradient = jax.value_and_grad(objective)(x)
        moved, state = method.update(gradient, state, x, value=value, grad=gradient, value_fn=objective)
        x = optax.apply_updates(x, moved)
        return x, state, objective(x), count + 1

    def unfinished(carry):
        return (carry[2] > enough) & (carry[3] < limit)

    x, _, value, count = jax.lax.while_loop(unfinished, step, (start, method.init(start), objective(start), 0))
    return x, value, count


def race(title, methods, objective, start, least, tolerance, rounds, limit=200_000):
    contenders = []
    for name, method in methods.items():
        run, seconds = compiled(partial(minimise, method, objective, enough=least + tolerance, limit=limit), start)
        _, value, count = run(start)
        words = f"error {value - least:.1e}, {count} updates" + (", limit" if count == limit else "")
        contenders.append(Contender(name, partial(run, start), words, seconds))
    compare(f"{title}, to {tolerance:.0e}", contenders, rounds)


def quadratic(size, rounds):
    curvatures = jnp.logspace(-4, 0, size)
    methods = {
        "Nesterov, by hand": nesterov(1.0),
        "accelerated": fl.accelerated_natural_gradient(None, 1.0),
        "accelerated, restarted": fl.accelerated_natural_gradient(None, 3.0, restart="gradient"),
        "optax.sgd": optax.sgd(1.0),
        "optax.lbfgs": optax.lbfgs(),
    }
    title = f"quadratic of {size} parameters, condition 1e4"
    race(title, methods, lambda x: jnp.sum(curvatures * x**2) / 2, jnp.ones(size), 0.0, 1e-6, rounds)


def logistic(count, size, rounds):
    inputs = jax.random.normal(jax.random.key(0), (count, size)) * jnp.logspace(-1.5, 0, size)
    chances = jax.nn.sigmoid(2 * jnp.sum(inputs, axis=1) * (10 / size) ** 0.5)
    labels = jax.random.bernoulli(jax.random.key(1), chances).astype(float)
    rate = 4 / float(jnp.linalg.eigvalsh(inputs.T @ inputs / count)[-1])

    def loss(theta):
        return jnp.mean(jnp.logaddexp(0.0, inputs @ theta) - labels * (inputs @ theta))

    def newton(_, x):
        return x - jnp.linalg.solve(jax.hessian(loss)(x), jax.grad(loss)(x))

    start = jnp.zeros(size)
    least = float(loss(jax.lax.fori_loop(0, 20, newton, start)))
    model = fl.ConditionalModel(lambda theta, x: jax.nn.sigmoid(x @ theta), fl.families.Bernoulli(), inputs)
    methods = {
        "Nesterov, by hand": nesterov(rate),
        "accelerated": fl.accelerated_natural_gradient(None, rate),
        "accelerated, restarted": fl.accelerated_natural_gradient(None, 3 * rate, restart="gradient"),
        # The loss is a mean and the information that of all inputs: the rate is their number.
        "natural gradient": fl.natural_gradient(model, float(count)),
        "optax.sgd": optax.sgd(rate),
        "optax.adam": optax.adam(0.1),
        "optax.lbfgs": optax.lbfgs(),
    }
    race(f"logistic regression, {count} inputs, {size} parameters", methods, loss, start, least, 1e-8, rounds)


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    print_setting(__doc__.splitlines()[0], float)
    rounds = 2 if quick else 15
    quadratic(20 if quick else 200, rounds)
    logistic(*((50, 4) if quick else (2000, 20)), rounds)


if __name__ == "__main__":
    main()
