"""The examples in the docstrings print what they say."""

import doctest
import importlib
import pathlib
import pkgutil

import pytest

import fimlag as fl

MODULES = [
    module.name for module in pkgutil.walk_packages(fl.__path__, "fimlag.") if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_hold(name):
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert outcome.failed == 0


def test_there_are_examples():
    sources = (path.read_text() for path in pathlib.Path(fl.__path__[0]).rglob("*.py"))
    assert sum(source.count("```python\n    >>> ") for source in sources) > 100
