import type { ImageBatch, InputSpec } from './classifier.js';

/**
 * The frozen part of a generalist: images in, features out. The convolutions of a network, or an ONNX graph that was
 * cut before its head.
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
   */
  features(batch: ImageBatch): Promise<Float32Array>;
  dispose(): void;
}
