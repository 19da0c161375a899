import { KdSpecError } from '../../core/errors.js';
import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { fusionRules } from '../rules/index.js';
import { type ExportedFusion, writeRouting, writeTables } from './query-graph.js';
import { writeAnchors, writeSpecialists } from './specialist-graph.js';

/** Values of the graph that the fusion starts from; a row is an image. */
export interface FusionInputs {
  /** (batch, classes), the generalist's. */
  readonly logits: string;
  /** (batch, width) */
  readonly features: string;
  /**
   * (batch, classes), a distribution to fuse with instead of the generalist's at its temperature: what earlier specialists
   * made of it. Routing goes by the generalist in any case.
   */
  readonly start?: string | undefined;
}

/** Values that the fusion adds. */
export interface FusionOutputs {
  /** (batch, classes), fused. */
  readonly probabilities: string;
  /** (batch, classes), the generalist's at temperature 1. */
  readonly generalist: string;
  /** Writes what the queried specialists predict; undefined where there are none. */
  readonly trace?: (() => FusionTrace) | undefined;
}

/** What the queried specialists of an image predict. */
export interface FusionTrace {
  /** (batch, slots), float32: positions of specialists, ascending; their number stands for none. */
  readonly ids: string;
  /** (batch, slots, largest + 1), at temperature 1, the dustbin last, after its correction. */
  readonly probabilities: string;
}

/**
 * Writes routing, specialists, calibration and fusion of an ensemble into a graph, in standard operators without a
 * loop.
 *
 * The weights of all specialists are stored once. Small ones are gathered by position for each image; where that costs
 * more than a product of a few nodes for each specialist, the images are sorted by specialist and split. Subsets are
 * filled up to the largest, with what has no effect.
 *
 * @throws KdSpecError `option-invalid` for a rule that cannot be written
 */
export function writeFusion(
  graph: GraphWriter,
  { logits, features, start }: FusionInputs,
  ensemble: ExportedFusion,
): FusionOutputs {
  const { classes, generalistTemperature, labelNoise, specialists, rule, parameters } = ensemble;
  const generalist = graph.softmax(logits, 2);
  const softened =
    start ??
    (generalistTemperature === 1
      ? generalist
      : graph.softmax(graph.div(logits, graph.scalar(generalistTemperature)), 2));
  const withNoise = (q: string) =>
    labelNoise === 0
      ? q
      : graph.add(graph.mul(q, graph.scalar(1 - labelNoise)), graph.scalar(labelNoise / classes));
  if (specialists.length === 0) return { probabilities: withNoise(softened), generalist };
  if (rule.writeGraph === undefined) throw cannotBeWritten(rule.name);
  const tables = writeTables(graph, ensemble);
  const active = writeRouting(graph, generalist, ensemble, tables);
  const own = writeSpecialists(graph, features, ensemble, active, tables);
  const anchored = () => writeAnchors(graph, own, { logits, probabilities: generalist }, ensemble, active);
  const predicted = rule.usesDustbin(parameters) ? anchored() : own;
  // One more column, of no mass, takes what only fills subsets up.
  const nothing = graph.mul(graph.slice(softened, 1, 0, 1), graph.scalar(0));
  const extended = graph.concat([softened, nothing], 1); // (batch, classes + 1)
  const fused = rule.writeGraph(graph, extended, { ...active, logits: predicted }, parameters);
  return {
    probabilities: withNoise(graph.slice(fused, 1, 0, classes)),
    generalist,
    trace: () => ({
      ids: graph.castTo(active.ids, 'float32'),
      probabilities: graph.softmax(predicted === own ? anchored() : predicted, 3),
    }),
  };
}

function cannotBeWritten(rule: string): KdSpecError {
  const others = fusionRules.flatMap(({ name, writeGraph }) => (writeGraph ? [`--rule ${name}`] : []));
  return new KdSpecError(
    'option-invalid',
    `the rule "${rule}" cannot be written as a graph: calibrate with ${others.join(' or ')}`,
  );
}
