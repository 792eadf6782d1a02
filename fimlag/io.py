"""Paths, solutions and trajectories in .npz files: arrays and one line of JSON, no pickle."""

import contextlib
import dataclasses
import io
import json
import os
import zipfile
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fimlag import _charts, integrators
from fimlag._charts import AbstractChart
from fimlag._flat import Structure
from fimlag._results import RESULTS
from fimlag.fitting import MaximumLikelihoodSolution
from fimlag.integrators import AbstractMethod, Trajectory
from fimlag.paths import LeastActionSolution, Path
from fimlag.paths._mesh import equal_knots

FORMAT = 2
_HEADER = "fimlag"
_SAVED = (Path, LeastActionSolution, Trajectory, MaximumLikelihoodSolution)
_RESULT_NAMES = tuple(RESULTS._name_to_item)  # equinox keeps no public list of an enumeration's names


def save(file: str | os.PathLike, value) -> None:
    """Save a path, a solution or a trajectory to an .npz file, whole or not at all.

    The file is written beside its place and moved there when complete. Any numpy reads it without fimlag:
    the arrays carry the names of the attributes, such as `path.offsets` or `q`, and `fimlag` the rest in
    JSON.

    **Arguments:** `file`: the file's name, used as it stands and replaced if it exists; `value`: a `Path`,
    `LeastActionSolution`, `Trajectory` or `MaximumLikelihoodSolution`, batched or not.

    **Raises:** `TypeError` for a value, a method of integration or a container of coordinates that cannot be
    rebuilt from its name; `OSError` where the file cannot be written.

    ```python
    >>> import tempfile, jax.numpy as jnp, fimlag as fl
    >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
    ...     fl.io.save(file.name, fl.Path.from_nodes(jnp.array([0.0, 2.0])))
    ...     print(fl.io.load(file.name)(0.5))
    1.0

    ```
    """
    write_whole(file, encoded(value))


def load(file: str | os.PathLike):
    """What `save` saved, of the same type, structure and precision.

    **Arguments:** `file`: the file's name.

    **Returns:** a `Path`, `LeastActionSolution`, `Trajectory` or `MaximumLikelihoodSolution`.

    **Raises:** `FileNotFoundError`; `ValueError` for a file that is not of this format, or for double
    precision where jax has it switched off.
    """
    not_ours = f"{os.fspath(file)} is not a file that fimlag.io.save wrote."
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop(_HEADER)))
        version, body = header["format"], header["body"]
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise ValueError(not_ours) from error
    if version not in range(1, FORMAT + 1):
        raise ValueError(f"{os.fspath(file)} is of format {version}; this fimlag reads formats up to {FORMAT}.")
    try:
        return _rebuilt(body, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        older = f"{os.fspath(file)} is of format {version} and holds less than this fimlag needs: solve again."
        raise ValueError(not_ours if version == FORMAT else older) from error


def encoded(value) -> bytes:
    """The bytes of the file that `save` writes."""
    if not isinstance(value, _SAVED):
        names = ", ".join(saved.__name__ for saved in _SAVED)
        raise TypeError(f"One of {names} can be saved, but {type(value).__name__} came.")
    arrays: dict[str, np.ndarray] = {}
    header = {"format": FORMAT, "body": _described(value, "", arrays)}
    buffer = io.BytesIO()
    arrays[_HEADER] = np.array(json.dumps(header))
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def write_whole(file: str | os.PathLike, content: bytes) -> None:
    """Write a file so that it holds either all of the content or what it held before."""
    place = FilePath(file)
    draft = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        with open(draft, "xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, place)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise


def _described(value, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON: its arrays are put into `arrays` under dotted names and referred to by them."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, RESULTS):
        names = np.asarray(np.array(_RESULT_NAMES)[jax.tree_util.tree_leaves(value)[0]])
        return {"result": _stored(names, name, arrays)}
    if isinstance(value, Structure):
        leaves = list(range(value.treedef.num_leaves))
        tree = jax.tree_util.tree_unflatten(value.treedef, leaves)
        shapes = [list(shape) for shape in value.shapes]
        described = {"structure": _described(tree, name, arrays), "shapes": shapes}
        return described | {"complex_leaves": list(value.complex_leaves)}
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return {"array": _stored(np.asarray(value), name, arrays)}
    if type(value) in (list, tuple):
        items = [_described(item, _dotted(name, str(i)), arrays) for i, item in enumerate(value)]
        return {type(value).__name__: items}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"dict": {key: _described(item, _dotted(name, key), arrays) for key, item in value.items()}}
    return _module(value, name, arrays)


def _stored(array: np.ndarray, name: str, arrays: dict[str, np.ndarray]) -> str:
    """The name under which the array is kept: its own, lengthened where another array has it."""
    if array.dtype.kind not in "biufcU":
        raise TypeError(f"{name} is of {array.dtype}, which numpy's files cannot hold: convert it to float32.")
    while name in arrays:
        name += "_"
    arrays[name] = array
    return name


def _module(value, name, arrays):
    if not isinstance(value, eqx.Module) or _class_named(type(value).__name__) is not type(value):
        raise TypeError(
            f"{name} is a {type(value).__name__}, which cannot be rebuilt from a file. Coordinates may be "
            "arrays, lists, tuples and dicts with string keys; methods of integration must be fimlag's own."
        )
    fields = {field: _described(getattr(value, field), _dotted(name, field), arrays) for field in _fields(type(value))}
    return {"module": type(value).__name__, "fields": fields}


def _rebuilt(description, arrays):
    if not isinstance(description, dict):
        return description
    if "array" in description:
        return _precise(arrays[description["array"]], description["array"])
    if "result" in description:
        indices = np.vectorize(_RESULT_NAMES.index)(arrays[description["result"]])
        template = jax.tree_util.tree_structure(RESULTS.successful)
        return jax.tree_util.tree_unflatten(template, [indices.astype(np.int32)])
    if "structure" in description:
        treedef = jax.tree_util.tree_structure(_rebuilt(description["structure"], arrays))
        shapes = tuple(tuple(shape) for shape in description["shapes"])
        return Structure(treedef, shapes, tuple(description.get("complex_leaves", ())))
    if "module" in description:
        fields = {key: _rebuilt(item, arrays) for key, item in description["fields"].items()}
        return _assembled(_class_named(description["module"]), fields)
    if "dict" in description:
        return {key: _rebuilt(item, arrays) for key, item in description["dict"].items()}
    (kind, items), *_ = description.items()
    return {"list": list, "tuple": tuple}[kind](_rebuilt(item, arrays) for item in items)


def _assembled(cls, fields):
    """An instance with these fields. It may be a batch, so no constructor is run: that checked them once."""
    if cls is Path and "t0" in fields:
        fields = _with_knots(**fields)
    if set(fields) != set(_fields(cls)):
        raise TypeError(f"{cls} has other fields than {sorted(fields)}.")
    instance = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(instance, name, value)
    return instance


def _with_knots(t0, t1, **fields):
    """The fields of a path of format 1, whose elements were equal, in today's."""
    elements = (fields["offsets"].shape[-2] - 1) // fields["degree"]
    return fields | {"knots": jnp.vectorize(partial(equal_knots, elements=elements), signature="(),()->(k)")(t0, t1)}


def _precise(array: np.ndarray, name: str):
    loaded = jnp.asarray(array)
    if loaded.dtype != array.dtype:
        raise ValueError(
            f"{name} is of {array.dtype}, which jax would round to {loaded.dtype}: first call "
            'jax.config.update("jax_enable_x64", True).'
        )
    return loaded


def _class_named(name: str):
    """The class of that name among those that a file may hold, or None."""
    for cls in _SAVED:
        if cls.__name__ == name:
            return cls
    for room, kind in ((integrators, AbstractMethod), (_charts, AbstractChart)):
        found = getattr(room, name, None)
        if isinstance(found, type) and issubclass(found, kind):
            return found
    return None


def _fields(cls) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _dotted(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part
