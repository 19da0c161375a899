import { create } from '@bufbuild/protobuf';
import { GraphProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { gemm } from '../../../test/support/onnx-heads.js';
import { modelFile, node } from '../../../test/support/onnx-models.js';
import { createGraphWriter, neededBy } from '../../models/onnx/graph-writer.js';
import { decodeOnnxModel } from '../../models/onnx/model-file.js';
import { expectExportable } from './export-onnx.js';
import { renameInput, sortNodes } from './imported-graph.js';

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
