"""Small published data sets, as numpy arrays with their units and sources."""

from typing import NamedTuple

import numpy as np


class Dataset(NamedTuple):
    """Responses measured at inputs.

    **Attributes:** `inputs`, `responses`: arrays of shape (n,), one entry an observation; `input_label`,
    `response_label`: what they are and their unit, for axes and tables; `source`: where they were published.
    """

    inputs: np.ndarray
    responses: np.ndarray
    input_label: str
    response_label: str
    source: str


def puromycin(treated: bool = True) -> Dataset:
    r"""Initial rates of an enzymatic reaction against the concentration of its substrate.

    The Michaelis-Menten model fits them:

    $$y_i = \frac{V_m x_i}{K + x_i} + \sigma \varepsilon_i$$

    By least squares $V_m = 212.7$ and $K = 0.0641$ ppm for the treated cells, residual standard error 10.93.

    **Arguments:** `treated`: the 12 rates of cells treated with puromycin, or the 11 of untreated cells.

    **Returns:** a `Dataset`: concentrations in ppm, rates in counts per minute per minute.

    **Reference:** Treloar (1974), MSc thesis, University of Toronto; Bates & Watts (1988), appendix A1.3.

    ```python
    >>> import fimlag as fl
    >>> data = fl.datasets.puromycin()
    >>> data.inputs.shape, float(data.responses.max())
    ((12,), 207.0)

    ```
    """
    concentrations = np.array([0.02, 0.02, 0.06, 0.06, 0.11, 0.11, 0.22, 0.22, 0.56, 0.56, 1.10, 1.10])
    if treated:
        rates = np.array([76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200])
    else:
        rates = np.array([67, 51, 84, 86, 98, 115, 131, 124, 144, 158, 160])
    return Dataset(
        concentrations[: rates.size],
        rates.astype(float),
        "substrate concentration (ppm)",
        "rate (counts/min²)",
        "Treloar (1974), in Bates & Watts (1988), appendix A1.3",
    )


def biochemical_oxygen_demand() -> Dataset:
    r"""Oxygen taken up by a sample of stream water against the time of its incubation.

    The model is the first-order decay of organic matter:

    $$y_i = \theta_1 (1 - e^{-\theta_2 x_i}) + \sigma \varepsilon_i$$

    By least squares $\theta_1 = 19.14$ mg/l and $\theta_2 = 0.531$ per day, residual standard error 2.549.
    Six observations of a model so curved leave a likelihood region far from any ellipse.

    **Returns:** a `Dataset` of 6 observations: times in days, oxygen demand in mg/l.

    **Reference:** Marske (1967), MSc thesis, University of Wisconsin; Bates & Watts (1988), appendix A1.4.
    """
    return Dataset(
        np.array([1.0, 2.0, 3.0, 4.0, 5.0, 7.0]),
        np.array([8.3, 10.3, 19.0, 16.0, 15.6, 19.8]),
        "time (days)",
        "oxygen demand (mg/l)",
        "Marske (1967), in Bates & Watts (1988), appendix A1.4",
    )
