/* Loops as one writes them by hand: state in place, scalars in registers, one force a drift. */

#include <float.h>
#include <math.h>

#define LANES 256 /* trajectories side by side: their state stays in the first cache */

static inline void gravity(double x, double y, double *fx, double *fy) {
    double r2 = x * x + y * y;
    double pull = -1 / (r2 * sqrt(r2));
    *fx = pull * x;
    *fy = pull * y;
}

void kepler_leapfrog(double *state, double h, long steps) {
    double x = state[0], y = state[1], u = state[2], v = state[3], fx, fy;
    gravity(x, y, &fx, &fy);
    for (long n = 0; n < steps; n++) {
        u += h / 2 * fx;
        v += h / 2 * fy;
        x += h * u;
        y += h * v;
        gravity(x, y, &fx, &fy);
        u += h / 2 * fx;
        v += h / 2 * fy;
    }
    state[0] = x, state[1] = y, state[2] = u, state[3] = v;
}

/* A kick, then drifts and kicks in turn; shares of the step in `drifts` and, one more, in `kicks`. */
void kepler_splitting(double *state, const double *drifts, const double *kicks, long stages, double h, long steps) {
    double x = state[0], y = state[1], u = state[2], v = state[3], fx, fy;
    gravity(x, y, &fx, &fy);
    for (long n = 0; n < steps; n++) {
        u += h * kicks[0] * fx;
        v += h * kicks[0] * fy;
        for (long i = 0; i < stages; i++) {
            x += h * drifts[i] * u;
            y += h * drifts[i] * v;
            gravity(x, y, &fx, &fy);
            u += h * kicks[i + 1] * fx;
            v += h * kicks[i + 1] * fy;
        }
    }
    state[0] = x, state[1] = y, state[2] = u, state[3] = v;
}

/* Cotangents of a force: added to those of its place and of gravity, for a share h of it in a kick. */
static void pull_kick(const double *q, const long double *p, long double h, long double gravity, long double *by_q,
                      long double *by_h, long double *by_gravity) {
    long double x = q[0], y = q[1], r2 = x * x + y * y, cube = 1 / (r2 * sqrtl(r2)), along = x * p[0] + y * p[1];
    *by_h -= gravity * cube * along;
    *by_gravity -= h * cube * along;
    by_q[0] += h * gravity * cube * (3 * along / r2 * x - p[0]);
    by_q[1] += h * gravity * cube * (3 * along / r2 * y - p[1]);
}

/* The gradient of a weighted end of leapfrog in point, velocity, step and gravity: the linear map of each step along
   given states, in extended precision, rounding passed through. */
void kepler_gradient(double *gradient, const double *states, const double *weights, double h, double gravity,
                     long steps) {
    long double q[2] = {weights[0], weights[1]}, p[2] = {0, 0}, by_h = 0, by_kick = 0, by_gravity = 0;
    for (long n = steps - 1; n >= 0; n--) {
        const double *before = states + 4 * n, *after = before + 4;
        pull_kick(after, p, h / 2.0L, gravity, q, &by_kick, &by_gravity);
        for (int i = 0; i < 2; i++) by_h += q[i] * (((long double)after[i] - before[i]) / h), p[i] += h * q[i];
        pull_kick(before, p, h / 2.0L, gravity, q, &by_kick, &by_gravity);
    }
    double all[] = {q[0], q[1], p[0], p[1], by_h + by_kick / 2, by_gravity};
    for (int i = 0; i < 6; i++) gradient[i] = all[i];
}

typedef struct {
    double x, y, u, v, fx, fy;
} Body;

static inline Body henon_heiles_start(double x, double y, double u, double v) {
    return (Body){x, y, u, v, -x - 2 * x * y, -y - x * x + y * y};
}

static inline Body henon_heiles_step(Body b, double h) {
    b.u += h / 2 * b.fx;
    b.v += h / 2 * b.fy;
    b.x += h * b.u;
    b.y += h * b.v;
    Body end = henon_heiles_start(b.x, b.y, b.u, b.v);
    end.u += h / 2 * end.fx;
    end.v += h / 2 * end.fy;
    return end;
}

/* State: all x, all y, all u, all v. */
void henon_heiles_one_by_one(double *state, long number, double h, long steps) {
    double *x = state, *y = x + number, *u = y + number, *v = u + number;
    for (long i = 0; i < number; i++) {
        Body b = henon_heiles_start(x[i], y[i], u[i], v[i]);
        for (long n = 0; n < steps; n++) b = henon_heiles_step(b, h);
        x[i] = b.x, y[i] = b.y, u[i] = b.u, v[i] = b.v;
    }
}

void henon_heiles_in_lanes(double *state, long number, double h, long steps) {
    double x[LANES], y[LANES], u[LANES], v[LANES], fx[LANES], fy[LANES];
    for (long first = 0; first < number; first += LANES) {
        double *at = state + first;
        long lanes = number - first < LANES ? number - first : LANES;
        for (long i = 0; i < lanes; i++) {
            Body b = henon_heiles_start(at[i], at[number + i], at[2 * number + i], at[3 * number + i]);
            x[i] = b.x, y[i] = b.y, u[i] = b.u, v[i] = b.v, fx[i] = b.fx, fy[i] = b.fy;
        }
        for (long n = 0; n < steps; n++)
            for (long i = 0; i < lanes; i++) {
                Body b = henon_heiles_step((Body){x[i], y[i], u[i], v[i], fx[i], fy[i]}, h);
                x[i] = b.x, y[i] = b.y, u[i] = b.u, v[i] = b.v, fx[i] = b.fx, fy[i] = b.fy;
            }
        for (long i = 0; i < lanes; i++)
            at[i] = x[i], at[number + i] = y[i], at[2 * number + i] = u[i], at[3 * number + i] = v[i];
    }
}

/* The Fisher metric of the normal family in (mu, sigma), and its derivatives by each: entries 11, 12, 22. */
typedef struct {
    double g[3], slope[2][3];
} Metric;

/* A rule's nodes in units of the scale, and their weights; no nodes stand for the metric in closed form. */
typedef struct {
    const double *unit, *weight;
    long nodes;
} Rule;

/* E[s s^T] of the scores s and its derivatives E[d(s s^T)] + E[s s^T s], at the outcomes mu + sigma u. */
static inline Metric by_quadrature(const double *q, Rule rule) {
    Metric m = {0};
    double sigma = q[1], r = 1 / sigma, normalise = log(sigma) + log(2 * M_PI) / 2;
    for (long k = 0; k < rule.nodes; k++) {
        double x = q[0] + sigma * rule.unit[k], z = (x - q[0]) * r;
        double w = sigma * rule.weight[k] * exp(-z * z / 2 - normalise);
        double a = z * r, b = (z * z - 1) * r; /* the scores */
        double aa = -r * r, ab = -2 * a * r, bb = (1 - 3 * z * z) * r * r;
        m.g[0] += w * a * a, m.g[1] += w * a * b, m.g[2] += w * b * b;
        m.slope[0][0] += w * (2 * a * aa + a * a * a);
        m.slope[0][1] += w * (aa * b + a * ab + a * b * a);
        m.slope[0][2] += w * (2 * b * ab + b * b * a);
        m.slope[1][0] += w * (2 * a * ab + a * a * b);
        m.slope[1][1] += w * (ab * b + a * bb + a * b * b);
        m.slope[1][2] += w * (2 * b * bb + b * b * b);
    }
    return m;
}

static inline void solve(const double *g, const double *b, double *x) {
    double ratio = g[1] / g[0];
    x[1] = (b[1] - ratio * b[0]) / (g[2] - ratio * g[1]);
    x[0] = b[0] / g[0] - ratio * x[1];
}

static inline double pull(const double *slope, const double *v) {
    return (slope[0] * v[0] * v[0] + 2 * slope[1] * v[0] * v[1] + slope[2] * v[1] * v[1]) / 2;
}

/* The velocity of a momentum. */
static inline void velocity(Rule rule, const double *q, const double *p, double *v) {
    if (rule.nodes)
        solve(by_quadrature(q, rule).g, p, v);
    else
        v[0] = q[1] * q[1] * p[0], v[1] = q[1] * q[1] / 2 * p[1];
}

/* The velocity of a momentum, and dL/dq there. */
static inline void hamilton(Rule rule, const double *q, const double *p, double *v, double *slope) {
    if (rule.nodes) {
        Metric m = by_quadrature(q, rule);
        solve(m.g, p, v);
        slope[0] = pull(m.slope[0], v), slope[1] = pull(m.slope[1], v);
    } else {
        v[0] = q[1] * q[1] * p[0], v[1] = q[1] * q[1] / 2 * p[1];
        slope[0] = 0, slope[1] = -q[1] * (p[0] * p[0] + p[1] * p[1] / 2);
    }
}

/* dL/dv and dL/dq. */
static inline void sides(Rule rule, const double *q, const double *v, double *momentum, double *slope) {
    if (rule.nodes) {
        Metric m = by_quadrature(q, rule);
        momentum[0] = m.g[0] * v[0] + m.g[1] * v[1], momentum[1] = m.g[1] * v[0] + m.g[2] * v[1];
        slope[0] = pull(m.slope[0], v), slope[1] = pull(m.slope[1], v);
    } else {
        double less = 1 / (q[1] * q[1]);
        momentum[0] = less * v[0], momentum[1] = 2 * less * v[1];
        slope[0] = 0, slope[1] = -less / q[1] * (v[0] * v[0] + 2 * v[1] * v[1]);
    }
}

/* Adds a share h of Hamilton's equations at (q, p) to another point and momentum. */
static inline void kick(Rule rule, const double *q, const double *p, double h, double *x, double *y) {
    double v[2], slope[2];
    hamilton(rule, q, p, v, slope);
    for (int i = 0; i < 2; i++) x[i] += h * v[i], y[i] += h * slope[i];
}

/* State: q, p. Tao's method on two copies of it. */
static inline void tao(Rule rule, double *state, double frequency, double h, long steps) {
    double q[2] = {state[0], state[1]}, p[2] = {state[2], state[3]}, x[2] = {q[0], q[1]}, y[2] = {p[0], p[1]};
    double s = sin(frequency * h), less = -s * s, sine = sin(2 * frequency * h) / 2;
    for (long n = 0; n < steps; n++) {
        kick(rule, q, y, h / 2, x, p);
        kick(rule, x, p, h / 2, q, y);
        for (int i = 0; i < 2; i++) {
            double gap_q = q[i] - x[i], gap_p = p[i] - y[i];
            double move_q = less * gap_q + sine * gap_p, move_p = less * gap_p - sine * gap_q;
            q[i] += move_q, x[i] -= move_q, p[i] += move_p, y[i] -= move_p;
        }
        kick(rule, x, p, h / 2, q, y);
        kick(rule, q, y, h / 2, x, p);
    }
    state[0] = q[0], state[1] = q[1], state[2] = p[0], state[3] = p[1];
}

/* State: q, p. The implicit midpoint rule in the velocity v of a step, by Newton's method with the mass matrix of its
   first guess, until the updates are round-off or shrink no more there. */
static inline void midpoint(Rule rule, double *state, double h, long steps) {
    double q[2] = {state[0], state[1]}, p[2] = {state[2], state[3]}, v[2], eps = DBL_EPSILON;
    velocity(rule, q, p, v);
    for (long n = 0; n < steps; n++) {
        double middle[2] = {q[0] + h / 2 * v[0], q[1] + h / 2 * v[1]}, guess[2] = {middle[0], middle[1]};
        double momentum[2], slope[2], previous = INFINITY;
        Metric mass = rule.nodes ? by_quadrature(guess, rule) : (Metric){0};
        for (int count = 0; count < 64; count++) {
            double defect[2], update[2], size = 0;
            sides(rule, middle, v, momentum, slope);
            for (int i = 0; i < 2; i++) defect[i] = momentum[i] - p[i] - h / 2 * slope[i];
            if (rule.nodes)
                solve(mass.g, defect, update);
            else
                velocity(rule, guess, defect, update);
            for (int i = 0; i < 2; i++) {
                size = fmax(size, fabs(update[i]) / (fabs(v[i]) + fabs(q[i]) * cbrt(eps) / h));
                v[i] -= update[i], middle[i] = q[i] + h / 2 * v[i];
            }
            int slowed = size >= previous || size * size <= eps * previous;
            if (size <= eps || (count && size <= cbrt(eps) * cbrt(eps) && slowed)) break;
            previous = size;
        }
        sides(rule, middle, v, momentum, slope);
        for (int i = 0; i < 2; i++) q[i] += h * v[i], p[i] += h * slope[i];
    }
    state[0] = q[0], state[1] = q[1], state[2] = p[0], state[3] = p[1];
}

void normal_tao(double *state, double frequency, double h, long steps) {
    tao((Rule){0}, state, frequency, h, steps);
}

void normal_midpoint(double *state, double h, long steps) { midpoint((Rule){0}, state, h, steps); }

void quadrature_tao(double *state, const double *unit, const double *weight, long nodes, double frequency, double h,
                    long steps) {
    tao((Rule){unit, weight, nodes}, state, frequency, h, steps);
}

void quadrature_midpoint(double *state, const double *unit, const double *weight, long nodes, double h, long steps) {
    midpoint((Rule){unit, weight, nodes}, state, h, steps);
}
