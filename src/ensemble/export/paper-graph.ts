import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import type { Queried } from './query-graph.js';

/** Bisections before Newton's steps, and those: together they reach rounding from anywhere. */
const bisections = 10;
const newtonSteps = 6;

/**
 * The rule `paper` for subsets that share no class.
 *
 * With `a_i` the known masses, `A_m` their sum on a subset, `D_m` the weighted dustbin and `s = W - sum of all r_m`,
 * the optimum is `q_i = a_i / (s + r_m)` in subset m and `a_i / s` outside, where `r_m = D_m / (1 - Q_m)` solves
 * `r^2 + r (s - A_m - D_m) - D_m s = 0`. What is left is one equation in s, `s + sum r_m(s) = W`, whose left side
 * rises; it is solved in double precision.
 *
 * @see docs/method.md, where the fixed point is derived
 */
export function minimiseDivergences(graph: GraphWriter, q: string, active: Queried): string {
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
  const inSubsets = graph.div(known, graph.add(s, root(s)));
  const outside = graph.div(q, graph.castTo(graph.reshape(s, [-1, 1]), 'float32'));
  const values = graph.castTo(graph.reshape(inSubsets, [-1, slots * largest]), 'float32');
  return graph.node('ScatterElements', [outside, places, values], { axis: 1 });
}
