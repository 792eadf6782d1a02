"""Rivals that a benchmark shows where they are installed."""

import importlib
import importlib.util


def optional(package: str, module: str):
    """A module that needs a package; None where this is not installed, which is printed."""
    if importlib.util.find_spec(package) is None:
        print(f"{package} is not installed: no rows of it")
        return None
    return importlib.import_module(module)
