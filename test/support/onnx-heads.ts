import { createRandom } from '../../src/core/random.js';
import { floats, integers, node } from './onnx-models.js';

// The last layer of a classifier in the forms that exporters and quantisers give it: from `features` to `out`.

export const width = 48; // 3 channels of 4 x 4, flattened
export const classes = 5;
const random = createRandom('onnx-heads');
/** (width, classes) */
export const weights = Float32Array.from({ length: width * classes }, () => random.normal());
export const bias = Float32Array.from({ length: classes }, () => random.normal());
/** (classes, width) */
const turned = Float32Array.from(weights, (_, i) => weights[(i % width) * classes + Math.floor(i / width)]);

export const flatten = node('Flatten', ['image'], ['features']);
export const stored = floats('w', [width, classes], weights);
export const storedBias = floats('b', [classes], bias);

/** Gemm with transposed weights, as PyTorch exports a linear layer. */
export const gemm = {
  nodes: [flatten, node('Gemm', ['features', 'w', 'b'], ['out'], { transB: 1 })],
  initializers: [floats('w', [classes, width], turned), storedBias],
};

/** Behind a transposition of the weights, a scale and a change of shape. */
export const scaled = {
  nodes: [
    flatten,
    node('Transpose', ['w'], ['wt'], { perm: [1, 0] }),
    node('MatMul', ['features', 'wt'], ['product']),
    node('Div', ['product', 'two'], ['scaled']),
    node('Add', ['b', 'scaled'], ['sum']),
    node('Identity', ['sum'], ['same']),
    node('Reshape', ['same', 'shape'], ['out']),
  ],
  initializers: [
    floats(
      'w',
      [classes, width],
      turned.map((value) => value * 2),
    ),
    floats('two', [], Float32Array.of(2)),
    storedBias,
    integers('shape', [2], BigInt64Array.of(-1n, BigInt(classes))),
  ],
};

/** A convolution of one pixel. */
export const convolution = {
  nodes: [
    node('Reshape', ['image', 'shape'], ['features']),
    node('Conv', ['features', 'w', 'b'], ['map'], { kernel_shape: [1, 1] }),
    node('Flatten', ['map'], ['out']),
  ],
  initializers: [
    floats('w', [classes, width, 1, 1], turned),
    storedBias,
    integers('shape', [4], BigInt64Array.of(-1n, BigInt(width), 1n, 1n)),
  ],
};

const scale = 0.03;
/** Dynamically quantised, with a zero point. */
export const quantised = {
  nodes: [
    flatten,
    node('DynamicQuantizeLinear', ['features'], ['xq', 'xs', 'xz']),
    node('MatMulInteger', ['xq', 'q', 'xz', 'zero'], ['integers']),
    node('Cast', ['integers'], ['product'], { to: 1 }),
    node('Mul', ['xs', 'scale'], ['scales']),
    node('Mul', ['product', 'scales'], ['scaled']),
    node('Add', ['scaled', 'b'], ['out']),
  ],
  initializers: [
    integers(
      'q',
      [width, classes],
      Uint8Array.from(weights, (value) => Math.round(value / scale) + 128),
    ),
    integers('zero', [], Uint8Array.of(128)),
    floats('scale', [], Float32Array.of(scale)),
    storedBias,
  ],
};

// Of codes alone, as `QuantFormat.QOperator` leaves a last layer: features exist as integers, from `codes` on.

const ofFeatures = 0.02;
const perClass = Float32Array.from({ length: classes }, (_, c) => scale * (1 + c / 10));
const codesOf = (of: (place: number) => { readonly value: number; readonly label: number }) =>
  Int8Array.from({ length: width * classes }, (_, place) => {
    const { value, label } = of(place);
    return Math.round(value / perClass[label]);
  });
const biasScale = 0.03;
const coding = [
  floats('xs', [], Float32Array.of(ofFeatures)),
  integers('xz', [], Uint8Array.of(100)),
  floats('ys', [], Float32Array.of(0.5)),
  integers('yz', [], Uint8Array.of(128)),
  floats('scales', [classes], perClass),
  integers('zeros', [classes], new Int8Array(classes)),
];
const coded = node('QuantizeLinear', ['image', 'xs', 'xz'], ['codes']);
const turnedCodes = codesOf((place) => ({ value: turned[place], label: Math.floor(place / width) }));
const biasCodes = integers(
  'c',
  [classes],
  Int32Array.from(bias, (value, label) => Math.round(value / (ofFeatures * perClass[label]))),
);

export const integerHeads = {
  QLinearMatMul: {
    nodes: [
      coded,
      node('Flatten', ['codes'], ['flat']),
      node('QLinearMatMul', ['flat', 'xs', 'xz', 'q', 'scales', 'zeros', 'ys', 'yz'], ['product']),
      node('QLinearAdd', ['product', 'ys', 'yz', 'c', 'cs', 'cz', 'ys', 'yz'], ['sum']),
      node('DequantizeLinear', ['sum', 'ys', 'yz'], ['out']),
    ],
    initializers: [
      ...coding,
      integers(
        'q',
        [width, classes],
        codesOf((place) => ({ value: weights[place], label: place % classes })),
      ),
      integers(
        'c',
        [classes],
        Uint8Array.from(bias, (value) => Math.round(value / biasScale) + 128),
      ),
      floats('cs', [], Float32Array.of(biasScale)),
      integers('cz', [], Uint8Array.of(128)),
    ],
  },
  QGemm: {
    nodes: [
      coded,
      node('Flatten', ['codes'], ['flat']),
      node('QGemm', ['flat', 'xs', 'xz', 'q', 'scales', 'zeros', 'c', 'ys', 'yz'], ['sum'], { transB: 1 }),
      node('QLinearSoftmax', ['sum', 'ys', 'yz', 'ys', 'yz'], ['shares']),
      node('DequantizeLinear', ['shares', 'ys', 'yz'], ['out']),
    ],
    initializers: [...coding, integers('q', [classes, width], turnedCodes), biasCodes],
  },
  QLinearConv: {
    nodes: [
      coded,
      node('Reshape', ['codes', 'shape'], ['flat']),
      node('QLinearConv', ['flat', 'xs', 'xz', 'q', 'scales', 'zeros', 'ys', 'yz', 'c'], ['map']),
      node('Flatten', ['map'], ['sum']),
      node('DequantizeLinear', ['sum', 'ys', 'yz'], ['out']),
    ],
    initializers: [
      ...coding,
      integers('q', [classes, width, 1, 1], turnedCodes),
      biasCodes,
      integers('shape', [4], BigInt64Array.of(-1n, BigInt(width), 1n, 1n)),
    ],
  },
};

/** What ONNX Runtime makes of {@link quantised}. */
export const fused = {
  nodes: [flatten, node('DynamicQuantizeMatMul', ['features', 'q', 'scale', 'zero', 'b'], ['out'])],
  initializers: quantised.initializers,
};
