/**
 * The fusion, reduced to what has to be solved: classes that lie in the same active subsets are one group.
 *
 * All masses are fractions of the total weight W, so that `sum(known) + sum(dustbins) = 1`.
 */
export interface DustbinEquations {
  /** (groups), a_g > 0: the mass that generalist and specialists put on each group by name. */
  readonly known: Float64Array;
  /** (specialists), d_m > 0: the mass in each dustbin. */
  readonly dustbins: Float64Array;
  /** (groups, specialists), 1 where the group lies outside the specialist's subset. */
  readonly outside: Uint8Array;
}

/** The mass of each group in the fused distribution. */
export interface GroupMasses {
  /** (groups), q_g, summing to 1. */
  readonly masses: Float64Array;
  /** Newton steps. */
  readonly iterations: number;
}

/** Twelve is the most that 100,000 adversarial cases needed; the cap is there for what nobody has seen. */
const maxIterations = 50;

/** A step stops at this share of the way to the first mass or slack that would turn negative. */
const stepToBoundary = 0.99;

/**
 * Masses below this are solved as if they were this large: so small a mass changes the objective by less
 * than 1e-13, but its slack, `1 - R_g`, would be lost in the rounding of 1.
 */
const smallestMass = 1e-15;

/**
 * Shares the mass of the dustbins out over the groups.
 *
 * The minimiser satisfies, with `r_m` the rate at which dustbin m pays the classes outside its subset,
 *
 *     q_g z_g = a_g,   z_g = 1 - sum over m not containing g of r_m    (known masses)
 *     r_m t_m = d_m,   t_m = sum over g outside m of q_g               (dustbins)
 *
 * These are the optimality conditions of two convex problems at once: of the fusion in q, and of its dual,
 * `min over r of - sum_g a_g log z_g - sum_m d_m log r_m`. Newton's method on both, as interior-point methods
 * do it, costs one linear system in the M unknowns `r` a step. Newton on the dual alone needs the same
 * system, but creeps where a group without known mass must take much of a dustbin (`z_g` near 0): there the
 * dual is nearly linear while `q_g`, kept as an unknown of its own, is perfectly well determined.
 *
 * @param equations the reduced problem; every specialist has at least one group outside its subset
 * @param tolerance the greatest residual of the equations above, as a fraction of the total weight
 * @returns the group masses, and the number of Newton steps
 *
 * Cost: `groups * specialists^2` operations a step, three to twelve steps.
 * Source: Hinton, Vinyals and Dean (2015), section 5.4, for the objective; Wright, Primal-Dual Interior-Point
 * Methods (1997), chapter 1, for the steps.
 */
export function solveDustbins(
  { known, dustbins, outside }: DustbinEquations,
  tolerance: number,
): GroupMasses {
  const groups = known.length;
  const specialists = dustbins.length;
  const target = known.map((mass) => Math.max(mass, smallestMass)); // (groups), a
  const rates = dustbins.slice(); // (specialists), r: every dustbin pays as if all mass lay outside
  const slacks = new Float64Array(groups); // (groups), z
  const masses = new Float64Array(groups); // (groups), q
  for (let g = 0; g < groups; g++) {
    slacks[g] = 1 - sumOutside(rates, outside, g);
    masses[g] = target[g] / slacks[g];
  }

  const system = new Float64Array(specialists * specialists); // (specialists, specialists)
  const rateSteps = new Float64Array(specialists);
  const slackSteps = new Float64Array(groups);
  const massSteps = new Float64Array(groups);
  const outsideSteps = new Float64Array(specialists);
  const outsideMasses = new Float64Array(specialists); // (specialists), t

  let iterations = 0;
  for (; iterations < maxIterations; iterations++) {
    addUpOutside(masses, outside, outsideMasses);
    if (
      residual(masses, slacks, target) <= tolerance &&
      residual(rates, outsideMasses, dustbins) <= tolerance
    ) {
      break;
    }

    // (diag(t/r) + N diag(q/z) N') dr = d/r - N (a/z), with N the matrix `outside`, transposed.
    system.fill(0);
    for (let m = 0; m < specialists; m++) {
      system[m * specialists + m] = outsideMasses[m] / rates[m];
      rateSteps[m] = dustbins[m] / rates[m];
    }
    for (let g = 0; g < groups; g++) {
      const stiffness = masses[g] / slacks[g];
      const explicit = target[g] / slacks[g];
      for (let m = 0, row = g * specialists; m < specialists; m++) {
        if (outside[row + m] === 0) continue;
        rateSteps[m] -= explicit;
        for (let k = 0; k <= m; k++) system[m * specialists + k] += stiffness * outside[row + k];
      }
    }
    solveCholesky(system, rateSteps);

    for (let g = 0; g < groups; g++) {
      slackSteps[g] = -sumOutside(rateSteps, outside, g);
      massSteps[g] = (target[g] - masses[g] * slackSteps[g]) / slacks[g] - masses[g];
    }
    addUpOutside(massSteps, outside, outsideSteps);

    const dualStep = Math.min(longestStep(rates, rateSteps), longestStep(slacks, slackSteps));
    const primalStep = Math.min(longestStep(masses, massSteps), longestStep(outsideMasses, outsideSteps));
    advance(rates, rateSteps, dualStep);
    advance(slacks, slackSteps, dualStep); // kept, not recomputed from r: a slack near 0 would be all rounding
    advance(masses, massSteps, primalStep);
  }

  let total = 0;
  for (let g = 0; g < groups; g++) {
    // A raised mass that nothing depends on goes back to its exact value.
    if (known[g] < smallestMass && masses[g] < 10 * smallestMass) masses[g] = known[g] / slacks[g];
    total += masses[g];
  }
  for (let g = 0; g < groups; g++) masses[g] /= total;
  return { masses, iterations };
}

/** The sum of `values` over the specialists whose subset does not contain the group. */
function sumOutside(values: Float64Array, outside: Uint8Array, group: number): number {
  let sum = 0;
  for (let m = 0, row = group * values.length; m < values.length; m++) {
    if (outside[row + m] === 1) sum += values[m];
  }
  return sum;
}

/** For each specialist, the sum of `values` over the groups outside its subset. */
function addUpOutside(values: Float64Array, outside: Uint8Array, sums: Float64Array): void {
  sums.fill(0);
  for (let g = 0; g < values.length; g++) {
    for (let m = 0, row = g * sums.length; m < sums.length; m++) {
      if (outside[row + m] === 1) sums[m] += values[g];
    }
  }
}

/** max |x y - target|. */
function residual(x: Float64Array, y: Float64Array, target: Float64Array): number {
  let worst = 0;
  for (let i = 0; i < x.length; i++) worst = Math.max(worst, Math.abs(x[i] * y[i] - target[i]));
  return worst;
}

/** The longest step, at most 1, that keeps every value positive. */
function longestStep(values: Float64Array, steps: Float64Array): number {
  let longest = 1;
  for (let i = 0; i < values.length; i++) {
    if (steps[i] < 0) longest = Math.min(longest, (-stepToBoundary * values[i]) / steps[i]);
  }
  return longest;
}

function advance(values: Float64Array, steps: Float64Array, length: number): void {
  for (let i = 0; i < values.length; i++) values[i] += length * steps[i];
}

/**
 * Solves `A x = b` for a symmetric positive definite A, in place.
 *
 * @param matrix (n, n), the lower triangle of A; overwritten by its Cholesky factor
 * @param vector (n), b; overwritten by x
 *
 * A pivot that rounding has made zero or negative is taken as infinite, which leaves its unknown at 0: a
 * Newton step then leaves that coordinate alone. Cost: n^3 / 6 multiplications.
 */
function solveCholesky(matrix: Float64Array, vector: Float64Array): void {
  const n = vector.length;
  for (let j = 0; j < n; j++) {
    let pivot = matrix[j * n + j];
    for (let k = 0; k < j; k++) pivot -= matrix[j * n + k] ** 2;
    const diagonal = pivot > 0 ? Math.sqrt(pivot) : Number.POSITIVE_INFINITY;
    matrix[j * n + j] = diagonal;
    for (let i = j + 1; i < n; i++) {
      let value = matrix[i * n + j];
      for (let k = 0; k < j; k++) value -= matrix[i * n + k] * matrix[j * n + k];
      matrix[i * n + j] = value / diagonal;
    }
  }
  for (let i = 0; i < n; i++) {
    let value = vector[i];
    for (let k = 0; k < i; k++) value -= matrix[i * n + k] * vector[k];
    vector[i] = value / matrix[i * n + i];
  }
  for (let i = n - 1; i >= 0; i--) {
    let value = vector[i];
    for (let k = i + 1; k < n; k++) value -= matrix[k * n + i] * vector[k];
    vector[i] = value / matrix[i * n + i];
  }
}
