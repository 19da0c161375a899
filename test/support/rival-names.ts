/** What `kd-spec rivals` compares the specialists with, in the order of its lines. */
export const rivalNames = [
  'temperature',
  'prior',
  'bias',
  'refitted',
  'interpolated',
  'hidden',
  'adapter',
  'neighbours',
];
