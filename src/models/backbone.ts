import { checkBatch, disposed, type ImageBatch, type InputSpec, type Predict } from './classifier.js';

/**
 * The frozen part of a generalist: images in, features out. The lower layers of a network, or an ONNX graph that was
 * cut before its head. It owns resources until `dispose`; after it, `features` throws KdSpecError `disposed`.
 *
 * A generalist is a backbone and dense layers on its features, the last of them the head; a specialist is dense layers
 * on the same features.
 */
export interface Backbone {
  /** For a person. */
  readonly name: string;
  /** Features of an image. */
  readonly width: number;
  readonly input: InputSpec;
  /**
   * @param batch of images as `input` describes them
   * @returns (batch, width), a new array
   * @throws KdSpecError `image-shape` when the batch is not what `input` says, `disposed`
   */
  features(batch: ImageBatch): Promise<Float32Array>;
  /**
   * Of a model that was patched before: what its specialists make of what the head predicts, which later ones are fused with.
   *
   * @returns (batch, classes), a new array
   * @throws as `features`
   */
  readonly fusedBefore?: ((batch: ImageBatch) => Promise<Float32Array>) | undefined;
  /** Frees what it owns; a second call does nothing. */
  dispose(): void;
}

/** The dense layers that stand on a backbone. */
export interface DenseHead {
  readonly classes: number;
  /**
   * @param features (batch, width) as the backbone makes them
   * @param count images in the batch
   * @returns (batch, classes), a new array
   */
  logits(features: Float32Array, count: number): Promise<Float32Array>;
}

/** What differs from one kind of backbone to the next. */
export interface BackboneParts extends Pick<Backbone, 'name' | 'width' | 'input'> {
  /** Writes (batch, width) to `out`, which has as much room and no more. */
  readonly features: Predict;
  readonly fusedBefore?: Backbone['fusedBefore'];
  /** Called once. */
  readonly dispose: () => void;
}

/** Makes a backbone of one computation: checks every batch, and refuses to work after `dispose`. */
export function createBackbone(parts: BackboneParts): Backbone {
  const { name, width, input, fusedBefore } = parts;
  let isDisposed = false;
  const check = (batch: ImageBatch) => {
    if (isDisposed) throw disposed(name);
    checkBatch(parts, batch);
  };
  return {
    name,
    width,
    input,
    async features(batch) {
      check(batch);
      const out = new Float32Array(batch.count * width); // (batch, width)
      if (batch.count > 0) await parts.features(batch, out);
      return out;
    },
    fusedBefore:
      fusedBefore &&
      (async (batch) => {
        check(batch);
        return fusedBefore(batch);
      }),
    dispose() {
      if (!isDisposed) parts.dispose();
      isDisposed = true;
    },
  };
}
