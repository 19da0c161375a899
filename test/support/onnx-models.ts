import { create, toBinary } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import type { OnnxHints } from '../../src/models/onnx/import-onnx.js';

/** A person who says nothing about a model. */
export const noHints: OnnxHints = {
  labels: null,
  layout: null,
  channelOrder: null,
  imageMean: null,
  imageStd: null,
  imageSize: null,
  blank: null,
  logits: null,
  features: null,
};

/** A stored tensor of float32 values. */
export function floats(name: string, dims: readonly number[], values: Float32Array): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: TensorProto_DataType.FLOAT,
    rawData: new Uint8Array(values.slice().buffer),
  });
}

/** A stored tensor of another type, from numbers. */
export function integers(
  name: string,
  dims: readonly number[],
  values: Int8Array | Uint8Array | Int32Array | BigInt64Array,
): TensorProto {
  const types = {
    Int8Array: 'INT8',
    Uint8Array: 'UINT8',
    Int32Array: 'INT32',
    BigInt64Array: 'INT64',
  } as const;
  const dataType = TensorProto_DataType[types[values.constructor.name as keyof typeof types]];
  const rawData = new Uint8Array(values.slice().buffer);
  return create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType, rawData });
}

/** A node; numbers among the attributes are integers, lists of them too, and `{ float }` is a real number. */
export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, number | readonly number[] | { readonly float: number }>> = {},
): NodeProto {
  const { INT, INTS, FLOAT } = AttributeProto_AttributeType;
  return create(NodeProtoSchema, {
    opType,
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).map(([name, value]) => {
      if (typeof value === 'number')
        return create(AttributeProtoSchema, { name, type: INT, i: BigInt(value) });
      if ('float' in value) return create(AttributeProtoSchema, { name, type: FLOAT, f: value.float });
      return create(AttributeProtoSchema, { name, type: INTS, ints: value.map(BigInt) });
    }),
  });
}

/** A model of one image input, as a file. Extents that are texts are free. */
export function modelFile(parts: {
  readonly input?: readonly (number | string)[];
  readonly inputType?: TensorProto_DataType;
  readonly nodes: readonly NodeProto[];
  readonly initializers: readonly TensorProto[];
  readonly outputs: readonly string[];
  /** Of outputs by name, where they are declared. */
  readonly outputShapes?: Readonly<Record<string, readonly (number | string)[]>>;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly opset?: number;
}): Uint8Array {
  const {
    input = ['batch', 3, 4, 4],
    inputType = TensorProto_DataType.FLOAT,
    nodes,
    initializers,
    outputs,
    outputShapes = {},
  } = parts;
  const dimsOf = (shape: readonly (number | string)[]) =>
    shape.map((extent) =>
      create(TensorShapeProto_DimensionSchema, {
        value:
          typeof extent === 'number'
            ? { case: 'dimValue', value: BigInt(extent) }
            : { case: 'dimParam', value: extent },
      }),
    );
  const tensorOf = (name: string, elemType: TensorProto_DataType, dim?: ReturnType<typeof dimsOf>) => {
    const shape = dim && create(TensorShapeProtoSchema, { dim });
    const value = create(TypeProto_TensorSchema, { elemType, ...(shape && { shape }) });
    return create(ValueInfoProtoSchema, {
      name,
      type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
    });
  };
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion: 8n,
      opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(parts.opset ?? 17) })],
      metadataProps: Object.entries(parts.metadata ?? {}).map(([key, value]) =>
        create(StringStringEntryProtoSchema, { key, value }),
      ),
      graph: create(GraphProtoSchema, {
        name: 'model',
        node: [...nodes],
        initializer: [...initializers],
        input: [tensorOf('image', inputType, dimsOf(input))],
        output: outputs.map((name) => {
          const shape = outputShapes[name];
          return tensorOf(name, TensorProto_DataType.FLOAT, shape && dimsOf(shape));
        }),
      }),
    }),
  );
}
