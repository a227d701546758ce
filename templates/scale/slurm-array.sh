#!/bin/sh
#SBATCH --job-name=kubemint
#SBATCH --array=1-4
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --time=00:30:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=kubemint-%A-%a.log
# One part of a sharded kubemint distribute for each task of the array: docs/scale.md.
#
#   KUBEMINT_INVENTORY=/srv/kubemint/prod.toml KUBEMINT_RUNS=/srv/kubemint/shards sbatch slurm-array.sh
#   kubemint -i /srv/kubemint/prod.toml runs merge --complete /srv/kubemint/shards/JOBID/part-*.json
#
# KUBEMINT_INVENTORY  the inventory; its state_dir is only read, and must belong to the user whose job this is
# KUBEMINT_RUNS       where reports go, below a folder of the job's id; on a file system that all nodes see
#
# The array must be whole, whatever its first index: kubemint refuses one with holes. One part alone is run by hand with
# --shard I/N.
set -eu
: "${KUBEMINT_INVENTORY:?names the inventory}" "${KUBEMINT_RUNS:?names the folder for reports}"
umask 077
folder=$KUBEMINT_RUNS/$SLURM_ARRAY_JOB_ID
mkdir -p "$folder"
# exec: the TERM that Slurm sends before the time limit reaches kubemint, which then begins no more hosts.
exec kubemint --yes distribute --shard auto --runs-dir "$folder/runs" -o json >"$folder/part-$SLURM_ARRAY_TASK_ID.json"
