/** The library. Everything that a program needs to run, fuse and inspect an ensemble; the command line does the rest. */
export { type ErrorCode, errorCodes, KdSpecError } from './core/errors.js';
export { type Dataset, openDataset, type Split } from './data/dataset.js';
export { type Example, examples } from './data/examples.js';
export { type PredictionBatch, readPredictions } from './data/predictions.js';
export type { DatasetSource, ImageShape, LabelledImage, SplitName } from './data/source.js';
export { writeDataset } from './data/write-dataset.js';
export { loadStudent, type Student } from './distillation/student.js';
export { confusionAffinity, covarianceAffinity } from './ensemble/confusion/affinity.js';
export type { Classification, Ensemble } from './ensemble/ensemble.js';
export type { ImageTrace, SpecialistTrace } from './ensemble/inference.js';
export { type EnsembleRuntime, loadEnsemble } from './ensemble/load-ensemble.js';
export { createFuser, type Fused, fuse } from './ensemble/rules/paper.js';
export { dustbinCorrection } from './ensemble/specialist/dustbin.js';
export { fixedSizeSubsets, partitionSubsets, type Subset } from './ensemble/subsets/subsets.js';
export { readSubsets, writeSubsets } from './ensemble/subsets/subsets-file.js';
export type { CsrMatrix } from './math/csr.js';
export { onlineKMeans } from './math/kmeans/online-kmeans.js';
export type {
  Classifier,
  ClassNames,
  ImageBatch,
  InputSpec,
  PredictionOptions,
} from './models/classifier.js';
export type { RankedClass } from './models/ranked-class.js';

export type { TracingClassifier } from './serving/batcher.js';
export type { Gallery } from './serving/gallery.js';
export type { LogEntry } from './serving/messages.js';
export type { Servable } from './serving/served-model.js';
export { type ClassifierServer, createServer, type ServerOptions } from './serving/server.js';
