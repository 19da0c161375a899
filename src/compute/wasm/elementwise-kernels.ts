import { i32, kernel, overLanes, set } from './assembler.js';

/** One pass over memory for a whole step of Adam; see `adamWStep` for the formula. */
export const adamW = kernel(
  'adamW',
  {
    parameter: 'i32',
    gradient: 'i32',
    first: 'i32',
    second: 'i32',
    output: 'i32',
    bytes: 'i32',
    beta1: 'f32',
    beta2: 'f32',
    rest1: 'f32',
    rest2: 'f32',
    correction: 'f32',
    epsilon: 'f32',
    stepSize: 'f32',
    decay: 'f32',
  },
  ({ parameters: p, local }) => {
    const offset = local('i32');
    return [
      overLanes(offset, p.bytes.get, (lane) => {
        const gradient = local(lane.type);
        const first = local(lane.type);
        const second = local(lane.type);
        const at = (base: { get: readonly number[] }) => i32.add(base.get, offset.get);
        const times = (factor: { get: readonly number[] }, value: readonly number[]) =>
          lane.mul(lane.spread(factor.get), value);
        const deviation = lane.add(times(p.correction, lane.sqrt(second.get)), lane.spread(p.epsilon.get));
        return [
          set(gradient, lane.load(at(p.gradient))),
          set(first, lane.add(times(p.beta1, lane.load(at(p.first))), times(p.rest1, gradient.get))),
          set(
            second,
            lane.add(
              times(p.beta2, lane.load(at(p.second))),
              times(p.rest2, lane.mul(gradient.get, gradient.get)),
            ),
          ),
          lane.store(at(p.first), first.get),
          lane.store(at(p.second), second.get),
          lane.store(
            at(p.output),
            lane.sub(
              times(p.decay, lane.load(at(p.parameter))),
              lane.div(times(p.stepSize, first.get), deviation),
            ),
          ),
        ];
      }),
    ];
  },
);

/** One pass over memory for a step of gradient descent with momentum; see `sgdStep` for the formula. */
export const sgd = kernel(
  'sgd',
  {
    parameter: 'i32',
    gradient: 'i32',
    velocity: 'i32',
    output: 'i32',
    bytes: 'i32',
    momentum: 'f32',
    gradientShare: 'f32',
    velocityShare: 'f32',
    decay: 'f32',
  },
  ({ parameters: p, local }) => {
    const offset = local('i32');
    return [
      overLanes(offset, p.bytes.get, (lane) => {
        const gradient = local(lane.type);
        const velocity = local(lane.type);
        const at = (base: { get: readonly number[] }) => i32.add(base.get, offset.get);
        const times = (factor: { get: readonly number[] }, value: readonly number[]) =>
          lane.mul(lane.spread(factor.get), value);
        return [
          set(gradient, lane.load(at(p.gradient))),
          set(velocity, lane.add(times(p.momentum, lane.load(at(p.velocity))), gradient.get)),
          lane.store(at(p.velocity), velocity.get),
          lane.store(
            at(p.output),
            lane.sub(
              times(p.decay, lane.load(at(p.parameter))),
              lane.add(times(p.gradientShare, gradient.get), times(p.velocityShare, velocity.get)),
            ),
          ),
        ];
      }),
    ];
  },
);

/** Multiplies values by a factor. */
export const scale = kernel(
  'scale',
  { values: 'i32', bytes: 'i32', factor: 'f32' },
  ({ parameters: p, local }) => {
    const offset = local('i32');
    return [
      overLanes(offset, p.bytes.get, (lane) => {
        const at = i32.add(p.values.get, offset.get);
        return [lane.store(at, lane.mul(lane.load(at), lane.spread(p.factor.get)))];
      }),
    ];
  },
);
