#!/bin/sh
# Say of a Slurm job: success, running or failed. Usage: status.sh JOB
# For another scheduler, replace what asks Slurm; see docs/cluster.md.
answer=$(scontrol --oneliner show job "$1" 2>&1)
state=$(printf '%s\n' "$answer" | sed -n 's/.* JobState=\([A-Z_]*\).*/\1/p')
case "$answer" in
*"Invalid job id"*) # forgotten some minutes after its end: only accounting may know
    state=$(sacct --noheader --allocations --parsable2 --format=State --jobs="$1" 2> /dev/null)
    state=${state:-FORGOTTEN}
    ;;
esac
case "${state%% *}" in
COMPLETED) echo success ;;
BOOT_FAIL | CANCELLED | DEADLINE | FAILED | FORGOTTEN | NODE_FAIL | OUT_OF_MEMORY | PREEMPTED | TIMEOUT)
    echo failed
    ;;
*) echo running ;; # or the scheduler did not answer: ask again later
esac
