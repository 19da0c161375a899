import * as tf from '@tensorflow/tfjs';
import type { BackendName } from '../compute/backend.js';
import { loadEnsemble } from '../ensemble/ensemble.js';
import { loadGeneralist } from '../models/checkpoint.js';
import { runNetwork } from '../models/run-network.js';
import { lowestLogProbability, type Question, type Teacher } from './teacher.js';

/**
 * A checkpoint as a teacher: a generalist, or a student.
 *
 * @param directory holds `config.json` and `model.safetensors`
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function checkpointTeacher(name: string, directory: string): Promise<Teacher> {
  const network = await loadGeneralist(directory);
  return {
    name,
    classes: network.definition.outputs,
    answersAnyImage: true,
    async answer({ images, shape }: Question) {
      const logits = tf.tidy(() => runNetwork(network, tf.tensor4d(images, [...shape])));
      try {
        return (await logits.data<'float32'>()).slice(); // (batch, classes)
      } finally {
        logits.dispose();
      }
    },
    dispose: () => network.dispose(),
  };
}

/**
 * A generalist fused with its specialists as a teacher.
 *
 * @param workspace a folder in which `kd-spec calibrate` has finished
 * @throws KdSpecError `not-found` or `checkpoint-invalid`
 */
export async function ensembleTeacher(
  name: string,
  workspace: string,
  { backend }: { backend: BackendName },
): Promise<Teacher> {
  const ensemble = await loadEnsemble(workspace, { backend });
  const classes = ensemble.classes.length;
  let kept = new Float32Array(); // for the distributions of a batch
  return {
    name,
    classes,
    answersAnyImage: true,
    async answer({ images, shape }: Question) {
      const input = tf.tensor4d(images, [...shape]);
      try {
        const room = kept.length < shape[0] * classes ? new Float32Array(shape[0] * classes) : kept;
        kept = new Float32Array(); // nobody else's until this answer is written
        const rows = await ensemble.predict(input, { out: room });
        const out = new Float32Array(shape[0] * classes);
        for (const [row, fused] of rows.entries())
          for (let index = 0; index < classes; index++)
            out[row * classes + index] = Math.max(lowestLogProbability, Math.log(fused[index]));
        kept = room;
        return out;
      } finally {
        input.dispose();
      }
    },
    dispose: () => ensemble.dispose(),
  };
}
