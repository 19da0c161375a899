import { type Engine, type JobEnd, maxRetries } from './engine.js';
import { failuresFolder, forgetFailure, readFailure, writeWork } from './jobs-folder.js';
import { collect } from './specialist-work.js';

/**
 * Leaves the jobs to somebody else: it writes the work where `kd-spec jobs train` finds it, says how to start the
 * jobs, and looks in the folder for what they made. A job that would fail in the same way again has left a note there;
 * one that was lost has to be started again from where it was started.
 *
 * @param folder the workspace's jobsFolder
 * @param howToStart a command line for a person
 * @param options.pollMs milliseconds between two looks
 */
export function createManualEngine(
  folder: string,
  howToStart: string,
  { pollMs = 2000 }: { readonly pollMs?: number } = {},
): Engine {
  return {
    name: 'the jobs that you start',
    outlivesCoordinator: true,
    async open(work, { log, listener }) {
      const failures = failuresFolder(folder, work);
      const watched = new Set<number>();
      let timer: NodeJS.Timeout | undefined;
      const done = (position: number): JobEnd => {
        const outcome = { id: work.subsets[position].id, seconds: 0, wasDone: false };
        return { kind: 'done', outcome };
      };
      const look = async () => {
        const { missing } = await collect(work);
        for (const position of watched) {
          const end = missing.includes(position) ? await readFailure(failures, position) : done(position);
          if (end === undefined || end.kind === 'lost') continue;
          watched.delete(position);
          listener({ kind: 'ended', position, end });
        }
        if (watched.size > 0) schedule();
      };
      const schedule = () => {
        timer = setTimeout(() => look().catch((error: Error) => listener({ kind: 'broken', error })), pollMs);
      };
      return {
        async submit(positions) {
          for (const position of positions) await forgetFailure(failures, position);
          await writeWork(folder, work);
          log.info(`specialists: ${positions.length} to be trained; start their jobs with: ${howToStart}`);
          for (const position of positions) watched.add(position);
          clearTimeout(timer);
          schedule();
        },
        async cancel() {
          log.info('specialists: end the jobs where you started them');
          clearTimeout(timer);
        },
        async [Symbol.asyncDispose]() {
          clearTimeout(timer);
        },
      };
    },
  };
}

/** What goes into the manifest of an Indexed Job. */
export interface KubernetesOptions {
  /** Number of specialists. */
  readonly completions: number;
  /** Most pods at once. */
  readonly parallelism: number;
  /** An image in which `kd-spec` is in PATH. */
  readonly image: string;
  /** The PersistentVolumeClaim that holds the workspace, and where in it. */
  readonly claim: string;
  readonly subPath: string | undefined;
  readonly cpus: number;
  /** E.g. `8Gi`. */
  readonly memory: string;
  /** Of NVIDIA; 0 asks for none. */
  readonly gpus: number;
  /** That a pod may run; undefined for no limit. */
  readonly timeLimitSeconds: number | undefined;
  readonly name: string;
}

/** Exit code of a job that was interrupted after a checkpoint: that is no failure. */
const interruptedCode = 75;
const graceSeconds = 120; // from SIGTERM to the checkpoint

/**
 * A Kubernetes Indexed Job that trains all specialists: the pod of index i runs the unit of work for position i.
 *
 * A pod that was evicted is replaced and does not count; one that failed is tried again, at most twice for each
 * index, and the others go on (`backoffLimitPerIndex`, Kubernetes 1.29 and later). A pod whose time is over gets
 * SIGTERM, as one that is evicted: it ends with 75 after its checkpoint and is replaced, or it hangs and has failed.
 */
export function kubernetesManifest(options: KubernetesOptions): object {
  const { completions, parallelism, image, claim, subPath, cpus, memory, gpus, timeLimitSeconds, name } =
    options;
  const resources = {
    cpu: String(cpus),
    memory,
    ...(gpus === 0 ? {} : { 'nvidia.com/gpu': String(gpus) }),
  };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { name, labels: { 'app.kubernetes.io/name': 'kd-spec' } },
    spec: {
      completionMode: 'Indexed',
      completions,
      parallelism: Math.min(parallelism, completions),
      backoffLimitPerIndex: maxRetries,
      maxFailedIndexes: completions,
      podReplacementPolicy: 'Failed',
      podFailurePolicy: {
        rules: [
          { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          {
            action: 'Ignore',
            onExitCodes: { containerName: 'specialist', operator: 'In', values: [interruptedCode] },
          },
        ],
      },
      template: {
        metadata: { labels: { 'app.kubernetes.io/name': 'kd-spec' } },
        spec: {
          restartPolicy: 'Never',
          ...(timeLimitSeconds === undefined ? {} : { activeDeadlineSeconds: timeLimitSeconds }),
          terminationGracePeriodSeconds: graceSeconds,
          containers: [
            {
              name: 'specialist',
              image,
              // The position is the pod's index, which Kubernetes gives as JOB_COMPLETION_INDEX.
              command: ['kd-spec', 'jobs', 'train', '--workspace', '/workspace'],
              resources: { requests: resources, limits: resources },
              volumeMounts: [
                { name: 'workspace', mountPath: '/workspace', ...(subPath === undefined ? {} : { subPath }) },
              ],
            },
          ],
          volumes: [{ name: 'workspace', persistentVolumeClaim: { claimName: claim } }],
        },
      },
    },
  };
}
