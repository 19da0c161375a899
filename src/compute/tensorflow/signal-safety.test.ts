import { expect, test } from 'vitest';
import { signalSafety } from './load-native.js';

const off = { TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL: 'false' };

test('the kernel that signals harm is left out where the processor has no better one, or does not tell', () => {
  expect(signalSafety('flags : fma avx avx2 bmi2', {})).toEqual(off);
  expect(signalSafety('', {})).toEqual(off);
  expect(signalSafety('flags : avx2 avx512f avx512bw', {})).toEqual({});
});

test('what the user chose stays', () => {
  const chosen = { TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL: 'true' };
  expect(signalSafety('flags : avx2', chosen)).toEqual(chosen);
});
