#!/usr/bin/env node
import { asFileError } from '../core/file-error.js';
import { describeError, runProgram } from './program.js';

// A reader that closed the pipe, such as `head`, is no failure; a full disk behind a redirection is.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  process.stderr.write(`${describeError(asFileError(error, 'standard output'), process.env)}\n`);
  process.exit(1);
});
// Nobody reads messages any longer, or there is no room for them: the work goes on, and its result tells.
process.stderr.on('error', () => {});

// What is done stays done: a signal in the last moments of the process does not change the result that it ends with.
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    if (process.exitCode !== undefined) process.exit();
  });
}

process.exitCode = await runProgram(process.argv.slice(2), {
  env: process.env,
  folder: process.cwd(),
  stdout: process.stdout,
  stderr: process.stderr,
});
