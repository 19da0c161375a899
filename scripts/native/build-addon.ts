import { copyFile, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from './run-program.js';

const nodeApiVersion = '8'; // of Node 20 and later

/** What node-gyp reads of a Node's own build, as far as an addon of Node-API needs it. */
const commonSettings = {
  variables: { 'configuring_node%': 0, 'host_arch%': process.arch, 'target_arch%': process.arch },
  target_defaults: {
    default_configuration: 'Release',
    configurations: { Release: { cflags: ['-O3'] } },
    cflags: ['-fPIC', '-pthread', '-std=c++17'],
    cflags_cc: ['-fno-rtti'],
    ldflags: ['-pthread'],
  },
};

/** TensorFlow 2.19 and later tell of the processor whatever TF_CPP_MIN_LOG_LEVEL says, unless asked like this. */
const quietSource = `#include "absl/base/log_severity.h"
#include "absl/log/globals.h"

namespace {
struct Quiet {
  Quiet() { absl::SetMinLogLevel(absl::LogSeverityAtLeast::kError); }
} quiet;
}  // namespace
`;

/**
 * Builds tfjs-node's addon for TensorFlow's libraries as a wheel holds them.
 *
 * @param folder where node-gyp and Node-API's headers are installed
 * @param addon tfjs-node's folder
 * @param tensorflow the wheel's `tensorflow` folder; it must stay where it lies relative to `addon`
 */
export async function buildAddon(folder: string, addon: string, tensorflow: string): Promise<void> {
  const libraries = join(addon, 'deps', 'lib');
  await mkdir(join(addon, 'deps'));
  // A link to the folder, not to its files: the libraries look for each other, and for NVIDIA's, beside themselves.
  await symlink('../../../../site-packages/tensorflow', libraries);
  for (const [plain, inWheel] of [
    ['libtensorflow', 'libtensorflow_cc'],
    ['libtensorflow_framework', 'libtensorflow_framework'],
  ]) {
    await symlink(`${inWheel}.so.2`, join(tensorflow, `${plain}.so`));
  }
  await symlink('lib/include', join(addon, 'deps', 'include'));

  const description = join(addon, 'binding.gyp');
  const source = await readFile(description, 'utf8');
  await writeFile(join(addon, 'binding', 'quiet.cc'), quietSource);
  await writeFile(
    description,
    source.replace("'binding/tfjs_binding.cc'", "'binding/tfjs_binding.cc', 'binding/quiet.cc'"),
  );

  const headers = join(folder, 'node-headers', 'include', 'node');
  await mkdir(headers, { recursive: true });
  const interfaceHeaders = join(folder, 'node_modules', 'node-api-headers', 'include');
  for (const file of await readdir(interfaceHeaders)) {
    await copyFile(join(interfaceHeaders, file), join(headers, file));
  }
  await writeFile(join(headers, 'common.gypi'), JSON.stringify(commonSettings));
  await writeFile(join(headers, 'config.gypi'), JSON.stringify({ variables: {}, target_defaults: {} }));

  await runProgram(process.execPath, [
    join(folder, 'node_modules', 'node-gyp', 'bin', 'node-gyp.js'),
    ...['rebuild', '--directory', addon, '--nodedir', join(folder, 'node-headers'), '--jobs', 'max'],
    ...['--module_name=tfjs_binding', `--module_path=${join(addon, 'lib', `napi-v${nodeApiVersion}`)}`],
    `--napi_build_version=${nodeApiVersion}`,
  ]);
  await rm(join(addon, 'build'), { recursive: true });
  await rm(join(tensorflow, 'include'), { recursive: true });
}
