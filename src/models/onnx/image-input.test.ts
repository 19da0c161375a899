import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TensorProto_DataType } from 'onnx-buf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { modelFile, node } from '../../../test/support/onnx-models.js';
import { halfToNumber, numberToHalf } from '../../math/half.js';
import { findImageInput, possibleReadings } from './image-input.js';
import { inputKey, readOnnxModel } from './model-file.js';
import { type InputHints, toModelInput } from './reading.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kd-spec-input-'));
});
afterEach(async () => rm(folder, { recursive: true, force: true }));

async function inputOf(
  input: readonly (number | string)[],
  hints: InputHints = {},
  inputType = TensorProto_DataType.FLOAT,
  metadata: Readonly<Record<string, string>> = {},
) {
  const path = join(folder, 'model.onnx');
  await writeFile(
    path,
    modelFile({
      input,
      inputType,
      nodes: [node('Flatten', ['image'], ['out'])],
      initializers: [],
      outputs: ['out'],
      metadata,
    }),
  );
  return findImageInput(await readOnnxModel(path), hints);
}

describe('layout and size', () => {
  test.each([
    { input: ['n', 3, 24, 32], layout: 'channels-first', image: { height: 24, width: 32, channels: 3 } },
    { input: ['n', 24, 32, 3], layout: 'channels-last', image: { height: 24, width: 32, channels: 3 } },
    { input: [1, 1, 64, 64], layout: 'channels-first', image: { height: 64, width: 64, channels: 1 } },
    { input: ['n', 3, 48, 'w'], layout: 'channels-first', image: { height: 48, width: 48, channels: 3 } },
  ])('of $input', async ({ input, layout, image }) => {
    expect(await inputOf(input)).toMatchObject({ layout, image });
  });

  test('a width that is free is said, and may be chosen', async () => {
    expect((await inputOf(['n', 3, 48, 'w'])).notes.join()).toMatch(/any width is taken: 48 is used/);
    const chosen = await inputOf(['n', 3, 48, 'w'], { imageSize: { height: 48, width: 64 } });
    expect(chosen.image.width).toBe(64);
    expect(chosen.notes).toEqual([]);
  });

  test('channels that may be first or last need a flag', async () => {
    await expect(inputOf(['n', 3, 3, 3])).rejects.toMatchObject({
      code: 'option-invalid',
      message: expect.stringMatching(/--layout channels-first or channels-last/),
    });
    expect((await inputOf(['n', 3, 3, 3], { layout: 'channels-last' })).layout).toBe('channels-last');
    await expect(inputOf(['n', 4, 4, 4])).rejects.toThrow(/no axis of 1 channel \(grey\) or 3/);
  });

  test('any size at all needs one', async () => {
    await expect(inputOf(['n', 'c', 'h', 'w'])).rejects.toMatchObject({
      code: 'option-invalid',
      message: expect.stringMatching(/--image-size 224$/),
    });
    for (const [height, width, text] of [
      [24, 24, '24'],
      [24, 32, '24x32'],
    ] as const) {
      const exampleSize = async () => ({ height, width });
      const asked = inputOf(['n', 'c', 'h', 'w'], { exampleSize });
      await expect(asked).rejects.toThrow(new RegExp(`--image-size ${text}$`));
    }
    expect((await inputOf(['n', 'c', 'h', 'w'], { imageSize: { height: 32, width: 32 } })).image).toEqual({
      height: 32,
      width: 32,
      channels: 3,
    });
    await expect(inputOf(['n', 3, 24, 24], { imageSize: { height: 32, width: 32 } })).rejects.toThrow(
      /height of 24, not 32/,
    );
  });

  test.each([
    ['preprocessor_config.json', { size: { shortest_edge: 1e9 } }, 'size'],
    ['preprocessor_config.json', { crop_size: { height: 0.5, width: 16 }, size: 16 }, 'crop_size'],
    ['config.json', { pretrained_cfg: { input_size: [3, -8, 0] } }, 'pretrained_cfg.input_size'],
  ])(
    'one that no image has counts only where the model leaves it open: %s, %j',
    async (name, config, key) => {
      await writeFile(join(folder, name), JSON.stringify(config));
      expect((await inputOf(['n', 3, 24, 24])).image).toMatchObject({ height: 24, width: 24 });
      await expect(inputOf(['n', 3, 'h', 'w'])).rejects.toThrow(
        `${name}: "${key}": expected whole numbers from 1 to 4096`,
      );
    },
  );

  test('a declared one that would fill the memory is refused', async () => {
    await expect(inputOf(['n', 3, 2 ** 30, 2 ** 30])).rejects.toMatchObject({
      code: 'checkpoint-invalid',
      message: expect.stringMatching(/1073741824x1073741824: expected at most 4096/),
    });
  });

  test('what is no image is refused', async () => {
    await expect(inputOf(['n', 12])).rejects.toThrow(/2 axes.*if it takes features.*--source rows\.npz/);
    await expect(inputOf(['n', 3, 8, 8], {}, TensorProto_DataType.INT64)).rejects.toThrow(/INT64/);
    expect(await inputOf(['n', 3, 8, 8], {}, TensorProto_DataType.UINT8)).toMatchObject({
      type: 'uint8',
      declared: { normalisation: { name: '0 to 255' } },
    });
  });
});

describe('normalisation', () => {
  test('is read from preprocessor_config.json, with its size', async () => {
    await writeFile(
      join(folder, 'preprocessor_config.json'),
      JSON.stringify({
        do_rescale: true,
        rescale_factor: 1 / 255,
        do_normalize: true,
        image_mean: [0.5, 0.4, 0.3],
        image_std: [0.2, 0.25, 0.5],
        crop_size: { height: 16, width: 20 },
      }),
    );
    const input = await inputOf(['n', 3, 'h', 'w'], { order: 'rgb' });
    expect(input.image).toEqual({ height: 16, width: 20, channels: 3 });
    const [reading, ...others] = possibleReadings(input);
    expect(others).toEqual([]);
    const pixel = toModelInput(
      { ...input, image: { height: 1, width: 1, channels: 3 } },
      reading,
      Float32Array.of(1, 1, 1),
      1,
    );
    expect(Array.from(pixel.data, (value) => Math.round(1000 * value) / 1000)).toEqual([2.5, 2.4, 1.4]);
  });

  test('without rescaling is of values from 0 to 255', async () => {
    await writeFile(
      join(folder, 'preprocessor_config.json'),
      JSON.stringify({ do_rescale: false, image_mean: [127.5], image_std: [127.5] }),
    );
    const input = await inputOf(['n', 3, 2, 2]);
    const { mean, deviation } = possibleReadings(input)[0].normalisation;
    expect(mean.map((value) => value.toFixed(6))).toEqual(['0.500000', '0.500000', '0.500000']);
    expect(deviation[0]).toBeCloseTo(0.5, 6);
  });

  test('is left open where nothing says it, and flags close it', async () => {
    expect(possibleReadings(await inputOf(['n', 3, 2, 2]))).toHaveLength(8);
    expect(possibleReadings(await inputOf(['n', 1, 2, 2]))).toHaveLength(4);
    expect(
      possibleReadings(await inputOf(['n', 3, 2, 2], { mean: [0.5], deviation: [0.5], order: 'bgr' })),
    ).toHaveLength(1);
    await expect(inputOf(['n', 3, 2, 2], { mean: [0.5, 0.5] })).rejects.toMatchObject({
      code: 'option-invalid',
      message: expect.stringMatching(/--image-mean has 2 numbers/),
    });
  });
});

describe('what a file beside the model says and cannot be meant', () => {
  const file = 'preprocessor_config.json';
  const say = (name: string, text: unknown) =>
    writeFile(join(folder, name), typeof text === 'string' ? text : JSON.stringify(text));
  const both = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };

  test.each([
    [{ ...both, image_mean: '0.5, 0.4' }, /"image_mean": expected one number, or 3, found "0\.5, 0\.4"/],
    [{ ...both, image_mean: [0.5, 0.4] }, /"image_mean": expected one number, or 3, found \[0\.5,0\.4\]/],
    [{ ...both, image_std: [0, 0, 0] }, /"image_std": expected numbers other than 0/],
    [{ ...both, image_std: ['0.5', 0.5, 0.5] }, /"image_std": expected one number, or 3/],
    [{ ...both, rescale_factor: 0 }, /"rescale_factor": expected a number over 0, found 0/],
    [{ ...both, rescale_factor: 'x' }, /"rescale_factor": expected a number over 0, found "x"/],
    [{ ...both, rescale_factor: 1e300 }, /"rescale_factor": expected one with which images are finite/],
    [{ ...both, do_rescale: 'no' }, /"do_rescale": expected true or false, found "no"/],
    [{ ...both, do_normalize: 0 }, /"do_normalize": expected true or false, found 0/],
  ])('is refused by file and key: %j', async (said, message) => {
    await say(file, said);
    const refusal = inputOf(['n', 3, 2, 2]);
    await expect(refusal).rejects.toMatchObject({ code: 'checkpoint-invalid' });
    await expect(refusal).rejects.toThrow(message);
    await expect(refusal).rejects.toThrow(
      /preprocessor_config\.json: .*--image-mean and --image-std instead/,
    );
    const decided = await inputOf(['n', 3, 2, 2], { mean: [0.5], deviation: [0.5] });
    expect(decided.declared.normalisation?.mean).toEqual([0.5, 0.5, 0.5]);
  });

  test('is refused in the config.json of timm, too, and as a size, where that counts', async () => {
    await say('config.json', { pretrained_cfg: { mean: [0.5], std: 'none', input_size: [3, 0, 24] } });
    await expect(inputOf(['n', 3, 2, 2])).rejects.toThrow(/config\.json: "pretrained_cfg\.std": expected/);
    await expect(inputOf(['n', 3, 'h', 'w'])).rejects.toThrow(
      /config\.json: "pretrained_cfg\.input_size": expected whole numbers.*\[3,0,24\].*--image-size/,
    );
  });

  test('a number for all channels is read, and that it counts for one channel where all are equal', async () => {
    await say(file, { image_mean: 0.5, image_std: [0.25, 0.25, 0.25] });
    for (const channels of [1, 3]) {
      const { declared, warnings } = await inputOf(['n', channels, 2, 2]);
      const { mean, deviation } = declared.normalisation ?? { mean: [], deviation: [] };
      expect(mean).toEqual(Array.from({ length: channels }, () => 0.5));
      expect(deviation).toEqual(Array.from({ length: channels }, () => 0.25));
      expect(warnings).toEqual([]);
    }
  });

  test.each([
    ['{', /preprocessor_config\.json is not JSON and was not used/],
    ['[1]', /preprocessor_config\.json is no JSON object and was not used/],
    [{ image_mean: [0.5] }, /"image_mean" stands there without "image_std" and is not used/],
    [{ image_std: [0.5], image_mean: null }, /"image_std" stands there without "image_mean" and is not used/],
  ])('leaves a warning where nothing is decided by it: %j', async (text, message) => {
    await say(file, text);
    const { warnings, declared } = await inputOf(['n', 3, 2, 2]);
    expect(warnings).toEqual([expect.stringMatching(message)]);
    expect(declared).toEqual({});
  });

  test('three means are not those of one channel', async () => {
    await say(file, { ...both, image_mean: [0.5, 0.4, 0.3] });
    const { warnings, declared } = await inputOf(['n', 1, 2, 2]);
    expect(warnings).toEqual([expect.stringMatching(/"image_mean": 3 numbers for images of one channel/)]);
    expect(declared.normalisation).toBeUndefined();
  });

  test('nothing is said of files that are not there, or say nothing of the images', async () => {
    expect((await inputOf(['n', 3, 2, 2])).warnings).toEqual([]);
    await say(file, { image_processor_type: 'ViTImageProcessor', image_mean: null });
    await say('config.json', { id2label: { 0: 'a', 1: 'b' } });
    expect((await inputOf(['n', 3, 2, 2])).warnings).toEqual([]);
  });
});

describe('images as the model takes them', () => {
  // One image of 1 x 2 pixels: red, green and blue of each.
  const images = Float32Array.of(0.1, 0.2, 0.3, 0.4, 0.5, 0.6);
  const image = { height: 1, width: 2, channels: 3 } as const;
  const normalisation = { name: '', mean: [0, 0, 0], deviation: [1, 1, 1] };
  const rounded = (data: ArrayLike<number>) => Array.from(data, (value) => Math.round(10 * value) / 10);

  test('channels first, last, and turned round', () => {
    const first = toModelInput(
      { type: 'float32', layout: 'channels-first', image },
      { order: 'rgb', normalisation },
      images,
      1,
    );
    expect(first.shape).toEqual([1, 3, 1, 2]);
    expect(rounded(first.data)).toEqual([0.1, 0.4, 0.2, 0.5, 0.3, 0.6]);
    const last = toModelInput(
      { type: 'float32', layout: 'channels-last', image },
      { order: 'bgr', normalisation },
      images,
      1,
    );
    expect(last.shape).toEqual([1, 1, 2, 3]);
    expect(rounded(last.data)).toEqual([0.3, 0.2, 0.1, 0.6, 0.5, 0.4]);
  });

  test('means follow their colour when the order turns round', async () => {
    const input = await inputOf(['n', 3, 1, 2], {
      mean: [0.1, 0.2, 0.3],
      deviation: [1, 1, 1],
      order: 'bgr',
    });
    const [reading] = possibleReadings(input);
    expect(rounded(toModelInput({ ...input, image }, reading, images, 1).data)).toEqual([
      0, 0.3, 0, 0.3, 0, 0.3,
    ]);
  });

  test('half precision there and back is the nearest half', () => {
    for (const value of [
      0, 1, -1, 0.1, 65504, 65520, 1e-8, 6e-8, 5.9604644775390625e-8, 0.333251953125, -2.5,
    ]) {
      const back = halfToNumber(numberToHalf(value));
      const spacing = Math.max(2 ** -24, Math.abs(value) * 2 ** -11);
      if (Math.abs(value) >= 65520) expect(back).toBe(Number.POSITIVE_INFINITY);
      else expect(Math.abs(back - value)).toBeLessThanOrEqual(spacing);
    }
    for (let bits = 0; bits < 0x7c00; bits += 7) expect(numberToHalf(halfToNumber(bits))).toBe(bits);
    expect(halfToNumber(numberToHalf(Number.NaN))).toBeNaN();
  });
});

describe('a file that kd-spec exported', () => {
  const blueFirst = { name: 'of somebody', mean: [0.3, 0.2, 0.1], deviation: [0.5, 0.5, 0.5] };
  const colour = {
    name: 'image',
    type: 'float32',
    layout: 'channels-first',
    image: { height: 48, width: 32, channels: 3 },
    batch: null,
    reading: { order: 'bgr', normalisation: blueFirst },
  };
  const exported = (
    hints: InputHints,
    said: object = {},
    declared: readonly (number | string)[] = ['n', 3, 'h', 'w'],
    type?: TensorProto_DataType,
  ) => inputOf(declared, hints, type, { [inputKey]: JSON.stringify({ ...colour, ...said }) });

  test.each<InputHints>([
    {},
    { imageSize: { height: 48, width: 32 } },
    { order: 'bgr', mean: [0.1, 0.2, 0.3], deviation: [0.5], layout: 'channels-first' },
  ])('is read as its specialists learned: %j', async (hints) => {
    const input = await exported(hints);
    expect(input.image).toEqual(colour.image);
    expect(possibleReadings(input)).toEqual([colour.reading]);
  });

  test.each<[string, string, InputHints]>([
    ['--image-size', 'images of 48x32', { imageSize: { height: 48, width: 48 } }],
    ['--channel-order', 'channels in the order bgr', { order: 'rgb' }],
    ['--image-mean', 'a mean of 0.1, 0.2, 0.3', { mean: [0.3, 0.2, 0.1] }],
    ['--image-mean', 'a mean of 0.1, 0.2, 0.3', { mean: [0.1] }],
    ['--image-std', 'a deviation of 0.5, 0.5, 0.5', { deviation: [0.5, 0.5, 0.6] }],
    ['--layout', 'channels-first', { layout: 'channels-last' }],
  ])('is not read otherwise: %s, %s', async (flag, own, hints) => {
    await expect(exported(hints)).rejects.toThrow(`it takes ${own}: leave ${flag} out`);
  });

  test('that takes bytes says so', async () => {
    const reading = {
      order: 'rgb',
      normalisation: { name: '0 to 255', mean: [0, 0, 0], deviation: Array(3).fill(1 / 255) },
    };
    const said = { type: 'uint8', layout: 'channels-last', reading };
    const bytes = (hints: InputHints) =>
      exported(hints, said, ['n', 'h', 'w', 3], TensorProto_DataType.UINT8);
    expect(possibleReadings(await bytes({}))).toEqual([reading]);
    await expect(bytes({ mean: [0.5] })).rejects.toThrow(
      'it takes bytes as they are: leave --image-mean out',
    );
  });

  test('of grey images has one number, and no order of channels', async () => {
    const said = {
      image: { height: 48, width: 32, channels: 1 },
      reading: { order: 'rgb', normalisation: { name: '-1 to 1', mean: [0.5], deviation: [0.5] } },
    };
    const grey = (hints: InputHints) => exported(hints, said, ['n', 1, 48, 32]);
    expect(possibleReadings(await grey({ order: 'bgr', mean: [0.5] }))).toEqual([said.reading]);
    await expect(grey({ mean: [0.5, 0.5, 0.5] })).rejects.toThrow(
      /has 3 numbers, the images have 1 channels/,
    );
  });

  test.each([
    { what: 'another type', said: { type: 'uint8' } },
    { what: 'other axes', said: { layout: 'channels-last' } },
    { what: 'another name', said: { name: 'picture' } },
  ])('and was changed since is refused: $what', async ({ said }) => {
    await expect(exported({}, said)).rejects.toThrow(/do not describe the input "image": export it again/);
  });
});
