import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type BackendName, selectBackend } from '../compute/backend.js';
import type { Tensor4D } from '../compute/operations.js';
import { KdSpecError } from '../core/errors.js';
import { imageFileBatches } from '../data/image-file-batches.js';
import { softmax } from '../math/softmax.js';
import { loadGeneralist } from '../models/checkpoint.js';
import { batchSizeFor } from '../models/classifier.js';
import { type Network, networkValues } from '../models/network.js';
import { networkClassNames } from '../models/network-classifier.js';
import { type RankedClass, rankClasses } from '../models/ranked-class.js';
import { type CalibratedFuser, createCalibratedFuser } from './calibration/calibrated-fusion.js';
import { type Consultation, consult, type GeneralistAnswer } from './consult.js';
import { type EnsembleFile, readEnsembleFile } from './ensemble-file.js';
import { createPredictor, type PredictOptions, type Predictor, type Route, type Rows } from './predict.js';
import { activeSpecialists } from './routing.js';
import { loadSpecialist, type Specialist } from './specialist/specialist.js';
import { indexMembership, type SubsetMembership, specialistsOf } from './subsets/membership.js';

/** What is known about one image. */
export interface Answer {
  /** The generalist's most probable classes, descending. */
  readonly generalist: readonly RankedClass[];
  /** The ensemble's most probable classes, descending. */
  readonly ensemble: readonly RankedClass[];
  /** What each active specialist said: the mass of its dustbin and its most probable classes. */
  readonly specialists: readonly {
    readonly id: number;
    readonly dustbin: number;
    readonly top: readonly RankedClass[];
  }[];
}

/** The distributions behind an {@link Answer}. */
export interface Distributions {
  /** (classes) */
  readonly generalist: Float32Array;
  /** (classes) */
  readonly ensemble: Float64Array;
  /** Those that were asked; only the active ones took part in the fusion. */
  readonly specialists: readonly {
    /** Position in `ensemble.specialists`. */
    readonly position: number;
    readonly isActive: boolean;
    /** (s + 1), the dustbin last. */
    readonly probabilities: Float64Array;
  }[];
}

/** A generalist with its specialists, ready to answer. Owns its networks until `dispose`. */
export class Ensemble {
  /** Names of the classes. */
  readonly classes: readonly string[];
  readonly generalist: Network;
  readonly specialists: readonly Specialist[];
  readonly settings: EnsembleFile;
  /** The specialists of each class, whether kept or not, by position. */
  readonly membership: SubsetMembership;
  /** The same of the kept ones. */
  private readonly called: SubsetMembership;
  private readonly fuse: CalibratedFuser;
  private readonly subsets: readonly Int32Array[];
  private readonly predictor: Predictor;

  constructor(
    classes: readonly string[],
    generalist: Network,
    specialists: readonly Specialist[],
    settings: EnsembleFile,
  ) {
    this.classes = classes;
    this.generalist = generalist;
    this.specialists = specialists;
    this.settings = settings;
    const ofEach = specialists.map(({ config }) => config);
    this.membership = indexMembership(ofEach, classes.length);
    this.called = indexMembership(
      ofEach.map((config, position) => (settings.specialists[position].kept ? config : { classes: [] })),
      classes.length,
    );
    this.fuse = createCalibratedFuser(settings, classes.length);
    this.subsets = specialists.map(({ config }) => Int32Array.from(config.classes));
    this.predictor = createPredictor(generalist, specialists, settings, this.shortestRoute());
  }

  /**
   * The ensemble's distributions for a batch, and nothing else: the fast way. A large batch is faster than a small
   * one, as each specialist answers for all its images at once; `batch x classes` floats are returned.
   *
   * @param images (batch, height, width, channels), in [0, 1]
   * @param options.out (batch * classes or more), where they are written instead of into a new array: with one array
   *   for all batches a batch is much faster
   * @returns one for each image, in order, (classes)
   * @throws KdSpecError `fusion-input` when an output of a network is not a number
   */
  predict(images: Tensor4D, options: PredictOptions = {}): Promise<Rows> {
    return this.predictor(images, options);
  }

  /**
   * The generalist's and the ensemble's distributions for a batch (section 5.4).
   *
   * @param images (batch, height, width, channels), in [0, 1]
   * @param alsoAsk further specialists to ask about an image, by position, whose answers do not enter the fusion
   * @returns one for each image, in order
   */
  async distributions(
    images: Tensor4D,
    alsoAsk: (image: number) => readonly number[] = () => [],
  ): Promise<readonly Distributions[]> {
    const active: (readonly number[])[] = [];
    const choose = ({ probabilities }: GeneralistAnswer, image: number) => {
      active[image] = this.route(probabilities);
      return [...new Set([...active[image], ...alsoAsk(image)])];
    };
    const temperature = this.settings.generalistTemperature;
    const consultations = await consult(this.generalist, this.specialists, images, choose, { temperature });
    const classes = this.classes.length;
    const fused = new Float64Array(consultations.length * classes); // one memory for the batch
    return consultations.map((consultation, image) =>
      this.fuseConsultation(
        consultation,
        active[image],
        fused.subarray(image * classes, (image + 1) * classes),
      ),
    );
  }

  /**
   * Classifies image files; many at once are faster than one by one.
   *
   * @param files paths, or the bytes of PNG, JPEG or WebP files
   * @param options.top how many classes to name
   * @throws KdSpecError `not-found`, `image-empty`, `image-unreadable`, `image-too-large`
   */
  async classify(
    files: readonly (string | Uint8Array)[],
    { top = 5 }: { top?: number } = {},
  ): Promise<readonly Answer[]> {
    const { input } = this.generalist.definition;
    const answers: Answer[] = [];
    for await (const batch of imageFileBatches(files, input, batchSizeFor(this.classes.length))) {
      const { height, width, channels } = input;
      const shape = [batch.count, height, width, channels] as const;
      const images = this.generalist.operations.tensor(batch.images, shape);
      const distributions = await this.distributions(images);
      images.dispose();
      answers.push(...distributions.map((one) => this.describe(one, top)));
    }
    return answers;
  }

  dispose(): void {
    this.generalist.dispose();
    for (const { network } of this.specialists) network.dispose();
  }

  /** The kept specialists that the generalist's answer calls, by position. */
  private route(probabilities: Float32Array): readonly number[] {
    const { routingTop: top, routingMass: mass } = this.settings;
    return activeSpecialists(probabilities, this.called, { top, mass });
  }

  /** The same, from the most probable class alone where that decides. */
  private shortestRoute(): Route {
    const { routingTop, routingMass } = this.settings;
    const isByMass = typeof routingMass === 'number';
    if (!isByMass && routingTop === 1)
      return { by: 'first', call: (first) => [...specialistsOf(first, this.called)] };
    return {
      by: 'distribution',
      call: (probabilities) => this.route(probabilities),
      atTemperatureOne: isByMass,
    };
  }

  private fuseConsultation(
    { generalist, specialists }: Consultation,
    active: readonly number[],
    out: Float64Array,
  ): Distributions {
    const speaking = specialists
      .filter(({ specialist }) => active.includes(specialist))
      .map(({ specialist, logits }) => ({
        id: this.specialists[specialist].config.id,
        classes: this.subsets[specialist],
        logits,
      }));
    return {
      generalist: generalist.probabilities,
      ensemble: this.fuse(generalist.softened, speaking, { out }),
      specialists: specialists.map(({ specialist, logits }) => ({
        position: specialist,
        isActive: active.includes(specialist),
        probabilities: softmax(logits),
      })),
    };
  }

  private describe({ generalist, ensemble, specialists }: Distributions, top: number): Answer {
    return {
      generalist: rankClasses(generalist, top, this.classes),
      ensemble: rankClasses(ensemble, top, this.classes),
      specialists: specialists.map(({ position, probabilities }) => {
        const { id, classes } = this.specialists[position].config;
        const named = probabilities.subarray(0, classes.length);
        return {
          id,
          dustbin: probabilities[classes.length],
          top: rankClasses(named, top, this.classes, classes),
        };
      }),
    };
  }
}

/**
 * Loads the ensemble of a workspace.
 *
 * @param workspace a folder in which `kd-spec run` or `kd-spec calibrate` has finished
 * @throws KdSpecError `not-found` or `checkpoint-invalid` when something is missing or damaged
 *
 * @example
 * const ensemble = await loadEnsemble('kd-workspace');
 * const [answer] = await ensemble.classify(['glyph.png']);
 * console.log(answer.ensemble[0].class);
 * ensemble.dispose();
 */
export async function loadEnsemble(
  workspace: string,
  { backend = 'auto' }: { backend?: BackendName } = {},
): Promise<Ensemble> {
  const { operations } = await selectBackend(backend);
  const settings = await readEnsembleFile(join(workspace, 'ensemble'));
  const generalist = await loadGeneralist(join(workspace, 'generalist'), operations);
  const classes = await networkClassNames(join(workspace, 'generalist'), generalist.definition.outputs);
  const specialists = await loadSpecialists(join(workspace, 'specialists'), generalist);
  const ids = specialists.map(({ config }) => config.id).join();
  if (ids !== settings.specialists.map(({ id }) => id).join()) {
    throw new KdSpecError(
      'checkpoint-invalid',
      `${workspace}: the ensemble was calibrated for other specialists than those in specialists/; run kd-spec calibrate again`,
    );
  }
  return new Ensemble(classes, generalist, specialists, settings);
}

/** All specialists of a folder, by ascending id. */
export async function loadSpecialists(
  directory: string,
  generalist: Network,
): Promise<readonly Specialist[]> {
  const values = await networkValues(generalist);
  const names = await readdir(directory).catch(() => {
    throw new KdSpecError('not-found', `no specialists at ${directory}: run kd-spec train-specialists first`);
  });
  const ids = names.filter((name) => /^\d+$/.test(name)).sort((a, b) => Number(a) - Number(b));
  const specialists: Specialist[] = [];
  for (const id of ids)
    specialists.push(await loadSpecialist(join(directory, id), generalist.operations, values));
  return specialists;
}
