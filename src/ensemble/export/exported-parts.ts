import { KdSpecError } from '../../core/errors.js';
import { hasOriginal, readBackbone } from '../../models/checkpoint.js';
import type { ClassNames } from '../../models/classifier.js';
import { type FoldedLayer, foldedDenseLayers } from '../../models/folded-layers.js';
import { type Network, networkValues } from '../../models/network.js';
import { convolutionalFeatures, hiddenFeatures } from '../../models/network-definition.js';
import type { OnnxModel } from '../../models/onnx/model-file.js';
import { type OnnxBackboneDescription, readImportedModel } from '../../models/onnx/onnx-backbone.js';
import type { WeightPrecision } from '../../models/onnx/stored-weights.js';
import type { HostTensor } from '../../models/safetensors.js';
import type { NetworkEnsemble } from '../ensemble.js';
import type { EnsembleFile } from '../ensemble-file.js';
import { fusionRule } from '../rules/index.js';
import { massShift, parameterValue } from '../rules/rule.js';
import type { SpecialistNetworks } from '../specialist/specialist-networks.js';
import type { ExportedFusion, ExportedSpecialist } from './query-graph.js';

/** What is exported. */
export interface ExportedParts {
  readonly generalist: Network;
  readonly specialists: SpecialistNetworks;
  readonly settings: EnsembleFile;
  readonly classes: ClassNames;
  /** The model of an imported generalist, and how it is cut and fed. */
  readonly imported?:
    | {
        readonly model: OnnxModel;
        readonly backbone: OnnxBackboneDescription;
        /** Whether the generalist's last layer is another than the model's, which stays in the graph beside it. */
        readonly isRefitted?: boolean;
      }
    | undefined;
}

/**
 * What is exported of an ensemble.
 *
 * @param folder the artefact of its generalist
 */
export async function exportedParts(
  { generalist, specialistNetworks: specialists, settings, classes }: NetworkEnsemble,
  folder: string,
): Promise<ExportedParts> {
  const backbone = await readBackbone(folder);
  const imported =
    backbone === undefined
      ? undefined
      : { ...(await readImportedModel(folder, backbone)), isRefitted: hasOriginal(folder) };
  return { generalist, specialists, settings, classes, imported };
}

/** Generalist and specialists on host arrays, as the graph needs them. */
export interface HostParts {
  /** Tensors of the generalist by name. */
  readonly values: ReadonlyMap<string, HostTensor>;
  /** Its dense layers and, last, its head, unless that copies logits. */
  readonly layers: readonly FoldedLayer[];
  /** Whether specialists take the input of its head, not that of its dense layers. */
  readonly takesHidden: boolean;
  readonly fusion: ExportedFusion;
}

/**
 * Reads what a graph is made of out of networks.
 *
 * @throws KdSpecError `option-invalid` for what has no form as a graph: specialists that retrained convolutions or have
 * a full head, corrections that depend on the image, routing that is cut off
 */
export async function hostParts(
  { generalist, specialists, settings }: ExportedParts,
  precision: WeightPrecision,
): Promise<HostParts> {
  const { definition } = generalist;
  const values = await networkValues(generalist);
  const layers = foldedDenseLayers(definition, values);
  const kept = specialists.members.filter((_, position) => settings.specialists[position].kept);
  const takesHidden = kept.some(({ config }) => config.retrain === 'head');
  return {
    values,
    layers,
    takesHidden,
    fusion: {
      classes: definition.outputs,
      width: takesHidden ? hiddenFeatures(definition) : convolutionalFeatures(definition),
      generalistTemperature: settings.generalistTemperature,
      labelNoise: settings.labelNoise ?? 0,
      routing: routingOf(settings, kept, definition.outputs),
      rule: fusionRule(settings.rule),
      parameters: settings.parameters ?? {},
      precision,
      specialists: await Promise.all(
        specialists.members.flatMap((_, position) =>
          settings.specialists[position].kept ? [exported(specialists, settings, position, takesHidden)] : [],
        ),
      ),
    },
  };
}

async function exported(
  specialists: SpecialistNetworks,
  settings: EnsembleFile,
  position: number,
  takesHidden: boolean,
): Promise<ExportedSpecialist> {
  const { config } = specialists.members[position];
  const { temperature, weight, parameters = {} } = settings.specialists[position];
  const refuse = (what: string) =>
    new KdSpecError(
      'option-invalid',
      `specialist ${config.id} ${what}, which has no form as a graph: ONNX Runtime cannot run it, and kd-spec export ` +
        'writes its weights alone (--format safetensors)',
    );
  if (config.retrain === 'all') throw refuse('retrained its convolutions (--retrain all)');
  if ((config.retrain === 'head') !== takesHidden) throw refuse('retrained other layers than the others');
  if (config.head === 'full') throw refuse('has a full softmax (--specialist-head full)');
  const usesDustbin = fusionRule(settings.rule).usesDustbin(settings.parameters ?? {});
  if (config.dustbin.routed !== undefined && usesDustbin)
    throw refuse('has a dustbin correction that depends on the image (--routed-share)');
  return {
    id: config.id,
    classes: Int32Array.from(config.classes),
    layers: await specialists.layersOf(position),
    temperature,
    weight,
    massShift: parameterValue(massShift, parameters),
    correction: config.dustbin.correction,
    isAnchored: config.head === 'anchored',
  };
}

function routingOf(
  { routingTop, routingMass, routingMost }: EnsembleFile,
  specialists: SpecialistNetworks['members'],
  classes: number,
): ExportedFusion['routing'] {
  const covering = new Int32Array(classes);
  for (const { config } of specialists) for (const label of config.classes) covering[label]++;
  const most = covering.reduce((largest, count) => Math.max(largest, count), 0);
  const slots = typeof routingMass === 'number' ? Math.floor(most / routingMass) : routingTop * most;
  if (routingMost !== undefined && Math.min(slots, specialists.length) > routingMost) {
    throw new KdSpecError(
      'option-invalid',
      `up to ${slots} specialists may be queried for an image, and kd-spec takes the first ${routingMost}, which has no ` +
        'form as a graph: raise --routing-mass, or lower --routing-top',
    );
  }
  return typeof routingMass === 'number' ? { mass: routingMass } : { top: routingTop };
}
