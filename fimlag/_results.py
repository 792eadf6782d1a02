"""What a solve can report, and the base of everything that a solve returns."""

import equinox as eqx


class RESULTS(eqx.Enumeration):
    """How a computation ended; the text of each member names the cause and the cure."""

    successful = ""
    nonfinite = (
        "The computation met NaN or infinity: the input is not finite, a point left the domain of the Lagrangian or "
        "likelihood, or a metric is singular. Check the inputs, or start closer to the solution."
    )
    empty_interval = "The interval of time is empty or runs backward: give t1 greater than t0."
    max_steps_reached = (
        "The iteration limit was reached before convergence. Give a better guess, or raise `max_iterations`."
    )
    stalled = (
        "No step along the search direction improves the objective: it is not smooth at this scale, or the solution "
        "lies at the edge of the domain. Use a smoother Lagrangian or likelihood, or start from a better guess."
    )
    poor_quadrature = (
        "The weights of the expectation rule do not sum to one: the rule does not resolve the density, its support "
        "is wrong, the density is not normalised, or theta is outside the domain. Raise `nodes`, give `location` and "
        "`scale`, or correct the support."
    )
    poor_sample = (
        "The effective size of the reweighted sample is too small: theta is too far from the reference. Draw a new "
        "sample with a reference closer to theta, or draw more."
    )
    biased_sample = (
        "The mean score differs from zero by far more than its error: the outcomes do not follow the density that the "
        "log-likelihood states (a sampler of another density, a quadrature too coarse), or the support depends on "
        "theta, where the Fisher information is not defined. Correct the sampler, raise `nodes`, or fix the support."
    )
    indefinite_mass = (
        "The mass matrix (the metric) is not positive definite along the way. Check that every parameter is "
        "identifiable; with a Lagrangian that is meant to be indefinite pass `stationary=True`."
    )
    not_a_minimum = (
        "No minimum of the action was found: the second variation has negative directions, as happens when the "
        "duration passes a conjugate point. Shorten the duration, give another guess, or, where the solver takes it, "
        "pass `stationary=True` for a path of any index."
    )
    not_a_maximum = (
        "The score vanishes, but the likelihood has no maximum there: the observed information is not positive "
        "definite. Start from another guess."
    )
    unresolved = (
        "The path is stationary, but its action changes by more than `rtol` when the elements are refined. Raise "
        "`elements` or `degree`."
    )
    implicit_step_failed = (
        "The equations of an implicit step did not converge. Use more steps, or a method of fewer stages."
    )
    not_separable = (
        "The mass matrix changed along the trajectory, so the Lagrangian is not separable as was vouched. "
        "Use `ImplicitMidpoint()` or `GaussLegendre(stages)`."
    )
    singular_information = (
        "The Fisher information is not positive definite: some direction of the parameters is not identifiable from "
        "these data. Fix or combine parameters."
    )
    unknown_information = (
        "The likelihood is finite at the point reached, but its Fisher information could not be computed there: "
        "`fisher_estimate(model, theta)` tells why. Correct the expectation rule of the model, start closer to the "
        "solution, or subtract from the data an offset that leaves their spread too few digits."
    )
    irregular = (
        "The score form and the Hessian form of the information differ (Bartlett's identity fails): the log-likelihood "
        "has a kink or a jump in theta, its support depends on theta, or it is not normalised. Where it has a kink "
        "alone, the score form is right by MonteCarlo, and by Quadrature with `breaks` there: pass `audit=False` to "
        "accept it."
    )
    tolerance_not_met = (
        "The sample was used up before the standard errors met `rtol`. Raise `n` of the rule, which is the most that "
        "may be drawn, or `rtol`."
    )
    inaccurate_solution = (
        "The residual of a linear system or of an eigenvector exceeds its tolerance, or a Krylov space is not deep "
        "enough. Raise `max_steps`, `iterations` or `depth`, loosen `rtol`, raise `damping`, or compute in double "
        "precision."
    )
    unresolved_integral = (
        "Two quadrature rules disagree about the integral: it is infinite or singular at an end of the box, as that of "
        "an improper prior, or varies on a finer scale. Keep the box away from that end, or raise `nodes`."
    )
    irregular_prior = (
        "The prior does not vanish at the ends of its support, or the points do not follow it: the mean of its score "
        "is not zero, or that of theta times its score not minus one. The Bayesian bound holds for priors that go to "
        "zero smoothly: give a raised cosine in place of a uniform one."
    )
    open_interval = (
        "The likelihood stays above the threshold on one side: along its profile it becomes flat, rises towards "
        "another maximum, or ends at the edge of the domain. These data give no bound there: report a one-sided "
        "interval, lower the level, or gather more data."
    )
    not_an_estimate = (
        "The score does not vanish at the estimate given, so the likelihood has no maximum there. Pass the solution "
        "of `maximum_likelihood`, for the same model and data."
    )
    varying_covariance = (
        "The scale of the noise depends on theta, and the expansion holds it fixed. Give a scale that is known, or use "
        "the Fisher information, which takes it into account."
    )
    degenerate_metric = (
        "A leading minor of the metric vanishes or changes sign on the path: the path meets a point where the metric "
        "is singular, or where coordinates of an indefinite metric turn null. Keep the path away, or change "
        "coordinates."
    )
    unresolved_transport = (
        "The parallel transport changes by more than `rtol` when its steps are twice as long. Raise `steps`."
    )
    unresolved_flow = (
        "A geodesic followed from its start changes by more than eps^0.4 when its steps are twice as long. Raise "
        "`steps`."
    )
    unresolved_divergence = (
        "The expectation rule does not resolve both densities together: they lie too far apart, or differ too much in "
        "scale, for the nodes or outcomes of either, or the divergence is infinite. Raise `nodes`, the number of "
        "outcomes or the truncation, give a rule that covers both, or move the parameters closer together."
    )
    unresolved_geodesic = (
        "The path solves the equation of geodesics at the points of collocation, but between them not to `rtol`. Raise "
        "`elements` or `points`."
    )
    mean_not_unique = (
        "The point returned may be one of several means, or none: the points lie farther from it than pi / (2 sqrt(K)) "
        "for curvature K, or the mean squared distance is not convex there. Average nearer points, or give a smaller "
        "bound by `curvature`."
    )
    dependent_constraints = (
        "The constraints are dependent here, or the mass matrix is singular along them: a row of their matrix is a "
        "combination of the others, or vanishes. Leave out a redundant constraint, write one that vanishes with a "
        "nonzero gradient, or start away from the singular point."
    )
    not_nearest = (
        "A point that keeps the constraints was found, but it is not the one nearest to the start: the distance can be "
        "reduced along the surface. Start closer to it."
    )
    degenerate_form = (
        "The symplectic form is singular, so the Lagrangian does not determine a velocity: `null_direction` of the "
        "report names the coordinates at fault. Where `obstruction` is zero a coordinate is free (a gauge): fix it; "
        "elsewhere the direction is a constraint on the point: eliminate it."
    )
    not_first_order = (
        "The Lagrangian is not linear in the velocity, or a force on it is not: its equations are of second order, or "
        "have no single solution. Use `acceleration`, or give a force at most linear in the velocity."
    )
    singular_mass = (
        "The mass matrix is singular: a direction of the velocity carries no kinetic energy, and no acceleration along "
        "it is determined. `inertia(L, t, q, v).null_directions` tells which. Give it a mass, constrain or drop that "
        "coordinate, or, where the momenta of all coordinates are free of the velocity, use `PhaseSpaceLagrangian`."
    )
    no_event = (
        "The event does not change sign from one step to the next before t1, or not as often as was asked. Raise t1, "
        "raise `steps` where two crossings may fall into one step, or check the event and its `direction`."
    )
    discontinuous_event = (
        "The event changes sign without vanishing: it jumps or is infinite there. Write it as a continuous function of "
        "time, point and velocity."
    )
    point_off_constraints = (
        "The starting point does not keep the constraints. Start from the state that "
        "`project_onto_constraints(system, t, q, v)` finds."
    )
    velocity_off_constraints = (
        "The starting velocity does not keep the constraints: A(q) v is not zero. Start from the state that "
        "`project_onto_constraints(system, t, q, v)` finds."
    )
    copies_parted = (
        "The two copies of the phase space lie farther apart than a tenth of the extent of the motion, so they are not "
        "one motion any more. Raise `frequency`, use more steps, or an implicit method for a long chaotic motion."
    )
    time_stopped = (
        "The physical time would stop or run backward in a time transformation: the kinetic energy less the total, or "
        "minus the potential, left the domain on which the transformation increases, or the step density was not "
        "positive. Subtract a constant from the potential to keep it below zero, choose another transformation or "
        "density, or use more steps."
    )
    interrupted = (
        "The integration was interrupted: the last row is the state that was reached. Go on from there, or start again."
    )
    reversal_missed = (
        "The motion run back did not land on its start, so that its gradient would be wrong: it is chaotic, loses "
        "energy, or is too long for this precision. Use `ReversibleAdjoint(exact=True)` for an explicit method, "
        "`CheckpointedAdjoint(n)` or `DirectAdjoint()`."
    )
    out_of_range = (
        "A number lies outside its range: a temperature or noise is negative, a discount is not between 0 and 1, "
        "probabilities are negative or sum to more than one, or a covariance is not positive semi-definite. Correct it."
    )
    unbounded_policy = (
        "The cost of large controls is not bounded below, or a control costs nothing in its own step: R + B'PB, or for "
        "a stationary problem R + B'QB, is not positive definite. Give a positive definite R."
    )
    not_stabilising = (
        "No feedback keeps the system stable, or the cost does not see an unstable mode and leaves it alone. Give a "
        "pair (A, B) that can be stabilised, put a cost on every mode, or a finite `horizon` or a smaller `discount`."
    )
    never_ends = (
        "Some states never end under the policy and nothing is discounted, so that their cost is not bounded. Give a "
        "`discount` below 1, transitions whose rows sum to less than one where the process ends, or a `horizon`."
    )
    degenerate_noise = (
        "The noise does not reach every direction within the interval: the covariance of the reference process at its "
        "end is singular. Give a noise, diffusion or interval that is positive, or a coupling by the drift."
    )
    poor_proposals = (
        "The effective number of weighted paths is too small: the proposals miss the paths that matter. Draw more "
        "`paths`, raise `steps`, or give a `guide` near the most likely path."
    )
    another_metric = (
        "The Hessian of the divergence where its arguments coincide is not the metric claimed: a factor is missing "
        "(1/2 of Jeffreys' divergence, 4 of the squared Hellinger distance, 1/order of Renyi's), or it belongs to "
        "another model. Correct the divergence or the metric."
    )
    unresolved_variation = (
        "The second variation along the path changes by more than eps^0.4 when its steps are twice as long. Raise "
        "`steps`, or the elements or degree of the path."
    )
    index_disagrees = (
        "The number of conjugate times is not the Morse index of the path: a time lies at the path's end, or `steps` "
        "or the elements of the path are too few to tell. Raise them, or move the end."
    )
    no_saddle = (
        "The highest point found between the two minima is no saddle with one negative direction: the ends slid into "
        "one minimum, the highest point is an end, or the string met a peak. Give ends in different basins, another "
        "guess, or more images."
    )
    rest_on_the_way = (
        "The drift vanishes between the ends of the path, where the geometric action is not smooth and the path may "
        "have a corner. Go to that point of rest, and on from there: the actions add, and along the drift nothing is "
        "paid."
    )
    infeasible = (
        "No path was found that keeps the inequalities: an end violates them, they exclude each other, or the first "
        "path lies on the wrong side. Correct the ends, or give a `guess` that keeps them."
    )
    unattainable = (
        "No distribution keeps the constraints: the means asked for lie outside the convex hull of the statistics, the "
        "constraints contradict each other, or the level is below the least cost or distortion. Correct the targets or "
        "the level."
    )
    infinite_multipliers = (
        "The constraints hold only in a limit: the means asked for lie on the boundary of the convex hull of the "
        "statistics, where outcomes lose all probability and multipliers are infinite. Move the targets inside, or "
        "leave out the outcomes that cannot occur."
    )
    unresolved_density = (
        "The grid does not hold the density: its mass is not one, some of it lies beyond a cut, it varies on a finer "
        "scale than the functions of the grid, or it jumps, so that its Fisher information is infinite. Widen the "
        "grid, raise `size`, give `breaks` at kinks, or normalise the density."
    )
    degenerate_ground_state = (
        "The density of least energy is not determined to working precision: the two lowest energies nearly coincide, "
        "as with two wells behind a high barrier, or the statistics are dependent. Lower the barrier, solve on one "
        "well, leave out a redundant statistic, or compute in double precision."
    )
    not_inverse = (
        "The inverse of a `MirrorMap` does not undo the gradient of its potential: a constant or a factor is missing. "
        "Correct it, or pass the potential alone."
    )
    unresolved_statistic = (
        "The expectation rule resolves the density but not the statistic: it jumps or has a kink, varies on a finer "
        "scale than the nodes, or its mean square is infinite. Raise `nodes`, give the rule `breaks` at kinks, use a "
        "random sample, or a statistic that grows more slowly."
    )


class AbstractSolution(eqx.Module):
    """What every solver returns carries `result`, a member of `RESULTS`."""

    result: eqx.AbstractVar[RESULTS]

    @property
    def succeeded(self):
        """Whether the solve met its own criteria, shape ()."""
        return self.result == RESULTS.successful


def first_failure(*checks: tuple) -> RESULTS:
    """The result named by the first true check in `(failed, result)` pairs, else `successful`."""
    result = RESULTS.successful
    for failed, failure in reversed(checks):
        result = RESULTS.where(failed, failure, result)
    return result


def either_failure(earlier: RESULTS, later: RESULTS) -> RESULTS:
    """The earlier result, the later one where that is `successful`."""
    return RESULTS.where(earlier == RESULTS.successful, later, earlier)


def raise_unless_successful(solution, throw: bool):
    """The solution itself; with `throw`, an error naming cause and cure where its solve failed, not where a user
    stopped it."""
    if not throw:
        return solution
    failed = (solution.result != RESULTS.successful) & (solution.result != RESULTS.interrupted)
    return solution.result.error_if(solution, failed)
