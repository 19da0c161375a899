import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackendName, selectBackend } from '../compute/backend.js';
import { assert, KdSpecError } from '../core/errors.js';
import { imageFileBatches } from '../data/image-file-batches.js';
import { loadGeneralist } from '../models/checkpoint.js';
import {
  batchSizeFor,
  type Classifier,
  type ClassNames,
  createClassifier,
  type GuardedClassifier,
  type ImageBatch,
  type InputSpec,
  type PredictionOptions,
} from '../models/classifier.js';
import { type Network, networkValues, networkWithHead } from '../models/network.js';
import { networkClassNames } from '../models/network-classifier.js';
import { type RankedClass, rankClasses } from '../models/ranked-class.js';
import { type EnsembleFile, readEnsembleFile } from './ensemble-file.js';
import { type AlsoQuery, createInference, type ImageTrace, type Inference } from './inference.js';
import { loadSpecialist, type Specialist, type SpecialistConfig } from './specialist/specialist.js';
import { SpecialistNetworks } from './specialist/specialist-networks.js';

/** How one image was classified, by name. */
export interface Classification {
  /** The generalist's most probable classes, descending. */
  readonly generalist: readonly RankedClass[];
  /** The ensemble's most probable classes, descending. */
  readonly ensemble: readonly RankedClass[];
  /** What each active specialist predicted: the mass of its dustbin and its most probable classes. */
  readonly specialists: readonly {
    readonly id: number;
    readonly dustbin: number;
    readonly top: readonly RankedClass[];
  }[];
}

/** Options of {@link NetworkEnsemble.trace}. */
export interface TraceOptions extends PredictionOptions {
  /** Further specialists to query for an image, by position, for the trace alone. */
  readonly also?: AlsoQuery | undefined;
}

/**
 * A generalist with its specialists, as one classifier: the networks of a workspace, or a file that was exported. It owns
 * what it was loaded from until `dispose`.
 */
export interface Ensemble extends Classifier {
  /** Those that traces name by position. */
  readonly specialists: readonly { readonly config: Pick<SpecialistConfig, 'id' | 'classes'> }[];
  /** Whether each of them takes part; undefined where all do, as in a file, which has no others. */
  readonly kept?: readonly boolean[] | undefined;
  /** Specialists that take part, also those that no trace names since a file was exported without one. */
  readonly specialistCount: number;
  /**
   * What the generalist's logits are divided by, where specialists are queried and where none is; undefined where a file
   * does not say it.
   */
  readonly generalistTemperature?: number | undefined;
  /** The share of every distribution that is spread over all classes: see `underLabelNoise`; undefined: none. */
  readonly labelNoise?: number | undefined;
  /**
   * How a batch is classified: the same distributions as `probabilities`, by the same computation, with what the
   * generalist and each queried specialist predicted. A file names its specialists where it was exported with a trace.
   *
   * @returns one for each image, in order
   * @throws as `probabilities`
   */
  trace(batch: ImageBatch, options?: PredictionOptions): Promise<readonly ImageTrace[]>;
  /**
   * Classifies image files; many at once are faster than one by one.
   *
   * @param files paths, or the bytes of PNG, JPEG or WebP files
   * @param options.top how many classes to name
   * @throws KdSpecError `not-found`, `image-empty`, `image-unreadable`, `image-too-large`, `disposed`
   */
  classify(
    files: readonly (string | Uint8Array)[],
    options?: { readonly top?: number },
  ): Promise<readonly Classification[]>;
}

/** Classifies image files by the traces of an ensemble: what {@link Ensemble.classify} does, whatever is behind it. */
export async function classifyFiles(
  ensemble: Pick<Ensemble, 'input' | 'classes' | 'specialists' | 'trace'>,
  files: readonly (string | Uint8Array)[],
  top: number,
): Promise<readonly Classification[]> {
  const { input, classes } = ensemble;
  assert(input.kind === 'images', 'an ensemble predicts for images');
  const found: Classification[] = [];
  for await (const batch of imageFileBatches(files, input.image, batchSizeFor(classes.length)))
    for (const trace of await ensemble.trace(batch)) found.push(classificationOf(trace, ensemble, top));
  return found;
}

/** An ensemble of networks on a backend, which training, evaluation and export look into. */
export class NetworkEnsemble implements Ensemble {
  readonly name: string;
  readonly classes: ClassNames;
  readonly input: InputSpec;
  readonly generalist: Network;
  readonly specialists: SpecialistNetworks['members'];
  readonly specialistNetworks: SpecialistNetworks;
  readonly settings: EnsembleFile;
  readonly kept: readonly boolean[];
  readonly specialistCount: number;
  readonly generalistTemperature: number;
  readonly labelNoise: number;
  private readonly inference: Inference;
  private readonly classifier: GuardedClassifier;

  constructor(
    classes: ClassNames,
    generalist: Network,
    specialists: SpecialistNetworks,
    settings: EnsembleFile,
    { name = 'the ensemble' }: { readonly name?: string } = {},
  ) {
    this.name = name;
    this.classes = classes;
    this.input = generalist.images;
    this.generalist = generalist;
    this.specialists = specialists.members;
    this.specialistNetworks = specialists;
    this.settings = settings;
    this.kept = settings.specialists.map(({ kept }) => kept);
    this.specialistCount = this.kept.filter(Boolean).length;
    this.generalistTemperature = settings.generalistTemperature;
    this.labelNoise = settings.labelNoise ?? 0;
    this.inference = createInference(generalist, specialists, settings);
    this.classifier = createClassifier({
      name,
      classes,
      input: this.input,
      probabilities: (batch, out) => this.inference.predict(batch, out),
      dispose() {
        generalist.dispose();
        specialists.dispose();
      },
    });
  }

  /**
   * The fused distributions of a batch (section 5.4). A large batch is faster than a small one: see `batchSizeFor`.
   *
   * @returns (batch, classes)
   * @throws KdSpecError `image-shape`, `disposed`; `fusion-input` when an output of a network is not a number
   */
  probabilities(batch: ImageBatch, options?: PredictionOptions): Promise<Float32Array> {
    return this.classifier.probabilities(batch, options);
  }

  /** The logarithms of {@link probabilities}. */
  logits(batch: ImageBatch, options?: PredictionOptions): Promise<Float32Array> {
    return this.classifier.logits(batch, options);
  }

  /**
   * How a batch is classified: the same distributions as {@link probabilities}, by the same computation, with what each
   * specialist predicted, its dustbin and its correction, and how mass moved.
   *
   * @returns one for each image, in order
   * @throws as `probabilities`
   */
  async trace(batch: ImageBatch, { out, also }: TraceOptions = {}): Promise<readonly ImageTrace[]> {
    return this.inference.trace(batch, this.classifier.roomFor(batch, out), also);
  }

  async classify(
    files: readonly (string | Uint8Array)[],
    { top = 5 }: { readonly top?: number } = {},
  ): Promise<readonly Classification[]> {
    return classifyFiles(this, files, top);
  }

  /** Frees the networks; a second call does nothing. */
  dispose(): void {
    this.classifier.dispose();
  }
}

/**
 * A trace by name: the most probable classes of generalist, ensemble and each specialist.
 *
 * @param top how many classes to name
 */
export function classificationOf(
  { generalist, ensemble, specialists }: ImageTrace,
  model: Pick<Ensemble, 'classes' | 'specialists'>,
  top: number,
): Classification {
  return {
    generalist: rankClasses(generalist, top, model.classes),
    ensemble: rankClasses(ensemble, top, model.classes),
    specialists: specialists.map(({ position, probabilities }) => {
      const { id, classes } = model.specialists[position].config;
      const named = probabilities.subarray(0, classes.length);
      return {
        id,
        dustbin: probabilities[classes.length],
        top: rankClasses(named, top, model.classes, classes),
      };
    }),
  };
}

/**
 * Loads the networks of a workspace's ensemble.
 *
 * @param workspace a folder in which `kd-spec run` or `kd-spec calibrate` has finished
 * @param options.store as `loadGeneralist` takes it
 * @param options.asTeacher without label noise, which would level what soft targets say of improbable classes
 * @throws KdSpecError `not-found` or `checkpoint-invalid` when something is missing or damaged
 */
export async function loadNetworkEnsemble(
  workspace: string,
  {
    backend = 'auto',
    name,
    store,
    asTeacher = false,
  }: {
    readonly backend?: BackendName;
    readonly name?: string | undefined;
    readonly store?: string | undefined;
    readonly asTeacher?: boolean;
  } = {},
): Promise<NetworkEnsemble> {
  const stored = await readEnsembleFile(join(workspace, 'ensemble'));
  const settings = asTeacher ? { ...stored, labelNoise: 0 } : stored;
  const { operations } = await selectBackend(backend);
  const generalist = await loadGeneralist(join(workspace, 'generalist'), operations, { store });
  let specialists: SpecialistNetworks | undefined;
  try {
    const classes = await networkClassNames(join(workspace, 'generalist'), generalist.definition.outputs);
    specialists = await loadSpecialists(join(workspace, 'specialists'), generalist);
    const ids = specialists.members.map(({ config }) => config.id).join();
    if (ids !== settings.specialists.map(({ id }) => id).join()) {
      throw new KdSpecError(
        'checkpoint-invalid',
        `${workspace}: the ensemble was calibrated for other specialists than those in specialists/; run kd-spec calibrate again`,
      );
    }
    return new NetworkEnsemble(classes, generalist, specialists, settings, {
      ...(name !== undefined && { name }),
    });
  } catch (error) {
    generalist.dispose();
    specialists?.dispose();
    throw error;
  }
}

/**
 * A network as an ensemble without specialists, which predicts what the network does: a student, where an ensemble is
 * wanted.
 *
 * @param directory of its artefact
 * @param options.head another than its own
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function networkAsEnsemble(
  directory: string,
  {
    backend,
    name,
    head,
  }: {
    readonly backend: BackendName;
    readonly name: string;
    readonly head?: Parameters<typeof networkWithHead>[1];
  },
): Promise<NetworkEnsemble> {
  const { operations } = await selectBackend(backend);
  const stored = await loadGeneralist(directory, operations);
  const network = head ? networkWithHead(stored, head) : stored;
  try {
    const classes = await networkClassNames(directory, network.definition.outputs);
    const settings = { routingTop: 1, rule: 'combine', generalistTemperature: 1, specialists: [] };
    return new NetworkEnsemble(classes, network, new SpecialistNetworks(operations, []), settings, { name });
  } catch (error) {
    network.dispose();
    throw error;
  }
}

/** All specialists of a folder, by ascending id, on the backend of their generalist. */
export async function loadSpecialists(directory: string, generalist: Network): Promise<SpecialistNetworks> {
  return new SpecialistNetworks(generalist.operations, await readSpecialists(directory, generalist));
}

/** All specialists of a folder as they are stored, by ascending id. */
export async function readSpecialists(
  directory: string,
  generalist: Network,
): Promise<readonly Specialist[]> {
  const values = await networkValues(generalist);
  const names = await readdir(directory).catch(() => {
    throw new KdSpecError('not-found', `no specialists at ${directory}: run kd-spec train-specialists first`);
  });
  const ids = names.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(a) - Number(b));
  const specialists: Specialist[] = [];
  const classes = generalist.definition.outputs;
  for (const id of ids) specialists.push(await loadSpecialist(join(directory, id), values, classes));
  return specialists;
}
