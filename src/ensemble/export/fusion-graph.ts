import type { GraphWriter } from '../../models/onnx/graph-writer.js';
import { type ExportedFusion, writeRouting, writeSpecialists, writeTables } from './query-graph.js';
import { fuse } from './rule-graphs.js';

/** Values of the graph that the fusion starts from. */
export interface FusionInputs {
  /** (batch, classes), the generalist's. */
  readonly logits: string;
  /** (batch, width) */
  readonly features: string;
}

/** Values that the fusion adds. */
export interface FusionOutputs {
  /** (batch, classes), fused. */
  readonly probabilities: string;
  /** (batch, classes), the generalist's at temperature 1. */
  readonly generalist: string;
}

/**
 * Writes routing, specialists, calibration and fusion of an ensemble into a graph, in standard operators without a
 * loop.
 *
 * The weights of all specialists are stored once and gathered by id for each image: subsets are filled up to the
 * largest, and layers to the widest, with what has no effect.
 *
 * @throws KdSpecError `option-invalid` for a rule that cannot be written
 */
export function writeFusion(
  graph: GraphWriter,
  inputs: FusionInputs,
  ensemble: ExportedFusion,
): FusionOutputs {
  const { classes, generalistTemperature, specialists } = ensemble;
  const generalist = graph.softmax(inputs.logits, 2);
  if (specialists.length === 0) return { probabilities: generalist, generalist };
  const tables = writeTables(graph, ensemble);
  const active = writeRouting(graph, generalist, ensemble, tables);
  const logits = writeSpecialists(graph, inputs.features, ensemble, active, tables);
  const softened =
    generalistTemperature === 1
      ? generalist
      : graph.softmax(graph.div(inputs.logits, graph.scalar(generalistTemperature)), 2);
  // One more column, of no mass, takes what only fills subsets up.
  const nothing = graph.mul(graph.slice(softened, 1, 0, 1), graph.scalar(0));
  const extended = graph.concat([softened, nothing], 1); // (batch, classes + 1)
  const fused = fuse(graph, extended, { ...active, logits }, ensemble);
  return { probabilities: graph.slice(fused, 1, 0, classes), generalist };
}
