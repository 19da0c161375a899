import { maxRetries } from './retries.js';

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
