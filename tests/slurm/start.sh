#!/usr/bin/env bash
# A Slurm of one node on this machine, as root: real daemons, GPUs in name only, no accounting.
#   tests/slurm/start.sh install   get slurm-wlm and munge from apt
#   tests/slurm/start.sh start     start the daemons, and return when the node is idle
#   tests/slurm/start.sh stop      end the daemons
# It refuses to touch a machine that has a Slurm of its own.
set -euo pipefail

etc=/etc/slurm
run=/run/rope-spectra-slurm
mark="# Made by tests/slurm/start.sh of rope-spectra."
host=$(hostname -s)

get_packages() {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        slurm-wlm munge >/dev/null
}

configure() {
    if [ -e "$etc/slurm.conf" ] && ! grep -qxF "$mark" "$etc/slurm.conf"; then
        echo "$etc/slurm.conf is of another Slurm" >&2
        exit 1
    fi
    rm -rf "$run"
    mkdir -p "$etc" "$run"
    # A GPU only has to be a device file; Slurm sets CUDA_VISIBLE_DEVICES to its number.
    ln -s /dev/null "$run/gpu0"
    ln -s /dev/null "$run/gpu1"
    # Each GPU is also four shards, for several small runs on one.
    printf 'AutoDetect=off\nNodeName=%s Name=gpu File=%s/gpu[0-1]\nNodeName=%s Name=shard Count=8\n' \
        "$host" "$run" "$host" >"$etc/gres.conf"
    # The node claims more cores and memory than the machine has, so that the profile runs as it is.
    cat >"$etc/slurm.conf" <<CONF
$mark
ClusterName=rope-spectra-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$run/state
SlurmdSpoolDir=$run/spool
SlurmctldPidFile=$run/slurmctld.pid
SlurmdPidFile=$run/slurmd.pid
SlurmctldLogFile=$run/slurmctld.log
SlurmdLogFile=$run/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
GresTypes=gpu,shard
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2
ReturnToService=2
MinJobAge=3600
NodeName=$host NodeAddr=127.0.0.1 CPUs=32 RealMemory=128000 Gres=gpu:2,shard:8 Feature=h100 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
}

start() {
    stop
    configure
    install -d -o munge -g munge /run/munge
    if ! munge --no-input >/dev/null 2>&1; then
        runuser -u munge -- munged --force
    fi
    slurmctld
    slurmd -N "$host"
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --format %t 2>/dev/null)" = idle ]; then
            return
        fi
        sleep 0.5
    done
    echo "the Slurm node did not become idle:" >&2
    tail -n 20 "$run"/*.log >&2
    return 1
}

# Returns when they are gone. munged stays: it may have been here before.
stop() {
    for name in slurmd slurmctld; do
        pid=$(cat "$run/$name.pid" 2>/dev/null || true)
        if [ -n "$pid" ]; then
            kill "$pid" 2>/dev/null || true
            timeout 20 tail --pid "$pid" --sleep-interval 0.1 --follow /dev/null || true
        fi
    done
}

case "${1:-}" in
install) get_packages ;;
start | stop) "$1" ;;
*)
    sed -n '2,6p' "$0"
    exit 2
    ;;
esac
