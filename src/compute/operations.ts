import type { CsrMatrix } from '../math/csr.js';

// What networks, training and inference are made of, on one backend. A backend is chosen once (`selectBackend`) and
// its operations are passed in: code that computes takes an `Operations`, or a network, which carries the one it lives on.

/**
 * Numbers in the memory of a backend, in row-major order. It lives until it is disposed of, or until the scope
 * (`Operations.tidy`) ends in which it was made.
 */
export interface Tensor<Shape extends readonly number[] = readonly number[]> {
  readonly shape: Shape;
  /** The product of the shape. */
  readonly size: number;
  dispose(): void;
}

/** One value; its shape is []. */
export type Scalar = Tensor;
export type Tensor1D = Tensor<readonly [number]>;
export type Tensor2D = Tensor<readonly [number, number]>;
export type Tensor3D = Tensor<readonly [number, number, number]>;
export type Tensor4D = Tensor<readonly [number, number, number, number]>;

/** A tensor whose values can be replaced, and by which a gradient can be taken. No scope ends its life. */
export type Variable<T extends Tensor = Tensor> = T & {
  /** No other variable of the process has it. */
  readonly name: string;
};

/** What a scope may return: tensors survive it in these. */
export type Survivors =
  | Tensor
  // biome-ignore lint/suspicious/noConfusingVoidType: a scope may return nothing
  | void
  | readonly Survivors[]
  | { readonly [name: string]: Survivors };

/** What follows a layer in the same pass over memory, forward and backward. */
export type Activation = 'none' | 'relu';

export interface Conv2dOptions {
  /** Step between windows in both directions, 1 or more; 1 by default. */
  readonly strides?: number;
  /** `same` by default. */
  readonly padding?: 'same' | 'valid';
  /** Whether the gradient flows on into the input; a first layer saves its cost with `false` and gets zeros. */
  readonly inputGradient?: boolean;
}

export interface DenseOptions {
  /** Whether the gradient flows on into the input; a first layer saves its cost with `false` and gets zeros. */
  readonly inputGradient?: boolean;
  /** Whether the weights have a gradient; a layer whose weights stay saves its cost with `false`, and they get zeros. */
  readonly weightsGradient?: boolean;
}

export interface GroupedDenseOptions {
  /** `none` by default. */
  readonly activation?: Activation;
}

export interface MaxPool2dOptions {
  /** Height and width of the window, 2 by default. */
  readonly size?: number;
  /** Step between windows; the size of the window when left out. */
  readonly strides?: number;
  /** `valid` by default. */
  readonly padding?: 'same' | 'valid';
}

/** The tensors of a batch normalisation, each (channels). */
export interface Normalisation<Statistic extends Tensor1D = Tensor1D> {
  /** Multiplies the normalised values. */
  readonly scale: Tensor1D;
  /** Is added to them. */
  readonly bias: Tensor1D;
  readonly mean: Statistic;
  /** 0 or more. */
  readonly variance: Statistic;
}

export interface NormaliseOptions {
  /** Added to the variance before its square root is taken, 0.001 by default. */
  readonly epsilon?: number;
  /** `none` by default. */
  readonly activation?: Activation;
}

export interface BatchNormaliseOptions extends NormaliseOptions {
  /** Share of a running statistic that a batch leaves, in [0, 1]; 0.9 by default. */
  readonly momentum?: number;
}

export interface SoftmaxCrossEntropyOptions {
  /** Share of the target that is spread evenly over all classes, in [0, 1); 0 by default. */
  readonly labelSmoothing?: number;
}

/**
 * What the mass is taken to be that a row of targets leaves over, `1 - sum of its entries`.
 *
 * `spread`: evenly on the classes that the row does not list. `bucket`: on all of them together, and nothing is
 * said about how they share it: the loss compares it with the sum of their probabilities.
 */
export type RemainingMass = 'spread' | 'bucket';

export interface SoftTargetOptions {
  /** `spread` by default. */
  readonly rest?: RemainingMass;
  /** (batch), the factor of each row's loss; 1 by default. */
  readonly rowWeights?: Float32Array;
}

export interface AdamWOptions {
  /** Step size, above 0. */
  readonly learningRate: number;
  /** 0.9 by default. */
  readonly beta1?: number;
  /** 0.999 by default. */
  readonly beta2?: number;
  /** 1e-8 by default. */
  readonly epsilon?: number;
  /** Share of the parameter, times the learning rate, that is taken off at each step; 0 by default. */
  readonly weightDecay?: number;
  /** Number of this step, from 1. */
  readonly step: number;
}

/** The running means of the gradient and of its square, both of the parameter's shape, zero at first. */
export interface AdamMoments {
  readonly first: Variable;
  readonly second: Variable;
}

export interface SgdOptions {
  /** Step size, above 0. */
  readonly learningRate: number;
  /** Share of the velocity that lives on, in [0, 1); 0.9 by default. */
  readonly momentum?: number;
  /** Share of the parameter, times the learning rate, that is taken off at each step; 0 by default. */
  readonly weightDecay?: number;
  /** Whether to look ahead along the velocity (Nesterov). */
  readonly nesterov?: boolean;
}

/** What {@link GeometricMean} found out on its way. */
export interface MeanStatistics {
  /** Of the masses; not a number if a logit is not finite. */
  readonly sum: number;
  /** Of the means. */
  readonly total: number;
  readonly largestLogit: number;
  readonly smallestLogit: number;
  /** Of `exp(scale (z_i - max z))`, if a scale was given; else 0. */
  readonly exponentials: number;
}

/** Working memory for many means of two distributions over some classes. */
export interface GeometricMean {
  /** Where masses are written, from 0 on, and their means found; and logits, from `logitsAt` on. */
  values(): Float32Array;
  readonly logitsAt: number;
  /**
   * Replaces the first `count` masses q by `exp(v_i - max v)`, `v_i = a log q_i + b z_i`.
   *
   * @param smallest what smaller masses count as, above the smallest normal number
   * @param scale of the logits, where the sum of their exponentials is wanted, too
   */
  run(count: number, a: number, b: number, smallest: number, scale?: number): MeanStatistics;
  /** Whether values lie in the backend's memory, as those of {@link Operations.valuesInPlace} do. */
  reaches(values: Float32Array): boolean;
  /** Multiplies values that it reaches by a factor. */
  scale(values: Float32Array, factor: number): void;
}

/** A scalar and its gradients. */
export interface ValueAndGradients {
  readonly value: Scalar;
  /** Of each variable's shape, in the order of the variables. */
  readonly gradients: readonly Tensor[];
}

/**
 * Everything that networks, training and inference are made of, on one backend.
 *
 * Shapes that do not agree are a defect of the caller and throw an Error. Operations are synchronous, but reading is
 * not: only `read` and `firstLargest` wait for the backend. A program that computes with TensorFlow.js itself keeps
 * its own backend: each operation, and each scope as a whole, runs on this one and puts the other back.
 */
export interface Operations {
  /** The backend's name, as `--backend` takes it. */
  readonly backend: string;
  /** What it computes on, for a person, where that has a name of its own. */
  readonly device?: string;

  // Scopes and variables

  /**
   * Runs a function; what tensors it made, and does not return, are disposed of.
   *
   * @param scope synchronous
   * @returns what it returns
   */
  tidy<T extends Survivors>(scope: () => T): T;
  /** Disposes of tensors and variables, also inside of arrays and objects. */
  dispose(tensors: Survivors): void;
  /** A tensor of a host array's values: float32 of a Float32Array, int32 of an Int32Array. */
  tensor<Shape extends readonly number[] | []>(
    values: Float32Array | Int32Array,
    shape: Shape,
  ): Tensor<Shape>;
  /** A variable that begins with a host array's values. */
  variable<Shape extends readonly number[] | []>(values: Float32Array, shape: Shape): Variable<Tensor<Shape>>;
  /** Replaces a variable's values by a host array's. */
  assign(variable: Variable, values: Float32Array): void;
  /** The values of a float32 tensor, copied to the host: the array is the caller's. */
  read(tensor: Tensor): Promise<Float32Array>;
  /** Whether all values of all tensors are finite. */
  areFinite(tensors: readonly Tensor[]): Promise<boolean>;
  /**
   * A scalar and its gradients by variables.
   *
   * @param loss computes it from the variables
   * @throws Error when it does not depend on one of them
   */
  valueAndGradients(loss: () => Scalar, variables: readonly Variable[]): ValueAndGradients;

  // Algebra. Shapes are broadcast as everywhere: from the last axis on, an extent of 1 fits any.

  add<T extends Tensor>(a: T, b: Tensor | number): T;
  sub<T extends Tensor>(a: T, b: Tensor | number): T;
  mul<T extends Tensor>(a: T, b: Tensor | number): T;
  div<T extends Tensor>(a: T, b: Tensor | number): T;
  square<T extends Tensor>(x: T): T;
  /** `x ** 0.5`, of values of 0 or more; its gradient is not finite at 0. */
  sqrt<T extends Tensor>(x: T): T;
  /** `max(x, 0)`. */
  relu<T extends Tensor>(x: T): T;
  /** Over all values. */
  sum(x: Tensor): Scalar;
  /** Over each row: (rows, columns) to (rows). */
  rowMeans(matrix: Tensor2D): Tensor1D;
  /** `log sum_j exp(x_j)` over each row: (rows, columns) to (rows). */
  rowLogSumExps(matrix: Tensor2D): Tensor1D;
  /** `exp(x_j) / sum_k exp(x_k)` in each row. */
  softmax(matrix: Tensor2D): Tensor2D;
  /** (m, k) times (k, n). */
  matMul(a: Tensor2D, b: Tensor2D): Tensor2D;
  /** The same values in another shape; -1 stands for the extent that fits. */
  reshape<Shape extends readonly number[] | []>(x: Tensor, shape: Shape): Tensor<Shape>;
  /** Joins tensors along an axis, the first by default; their other extents agree. */
  concat<T extends Tensor>(tensors: readonly T[], axis?: number): T;
  /** 1 where a column is the row's index, else 0: int32 (rows) to float32 (rows, columns). */
  oneHot(indices: Tensor1D, columns: number): Tensor2D;

  // Rows and columns

  /**
   * Consecutive rows of a tensor, without a gradient.
   *
   * @param tensor (rows, ...), float32
   * @param start the first row
   * @param count 1 or more; `start + count` is at most the number of rows
   * @returns (count, ...)
   */
  rowRange<T extends Tensor>(tensor: T, start: number, count: number): T;
  /** Consecutive columns, to the last one if no count is given: (rows, columns) to (rows, count). */
  columnRange(matrix: Tensor2D, start: number, count?: number): Tensor2D;
  /**
   * The rows of a matrix at the given indices; the gradient adds the rows up where an index repeats.
   *
   * Costs a copy of the rows; the gradient has the shape of the whole matrix.
   *
   * @param matrix (rows, columns)
   * @param indices (count), int32, each in [0, rows)
   * @returns (count, columns)
   * @throws KdSpecError `option-invalid` when an index is no row, on wasm
   */
  gatherRows(matrix: Tensor2D, indices: Tensor1D): Tensor2D;
  /** The columns of a matrix at the given indices, int32 (count): (rows, columns) to (rows, count). */
  gatherColumns(matrix: Tensor2D, indices: Tensor1D): Tensor2D;
  /**
   * The column of each row's largest value; of equal ones the first.
   *
   * @param matrix (rows, columns), no value of which is NaN; of a row that has one any column may be told
   * @returns (rows)
   */
  firstLargest(matrix: Tensor2D): Promise<Int32Array>;
  /**
   * The values of a matrix as they lie in the backend's memory.
   *
   * @param matrix (rows, columns)
   * @returns (rows * columns), good until the next operation of the backend; undefined on backends whose memory
   *   JavaScript cannot see
   */
  valuesInPlace(matrix: Tensor2D): Float32Array | undefined;
  /**
   * The weighted geometric mean of a distribution with a softmax, by a kernel on the host: several times faster than
   * `Math.log` and `Math.exp` in JavaScript, in single precision.
   *
   * Its memory is shared with every other operation: nothing of it outlives one.
   *
   * @param most classes
   * @returns undefined where the classes are too many, or on a backend without the kernel
   */
  geometricMean(most: number): GeometricMean | undefined;

  // Layers

  /**
   * A two-dimensional convolution without bias (cross-correlation, as everywhere in the field).
   *
   * Costs `2 filterHeight filterWidth inputs outputs` floating-point operations a window, and each gradient as many.
   *
   * @param x (batch, height, width, inputs)
   * @param filter (filterHeight, filterWidth, inputs, outputs)
   * @returns (batch, outputHeight, outputWidth, outputs)
   * @see Goodfellow, Bengio and Courville, Deep Learning, section 9.1
   */
  conv2d(x: Tensor4D, filter: Tensor4D, options?: Conv2dOptions): Tensor4D;
  /**
   * A fully connected layer without activation: `output = x W + b`.
   *
   * Its gradients are `dx = dy W'`, `dW = x' dy` and `db = sum over rows of dy`. Costs `2 batch inputs units`
   * floating-point operations, and its gradients as many each.
   *
   * @param x (batch, inputs)
   * @param weights (inputs, units)
   * @param bias (units); undefined for none
   * @returns (batch, units)
   * @see Goodfellow, Bengio and Courville, Deep Learning, section 6.5.4, for the gradients
   */
  dense(x: Tensor2D, weights: Tensor2D, bias: Tensor1D | undefined, options?: DenseOptions): Tensor2D;
  /**
   * Several fully connected layers of one shape at once, each on rows of its own, without a gradient.
   *
   *     output[r] = activation(x[r] W[g] + b[g])   for the rows r of group g
   *
   * What networks of one shape predict, each for some of the images of a batch, as one call. Costs `2 inputs units`
   * floating-point operations a row; a backend without a kernel for it may copy the weights of the groups that have rows.
   *
   * @param x (rows, inputs), one row or more, those of a group side by side, the groups in order
   * @param weights (groups, inputs, units)
   * @param bias (groups, units)
   * @param counts (groups), how many rows each has, maybe none; they add up to all rows
   * @returns (rows, units)
   */
  groupedDense(
    x: Tensor2D,
    weights: Tensor3D,
    bias: Tensor2D,
    counts: Int32Array,
    options?: GroupedDenseOptions,
  ): Tensor2D;
  /**
   * The largest value of each window, channel by channel.
   *
   * The gradient flows to the first largest value of each window. Costs one pass over x, and its gradient another.
   *
   * @param x (batch, height, width, channels)
   * @returns (batch, outputHeight, outputWidth, channels)
   * @see Goodfellow, Bengio and Courville, Deep Learning, section 9.3
   */
  maxPool2d(x: Tensor4D, options?: MaxPool2dOptions): Tensor4D;
  /**
   * Batch normalisation in training: every channel is brought to mean 0 and variance 1 over the batch.
   *
   * `output = activation(scale (x - m) / sqrt(v + epsilon) + bias)`, with mean m and biased variance v over all axes
   * but the last. Its gradient is `scale / s (dy - mean(dy) - n mean(dy n))`, `s` the deviation, `n` the normalised x.
   * The running statistics follow: `mean = momentum mean + (1 - momentum) m`, and so the variance; no gradient flows
   * through them. Costs three passes over x, and its gradient two over x and dy.
   *
   * @param x (..., channels)
   * @param tensors (channels) each; mean and variance get new values
   * @returns the shape of x
   * @see Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167, section 3
   */
  batchNormalise<T extends Tensor>(
    x: T,
    tensors: Normalisation<Variable<Tensor1D>>,
    options?: BatchNormaliseOptions,
  ): T;
  /**
   * Batch normalisation at inference, with statistics that were gathered in training.
   *
   * `output = activation(x a + (bias - mean a))`, `a = scale / sqrt(variance + epsilon)`: one multiply and one add.
   * Costs one pass over x, and its gradient two over x and dy.
   *
   * @param x (..., channels)
   * @param tensors (channels) each
   * @returns the shape of x
   * @see Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167, algorithm 2
   */
  normalise<T extends Tensor>(x: T, tensors: Normalisation, options?: NormaliseOptions): T;
  /**
   * Sets a share of the values to zero at random and scales the others, so that the expectation stays.
   *
   * `output = x mask / (1 - rate)`, each element of the mask 1 with probability `1 - rate`. Costs a random draw
   * for every two elements.
   *
   * @param x any shape
   * @param rate share of zeros, in [0, 1)
   * @param seed names the mask: the same seed and shape give the same mask on every backend and machine
   * @returns the shape of x
   * @see Srivastava et al., Dropout, JMLR 15, 2014, section 4; here the scaling is done in training
   */
  dropout<T extends Tensor>(x: T, rate: number, seed: number): T;

  // Losses

  /**
   * The mean cross-entropy of a softmax with integer labels.
   *
   * `loss = mean over rows of (log sum_j exp(z_j) - sum_j t_j z_j)`, with `t = (1 - s) onehot(label) + s / classes`
   * and smoothing `s`; its gradient is `(softmax(z) - t) / batch`. Costs two passes over the logits, and
   * the gradient one.
   *
   * @param logits (batch, classes)
   * @param labels (batch), int32, each in [0, classes)
   * @returns in nats
   * @throws KdSpecError `dataset-invalid` when a label is no class, on wasm
   * @see Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567, section 7, for the smoothing
   */
  softmaxCrossEntropy(logits: Tensor2D, labels: Tensor1D, options?: SoftmaxCrossEntropyOptions): Scalar;
  /**
   * The mean cross-entropy of a softmax with distributions, which may be sparse.
   *
   * `loss = 1/batch sum_r w_r (- sum_{i listed} p_ri log q_ri - R_r)` with `q = softmax(z)`; the rest `m = 1 - sum p`
   * of a row adds `R = m mean_{i not listed} log q_i` when it is spread, and `R = m log sum_{i not listed} q_i` as a
   * bucket. The gradient is `w (q_i - p_i) / batch` where a class is listed; elsewhere `w (q_i - m / unlisted) / batch`
   * when spread, and `w q_i (1 - m / Q) / batch` with `Q` the unlisted classes' mass in q as a bucket.
   * Costs a few passes over the logits.
   *
   * @param logits (batch, classes)
   * @param targets (batch, classes), each row's values at least 0 and at most 1 together; its columns are distinct
   * @returns in nats
   * @see Hinton, Vinyals and Dean, arXiv 1503.02531, section 2; temperature is the caller's: divide the logits by it
   */
  softTargetCrossEntropy(logits: Tensor2D, targets: CsrMatrix, options?: SoftTargetOptions): Scalar;

  // Steps of optimisers, in place

  /**
   * One step of Adam with decoupled weight decay.
   *
   * `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g²`,
   * `w = w - learningRate (m' / (sqrt(v') + epsilon) + weightDecay w)`, with `m' = m / (1 - b1^step)` and
   * `v' = v / (1 - b2^step)`.
   *
   * @param parameter any shape; gets a new value
   * @param gradient the parameter's shape
   * @param moments the parameter's shape; get new values
   * @see Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv 1711.05101, algorithm 2
   */
  adamWStep(parameter: Variable, gradient: Tensor, moments: AdamMoments, options: AdamWOptions): void;
  /**
   * One step of stochastic gradient descent with momentum and decoupled weight decay.
   *
   * `u = momentum u + g`, `w = w - learningRate (d + weightDecay w)`, where `d` is `u`, or `g + momentum u` with
   * Nesterov's look-ahead.
   *
   * @param parameter any shape; gets a new value
   * @param gradient the parameter's shape
   * @param velocity the parameter's shape, zero at first; gets a new value
   * @see Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013
   */
  sgdStep(parameter: Variable, gradient: Tensor, velocity: Variable, options: SgdOptions): void;
  /**
   * Scales the incoming weights of each unit down to a largest length.
   *
   * `w_j = w_j min(1, maximum / ||w_j||)` for every column j. Costs two passes over the weights.
   *
   * @param weights (inputs, units); get new values
   * @param maximum above 0
   * @see Srivastava et al., Dropout, JMLR 15, 2014, section 5.1
   */
  limitColumnNorms(weights: Variable<Tensor2D>, maximum: number): void;
}
