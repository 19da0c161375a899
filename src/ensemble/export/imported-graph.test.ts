import { create, toBinary } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import { expect, test } from 'vitest';
import { gemm } from '../../../test/support/onnx-heads.js';
import { modelFile, node } from '../../../test/support/onnx-models.js';
import { createRandom } from '../../core/random.js';
import { numberToHalf } from '../../math/half.js';
import { createGraphWriter, neededBy } from '../../models/onnx/graph-writer.js';
import { decodeOnnxModel } from '../../models/onnx/model-file.js';
import { openSession } from '../../models/onnx/runtime.js';
import { expectExportable } from './export-onnx.js';
import { renameInput, sortNodes, writeImported } from './imported-graph.js';

test('what a branch takes from around it is renamed, and stands before the branch', () => {
  const graph = create(GraphProtoSchema, { name: 'branches' });
  const writer = createGraphWriter(graph, 17, { prefix: 'a_' });
  const scaled = writer.mul('bytes', writer.scalar(2));
  const chosen = writer.when('condition', () => writer.add('images', scaled), 'images');
  renameInput(graph, 'images', 'prepared');
  const [, branch] = graph.node;
  expect(branch.output).toEqual([chosen]);
  expect(neededBy(branch)).toContain('prepared');
  expect(neededBy(branch)).not.toContain('images');
  graph.node.reverse();
  sortNodes(graph);
  expect(graph.node.map(({ opType }) => opType)).toEqual(['Mul', 'If']);
});

test('an output that cannot be replaced is refused beforehand, with what it holds', () => {
  const bytes = modelFile({
    nodes: [...gemm.nodes, node('Sigmoid', ['out'], ['scores']), node('Clip', ['out'], ['clipped'])],
    initializers: gemm.initializers,
    outputs: ['scores', 'clipped'],
  });
  const model = decodeOnnxModel('model.onnx', bytes);
  const check = (output: string, replaceOutput = true) => expectExportable(model, { replaceOutput, output });
  expect(() => check('scores')).toThrow(/scores that are independent/);
  expect(() => check('out')).toThrow(/"out" \(--logits\) is a value inside the graph.*"scores", "clipped"/);
  expect(() => check('clipped')).not.toThrow();
  expect(() => check('scores', false)).not.toThrow();
});

test('what is read of a model in half precision changes nothing of its own outputs', async () => {
  const random = createRandom('halves');
  const halves = (name: string, dims: readonly number[]) =>
    create(TensorProtoSchema, {
      name,
      dims: dims.map(BigInt),
      dataType: TensorProto_DataType.FLOAT16,
      rawData: new Uint8Array(
        Uint16Array.from({ length: dims.reduce((all, extent) => all * extent, 1) }, () =>
          numberToHalf(random.normal()),
        ).buffer,
      ),
    });
  const bytes = modelFile({
    inputType: TensorProto_DataType.FLOAT16,
    nodes: [
      node('Conv', ['image', 'kernel'], ['map'], { kernel_shape: [2, 2], strides: [2, 2] }),
      node('Relu', ['map'], ['positive']),
      node('AveragePool', ['positive'], ['pooled'], { kernel_shape: [2, 2] }),
      node('Flatten', ['pooled'], ['features']),
      node('Gemm', ['features', 'w'], ['logits']),
      node('Cast', ['logits'], ['out'], { to: TensorProto_DataType.FLOAT }),
    ],
    initializers: [halves('kernel', [16, 3, 2, 2]), halves('w', [16, 5])],
    outputs: ['out'],
  });
  const model = decodeOnnxModel('half.onnx', bytes);
  const graph = create(GraphProtoSchema, {
    ...model.graph,
    node: [...model.graph.node],
    initializer: [...model.graph.initializer],
  });
  const writer = createGraphWriter(graph, 17, { prefix: 'a_' });
  const description = {
    kind: 'onnx' as const,
    model: 'half.onnx',
    features: 'features',
    width: 16,
    output: 'out',
    blank: null,
    input: {
      name: 'image',
      type: 'float16' as const,
      layout: 'channels-first' as const,
      image: { height: 4, width: 4, channels: 3 as const },
      batch: null,
    },
    reading: {
      order: 'rgb' as const,
      normalisation: { name: '0 to 1', mean: [0, 0, 0], deviation: [1, 1, 1] },
    },
  };
  const { features } = writeImported(writer, model, description, { classes: 5, everyStep: false });
  writer.name(features, 'read');
  graph.output = [...graph.output, create(ValueInfoProtoSchema, { name: 'read' })];
  const written = toBinary(ModelProtoSchema, create(ModelProtoSchema, { ...model.proto, graph }));
  const data = Uint16Array.from({ length: 8 * 48 }, () => numberToHalf(random.uniform()));
  const own = async (file: Uint8Array, outputs: readonly string[]) => {
    const session = await openSession(file, { name: 'half.onnx' });
    const results = await session.run({ image: { type: 'float16', data, shape: [8, 3, 4, 4] } }, outputs);
    session.dispose();
    return results.get('out');
  };
  expect(await own(written, ['out', 'read'])).toEqual(await own(bytes, ['out']));
});
