"""Endpoints to path of least action."""

from fimlag.paths._action import action as action
from fimlag.paths._geodesic import (
    distance as distance,
    exp_map as exp_map,
    geodesic as geodesic,
    log_map as log_map,
)
from fimlag.paths._least_action import (
    LeastActionSolution as LeastActionSolution,
    least_action_path as least_action_path,
)
from fimlag.paths._path import Path as Path
