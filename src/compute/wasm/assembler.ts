import { opcode } from './opcodes.js';

/**
 * Writes WebAssembly: just the instructions that the kernels beside this file use.
 *
 * TensorFlow.js's wasm backend lacks some kernels and has others that are slow. Written in JavaScript over the
 * backend's memory they would run four to ten times slower than with 128-bit SIMD, and a C toolchain would be
 * a heavy guest in a TypeScript package. So a kernel is a TypeScript function that returns its instructions.
 *
 * An expression is the code that leaves one value on the stack; a statement leaves none; both are `Code`.
 */
export type Code = readonly number[];

export type ValueType = 'i32' | 'f32' | 'v128';
const valueTypes: Record<ValueType, number> = { i32: 0x7f, f32: 0x7d, v128: 0x7b };

/** A parameter or local variable; `get` is the expression that reads it. */
export interface Local {
  readonly index: number;
  readonly get: Code;
}

/** A function of the module, with parameters by name, in order. */
export interface Kernel {
  readonly name: string;
  readonly parameters: readonly ValueType[];
  readonly locals: readonly ValueType[];
  readonly body: Code;
}

/** Unsigned LEB128. */
function unsigned(value: number): number[] {
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

/** Signed LEB128 of a 32-bit integer. */
function signed(value: number): number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    if ((rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)) return [...bytes, low];
    bytes.push(low | 0x80);
  }
}

function float(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

/** The type of a block that leaves nothing on the stack. */
const emptyBlock = 0x40;

const unary =
  (...instruction: number[]) =>
  (a: Code): Code => [...a, ...instruction];
const binary =
  (...instruction: number[]) =>
  (a: Code, b: Code): Code => [...a, ...b, ...instruction];
const memory = (alignment: number, offset: number): number[] => [alignment, ...unsigned(offset)];

export const set = (local: Local, value: Code): Code => [
  ...value,
  ...opcode['local.set'],
  ...unsigned(local.index),
];

export const i32 = {
  constant: (value: number): Code => [...opcode['i32.const'], ...signed(value)],
  load: (address: Code): Code => [...address, ...opcode['i32.load'], ...memory(2, 0)],
  add: binary(...opcode['i32.add']),
  sub: binary(...opcode['i32.sub']),
  mul: binary(...opcode['i32.mul']),
  and: binary(...opcode['i32.and']),
  or: binary(...opcode['i32.or']),
  shl: binary(...opcode['i32.shl']),
  equal: binary(...opcode['i32.eq']),
  less: binary(...opcode['i32.lt_s']),
  lessUnsigned: binary(...opcode['i32.lt_u']),
  isZero: unary(...opcode['i32.eqz']),
};

/** Single-precision arithmetic on one value or on four side by side: kernels are written once for both. */
export interface Lane {
  readonly type: ValueType;
  /** Bytes that a load reads. */
  readonly bytes: number;
  load(address: Code, offset?: number): Code;
  store(address: Code, value: Code, offset?: number): Code;
  constant(value: number): Code;
  /** One f32 in every lane. */
  spread(value: Code): Code;
  add(a: Code, b: Code): Code;
  sub(a: Code, b: Code): Code;
  mul(a: Code, b: Code): Code;
  div(a: Code, b: Code): Code;
  /** The larger one; `b` where `a` is not a number. */
  max(a: Code, b: Code): Code;
  sqrt(a: Code): Code;
  abs(a: Code): Code;
  nearest(a: Code): Code;
  /** 2 to the power of an integral value in [-126, 127]. */
  powerOfTwo(a: Code): Code;
  /** For a positive normal number, e of `a = 2^e m` with m in [sqrt(1/2), sqrt(2)). */
  exponent(a: Code): Code;
  /** And m. */
  significand(a: Code): Code;
  /** Comparisons give masks. */
  less(a: Code, b: Code): Code;
  equal(a: Code, b: Code): Code;
  readonly maskType: ValueType;
  noMask: Code;
  maskAndNot(a: Code, b: Code): Code;
  maskOr(a: Code, b: Code): Code;
  /** `value` where the mask is set, else 0. */
  keepWhere(mask: Code, value: Code): Code;
}

const f32less = binary(...opcode['f32.lt']);

// Adding this to the bits of a number moves the border between exponents from powers of 2 to sqrt(1/2) times them.
const rootOfHalf = 0x3f3504f3;
const toRoot = 0x3f800000 - rootOfHalf;
const significandBits = 0x7fffff;
const exponentBias = 127;

export const scalar: Lane = {
  type: 'f32',
  bytes: 4,
  load: (address, offset = 0) => [...address, ...opcode['f32.load'], ...memory(2, offset)],
  store: (address, value, offset = 0) => [...address, ...value, ...opcode['f32.store'], ...memory(2, offset)],
  constant: (value) => [...opcode['f32.const'], ...float(value)],
  spread: (value) => value,
  add: binary(...opcode['f32.add']),
  sub: binary(...opcode['f32.sub']),
  mul: binary(...opcode['f32.mul']),
  div: binary(...opcode['f32.div']),
  max: (a, b) => [...a, ...b, ...f32less(b, a), ...opcode.select],
  sqrt: unary(...opcode['f32.sqrt']),
  abs: unary(...opcode['f32.abs']),
  nearest: unary(...opcode['f32.nearest']),
  powerOfTwo: (a) => [
    ...i32.shl(i32.add([...a, ...opcode['i32.trunc_sat_f32_s']], i32.constant(127)), i32.constant(23)),
    ...opcode['f32.reinterpret_i32'],
  ],
  exponent: (a) => {
    const moved = i32.add([...a, ...opcode['i32.reinterpret_f32']], i32.constant(toRoot));
    return [
      ...i32.sub([...moved, ...i32.constant(23), ...opcode['i32.shr_u']], i32.constant(exponentBias)),
      ...opcode['f32.convert_i32_s'],
    ];
  },
  significand: (a) => {
    const moved = i32.add([...a, ...opcode['i32.reinterpret_f32']], i32.constant(toRoot));
    return [
      ...i32.add(i32.and(moved, i32.constant(significandBits)), i32.constant(rootOfHalf)),
      ...opcode['f32.reinterpret_i32'],
    ];
  },
  less: f32less,
  equal: binary(...opcode['f32.eq']),
  maskType: 'i32',
  noMask: i32.constant(0),
  maskAndNot: (a, b) => i32.and(a, i32.isZero(b)),
  maskOr: i32.or,
  keepWhere: (mask, value) => [...value, ...opcode['f32.const'], ...float(0), ...mask, ...opcode.select],
};

const i32x4 = {
  constant: (value: number): Code => [...i32.constant(value), ...opcode['i32x4.splat']],
  add: binary(...opcode['i32x4.add']),
  sub: binary(...opcode['i32x4.sub']),
  and: binary(...opcode['v128.and']),
};

export const vector: Lane = {
  type: 'v128',
  bytes: 16,
  load: (address, offset = 0) => [...address, ...opcode['v128.load'], ...memory(2, offset)],
  store: (address, value, offset = 0) => [
    ...address,
    ...value,
    ...opcode['v128.store'],
    ...memory(2, offset),
  ],
  constant: (value) => [
    ...opcode['v128.const'],
    ...float(value),
    ...float(value),
    ...float(value),
    ...float(value),
  ],
  spread: unary(...opcode['f32x4.splat']),
  add: binary(...opcode['f32x4.add']),
  sub: binary(...opcode['f32x4.sub']),
  mul: binary(...opcode['f32x4.mul']),
  div: binary(...opcode['f32x4.div']),
  max: (a, b) => [...b, ...a, ...opcode['f32x4.pmax']],
  sqrt: unary(...opcode['f32x4.sqrt']),
  abs: unary(...opcode['f32x4.abs']),
  nearest: unary(...opcode['f32x4.nearest']),
  powerOfTwo: (a) => [
    ...a,
    ...opcode['i32x4.trunc_sat_f32x4_s'],
    ...i32.constant(127),
    ...opcode['i32x4.splat'],
    ...opcode['i32x4.add'],
    ...i32.constant(23),
    ...opcode['i32x4.shl'],
  ],
  exponent: (a) => {
    const moved = i32x4.add(a, i32x4.constant(toRoot));
    const shifted = [...moved, ...i32.constant(23), ...opcode['i32x4.shr_u']];
    return [...i32x4.sub(shifted, i32x4.constant(exponentBias)), ...opcode['f32x4.convert_i32x4_s']];
  },
  significand: (a) => {
    const moved = i32x4.add(a, i32x4.constant(toRoot));
    return i32x4.add(i32x4.and(moved, i32x4.constant(significandBits)), i32x4.constant(rootOfHalf));
  },
  less: binary(...opcode['f32x4.lt']),
  equal: binary(...opcode['f32x4.eq']),
  maskType: 'v128',
  noMask: [...opcode['v128.const'], ...new Array<number>(16).fill(0)],
  maskAndNot: binary(...opcode['v128.andnot']),
  maskOr: binary(...opcode['v128.or']),
  keepWhere: binary(...opcode['v128.and']),
};

/** Four times the f32 at an address. */
export const loadSpread = (address: Code, offset = 0): Code => [
  ...address,
  ...opcode['v128.load32_splat'],
  ...memory(2, offset),
];
/** Four of the eight lanes of two vectors: 0 to 3 are the first one's, 4 to 7 the second one's. */
export const pick = (a: Code, b: Code, lanes: readonly [number, number, number, number]): Code => [
  ...a,
  ...b,
  ...opcode['i8x16.shuffle'],
  ...lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]),
];
/** The sum of the four lanes. */
export function sumOfLanes(value: Local): Code {
  const lane = (position: number): Code => [...value.get, ...opcode['f32x4.extract_lane'], position];
  return scalar.add(scalar.add(lane(0), lane(1)), scalar.add(lane(2), lane(3)));
}
/** The largest of the four lanes. */
export function largestOfLanes(value: Local): Code {
  const lane = (position: number): Code => [...value.get, ...opcode['f32x4.extract_lane'], position];
  const max = binary(...opcode['f32.max']);
  return max(max(lane(0), lane(1)), max(lane(2), lane(3)));
}

/** What a kernel's author gets: parameters by name, and new locals. */
export interface Scope<Name extends string> {
  readonly parameters: Readonly<Record<Name, Local>>;
  local(type: ValueType): Local;
}

/** Defines a kernel: parameters by name and type, then a function that returns its statements. */
export function kernel<Name extends string>(
  name: string,
  parameters: Readonly<Record<Name, ValueType>>,
  write: (scope: Scope<Name>) => readonly Code[],
): Kernel {
  const names = Object.keys(parameters) as Name[];
  const types = names.map((parameter) => parameters[parameter]);
  const locals: ValueType[] = [];
  const at = (index: number): Local => ({ index, get: [...opcode['local.get'], ...unsigned(index)] });
  const byName = Object.fromEntries(names.map((parameter, index) => [parameter, at(index)]));
  const body = write({
    parameters: byName as Record<Name, Local>,
    local: (type) => at(types.length + locals.push(type) - 1),
  }).flat();
  return { name, parameters: types, locals, body };
}

/** `for (counter = from; counter < to; counter += step) body`; `to` is evaluated each time. */
export function loop(counter: Local, from: Code, to: Code, step: Code, body: readonly Code[]): Code {
  return [
    ...set(counter, from),
    ...when(i32.less(counter.get, to), [
      [...opcode.loop, emptyBlock],
      ...body,
      set(counter, i32.add(counter.get, step)),
      [...i32.less(counter.get, to), ...opcode.br_if, 0],
      [...opcode.end],
    ]),
  ];
}

/** `if (condition) body`. */
export function when(condition: Code, body: readonly Code[]): Code {
  return [...condition, ...opcode.if, emptyBlock, ...body.flat(), ...opcode.end];
}

/** Runs the body over `bytes` bytes of floats: four at a time, and one at a time for what is left over. */
export function overLanes(offset: Local, bytes: Code, body: (lane: Lane) => readonly Code[]): Code {
  const whole = i32.and(bytes, i32.constant(-16));
  return [
    ...loop(offset, i32.constant(0), whole, i32.constant(16), body(vector)),
    ...loop(offset, whole, bytes, i32.constant(4), body(scalar)),
  ];
}

/** A module that holds the kernels and works on a memory that it imports as `env.memory`. */
export function assemble(kernels: readonly Kernel[]): Uint8Array {
  const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
  const section = (id: number, content: Code): Code => [id, ...unsigned(content.length), ...content];
  const text = (value: string): Code => list([...new TextEncoder().encode(value)].map((byte) => [byte]));
  const type = ({ parameters }: Kernel): Code => [0x60, ...list(parameters.map((t) => [valueTypes[t]])), 0];
  const code = ({ locals, body }: Kernel): Code => {
    const content = [...list(locals.map((t) => [1, valueTypes[t]])), ...body, ...opcode.end];
    return [...unsigned(content.length), ...content];
  };
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, list(kernels.map(type))),
    ...section(2, list([[...text('env'), ...text('memory'), 0x02, 0x00, 0x00]])),
    ...section(3, list(kernels.map((_, index) => unsigned(index)))),
    ...section(7, list(kernels.map(({ name }, index) => [...text(name), 0x00, ...unsigned(index)]))),
    ...section(10, list(kernels.map(code))),
  ]);
}
