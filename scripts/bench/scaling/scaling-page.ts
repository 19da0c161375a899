import type { Machine } from '../../machine.js';
import type { CoordinatorTime } from './coordinator-time.js';
import type { SimulatedRun } from './simulate.js';

/** One run of the command that trains all specialists. */
export interface Measurement {
  readonly processes: number;
  /** Of the whole command, the start of processes and all that is checked and written with it. */
  readonly seconds: number;
  /** Of the pass over the training images that is made once for all specialists, before. */
  readonly sharedSeconds: number;
  /** User and system time of the command and of all its processes; null where only Linux would tell. */
  readonly processorSeconds: number | null;
  readonly jobSeconds: readonly number[];
}

export interface SimulatedEngine {
  readonly engine: string;
  readonly runs: readonly { readonly specialists: number; readonly workers: readonly SimulatedRun[] }[];
}

export interface ScalingResult {
  readonly command: string;
  readonly machine: Machine;
  readonly backend: string;
  readonly classes: number;
  readonly specialists: number;
  /** Classes of each. */
  readonly size: number;
  readonly measurements: readonly Measurement[];
  /** Seconds for each specialist; the first engine is none: the bare training. */
  readonly engines: readonly { readonly name: string; readonly perSpecialist: number }[];
  readonly slotSeconds: number;
  readonly coordinator: CoordinatorTime;
  readonly simulations: readonly SimulatedEngine[];
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
const milliseconds = (seconds: number) => `${(1000 * seconds).toFixed(2)} ms`;

/** The measurements as a page for docs/results. */
export function scalingPage(result: ScalingResult): string {
  const { machine, measurements, engines, coordinator, specialists } = result;
  const of = (processes: number) => measurements.filter((entry) => entry.processes === processes);
  const secondsOf = (processes: number) => mean(of(processes).map(({ seconds }) => seconds));
  const rate = secondsOf(1) / secondsOf(2);
  const shared = mean(measurements.map(({ sharedSeconds }) => sharedSeconds));
  const table = [1, 2].map((processes) => {
    const seconds = secondsOf(processes);
    const job = mean(of(processes).flatMap(({ jobSeconds }) => jobSeconds));
    const gain = secondsOf(1) / seconds;
    const processor = mean(of(processes).map(({ processorSeconds }) => processorSeconds ?? Number.NaN));
    const used = Number.isNaN(processor)
      ? 'unknown | unknown'
      : `${(processor / specialists).toFixed(2)} | ${(processor / seconds).toFixed(2)}`;
    return (
      `| ${processes} | ${seconds.toFixed(1)} | ${job.toFixed(2)} | ${used} | ${Math.round((3600 * specialists) / seconds)} | ` +
      `${gain.toFixed(2)} | ${percent(gain / processes)} |`
    );
  });
  const bare = engines[0].perSpecialist;
  const overhead = engines.map(
    ({ name, perSpecialist }) =>
      `| ${name} | ${perSpecialist.toFixed(2)} | ${(perSpecialist - bare).toFixed(2)} | ${percent(perSpecialist / bare - 1)} |`,
  );
  const simulated = result.simulations[0].runs.map(({ specialists: number }, index) => {
    const rows = result.simulations[0].runs[index].workers.map(({ workers }, row) => {
      const cells = result.simulations.map(({ runs }) => {
        const run = runs[index].workers[row];
        return `${run.seconds.toFixed(1)} s | ${percent(run.efficiency)} | ${run.coordinatorSeconds.toFixed(1)} s`;
      });
      return `| ${workers} | ${cells.join(' | ')} |`;
    });
    const names = result.simulations.flatMap(({ engine }) => [engine, 'efficiency', 'coordinator']);
    return `${number.toLocaleString('en')} specialists:

| workers | ${names.join(' | ')} |
| --: | ${names.map(() => '--:').join(' | ')} |
${rows.join('\n')}
`;
  });
  return `# How training specialists scales

    ${result.command}

${specialists} specialists of ${result.size} classes on the han data set with ${result.classes} classes, backend ${result.backend}, one thread of it in every process.
${machine.cores} cores (${machine.processor}), Node ${machine.node}, load ${machine.load.toFixed(1)} at the end.

## One process and two

The whole command \`kd-spec train-specialists\`, from its start to its end: without \`--parallel\`, where one process trains in
the command itself, and with \`--parallel 2\`, where two children of it do. What all specialists share (${shared.toFixed(1)} s, a pass over
the training images in the command itself) was there before, in both cases.

| processes | seconds | seconds a specialist, in its process | processor seconds a specialist | cores in use | specialists an hour | rate | efficiency |
| --: | --: | --: | --: | --: | --: | --: | --: |
${table.join('\n')}

The target is a rate of 1.8; it is ${rate >= 1.8 ? 'met' : 'missed'}: **${rate.toFixed(2)}**.${measurements.length > 2 ? ` Means of ${measurements.length / 2} runs each, taking turns.` : ''}

Processor seconds are those of the whole command. What one process has in use beyond one core, for V8's garbage collector and compiler
and for files, two processes on two cores have to share; and the start and the end of the command are the same for both.

## What an engine costs

Some of the specialists, trained with nothing around the training (no artefact, no hashes, no lock), and through each engine.

| | seconds a specialist | more than bare | |
| --- | --: | --: | --: |
${overhead.join('\n')}

The pool's difference is nearly all the start of its process, once; a process for each job starts again each time, and loads backend,
generalist and data set. A longer training makes all of them smaller.

## The coordinator

Its own code, with jobs that take no time and with Slurm's commands replaced by ones that answer at once, for 6,000 specialists:

| for each specialist | |
| --- | --: |
| look whether it is there, hand it out, note its end | ${milliseconds(coordinator.perJob)} |
| read and check a finished one | ${milliseconds(coordinator.perArtefact)} |
| submit it to Slurm, without Slurm's own time | ${milliseconds(coordinator.slurmSubmit)} |
| one look at what Slurm says of it, every 5 s | ${milliseconds(coordinator.slurmLook)} |

## Simulated: up to 1,000 workers

Each worker takes the next job when it is free. Times of jobs are those measured above in one process, for 6,000 drawn from them with
replacement; every worker is as fast as that process, and storage and network cost nothing. A pool starts each of its processes once
and its coordinator hands out one job at a time. Slurm and Kubernetes start a process for each job, and a freed place stays empty for
${result.slotSeconds} s, which is assumed: it depends on the cluster. *Coordinator* is the time that the coordinator itself needs. No pool has a
thousand processes; its rows say that the coordinator would not be what stops it.

${simulated.join('\n')}
An efficiency falls where there are about as many workers as jobs: the longest job then decides.
`;
}
