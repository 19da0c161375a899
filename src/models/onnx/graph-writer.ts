import { clone, create } from '@bufbuild/protobuf';
import {
  type AttributeProto,
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  GraphProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  TensorProto_DataType,
  TensorProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';

/** Attributes of a node: integers and lists of them; `{ float }` is a real number, a text a text. */
type Attributes = Readonly<Record<string, number | readonly number[] | { readonly float: number } | string>>;

/** Adds nodes and constants to a graph; every method that computes returns the name of its value. */
export interface GraphWriter {
  readonly opset: number;
  /** Begins the name of everything that is added. */
  readonly prefix: string;
  /** A node with one output, of the standard operators. */
  node(operator: string, inputs: readonly string[], attributes?: Attributes): string;
  /** A node with several outputs. */
  nodes(
    operator: string,
    inputs: readonly string[],
    outputs: number,
    attributes?: Attributes,
  ): readonly string[];
  floats(values: Float32Array | readonly number[], shape: readonly number[]): string;
  doubles(values: Float64Array | readonly number[], shape: readonly number[]): string;
  integers(values: ArrayLike<number>, shape: readonly number[]): string;
  /** float16, as its bits. */
  halves(values: Uint16Array<ArrayBuffer>, shape: readonly number[]): string;
  /** int8 */
  bytes(values: Int8Array<ArrayBuffer>, shape: readonly number[]): string;
  /** One float32. */
  scalar(value: number): string;
  add(a: string, b: string): string;
  sub(a: string, b: string): string;
  mul(a: string, b: string): string;
  div(a: string, b: string): string;
  reshape(x: string, shape: readonly number[]): string;
  gather(x: string, indices: string, axis: number): string;
  /** Elements `[start, end)` of one axis. */
  slice(x: string, axis: number, start: number, end: number): string;
  concat(values: readonly string[], axis: number): string;
  /** The sum over one axis, which stays with an extent of 1. */
  sum(x: string, axis: number): string;
  /** `log sum exp` over one axis, which stays with an extent of 1. */
  logSumExp(x: string, axis: number): string;
  softmax(x: string, rank: number): string;
  logSoftmax(x: string, rank: number): string;
  castTo(x: string, type: keyof typeof types): string;
  /**
   * A float32 value that is computed only where it is needed: what `write` returns, whose nodes run where the condition
   * holds, or another value. One after the other, not inside one another.
   *
   * @param condition a boolean scalar
   */
  when(condition: string, write: () => string, otherwise: string): string;
  /** Gives a value the name of an output. */
  name(x: string, output: string): void;
}

const types = {
  float32: TensorProto_DataType.FLOAT,
  float64: TensorProto_DataType.DOUBLE,
  int64: TensorProto_DataType.INT64,
  float16: TensorProto_DataType.FLOAT16,
  int8: TensorProto_DataType.INT8,
  uint8: TensorProto_DataType.UINT8,
  bool: TensorProto_DataType.BOOL,
} as const;

/**
 * Opens a graph for writing.
 *
 * @param opset of the model, 11 or more; forms of operators that changed after it are written as it knows them
 * @param options.prefix of the names of everything that is added
 */
export function createGraphWriter(
  graph: GraphProto,
  opset: number,
  { prefix }: { readonly prefix: string },
): GraphWriter {
  let count = 0;
  let branch: NodeProto[] | undefined; // that is being written
  const fresh = (what: string) => `${prefix}${what.toLowerCase()}_${count++}`;
  const constants = new Map<string, string>(); // small ones are shared
  const nodes: GraphWriter['nodes'] = (operator, inputs, outputs, attributes = {}) => {
    const names = Array.from({ length: outputs }, () => fresh(operator));
    (branch ?? graph.node).push(
      create(NodeProtoSchema, {
        opType: operator,
        name: names[0],
        input: [...inputs],
        output: names,
        attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      }),
    );
    return names;
  };
  const node: GraphWriter['node'] = (operator, inputs, attributes) =>
    nodes(operator, inputs, 1, attributes)[0];
  const tensor = (
    dataType: TensorProto_DataType,
    data: Uint8Array<ArrayBuffer>,
    shape: readonly number[],
  ) => {
    const key = data.length <= 64 ? `${dataType}:${shape.join()}:${data.join()}` : undefined;
    const known = key === undefined ? undefined : constants.get(key);
    if (known !== undefined) return known;
    const name = fresh('constant');
    graph.initializer.push(
      create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType, rawData: data }),
    );
    if (key !== undefined) constants.set(key, name);
    return name;
  };
  const floats: GraphWriter['floats'] = (values, shape) =>
    tensor(types.float32, new Uint8Array(Float32Array.from(values).buffer), shape);
  const integers: GraphWriter['integers'] = (values, shape) => {
    const wide = BigInt64Array.from({ length: values.length }, (_, index) => BigInt(values[index]));
    return tensor(types.int64, new Uint8Array(wide.buffer), shape);
  };
  const binary = (operator: string) => (a: string, b: string) => node(operator, [a, b]);
  return {
    opset,
    prefix,
    node,
    nodes,
    floats,
    integers,
    doubles: (values, shape) =>
      tensor(types.float64, new Uint8Array(Float64Array.from(values).buffer), shape),
    halves: (values, shape) => tensor(types.float16, new Uint8Array(values.buffer), shape),
    bytes: (values, shape) => tensor(types.int8, new Uint8Array(values.buffer), shape),
    scalar: (value) => floats([value], []),
    add: binary('Add'),
    sub: binary('Sub'),
    mul: binary('Mul'),
    div: binary('Div'),
    reshape: (x, shape) => node('Reshape', [x, integers(shape, [shape.length])]),
    gather: (x, indices, axis) => node('Gather', [x, indices], { axis }),
    slice: (x, axis, start, end) =>
      node('Slice', [x, integers([start], [1]), integers([end], [1]), integers([axis], [1])]),
    concat: (values, axis) => node('Concat', values, { axis }),
    // Axes became an input with operator set 13.
    sum: (x, axis) =>
      opset >= 13
        ? node('ReduceSum', [x, integers([axis], [1])], { keepdims: 1 })
        : node('ReduceSum', [x], { axes: [axis], keepdims: 1 }),
    // Here they became one with operator set 18.
    logSumExp: (x, axis) =>
      opset >= 18
        ? node('ReduceLogSumExp', [x, integers([axis], [1])], { keepdims: 1 })
        : node('ReduceLogSumExp', [x], { axes: [axis], keepdims: 1 }),
    // Before operator set 13 everything from the axis on was one; on the last axis both are the same.
    softmax: (x, rank) => node('Softmax', [x], { axis: rank - 1 }),
    logSoftmax: (x, rank) => node('LogSoftmax', [x], { axis: rank - 1 }),
    castTo: (x, type) => node('Cast', [x], { to: types[type] }),
    when(condition, write, otherwise) {
      const written = (compute: () => string) => {
        branch = [];
        const result = compute();
        const tensorType = create(TypeProto_TensorSchema, { elemType: types.float32 });
        const type = create(TypeProtoSchema, { value: { case: 'tensorType', value: tensorType } });
        const output = [create(ValueInfoProtoSchema, { name: result, type })];
        const g = create(GraphProtoSchema, { name: fresh('branch'), node: branch, output });
        branch = undefined;
        return g;
      };
      const branches = {
        then_branch: written(write),
        else_branch: written(() => node('Identity', [otherwise])),
      };
      const result = node('If', [condition]);
      graph.node[graph.node.length - 1].attribute = Object.entries(branches).map(([name, g]) =>
        create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.GRAPH, g }),
      );
      return result;
    },
    name(x, output) {
      graph.node.push(
        create(NodeProtoSchema, {
          opType: 'Identity',
          name: `${prefix}${output}`,
          input: [x],
          output: [output],
        }),
      );
    },
  };
}

function attribute(name: string, value: Attributes[string]): AttributeProto {
  const { INT, INTS, FLOAT, STRING } = AttributeProto_AttributeType;
  if (typeof value === 'number') return create(AttributeProtoSchema, { name, type: INT, i: BigInt(value) });
  if (typeof value === 'string')
    return create(AttributeProtoSchema, { name, type: STRING, s: new TextEncoder().encode(value) });
  if ('float' in value) return create(AttributeProtoSchema, { name, type: FLOAT, f: value.float });
  return create(AttributeProtoSchema, { name, type: INTS, ints: value.map(BigInt) });
}

/** The values that a node needs, those that its branches take from around it included; maybe some of their own. */
export function neededBy({ input, attribute }: NodeProto): readonly string[] {
  const branches = attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
  if (branches.length === 0) return input;
  return [
    ...input,
    ...branches.flatMap(({ node, output }) => [...node.flatMap(neededBy), ...output.map(({ name }) => name)]),
  ];
}

/** A node with other inputs or outputs. */
export function copyOf(node: NodeProto, changes: Partial<Pick<NodeProto, 'input' | 'output'>>): NodeProto {
  return Object.assign(clone(NodeProtoSchema, node), changes);
}

/** Gives a value another name where it is made, so that something else can take its name. */
export function renameValue(graph: GraphProto, from: string, to: string): void {
  graph.node = graph.node.map((node) =>
    node.output.includes(from)
      ? copyOf(node, { output: node.output.map((name) => (name === from ? to : name)) })
      : node,
  );
}

/** The names of all values of a graph, those inside control flow included: what is added may have none of them. */
export function valueNames({ node, initializer, input, output }: GraphProto): Set<string> {
  const named = [...initializer, ...input, ...output].map(({ name }) => name);
  const made = node.flatMap(({ output: outputs, attribute: attributes }) => [
    ...outputs,
    ...attributes.flatMap(({ g, graphs }) =>
      [...(g ? [g] : []), ...graphs].flatMap((inner) => [...valueNames(inner)]),
    ),
  ]);
  return new Set([...named, ...made]);
}
