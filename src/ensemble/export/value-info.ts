import { create } from '@bufbuild/protobuf';
import {
  type GraphProto,
  TensorProto_DataType,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from 'onnx-buf';
import type { InputType } from '../../models/onnx/session.js';

// Declarations of inputs and outputs.

const types: Readonly<Record<InputType, TensorProto_DataType>> = {
  float32: TensorProto_DataType.FLOAT,
  float16: TensorProto_DataType.FLOAT16,
  float64: TensorProto_DataType.DOUBLE,
  uint8: TensorProto_DataType.UINT8,
};

/**
 * Declares an input or output.
 *
 * @param shape extents; a text names one that is free
 */
export function valueInfo(
  name: string,
  shape: readonly (number | string)[],
  type: InputType = 'float32',
): ValueInfoProto {
  const dim = shape.map((extent) =>
    create(TensorShapeProto_DimensionSchema, {
      value:
        typeof extent === 'number'
          ? { case: 'dimValue', value: BigInt(extent) }
          : { case: 'dimParam', value: extent },
    }),
  );
  const value = create(TypeProto_TensorSchema, {
    elemType: types[type],
    shape: create(TensorShapeProtoSchema, { dim }),
  });
  return create(ValueInfoProtoSchema, {
    name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
  });
}

/** The type of an output of real numbers; undefined for another. */
export function elementTypeOf(
  { output }: GraphProto,
  name: string,
): 'float32' | 'float16' | 'float64' | undefined {
  const value = output.find((info) => info.name === name)?.type?.value;
  const type = value?.case === 'tensorType' ? value.value.elemType : undefined;
  return (['float32', 'float16', 'float64'] as const).find((known) => types[known] === type);
}
