"""On a CPU the loop over steps is compiled as one function of numbers: the text of compiled motions shows it."""

import re

import jax
import jax.numpy as jnp
import pytest

import fimlag as fl
from fimlag import problems

Q, V = jnp.array([0.3, 1.2]), jnp.array([0.2, -0.1])
CASES = {
    "Kepler, leapfrog": (problems.Kepler().lagrangian, fl.StormerVerlet()),
    "Kepler, order 8": (problems.Kepler().lagrangian, fl.KahanLi8()),
    "Henon-Heiles, leapfrog": (problems.henon_heiles(), fl.StormerVerlet()),
    "Henon-Heiles, order 8": (problems.henon_heiles(), fl.KahanLi8()),
    "double pendulum, midpoint": (problems.DoublePendulum(), fl.ImplicitMidpoint()),
    "normal family, Gauss": (fl.NaturalLagrangian(problems.NormalFisher()), fl.GaussLegendre(2)),
    "normal family, Tao": (fl.NaturalLagrangian(problems.NormalFisher()), fl.Tao(1.0)),
}
SLOW = {"custom-call", "scatter", "sort", "fft"}  # what XLA does not compile into the function of a loop


class Compiled:
    """The text of a compiled program: its computations by name, each a list of lines."""

    def __init__(self, text: str):
        self.computations, lines = {}, []
        for line in text.splitlines():
            head = re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line)
            if head and not line.startswith(" "):
                lines = self.computations[head[1]] = []
            lines.append(line)

    def within(self, name: str) -> list[str]:
        """The lines of a computation and of all that it calls."""
        lines, stack, seen = [], [name], set()
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                lines += self.computations[name]
                stack += [each for line in self.computations[name] for each in _called(line)]
        return lines


def _called(line):
    groups = re.findall(r"(?:to_apply|calls|body|condition)=%?([\w.\-]+)|branch_computations=\{([^}]*)\}", line)
    return [name.strip(" %") for one, many in groups for name in ([one] if one else many.split(","))]


def operation(line):
    found = re.search(r"= (?:\([^=]*?\)|\S+) ([\w\-]+)\(", re.sub(r"/\*.*?\*/", "", line))
    return found[1] if found else None


def loops(lines):
    return [line for line in lines if operation(line) == "while"]


def carries(line):
    """The shapes that a loop carries, without their layouts."""
    return re.findall(r"\w+\[([\d,]*)\]", line.split(" while(")[0])


@pytest.fixture(scope="module", params=CASES)
def compiled(request):
    system, method = CASES[request.param]

    def motion(q, v):
        return fl.integrate(system, q, v, t1=1.0, steps=1000, save_every=10, method=method, throw=False).q

    return Compiled(jax.jit(motion).lower(Q, V).compile().as_text())


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the text is that of a CPU")
def test_the_loop_over_steps_is_one_function_of_numbers(compiled):
    lines = [line for lines in compiled.computations.values() for line in lines]
    calls = [line for line in lines if operation(line) == "call" and 'xla_cpu_small_call="true"' in line]
    small = [line for call in calls for name in _called(call) for line in compiled.within(name)]
    nested = {line for loop in loops(lines) for name in _called(loop) for line in loops(compiled.within(name))}
    rows = [loop for loop in loops(lines) if loop in nested or loops(compiled.within(_called(loop)[1]))]
    assert rows  # the loop over rows and those inside of it
    assert set(rows) <= set(small)
    inner = [loop for loop in rows if loop in nested]
    assert inner  # the loops over the steps of a row, and over the iterations of one
    assert [carries(loop) for loop in inner if any(carries(loop))] == []
    operations = {operation(line) for loop in rows for name in _called(loop) for line in compiled.within(name)}
    assert operations & SLOW == set()
