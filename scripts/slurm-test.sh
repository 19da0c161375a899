#!/usr/bin/env bash
# Trains specialists through a real Slurm of three nodes on this machine, takes nodes, jobs and coordinators away, and
# holds the Slurm engine to the contract of all engines.
#
#   scripts/slurm-test.sh                      # all of it; needs npm run build, and root
#   scripts/slurm-test.sh -t 'taken away'      # further words are for vitest
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/slurm.sh install
TEST_SLURM=$(mktemp -d "${TMPDIR:-/tmp}/kd-spec-slurm-XXXXXX")
export TEST_SLURM
trap 'scripts/slurm.sh stop "$TEST_SLURM"' EXIT
scripts/slurm.sh start "$TEST_SLURM"
npx vitest run --no-file-parallelism test/slurm.test.ts test/slow/jobs.test.ts "$@"
