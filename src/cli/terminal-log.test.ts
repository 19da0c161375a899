import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { createTerminalLog, usesColor } from './terminal-log.js';

function sink(isTTY = false) {
  const written: string[] = [];
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      written.push(String(chunk));
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY, columns: 80 }), text: () => written.join('') };
}

test('without a terminal a bar is a line now and then', () => {
  const { stream, text } = sink();
  let nowMs = 0;
  const log = createTerminalLog(stream, { lineSeconds: 30, nowMs: () => nowMs });
  const bar = log.progress('generalist', 2000);
  for (let step = 0; step <= 1000; step += 100) {
    bar.update(step, 'loss 1.25');
    nowMs += 5000;
  }
  bar.finish('loss 1.00');
  expect(text()).toBe(
    'generalist: 600 of 2,000 (30%), 30 s, about 1 min 10 s left, loss 1.25\ngeneralist: done, 55 s, loss 1.00\n',
  );
});

test('on a terminal a bar is drawn and messages stand above it', () => {
  const { stream, text } = sink(true);
  const log = createTerminalLog(stream);
  const bar = log.progress('predictions', 10);
  bar.update(5, 'fast');
  log.info('a message');
  bar.finish();
  log.info('after');
  expect(text()).toMatch(/predictions +█{24} +100%/);
  expect(text()).toContain('fast');
  expect(text()).toContain('after\n');
});

test('a bar for a part goes away at its end, and the one of the whole stays', async () => {
  const { stream, text } = sink(true);
  const log = createTerminalLog(stream);
  const whole = log.progress('specialists', 2);
  const part = log.progress('specialist 7', 10, { isPassing: true });
  part.update(5, 'loss 1');
  whole.update(1);
  await expect.poll(text).toMatch(/specialist 7 .*50%.*loss 1/); // drawn five times a second
  part.finish();
  const before = text().length;
  whole.finish();
  expect(text().slice(before)).not.toContain('specialist 7');
  expect(text().slice(before)).toMatch(/specialists +█{24} +100%/);

  const plain = sink();
  const bar = createTerminalLog(plain.stream, { lineSeconds: 0 }).progress('part', 2, { isPassing: true });
  bar.update(1);
  bar.finish();
  expect(plain.text()).toBe('');
});

test('quiet says warnings alone', () => {
  const { stream, text } = sink(true);
  const log = createTerminalLog(stream, { quiet: true });
  log.info('info');
  log.progress('bar', 3).finish();
  log.warn('careful');
  expect(text()).toBe('warning: careful\n');
});

test('a name with escape sequences is shown and not obeyed', () => {
  const { stream, text } = sink(false);
  const log = createTerminalLog(stream);
  log.info('class \u001b[2J');
  log.warn('class \u001b]0;x\u0007');
  log.progress('\u001bc', 1).finish('\u009b1m');
  expect(text()).not.toMatch(/(?!\n)\p{Control}/u);
  expect(text()).toContain('class \\u001b[2J');
});

test('colour needs a terminal that wants it', () => {
  const coloured = sink(true);
  createTerminalLog(coloured.stream, { color: true }).warn('careful');
  expect(coloured.text()).toContain('\u001b[33m');
  expect(usesColor({ isTTY: true }, {})).toBe(true);
  expect(usesColor({ isTTY: true }, { NO_COLOR: '1' })).toBe(false);
  expect(usesColor({ isTTY: false }, {})).toBe(false);
});

test('a bar that was left unfinished ends with the log: nothing is drawn or waited for after it', () => {
  const { stream, text } = sink(true);
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  {
    using log = createTerminalLog(stream);
    const bar = log.progress('generalist', 10);
    bar.update(3);
    expect(timers()).toBe(before + 1);
  }
  expect(timers()).toBe(before);
  expect(text()).toContain('\u001b[?25h'); // the cursor is back
});
