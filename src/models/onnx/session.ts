// What an ONNX model that runs takes and returns, wherever it runs.

/** The types of numbers that a foreign model's image input may have. */
export type InputType = 'float32' | 'float16' | 'float64' | 'uint8';

/** Numbers on their way into a model. */
export interface InputTensor {
  readonly type: InputType;
  /** float16 as its bits. */
  readonly data: Float32Array | Float64Array | Uint16Array | Uint8Array;
  readonly shape: readonly number[];
}

/** Numbers that a model returned. */
export interface OutputTensor {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

/** An ONNX model that runs. */
export interface OnnxSession {
  /** Runs that go on at the same time, if each has a lane of its own: 1 and more, and more once there is much to do. */
  readonly lanes: number;
  /**
   * @param feeds by the names of the model's inputs
   * @param outputs the names of those that are wanted
   * @param lane where it runs, from 0, beside others; none: alone
   * @throws KdSpecError `checkpoint-invalid` with what the runtime said
   */
  run(
    feeds: Readonly<Record<string, InputTensor>>,
    outputs: readonly string[],
    lane?: number,
  ): Promise<ReadonlyMap<string, OutputTensor>>;
  dispose(): void;
}

/** What went wrong, on one line and without what the runtime puts before it. */
export function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text.split('\n')[0];
  return line.length > 300 ? `${line.slice(0, 300)}...` : line;
}
