import { copyFile, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
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

/**
 * A module that turns standard error away and back. TensorFlow tells of the processor there while its libraries load,
 * before they read TF_CPP_MIN_LOG_LEVEL; what goes wrong comes as an exception.
 */
const quietSource = `#include <fcntl.h>
#include <node_api.h>
#include <stdio.h>
#include <unistd.h>

static int standard_error = -1;

static napi_value TurnAway(napi_env env, napi_callback_info info) {
  if (standard_error >= 0) return NULL;
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere < 0) return NULL;
  fflush(stderr);
  standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
  if (standard_error >= 0) dup2(nowhere, STDERR_FILENO);
  close(nowhere);
  return NULL;
}

static napi_value TurnBack(napi_env env, napi_callback_info info) {
  if (standard_error < 0) return NULL;
  fflush(stderr);
  dup2(standard_error, STDERR_FILENO);
  close(standard_error);
  standard_error = -1;
  return NULL;
}

NAPI_MODULE_INIT() {
  napi_value turn_away, turn_back;
  napi_create_function(env, "turnAway", NAPI_AUTO_LENGTH, TurnAway, NULL, &turn_away);
  napi_create_function(env, "turnBack", NAPI_AUTO_LENGTH, TurnBack, NULL, &turn_back);
  napi_set_named_property(env, exports, "turnAway", turn_away);
  napi_set_named_property(env, exports, "turnBack", turn_back);
  return exports;
}
`;

const quietTarget = "{ 'target_name': 'quiet', 'sources': ['binding/quiet.c'] }, ";

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
  await writeFile(join(addon, 'binding', 'quiet.c'), quietSource);
  await writeFile(
    description,
    source.replace("'targets' : [", (start) => start + quietTarget),
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
  await rename(join(addon, 'build', 'Release', 'quiet.node'), join(addon, 'lib', 'quiet.node'));
  await rm(join(addon, 'build'), { recursive: true });
  await rm(join(tensorflow, 'include'), { recursive: true });
}
