#!/bin/sh
# Start Slurm on this machine alone, as root and without cgroups, for the tests of the corpus' engine "slurm":
#   apt-get install --no-install-recommends slurm-wlm munge
#   export SLURM_CONF=$(sh scripts/slurm_here.sh)
# Stop it with: scontrol shutdown; kill $(cat /run/munge/munged.pid)
set -eu
folder=${1:-/tmp/slurm-here}
mkdir -p "$folder/state" "$folder/spool" /run/munge
chown munge:munge /run/munge
munge --no-input --output=/dev/null 2>/dev/null || su -s /bin/sh munge -c /usr/sbin/munged >&2
cat > "$folder/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"
slurmctld >&2
sleep 1
slurmd -N localhost >&2
sleep 2
sinfo >&2
echo "$SLURM_CONF"
