import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { smallestSoftmax } from './distributions.js';
import type { Queried } from './graph-form.js';

/**
 * The rule `paper` as a graph: in closed form but for one unknown where subsets share no class, else by Newton's method
 * on one unknown for each active specialist. Neither has a loop: the steps are written out.
 *
 * @param q (batch, classes + 1), the generalist's at its temperature; the last column takes what only fills subsets up
 * @returns the same, fused
 */
export function minimiseDivergences(graph: GraphWriter, q: string, active: Queried): string {
  // A probability that a softmax rounds to 0 counts as the smallest it has: a dustbin's mass has to go somewhere.
  const floored = graph.node('Max', [graph.slice(q, 1, 0, -1), graph.scalar(smallestSoftmax)]);
  const whole = graph.concat([floored, graph.slice(q, 1, -1, 2 ** 31 - 1)], 1);
  const hasOneUnknown = active.areDisjoint && active.leavesClasses;
  return hasOneUnknown ? ofDisjointSubsets(graph, whole, active) : ofAnySubsets(graph, whole, active);
}

/** Bisections before Newton's steps, and those: together they reach rounding from anywhere. */
const bisections = 10;
const newtonSteps = 6;

/**
 * The rule `paper` for subsets that share no class and leave some: without a class outside, `s` is no slack of anything,
 * and may be below 0.
 *
 * With `a_i` the known masses, `A_m` their sum on a subset, `D_m` the weighted dustbin and `s = W - sum of all r_m`,
 * the optimum is `q_i = a_i / (s + r_m)` in subset m and `a_i / s` outside, where `r_m = D_m / (1 - Q_m)` solves
 * `r^2 + r (s - A_m - D_m) - D_m s = 0`. What is left is one equation in s, `s + sum r_m(s) = W`, whose left side
 * rises; it is solved in double precision.
 *
 * @see docs/method.md, where the fixed point is derived
 */
function ofDisjointSubsets(graph: GraphWriter, q: string, active: Queried): string {
  const { slots, largest, classIds, weight, inverseTemperature } = active;
  const places = graph.reshape(classIds, [-1, slots * largest]);
  const wide = (x: string) => graph.castTo(x, 'float64');
  const double = (value: number) => graph.doubles([value], []);
  const distribution = wide(graph.softmax(graph.mul(active.logits, inverseTemperature), 3));
  const weights = wide(weight); // (batch, slots, 1)
  const masses = wide(
    graph.reshape(graph.node('GatherElements', [q, places], { axis: 1 }), [-1, slots, largest]),
  );
  const known = graph.add(masses, graph.mul(graph.slice(distribution, 2, 0, largest), weights)); // a
  const dustbin = graph.mul(graph.slice(distribution, 2, largest, largest + 1), weights); // D
  const sums = graph.add(graph.sum(known, 2), dustbin); // A + D
  const total = graph.add(graph.sum(weights, 1), double(1)); // (batch, 1, 1), W
  // The stable form of the root: no difference of near numbers on either side.
  const root = (s: string) => {
    const b = graph.sub(s, sums);
    const square = graph.node('Sqrt', [
      graph.add(graph.mul(b, b), graph.mul(graph.mul(dustbin, double(4)), s)),
    ]);
    const positive = graph.node('Greater', [b, double(0)]);
    const divisor = graph.node('Where', [positive, graph.add(b, square), double(1)]);
    const large = graph.div(graph.mul(graph.mul(dustbin, double(2)), s), divisor);
    const small = graph.div(graph.sub(square, b), double(2));
    return graph.node('Where', [positive, large, small]); // (batch, slots, 1), r
  };
  const excess = (s: string, r: string) => graph.sub(graph.add(s, graph.sum(r, 1)), total);
  let low = graph.mul(total, double(0));
  let high = total;
  for (let step = 0; step < bisections; step++) {
    const middle = graph.div(graph.add(low, high), double(2));
    const isAbove = graph.node('Greater', [excess(middle, root(middle)), double(0)]);
    high = graph.node('Where', [isAbove, middle, high]);
    low = graph.node('Where', [isAbove, low, middle]);
  }
  let s = graph.div(graph.add(low, high), double(2));
  for (let step = 0; step < newtonSteps; step++) {
    const r = root(s);
    const steepness = graph.add(graph.mul(r, double(2)), graph.sub(s, sums)); // of r's own equation, above 0
    const slope = graph.add(
      graph.sum(graph.div(graph.sub(dustbin, r), graph.node('Max', [steepness, double(1e-300)])), 1),
      double(1),
    );
    const next = graph.sub(s, graph.div(excess(s, r), graph.node('Max', [slope, double(1e-12)])));
    s = graph.node('Min', [graph.node('Max', [next, low]), high]);
  }
  const divisor = graph.node('Max', [graph.add(s, root(s)), double(1e-300)]);
  const inSubsets = graph.reshape(graph.div(known, divisor), [-1, slots * largest]);
  // What is left goes to the other classes in proportion: `1 / s` would say the same, but s may be lost in rounding.
  const left = graph.node('Max', [graph.sub(double(1), graph.sum(inSubsets, 1)), double(0)]); // (batch, 1)
  const nowhere = graph.mul(inSubsets, double(0));
  const outside = graph.node('ScatterElements', [wide(q), places, nowhere], { axis: 1 });
  const scale = graph.div(left, graph.node('Max', [graph.sum(outside, 1), double(1e-300)]));
  const fused = graph.node('ScatterElements', [graph.mul(outside, scale), places, inSubsets], { axis: 1 });
  return graph.castTo(fused, 'float32');
}

/** Newton steps: the solver that stops by itself takes three to twelve to 1e-12. */
const unrolledSteps = 12;
/** As in `dustbin-equations.ts`, whose method this is. */
const stepToBoundary = 0.99;
const smallestMass = 1e-15;

/**
 * The rule `paper` for subsets that may share classes.
 *
 * The unknowns are the rates `r_m` at which dustbins pay the classes outside their subsets; masses and slacks of the
 * classes are kept beside them, as `solveDustbins` does it. Each class of a subset is an entry, once for each subset that
 * holds it and of so much less weight; one more entry, the bucket, is all classes outside. Double precision.
 *
 * @see docs/method.md, and `dustbin-equations.ts` for the equations
 */
function ofAnySubsets(graph: GraphWriter, q: string, active: Queried): string {
  const { slots, largest, classIds, weight, inverseTemperature, ids, covering, mostPerClass } = active;
  const entries = slots * largest + 1;
  const wide = (x: string) => graph.castTo(x, 'float64');
  const double = (value: number) => graph.doubles([value], []);
  const [zero, one] = [double(0), double(1)];
  const places = graph.reshape(classIds, [-1, slots * largest]); // (batch, entries - 1)
  const distribution = wide(graph.softmax(graph.mul(active.logits, inverseTemperature), 3));
  const weights = wide(weight); // (batch, slots, 1)
  const total = graph.add(graph.sum(weights, 1), one); // (batch, 1, 1), W
  const flatTotal = graph.reshape(total, [-1, 1]);

  // What generalist and specialists give to each class by name, one subset after the other, as fractions of W.
  const start = wide(q);
  let known = start;
  for (let slot = 0; slot < slots; slot++) {
    const at = graph.slice(places, 1, slot * largest, (slot + 1) * largest); // (batch, largest)
    const own = graph.slice(graph.slice(distribution, 1, slot, slot + 1), 2, 0, largest);
    const added = graph.mul(own, graph.slice(weights, 1, slot, slot + 1));
    const sum = graph.add(
      graph.node('GatherElements', [known, at], { axis: 1 }),
      graph.reshape(added, [-1, largest]),
    );
    known = graph.node('ScatterElements', [known, at, sum], { axis: 1 });
  }
  const nowhere = graph.mul(graph.node('GatherElements', [start, places], { axis: 1 }), zero);
  const outsideAll = graph.node('ScatterElements', [start, places, nowhere], { axis: 1 });
  const bucket = graph.sum(outsideAll, 1); // (batch, 1)
  const named = graph.node('GatherElements', [known, places], { axis: 1 });
  const a = graph.div(graph.concat([named, bucket], 1), flatTotal); // (batch, entries)
  const target = graph.node('Max', [a, double(smallestMass)]);
  const dustbin = graph.div(graph.mul(graph.slice(distribution, 2, largest, largest + 1), weights), total);
  const d = graph.node('Max', [graph.reshape(dustbin, [-1, slots]), double(smallestMass)]); // (batch, slots)

  // Which subsets hold the class of an entry, and how many do.
  const owners = graph.gather(covering, places, 0); // (batch, entries - 1, mostPerClass)
  const isOwner = graph.node('Equal', [
    graph.reshape(owners, [-1, slots * largest, mostPerClass, 1]),
    graph.reshape(ids, [-1, 1, 1, slots]),
  ]);
  const none = graph.integers([active.none], []);
  const isSomebody = graph.node('Less', [graph.reshape(ids, [-1, 1, slots]), none]);
  const held = graph.mul(
    graph.reshape(graph.sum(wide(isOwner), 2), [-1, slots * largest, slots]),
    wide(isSomebody),
  );
  const times = graph.reshape(graph.sum(held, 2), [-1, slots * largest]); // 0 for what fills up
  // There is no bucket where the subsets hold every class, and what fills up is no class either.
  const hasBucket = wide(graph.node('Greater', [bucket, zero])); // (batch, 1)
  const exists = graph.concat([graph.node('Min', [times, one]), hasBucket], 1); // (batch, entries), 0 or 1
  const often = graph.node('Max', [graph.concat([times, hasBucket], 1), one]);
  const share = graph.div(exists, often); // (batch, entries), the weight of an entry
  const noSubset = graph.mul(graph.slice(held, 1, 0, 1), zero);
  const outside = graph.mul(
    graph.sub(one, graph.concat([held, noSubset], 1)),
    graph.reshape(exists, [-1, entries, 1]),
  ); // (batch, entries, slots)
  const weighted = graph.mul(outside, graph.reshape(share, [-1, entries, 1]));

  const sumOutside = (rates: string) =>
    graph.reshape(graph.node('MatMul', [outside, graph.reshape(rates, [-1, slots, 1])]), [-1, entries]);
  const addUp = (values: string) =>
    graph.reshape(graph.node('MatMul', [graph.reshape(values, [-1, 1, entries]), weighted]), [-1, slots]);
  let r = d;
  let z = graph.sub(one, sumOutside(r));
  let mass = graph.div(target, z);
  const identity = graph.doubles(
    Float64Array.from({ length: slots * slots }, (_, at) => Number(at % (slots + 1) === 0)),
    [1, slots, slots],
  );
  const transposed = graph.node('Transpose', [outside], { perm: [0, 2, 1] }); // (batch, slots, entries)
  for (let step = 0; step < unrolledSteps; step++) {
    const t = addUp(mass);
    const stiffness = graph.mul(weighted, graph.reshape(graph.div(mass, z), [-1, entries, 1]));
    const matrix = graph.add(
      graph.node('MatMul', [transposed, stiffness]),
      graph.mul(identity, graph.reshape(graph.div(t, r), [-1, slots, 1])),
    );
    const vector = graph.sub(graph.div(d, r), addUp(graph.div(target, z)));
    const rStep = solve(graph, matrix, vector, slots);
    const zStep = graph.sub(zero, sumOutside(rStep));
    const massStep = graph.sub(graph.div(graph.sub(target, graph.mul(mass, zStep)), z), mass);
    const dual = longest(graph, [r, z], [rStep, zStep]);
    const primal = longest(graph, [mass, t], [massStep, addUp(massStep)]);
    r = graph.add(r, graph.mul(rStep, dual));
    z = graph.add(z, graph.mul(zStep, dual));
    mass = graph.add(mass, graph.mul(massStep, primal));
  }

  // A raised mass that nothing depends on goes back to its exact value.
  const isRaised = graph.node('And', [
    graph.node('Less', [a, double(smallestMass)]),
    graph.node('Less', [mass, double(10 * smallestMass)]),
  ]);
  const exact = graph.node('Where', [isRaised, graph.div(a, z), mass]);
  const sum = graph.sum(graph.mul(exact, share), 1);
  const found = graph.div(exact, sum); // (batch, entries)
  const left = graph.slice(found, 1, entries - 1, entries);
  const scale = graph.div(left, graph.node('Max', [bucket, double(1e-300)]));
  const fused = graph.node(
    'ScatterElements',
    [graph.mul(outsideAll, scale), places, graph.slice(found, 1, 0, entries - 1)],
    { axis: 1 },
  );
  return graph.castTo(fused, 'float32');
}

/** The longest step, at most 1, that keeps every value positive: (batch, 1). */
function longest(graph: GraphWriter, values: readonly string[], steps: readonly string[]): string {
  const double = (value: number) => graph.doubles([value], []);
  const fractions = values.map((value, index) => {
    const down = graph.node('Max', [graph.sub(double(0), steps[index]), double(0)]);
    return graph.div(down, graph.mul(value, double(stepToBoundary)));
  });
  // The greatest fraction as the first of the largest: a reduction for doubles is not in every operator set.
  const all = fractions.length === 1 ? fractions[0] : graph.concat(fractions, 1);
  const [greatest] = graph.nodes('TopK', [all, graph.integers([1], [1])], 2, { axis: 1 });
  return graph.div(double(1), graph.node('Max', [greatest, double(1)]));
}

/**
 * Solves `A x = b` for symmetric positive definite matrices by Gauss-Jordan elimination, an elimination a pivot.
 *
 * @param matrix (batch, n, n)
 * @param vector (batch, n)
 * @returns (batch, n)
 */
function solve(graph: GraphWriter, matrix: string, vector: string, n: number): string {
  let system = graph.concat([matrix, graph.reshape(vector, [-1, n, 1])], 2); // (batch, n, n + 1)
  for (let k = 0; k < n; k++) {
    const row = graph.slice(system, 1, k, k + 1); // (batch, 1, n + 1)
    const pivot = graph.node('Max', [graph.slice(row, 2, k, k + 1), graph.doubles([1e-300], [])]);
    const scaled = graph.div(row, pivot);
    const column = graph.slice(system, 2, k, k + 1); // (batch, n, 1)
    const own = graph.doubles(
      Float64Array.from({ length: n }, (_, at) => Number(at === k)),
      [1, n, 1],
    );
    // Every other row loses its part of the pivot's; the pivot's own becomes the scaled one.
    const others = graph.doubles(
      Float64Array.from({ length: n }, (_, at) => Number(at !== k)),
      [1, n, 1],
    );
    const reduced = graph.sub(system, graph.mul(column, scaled));
    system = graph.add(graph.mul(reduced, others), graph.mul(own, scaled));
  }
  return graph.reshape(graph.slice(system, 2, n, n + 1), [-1, n]);
}
