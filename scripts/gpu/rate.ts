/**
 * Images a second of training steps on a backend, a workload at a time, as `train` takes them: the losses of twenty
 * steps are read together. Prints a line of JSON for each workload.
 *
 *     npx tsx scripts/gpu/rate.ts BACKEND SECONDS 'WORKLOADS as JSON'
 */
import { type BackendName, selectBackend } from '../../src/compute/backend.js';
import type { Scalar } from '../../src/compute/operations.js';
import { createRandom } from '../../src/core/random.js';
import { createNetwork } from '../../src/models/network.js';
import type { NetworkDefinition, NetworkPart } from '../../src/models/network-definition.js';
import { convolutionalFeatures } from '../../src/models/network-definition.js';
import { runNetwork } from '../../src/models/run-network.js';
import { Optimizer } from '../../src/training/optimizer.js';

/** What is trained, from a part of it on. */
export interface Workload {
  readonly name: string;
  readonly batch: number;
  readonly from: NetworkPart;
  readonly definition: NetworkDefinition;
}

const [backend, seconds, workloads] = process.argv.slice(2);
const readTogether = 20;

const { operations } = await selectBackend(backend as BackendName);
for (const workload of JSON.parse(workloads) as readonly Workload[]) {
  const imagesPerSecond = await rateOf(workload, Number(seconds));
  const { name } = workload;
  const memoryBytes = 1024 * process.resourceUsage().maxRSS;
  console.log(JSON.stringify({ name, device: operations.device ?? null, imagesPerSecond, memoryBytes }));
}
process.exit(0);

async function rateOf({ batch, from, definition }: Workload, seconds: number): Promise<number> {
  const random = createRandom('inputs');
  const { height, width, channels } = definition.input;
  const shape = from === 'convolutions' ? [height, width, channels] : [convolutionalFeatures(definition)];
  const size = shape.reduce((product, extent) => product * extent, batch);
  const inputs = Float32Array.from({ length: size }, () => random.uniform());
  const labels = Int32Array.from({ length: batch }, () => random.below(definition.outputs));
  const network = createNetwork(operations, definition, random);
  const optimizer = new Optimizer('adamw', network, from);
  let step = 0;
  const take = (): Scalar =>
    operations.tidy(() => {
      const input = operations.tensor(inputs, [batch, ...shape]);
      const { value, gradients } = operations.valueAndGradients(() => {
        const logits = runNetwork(network, input, { from, training: { dropoutSeed: step } });
        return operations.softmaxCrossEntropy(logits, operations.tensor(labels, [batch]));
      }, optimizer.parameters);
      optimizer.apply(gradients, { step: step++, learningRate: 1e-3, weightDecay: 0.01 });
      return value;
    });
  const takeSome = async (count: number) => {
    const losses = Array.from({ length: count }, take);
    for (const loss of losses) {
      const [value] = await operations.read(loss);
      if (!Number.isFinite(value)) throw new Error(`a loss is ${value}`);
      loss.dispose();
    }
  };
  await takeSome(2); // compiles and allocates
  const started = performance.now();
  let done = 0;
  const isLong = () => performance.now() - started > 1000 * seconds;
  await takeSome(1);
  done++;
  while (!isLong()) {
    const perStep = (performance.now() - started) / done;
    const count = Math.max(1, Math.min(readTogether, Math.floor((1000 * seconds) / perStep / 4)));
    await takeSome(count);
    done += count;
  }
  const rate = (1000 * batch * done) / (performance.now() - started);
  optimizer.dispose();
  network.dispose();
  return rate;
}
