import { create, toBinary } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  OperatorSetIdProtoSchema,
  TensorProto_DataType,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { expect } from 'vitest';
import type { Random } from '../../src/core/random.js';
import { writeFusion } from '../../src/ensemble/export/fusion-graph.js';
import type { ExportedFusion, ExportedSpecialist } from '../../src/ensemble/export/query-graph.js';
import { fusionRule } from '../../src/ensemble/rules/index.js';
import { softmax } from '../../src/math/softmax.js';
import type { FoldedLayer } from '../../src/models/folded-layers.js';
import { createGraphWriter } from '../../src/models/onnx/graph-writer.js';
import { openSession } from '../../src/models/onnx/runtime.js';

/** Of the random ensembles. */
export const classes = 40;
export const width = 7;

function normal(random: Random, length: number, scale: number): Float32Array {
  return Float32Array.from({ length }, () => scale * random.normal());
}

/** A dense layer of random weights. */
export function layer(random: Random, inputs: number, outputs: number): FoldedLayer {
  return { weights: normal(random, inputs * outputs, 0.8), bias: normal(random, outputs, 0.5) };
}

/** Subsets of unequal sizes: of a partition, or overlapping. */
export function randomEnsemble(
  random: Random,
  {
    overlap,
    shifts = 0,
    hidden: leastHidden = 4,
    rule = 'combine',
    dustbinTrust = 0,
    ...settings
  }: Partial<Omit<ExportedFusion, 'rule' | 'parameters'>> & {
    readonly overlap: boolean;
    readonly rule?: string;
    readonly dustbinTrust?: number;
    /** Of mass shifts, in nats. */
    readonly shifts?: number;
    /** Units of the first one's hidden layer; each next one has one more. */
    readonly hidden?: number;
  },
): ExportedFusion {
  const order = Array.from({ length: classes }, (_, c) => c);
  random.shuffle(order);
  const specialists: ExportedSpecialist[] = [];
  for (let m = 0; m < 5; m++) {
    const size = 3 + m;
    const start = overlap ? m * 3 : m * 7;
    const hidden = leastHidden + m;
    specialists.push({
      id: m,
      classes: Int32Array.from(order.slice(start, start + size)).sort(),
      layers: [layer(random, width, hidden), layer(random, hidden, size + 1)],
      temperature: 0.5 + random.uniform(),
      weight: 0.3 + 2 * random.uniform(),
      massShift: shifts === 0 ? 0 : shifts * random.normal(),
      correction: random.normal(),
    });
  }
  return {
    classes,
    width,
    generalistTemperature: 1.3,
    labelNoise: 0,
    routing: { top: 2 },
    rule: fusionRule(rule),
    parameters: rule === 'combine' ? { dustbinTrust } : {},
    precision: 'fp32',
    specialists,
    ...settings,
  };
}

/** The model with nothing in it but the fusion. */
export function fusionModel(ensemble: ExportedFusion, opset: number): Uint8Array {
  const value = (name: string) =>
    create(ValueInfoProtoSchema, {
      name,
      type: create(TypeProtoSchema, {
        value: {
          case: 'tensorType',
          value: create(TypeProto_TensorSchema, { elemType: TensorProto_DataType.FLOAT }),
        },
      }),
    });
  const graph = create(GraphProtoSchema, {
    name: 'fusion',
    input: [value('logits'), value('features')],
    output: [value('probabilities'), value('generalist')],
  });
  const writer = createGraphWriter(graph, opset, { prefix: 'kd_' });
  const outputs = writeFusion(writer, { logits: 'logits', features: 'features' }, ensemble);
  writer.name(outputs.probabilities, 'probabilities');
  writer.name(outputs.generalist, 'generalist');
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(opset) })],
      graph,
    }),
  );
}

function logSumExp(values: Float32Array): number {
  const most = Math.max(...values);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** The oracle: the same ensemble, step by step, with the rule's exact form. */
function fuseExactly(ensemble: ExportedFusion, logits: Float32Array, features: Float32Array): Float64Array {
  const plain = softmax(logits);
  const { routing, specialists } = ensemble;
  const active = specialists.filter(({ classes: subset }) => {
    if ('mass' in routing)
      return subset.reduce((sum, c) => sum + (plain[c] < 1e-6 ? 0 : plain[c]), 0) >= routing.mass;
    const first = [...plain.keys()].sort((a, b) => plain[b] - plain[a]).slice(0, routing.top);
    return first.some((c) => subset.includes(c));
  });
  const predictions = active.map(
    ({ classes: subset, layers, temperature, weight, massShift = 0, correction, isAnchored = false }) => {
      let values = Array.from(features);
      layers.forEach(({ weights, bias }, index) => {
        values = Array.from(bias, (b, output) => {
          const sum = values.reduce(
            (total, value, row) => total + value * weights[row * bias.length + output],
            b,
          );
          return index < layers.length - 1 ? Math.max(0, sum) : sum;
        });
      });
      const outside = logits.filter((_, c) => !subset.includes(c));
      values[values.length - 1] += correction + (isAnchored ? logSumExp(outside) : 0);
      const probabilities = softmax(Float64Array.from(values), { temperature });
      return { classes: subset, probabilities, weight, parameters: { massShift } };
    },
  );
  const softened = softmax(logits, { temperature: ensemble.generalistTemperature });
  const { rule, parameters, labelNoise } = ensemble;
  const fused = rule.create(classes)(Float64Array.from(softened), predictions, { parameters });
  return fused.map((q) => (1 - labelNoise) * q + labelNoise / classes);
}

/** Fuses 12 random images in ONNX Runtime and by the rule's exact form. */
export async function expectAgreement(
  random: Random,
  ensemble: ExportedFusion,
  {
    opset = 17,
    sharpness = 3,
    within = 2e-6,
  }: { readonly opset?: number; readonly sharpness?: number; readonly within?: number } = {},
): Promise<void> {
  const count = 12;
  const logits = normal(random, count * classes, sharpness);
  const features = normal(random, count * width, 1);
  const session = await openSession(fusionModel(ensemble, opset), { name: 'fusion' });
  const results = await session.run(
    {
      logits: { type: 'float32', data: logits, shape: [count, classes] },
      features: { type: 'float32', data: features, shape: [count, width] },
    },
    ['probabilities', 'generalist'],
  );
  session.dispose();
  const found = results.get('probabilities');
  expect(found?.shape).toEqual([count, classes]);
  let worst = 0;
  for (let row = 0; row < count; row++) {
    const exact = fuseExactly(
      ensemble,
      logits.subarray(row * classes, (row + 1) * classes),
      features.subarray(row * width, (row + 1) * width),
    );
    for (let c = 0; c < classes; c++) {
      worst = Math.max(worst, Math.abs(exact[c] - (found?.values[row * classes + c] ?? Number.NaN)));
    }
  }
  expect(worst).toBeLessThan(within);
}
