import { spawn } from 'node:child_process';

/**
 * Runs a program to its end and gives its standard output; what it says on the way stays away from the terminal.
 *
 * @throws Error with the last lines that it said, when it fails
 */
export async function runProgram(
  program: string,
  parameters: readonly string[],
  { folder, env = {} }: { folder?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const child = spawn(program, parameters, {
    cwd: folder,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let messages = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
    messages += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    messages += chunk;
  });
  const ending = await new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? undefined : (signal ?? `exit code ${code}`)));
  });
  if (ending === undefined) return output;
  const last = messages.trimEnd().split('\n').slice(-12).join('\n    ');
  throw new Error(`${program} ${parameters.slice(0, 3).join(' ')}: ${ending}\n    ${last}`);
}
