"""The data sets reproduce the fits published with them."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from fimlag import datasets


def _fit(model, data, start):
    """Least squares: estimate and residual standard error."""
    fit = least_squares(
        lambda theta: model(theta, data.inputs) - data.responses,
        start,
        x_scale=start,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    return fit.x, np.sqrt(2 * fit.cost / (data.inputs.size - len(start)))


def _michaelis_menten(theta, x):
    return theta[0] * x / (theta[1] + x)


def test_treated_puromycin_gives_the_published_least_squares_fit():
    theta, error = _fit(_michaelis_menten, datasets.puromycin(), [200.0, 0.05])
    # The values of R's documentation, whose iterations stop at a relative offset of 1e-5: some 1e-6 of theta.
    np.testing.assert_allclose(theta, [212.68370, 0.06412123], rtol=1e-6)
    assert error == pytest.approx(10.93, abs=0.005)


def test_untreated_puromycin_gives_the_published_least_squares_fit():
    theta, error = _fit(_michaelis_menten, datasets.puromycin(treated=False), [150.0, 0.05])
    np.testing.assert_allclose(theta, [160.28, 0.04771], rtol=1e-4)  # the digits published
    assert error == pytest.approx(9.773, abs=0.0005)


def test_oxygen_demand_gives_the_published_least_squares_fit():
    data = datasets.biochemical_oxygen_demand()
    theta, error = _fit(lambda th, x: th[0] * (1 - np.exp(-th[1] * x)), data, [20.0, 0.5])
    np.testing.assert_allclose(theta, [19.143, 0.5311], rtol=1e-4)  # the digits published
    assert error == pytest.approx(2.549, abs=0.0005)


@pytest.mark.parametrize(
    "data", [datasets.puromycin(), datasets.puromycin(treated=False), datasets.biochemical_oxygen_demand()]
)
def test_every_data_set_is_paired_labelled_and_sourced(data):
    assert data.inputs.shape == data.responses.shape
    assert data.inputs.dtype == data.responses.dtype == np.float64
    assert "(" in data.input_label
    assert "(" in data.response_label
    assert "Bates & Watts" in data.source
