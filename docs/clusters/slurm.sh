#!/bin/bash
#SBATCH --job-name=tuner
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1        # one Ray on each node, which hosts its workers
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@180        # to this script, three minutes before the time is up
#SBATCH --requeue                  # also when this node fails or the job is preempted
#SBATCH --no-kill                  # another node that fails costs its trials an epoch, not the job
#SBATCH --open-mode=append
#SBATCH --output=tuner-%j.log

experiment=${EXPERIMENT:-$HOME/experiment.yaml}
results=${RESULTS:-$HOME/results}             # kept here, on the shared disk ...
here=${TMPDIR:-/tmp}/tuner-$SLURM_JOB_ID      # ... and written here, on a disk of this node
minutes=${KEEP_MINUTES:-10}                   # between two copies: what a dead node may cost

source "${VENV:-$HOME/tuner/.venv}/bin/activate"

# ---- the results: copied here, and back again while they grow

keep() {
    mkdir -p "$results"
    # All but the ledgers, which may be in the middle of a change.
    tar -C "$here" --exclude='ledger.sqlite*' --exclude='.*.tmp' --exclude=lock -cf - . |
        tar -C "$results" -xf -
    (cd "$here" && find . -name ledger.sqlite) | while read -r ledger; do
        python - "$here/$ledger" "$results/$ledger" <<'PYTHON'
import os, shutil, sqlite3, sys
run, kept = sys.argv[1:]
with sqlite3.connect(f"{run}.copy") as copy:        # whole, whatever is just being written
    sqlite3.connect(run).backup(copy)
shutil.copy(f"{run}.copy", f"{kept}.new")
os.replace(f"{kept}.new", kept)
PYTHON
    done
}

rm -rf "$here"
mkdir -p "$here"
trap 'rm -rf "$here"' EXIT
if [ -d "$results" ]; then cp -r "$results/." "$here/"; fi

# ---- Ray on every node of the allocation; this script is on the first one

port=$((20000 + SLURM_JOB_ID % 20000))        # others may have a Ray on the same node
address=${SLURMD_NODENAME:-$(hostname)}:$port
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN                         # srun passes it on; nobody else has it
cores=${SLURM_CPUS_PER_TASK:-1}

ray start --head --port=$port --num-cpus="$cores" --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    --include-dashboard=false --disable-usage-stats || exit 1
others=$((SLURM_JOB_NUM_NODES - 1))
if [ $others -gt 0 ]; then
    srun --relative=1 --nodes=$others --ntasks=$others --cpus-per-task="$cores" \
        --no-kill --kill-on-bad-exit=0 --wait=0 \
        ray start --address="$address" --num-cpus="$cores" --block &
    nodes=$!
fi

# ---- the run; nodes are used as they come

time_is_up=
tuner run "$experiment" --engine ray --ray-address "$address" --results "$here" &
run=$!
trap 'time_is_up=yes; kill -USR1 $run' USR1   # it ends cleanly, within seconds
trap 'kill -TERM $run' TERM
(while sleep 5; do
    if [ $SECONDS -ge $((60 * minutes)) ]; then keep; SECONDS=0; fi
done) &
keeper=$!

wait $run
status=$?
while kill -0 $run 2>/dev/null; do            # a signal has ended the wait, and not the run
    wait $run
    status=$?
done

kill $keeper ${nodes:-} 2>/dev/null
wait $keeper 2>/dev/null
keep
if [ -n "$time_is_up" ] && [ $status -ne 0 ] && [ $status -ne 3 ]; then
    scontrol requeue "$SLURM_JOB_ID"          # it goes on where it stopped
fi
exit $status                                  # 0 done, 3 done but some trials failed
