"""The coefficients of ROCK2 and ROCK4 against their conditions and the published ones."""

import numpy as np
import pytest
import scipy.optimize

from sparsejax.dynamics.solvers.rock_construction import (
    EXACT,
    ORDERS,
    finished,
    finishing_tableaus,
    polynomial_conditions,
    recurrence_weights,
)
from sparsejax.dynamics.solvers.rock_polynomials import (
    leading_coefficients,
    rock_parameters,
    stage_polynomials,
)


@pytest.mark.parametrize("order", [2, 4])
def test_stored_parameters_meet_the_conditions_of_the_construction(order):
    stored = rock_parameters()[f"rock{order}"]
    members = list(zip(stored["stages"], stored["parameters"], strict=True))
    for stages, parameters in members[::12]:
        residuals = polynomial_conditions(stages, order, np.array(parameters))
        assert np.abs(residuals).max() < 1e-8


def test_finishing_stages_of_rock4_meet_all_order_conditions():
    stored = rock_parameters()["rock4"]
    members = zip(stored["stages"], stored["parameters"], stored["finishing"], strict=True)
    for stages, parameters, finishing in list(members)[::15]:
        mu, kappa, _ = stage_polynomials(stages, 4, np.array(parameters))
        weights = recurrence_weights(mu, kappa)
        derivatives, result = finished(weights, np.array(finishing))
        assert np.abs(result - EXACT)[ORDERS <= 4].max() < 1e-13
        # The embedded difference vanishes to order 3 and not beyond.
        from_end = finished(result, np.zeros(10))[0][0]
        difference = np.array(finishing[10:]) @ np.vstack([derivatives, from_end])
        assert np.abs(difference[ORDERS <= 3]).max() < 1e-12
        assert np.abs(difference[ORDERS == 4]).max() > 1e-3
    again = finishing_tableaus(stored["stages"][:3], stored["parameters"][:3])
    assert np.allclose(again[1], stored["finishing"][1], atol=1e-6)


def test_published_rock4_coefficients_fit_the_polynomials_computed_here():
    # rock4.f (Abdulle 2002), the member of 6 stages: a21, a31, a32, a41, a42, a43, b1, ..., b4.
    published = np.array(
        [-0.179313593132677, 0.522354978881996, -0.268020263243268, 0.0410644459848542]
        + [-0.0673692676033641, 0.534974252895965, 0.727428506710284, -0.281882500610754]
        + [-0.366883181811475, 0.684341322628128]
    )
    stored = rock_parameters()["rock4"]
    parameters = stored["parameters"][stored["stages"].index(6)]
    mu, kappa, _ = stage_polynomials(6, 4, np.array(parameters))
    defect = finished(recurrence_weights(mu, kappa), published)[1] - EXACT
    assert np.abs(defect[ORDERS <= 4]).max() < 1e-6
    # The two coefficients that are free are chosen here for a smaller principal error.
    ours = finished(recurrence_weights(mu, kappa), np.array(stored["finishing"][1]))[1] - EXACT
    assert np.abs(ours[ORDERS == 5]).sum() < np.abs(defect[ORDERS == 5]).sum()


def test_published_rock2_recurrence_follows_from_its_finishing_factor():
    # rock2.f (Abdulle, Medovikov 2001), 4 stages: sigma and -sigma (1 - tau / sigma^2) fix the
    # factor w, w and the order conditions fix the polynomial, and that has these coefficients.
    sigma, second = 0.3889624104727243, 0.4219428123056774
    tau = sigma**2 + sigma * second
    root = -sigma / tau + 1j * np.sqrt(1 / tau - (sigma / tau) ** 2)

    def parameters(p):
        scale, a = p[0] / 16, p[1]
        return np.array([-a - 16 * scale * root.real, 16 * scale * root.imag, a])

    def conditions(p):
        mu, kappa, interval = stage_polynomials(4, 2, parameters(p))
        _, first, quadratic = leading_coefficients(mu, kappa, 3)
        return [first + 2 * sigma - 1, quadratic + 2 * sigma * first + tau - 0.5]

    p = scipy.optimize.fsolve(conditions, [2.7, 0.3], xtol=1e-14)
    mu, kappa, _ = stage_polynomials(4, 2, parameters(p))
    assert np.abs(conditions(p)).max() < 1e-12
    assert np.allclose(mu, [0.09326607661089206, 0.1268473641290642], rtol=1e-6)
    assert np.allclose(kappa, [0, 0.02103378190528467], rtol=1e-5)
