"""The rooms import one way, load quickly, and their public names are at the front door."""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

import fimlag as fl

PACKAGE = pathlib.Path(fl.__file__).parent
FLOORS = (
    ("_types", "_compiled", "_fast_cpu", "_one_function"),
    ("_scalarise",),
    ("_results", "_flat", "_charts", "_linear", "_implicit", "_precision"),
    ("information",),
    ("geometry",),
    ("mechanics",),
    ("integrators",),
    ("paths",),
    ("fitting",),
    ("problems", "datasets", "io", "plot"),
    ("diagnostics",),
    ("_command",),
    ("__main__",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LATE = PACKAGE / "integrators" / "_diffrax.py"  # subclasses diffrax; its door imports it when called
HEAVY = {"scipy", "matplotlib", "diffrax", "tqdm", "numpyro"}


def rooms_imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fimlag":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("fimlag."))


def sources():
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_before_it(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in FLOOR_OF, f"{room} has no floor"
    for imported in rooms_imported(ast.parse(path.read_text())):
        if imported in FLOOR_OF and imported != room:
            assert FLOOR_OF[imported] < FLOOR_OF[room], f"{path} imports {imported}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_load_only_when_used(path):
    tree = ast.parse(path.read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module}
    assert not {name.split(".")[0] for name in names} & (HEAVY - {"diffrax"} if path == LATE else HEAVY)


def test_the_classes_of_diffrax_load_only_when_used():
    for path in sources():
        top = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        assert "fimlag.integrators._diffrax" not in {node.module for node in top}, path


def test_public_names_of_the_rooms_are_at_the_front_door():
    for room in ("information", "geometry", "mechanics", "integrators", "paths", "fitting"):
        tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
        names = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
        missing = {name for name in names if name and not hasattr(fl, name)}
        assert not missing, f"{room}: {missing}"


def test_every_public_name_is_documented():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    names = [alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert [name for name in names if not getattr(fl, name).__doc__] == []


def test_import_is_quick_and_loads_nothing_heavy(tmp_path):
    script = (  # processor time: other work on the machine is not ours
        "import time, sys\nclock = time.process_time\nstart = clock()\nimport jax\nprint(clock() - start)\n"
        "import equinox, optax, lineax, optimistix\nstart = clock()\nimport fimlag\nprint(clock() - start)\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    # Bytecode is kept, as an installation keeps it, whatever the environment says.
    settings = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    command = [sys.executable, "-c", script]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, env=settings).stdout.split("\n")
        for _ in range(4)
    ]
    assert all(loaded == "[]" for _, _, loaded, *_ in runs)
    assert min(float(ours) / float(jax) for jax, ours, *_ in runs[1:]) < 1  # less than jax itself takes
