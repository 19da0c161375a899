/**
 * Trains one step on a head of a million classes and 128 features on webgpu, and compares it with the same step in
 * double precision, at classes drawn at random.
 *
 *     npx tsx scripts/webgpu/million-classes.ts [CLASSES]
 *
 * Weights, gradient and moments take 2 GB on the GPU (of a software driver: of the machine). A GPU that cannot hold
 * the head has to refuse it with the reason, which this accepts; a wrong value it does not.
 */
import { selectBackend } from '../../src/compute/backend.js';
import type { Variable } from '../../src/compute/operations.js';
import { KdSpecError } from '../../src/core/errors.js';
import { createRandom } from '../../src/core/random.js';

const classes = Number(process.argv[2] ?? 1_000_000);
const [features, batch, checked] = [128, 4, 2000];
const learningRate = 0.01;

const { operations } = await selectBackend('webgpu');
const random = createRandom(1, 'million');
const x = Float32Array.from({ length: batch * features }, () => random.normal());
const labels = Int32Array.from({ length: batch }, () => random.below(classes));
/** Not drawn: a hundred million draws would take longer than the step. */
const weight = (feature: number, column: number) =>
  0.1 * Math.sin(12.9898 * (feature * classes + column) + feature);

const started = performance.now();
try {
  console.log(await step());
} catch (error) {
  if (!(error instanceof KdSpecError && error.code === 'backend-failed')) throw error;
  console.log(`${operations.device}: a head of ${classes} x ${features} is refused: ${error.message}`);
}

async function step(): Promise<string> {
  const values = new Float32Array(features * classes);
  for (let index = 0; index < values.length; index++) {
    values[index] = weight(Math.floor(index / classes), index % classes);
  }
  const shape = [features, classes] as const;
  const weights = operations.variable(values, shape);
  const bias = operations.variable(new Float32Array(classes), [classes]);
  const zeros = () => operations.variable(new Float32Array(features * classes), shape);
  const moments = { first: zeros(), second: zeros() };
  const input = operations.tensor(x, [batch, features]);
  const y = operations.tensor(labels, [batch]);
  const variables: readonly Variable[] = [weights, bias];
  const { value, gradients } = operations.valueAndGradients(
    () => operations.softmaxCrossEntropy(operations.dense(input, weights, bias), y),
    variables,
  );
  operations.adamWStep(weights, gradients[0], moments, { learningRate, step: 1 });
  const [loss] = await operations.read(value);
  const biasGradient = await operations.read(gradients[1]);
  const gradient = await operations.read(gradients[0]);
  const after = await operations.read(weights);
  const seconds = (performance.now() - started) / 1000;

  const { loss: expected, probabilities } = reference(values);
  near('the loss', loss, expected, 1e-4);
  const columns = [...labels, ...Array.from({ length: checked }, () => random.below(classes))];
  for (const column of columns) {
    const upstream = probabilities.map((p, row) => (p[column] - (labels[row] === column ? 1 : 0)) / batch);
    near(`the bias' gradient of class ${column}`, biasGradient[column], sum(upstream), 1e-7);
    for (let feature = 0; feature < features; feature += 1 + random.below(16)) {
      const at = feature * classes + column;
      const slope = sum(upstream.map((value, row) => value * x[row * features + feature]));
      near(`the gradient of class ${column} at feature ${feature}`, gradient[at], slope, 1e-7);
      // Adam's first step: as long as the learning rate, where the gradient is not next to nothing.
      const moved = values[at] - (learningRate * slope) / (Math.abs(slope) + 1e-8);
      if (Math.abs(slope) > 1e-5) near(`the weight of class ${column}`, after[at], moved, 1e-4);
    }
  }
  return (
    `${operations.device}: one step on a head of ${classes.toLocaleString('en')} x ${features} took ` +
    `${seconds.toFixed(1)} s with its making; loss ${loss.toFixed(5)}, gradient and weights right at ${columns.length} classes`
  );
}

/** The loss and the probabilities, in double precision. */
function reference(values: Float32Array) {
  const probabilities: Float64Array[] = [];
  let loss = 0;
  for (let row = 0; row < batch; row++) {
    const logits = new Float64Array(classes);
    for (let feature = 0; feature < features; feature++) {
      const factor = x[row * features + feature];
      const start = feature * classes;
      for (let column = 0; column < classes; column++) logits[column] += factor * values[start + column];
    }
    const total = logits.reduce((all, z) => all + Math.exp(z), 0);
    loss += Math.log(total) - logits[labels[row]];
    probabilities.push(logits.map((z) => Math.exp(z) / total));
  }
  return { loss: loss / batch, probabilities };
}

function sum(terms: readonly number[]): number {
  return terms.reduce((all, term) => all + term, 0);
}

function near(what: string, actual: number, expected: number, tolerance: number): void {
  if (Math.abs(actual - expected) <= tolerance) return;
  throw new Error(`${what} is ${actual}, not ${expected}`);
}
