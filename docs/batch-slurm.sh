#!/bin/bash
#SBATCH --job-name=iosfast
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=32G
#SBATCH --time=12:00:00
# sbatch batch-slurm.sh ARCHIVE... --out DIR [other options of iosfast batch]
set -euo pipefail
where=$(mktemp -d -p "${SLURM_SUBMIT_DIR:-$PWD}" iosfast-dask-XXXXXX)
trap 'kill $(jobs -p) 2> /dev/null; rm -rf "$where"' EXIT

dask scheduler --scheduler-file "$where/scheduler.json" --port 0 --dashboard-address :0 &
# Four workers a node unless WORKERS_PER_NODE tells otherwise; SLURM limits the memory, so Dask need not (it counts pages of mapped files).
srun dask worker --scheduler-file "$where/scheduler.json" --nworkers "${WORKERS_PER_NODE:-4}" --nthreads 1 \
  --memory-limit 0 --local-directory "${TMPDIR:-/tmp}" &

until [ -s "$where/scheduler.json" ]; do sleep 0.2; done
iosfast batch --scheduler "$where/scheduler.json" --threads 4 --resume --no-progress "$@"
