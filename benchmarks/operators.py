"""How much time do products and damped solves with the Fisher information of a network take, beside the usual ways?

A network of one hidden layer with a softmax, 784-256-10 with 203,530 parameters, at its initial weights, a batch of 256
random images, single precision. Errors are relative to a product by hand in double precision; a residual is that of the
system, relative to its right-hand side. The sample space is 2560 rows large.
"""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
from _timing import Contender, compare, compiled, options, print_setting
from jax.flatten_util import ravel_pytree
from jax.numpy import float32

import fimlag as fl


def initial(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"weights": jax.random.normal(k, shape, float32) / shape[0] ** 0.5, "bias": jnp.zeros(shape[1:], float32)}
        for k, shape in zip(keys, pairwise(sizes), strict=True)
    ]


def network(theta, x):
    for layer in theta[:-1]:
        x = jnp.tanh(x @ layer["weights"] + layer["bias"])
    return x @ theta[-1]["weights"] + theta[-1]["bias"]


def by_hand(tangent, probabilities, theta, v):
    """Linearised once: $J^\\top (\\operatorname{diag} p - p p^\\top) J v$."""
    slopes = tangent(v)
    weighted = probabilities * (slopes - jnp.sum(probabilities * slopes, axis=1, keepdims=True))
    return jax.linear_transpose(tangent, theta)(weighted)[0]


def by_jvp_and_vjp(theta, images, v):
    logits, slopes = jax.jvp(partial(network, x=images), (theta,), (v,))
    probabilities = jax.nn.softmax(logits)
    weighted = probabilities * (slopes - jnp.sum(probabilities * slopes, axis=1, keepdims=True))
    return jax.vjp(partial(network, x=images), theta)[1](weighted)[0]


def by_hessian_of_divergence(theta, images, v):
    fixed = jax.nn.log_softmax(network(theta, images))

    def divergence(theta):
        return jnp.sum(jnp.exp(fixed) * (fixed - jax.nn.log_softmax(network(theta, images))))

    return jax.jvp(jax.grad(divergence), (theta,), (v,))[1]


def kfac_product(theta, images, v):
    """The product of kfac-jax, None where it is not installed or does not run with this jax."""
    try:
        import kfac_jax
    except ImportError:
        return None

    def loss(theta, images):
        logits = network(theta, images)
        labels = jnp.zeros(logits.shape[0], int)
        kfac_jax.register_softmax_cross_entropy_loss(logits, labels)
        return -jnp.mean(jax.nn.log_softmax(logits)[:, 0])

    curvature = kfac_jax.ImplicitExactCurvature(loss)

    def product(theta, images, v):
        # A mean over the batch there, the sum of its inputs here.
        scaled = curvature.multiply_fisher((theta, images), v)
        return jax.tree_util.tree_map(lambda leaf: images.shape[0] * leaf, scaled)

    try:
        jax.eval_shape(product, theta, images, v)
    except (AttributeError, TypeError, ValueError) as error:  # it reads the internals of jax
        print(f"kfac-jax {kfac_jax.__version__} does not run with jax {jax.__version__}: {error}")
        return None
    return product


def products(theta, images, v, operator, rounds):
    probabilities = jax.nn.softmax(network(theta, images))
    tangent = jax.jit(lambda theta: jax.linearize(partial(network, x=images), theta)[1])(theta)
    double = jax.tree_util.tree_map(lambda leaf: leaf.astype(float), (theta, images, v))
    truth = ravel_pytree(jax.jit(by_jvp_and_vjp)(*double))[0]
    rows = {
        "fimlag, operator.mv": (lambda operator, v: operator.mv(v), (operator, v)),
        "linearised once by hand": (by_hand, (tangent, probabilities, theta, v)),
        "jvp, Fisher of the outputs, vjp": (by_jvp_and_vjp, (theta, images, v)),
        "Hessian-vector product of the divergence": (by_hessian_of_divergence, (theta, images, v)),
    }
    rival = kfac_product(theta, images, v)
    if rival is not None:
        rows["kfac-jax"] = (rival, (theta, images, v))
    contenders = []
    for name, (function, arguments) in rows.items():
        executable, seconds = compiled(function, *arguments)
        run = partial(executable, *arguments)
        error = jnp.linalg.norm(ravel_pytree(run())[0].astype(float) - truth) / jnp.linalg.norm(truth)
        contenders.append(Contender(name, run, f"error {error:.1e}", seconds))
    compare(f"one product, {truth.size} parameters, {images.shape[0]} images", contenders, rounds)


def solves(v, operator, damping, rounds):
    contenders = []
    methods = {"conjugate gradients": fl.ConjugateGradient(rtol=1e-4), "sample space": fl.SampleSpace(rtol=1e-4)}
    for name, method in methods.items():
        solve = partial(fl.damped_solve, damping=damping, method=method, throw=False)
        executable, seconds = compiled(solve, operator, v)
        found = executable(operator, v)
        words = f"residual {found.residual:.1e}, {found.iterations} steps, succeeded: {bool(found.succeeded)}"
        contenders.append(Contender(name, lambda run=executable: run(operator, v).value, words, seconds))
    compare(f"damped solve, damping {damping:g}, {operator.rows} rows", contenders, rounds)


def main():
    quick = options(__doc__).quick
    jax.config.update("jax_enable_x64", True)
    sizes, batch, rounds = ((20, 16, 4), 16, 2) if quick else ((784, 256, 10), 256, 15)
    print_setting(__doc__.splitlines()[0], float32)
    theta = initial(jax.random.key(0), sizes)
    images = jax.random.normal(jax.random.key(1), (batch, sizes[0]), float32)
    v = jax.tree_util.tree_map(jnp.cos, initial(jax.random.key(2), sizes))
    model = fl.ConditionalModel(network, fl.families.CategoricalLogits(sizes[-1]), images)
    operator = jax.jit(lambda theta: fl.fisher_operator(model, theta, throw=False))(theta)
    products(theta, images, v, operator, rounds)
    for damping in (100.0, 1.0):
        solves(v, operator, damping, 2 if quick else 3)


if __name__ == "__main__":
    main()
