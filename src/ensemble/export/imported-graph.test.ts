import { create } from '@bufbuild/protobuf';
import { GraphProtoSchema } from 'onnx-buf';
import { expect, test } from 'vitest';
import { createGraphWriter, neededBy } from '../../models/onnx/graph-writer.js';
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
