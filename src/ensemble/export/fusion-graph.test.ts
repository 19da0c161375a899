import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from 'onnx-buf';
import { describe, expect, test } from 'vitest';
import {
  classes,
  expectAgreement,
  fusionModel,
  layer,
  randomEnsemble,
  width,
} from '../../../test/support/fusion-graphs.js';
import { createRandom } from '../../core/random.js';
import type { FoldedLayer } from '../../models/folded-layers.js';
import { fusionRule } from '../rules/index.js';

/** Sums of many units are as large as those of a few. */
const narrow = ({ weights, bias }: FoldedLayer) => ({ weights: weights.map((value) => value / 50), bias });

const operatorsOf = (model: Uint8Array) =>
  new Set(fromBinary(ModelProtoSchema, model).graph?.node.map(({ opType }) => opType));

describe('the graph computes what the exact form of the rule computes,', () => {
  // Each pair of a rule's strength and a way of routing, and each of them with and without overlapping subsets.
  const routings = [{ top: 1 }, { top: 3 }, { mass: 0.2 }];
  const strengths = [
    ...[0, 0.4, 1].map((dustbinTrust) => ({ rule: 'combine', dustbinTrust })),
    ...[0, 0.4].map((dustbinTrust) => ({ rule: 'combine', dustbinTrust, shifts: 2 })),
    ...[0, 2].map((shifts) => ({ rule: 'share-inside', shifts })),
  ];
  const cases = strengths.flatMap((strength, row) =>
    routings.map((routing, column) => ({ ...strength, routing, overlap: (row + column) % 2 === 1 })),
  );
  test.each(cases)(
    '$rule, overlapping $overlap, routed by $routing, trust $dustbinTrust, shifts of $shifts',
    async (settings) => {
      const random = createRandom('fusion graph', JSON.stringify(settings));
      await expectAgreement(random, randomEnsemble(random, settings));
    },
  );

  test.each([11, 13, 18, 21])('in operator set %i', async (opset) => {
    const random = createRandom('operator set', opset);
    await expectAgreement(
      random,
      randomEnsemble(random, { overlap: true, dustbinTrust: 0.3, labelNoise: 0.1 }),
      { opset },
    );
  });

  // Weights that cost more to gather for each image than to multiply with all images of a specialist.
  test.each([
    { routing: { top: 1 }, overlap: false, precision: 'fp32' },
    { routing: { top: 3 }, overlap: true, precision: 'fp32' },
    { routing: { mass: 0.2 }, overlap: true, precision: 'int8' },
  ] as const)('with large specialists, routed by $routing, in $precision', async ({ precision, ...how }) => {
    const random = createRandom('grouped', JSON.stringify(how));
    const ensemble = randomEnsemble(random, { ...how, hidden: 12_000, dustbinTrust: 0.4 });
    expect(operatorsOf(fusionModel(ensemble, 17))).toContain('Split');
    expect(operatorsOf(fusionModel(ensemble, 11))).not.toContain('Split');
    const scaled = ensemble.specialists.map((one) => ({
      ...one,
      layers: [one.layers[0], narrow(one.layers[1])],
    }));
    const within = precision === 'int8' ? 0.02 : 2e-6;
    await expectAgreement(random, { ...ensemble, specialists: scaled, precision }, { within });
  });

  test.each([
    { rule: 'combine', dustbinTrust: 0.6, overlap: false, routing: { top: 1 } },
    { rule: 'combine', dustbinTrust: 1, overlap: true, routing: { mass: 0.2 }, opset: 21 },
    { rule: 'paper', overlap: false, routing: { top: 3 }, opset: 11 },
    { rule: 'paper', overlap: true, routing: { mass: 0.1 } },
  ])(
    'with dustbins that are anchored in the generalist, some of them, $rule, overlapping $overlap',
    async ({ opset = 17, ...how }) => {
      const random = createRandom('anchored', JSON.stringify(how));
      const ensemble = randomEnsemble(random, how);
      const specialists = ensemble.specialists.map((one, m) => ({ ...one, isAnchored: m % 3 > 0 }));
      await expectAgreement(random, { ...ensemble, specialists }, { opset });
    },
  );

  test('a rule that looks at no dustbin computes no anchor', () => {
    const random = createRandom('no anchor');
    const ensemble = randomEnsemble(random, { overlap: false, rule: 'share-inside' });
    const specialists = ensemble.specialists.map((one) => ({ ...one, isAnchored: true }));
    const operators = (rule: string) =>
      operatorsOf(fusionModel({ ...ensemble, rule: fusionRule(rule), specialists }, 17));
    expect(operators('paper')).toContain('ReduceLogSumExp');
    expect(operators('share-inside')).not.toContain('ReduceLogSumExp');
  });

  test('without any specialist it is the generalist at temperature 1', async () => {
    const random = createRandom('none');
    const ensemble = {
      ...randomEnsemble(random, { overlap: false }),
      specialists: [],
      generalistTemperature: 1,
      labelNoise: 0.05,
    };
    await expectAgreement(random, ensemble);
  });
});

test.each([{ top: 1 }, { top: 4 }, { mass: 0.15 }])(
  'the rule of the paper is minimised, too, for subsets that share no class, routed by %o',
  async (routing) => {
    const random = createRandom('paper graph', JSON.stringify(routing));
    await expectAgreement(random, randomEnsemble(random, { overlap: false, rule: 'paper', routing }));
  },
);

test.each([{ top: 1 }, { top: 3 }, { mass: 0.1 }])(
  'and for subsets that share classes, routed by %o',
  async (routing) => {
    const random = createRandom('paper graph of overlapping subsets', JSON.stringify(routing));
    await expectAgreement(random, randomEnsemble(random, { overlap: true, rule: 'paper', routing }));
  },
);

test.each([11, 21])('and in operator set %i', async (opset) => {
  const random = createRandom('paper graph', opset);
  const ensemble = randomEnsemble(random, { overlap: true, rule: 'paper', routing: { top: 2 } });
  await expectAgreement(random, ensemble, { opset });
});

test.each([false, true])(
  'where generalist and dustbins contradict each other without doubt, overlapping %s, the rule is exact, too',
  async (overlap) => {
    const random = createRandom('sharp', overlap ? 1 : 0);
    const ensemble = randomEnsemble(random, { overlap, rule: 'paper', routing: { top: 3 } });
    const certain = ensemble.specialists.map((one) => ({ ...one, correction: 30 * random.normal() }));
    await expectAgreement(random, { ...ensemble, specialists: certain }, { sharpness: 8 });
  },
);

test.each([2, 3, 5])('and for %i subsets that divide all classes among them', async (parts) => {
  for (let seed = 0; seed < 6; seed++) {
    const random = createRandom('partition', parts, seed);
    const { specialists, ...rest } = randomEnsemble(random, {
      overlap: false,
      rule: 'paper',
      routing: { top: classes },
    });
    const order = random.shuffle(Array.from({ length: classes }, (_, c) => c));
    const divided = specialists.slice(0, parts).map((one, part) => {
      const own = Int32Array.from(order.filter((_, place) => place % parts === part)).sort();
      const hidden = one.layers[0].bias.length;
      // Most say that an image is none of theirs, which cannot be true of all.
      const correction = 3 + 2 * random.normal();
      const layers = [one.layers[0], layer(random, hidden, own.length + 1)];
      return { ...one, classes: own, layers, correction };
    });
    await expectAgreement(random, { ...rest, specialists: divided });
  }
});

test('where the subsets hold every class, dustbins have no other classes to pay', async () => {
  const random = createRandom('every class');
  const { specialists, ...rest } = randomEnsemble(random, {
    overlap: true,
    rule: 'paper',
    routing: { top: 40 },
  });
  const third = Math.ceil(classes / 3);
  const whole = specialists.slice(0, 3).map((one, m) => {
    const own = Int32Array.from({ length: third + 4 }, (_, i) => (m * third + i) % classes).sort();
    return { ...one, classes: own, layers: [layer(random, width, 5), layer(random, 5, own.length + 1)] };
  });
  await expectAgreement(random, { ...rest, specialists: whole });
});

test('a rule that has no graph is refused', () => {
  const ensemble = randomEnsemble(createRandom(1), { overlap: false });
  const { writeGraph: _, ...withoutGraph } = ensemble.rule;
  const ofThumb = { ...ensemble, rule: { ...withoutGraph, name: 'of thumb' } };
  expect(() => fusionModel(ofThumb, 17)).toThrow(
    'the rule "of thumb" cannot be written as a graph: calibrate with --rule paper or --rule share-inside or --rule combine',
  );
});
