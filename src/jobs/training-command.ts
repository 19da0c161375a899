import { join } from 'node:path';
import { packageFolder } from '../core/package.js';

/** The command line that trains one specialist of a workspace; its position follows as the last word. */
export function trainingCommand(workspace: string): readonly string[] {
  const program = join(packageFolder(), 'dist', 'cli', 'main.js');
  return [process.execPath, program, 'jobs', 'train', '--workspace', workspace, '--position'];
}
