#!/usr/bin/env bash
# A real Slurm on this machine: controller, accounting, and several nodes, each a daemon with a port of its own.
#
#   scripts/slurm.sh install            # Debian's packages; needs root
#   scripts/slurm.sh start FOLDER       # prints the line to set SLURM_CONF with; nodes: node1 to node3
#   scripts/slurm.sh kill FOLDER node1  # takes a node away as a power cut does, with all that runs on it
#   scripts/slurm.sh revive FOLDER node1
#   scripts/slurm.sh stop FOLDER        # ends all of it and removes the folder
#
# Everything (keys, sockets, the accounting's database, logs) lies in FOLDER, and nothing listens but on this machine;
# an existing Slurm or MariaDB of the machine is not touched. Slurm, munge and MariaDB run as root here.
set -euo pipefail

nodes=3
packages=(slurm-wlm slurmdbd munge mariadb-server-core mariadb-client-core)

install() {
  for package in "${packages[@]}"; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
      apt-get update -qq >&2
      # The daemons that the packages bring are not to start: ours are started below, with a configuration.
      local policy=/usr/sbin/policy-rc.d
      [ -e "$policy" ] && policy='' || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; }
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
      [ -z "$policy" ] || rm "$policy"
      return
    fi
  done
}

free_ports() { # prints as many free ports in a row
  node -e '
    const net = require("node:net");
    const listen = (port) => new Promise((resolve) => {
      const server = net.createServer().on("error", () => resolve(undefined));
      server.listen(port, "127.0.0.1", () => resolve(server));
    });
    (async () => {
      for (let first = 20000 + Math.floor(Math.random() * 30000); ; first += 50) {
        const servers = await Promise.all(Array.from({ length: Number(process.argv[1]) }, (_, i) => listen(first + i)));
        for (const server of servers) server?.close();
        if (servers.every(Boolean)) return console.log(first);
      }
    })();' "$1"
}

configure() {
  local folder=$1 port
  port=$(free_ports $((nodes + 2)))
  mkdir -p "$folder"/{state,log,run,database}
  for ((node = 1; node <= nodes; node++)); do mkdir -p "$folder/spool/node$node"; done
  chmod 755 "$folder"
  head -c 128 /dev/urandom >"$folder/munge.key"
  chmod 400 "$folder/munge.key"
  cat >"$folder/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.socket
DbdHost=localhost
DbdPort=$((port + 1))
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/run/slurmdbd.pid
CONF
  chmod 600 "$folder/slurmdbd.conf"
  local memory
  memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
  cat >"$folder/slurm.conf" <<CONF
ClusterName=kdspec
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmctldPort=$port
AuthType=auth/munge
# A requeued job waits until its credential is stale: 5 seconds instead of 120.
AuthInfo=socket=$folder/run/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/%n.log
# Without control groups: processes are told by their parents, memory by looking at them every second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$folder/run/munge.socket
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=500000,batch_sched_delay=0
# A small MaxArraySize, so that more specialists than that are submitted in several arrays.
MaxArraySize=6
MpiDefault=none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MinJobAge=300
JobRequeue=1
NodeName=node[1-$nodes] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=[$((port + 2))-$((port + 1 + nodes))] CPUs=1 RealMemory=$((memory / nodes)) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
}

start_node() { SLURM_CONF="$1/slurm.conf" slurmd -N "$2"; }

wait_for() { # text of what is awaited, then a command that succeeds when it is there
  local what=$1
  shift
  for ((try = 0; try < 150; try++)); do
    if timeout 5 "$@" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "$what did not come up in 30 seconds; the logs are in $folder/log" >&2
  return 1
}

start() {
  folder=$(realpath -m "$1")
  configure "$folder"
  export SLURM_CONF="$folder/slurm.conf" MYSQL_UNIX_PORT="$folder/run/mysql.socket"
  munged --force --key-file "$folder/munge.key" --socket "$folder/run/munge.socket" --pid-file "$folder/run/munged.pid" \
    --log-file "$folder/log/munged.log" --seed-file "$folder/run/munged.seed"
  mariadb-install-db --user=root --datadir="$folder/database" --auth-root-authentication-method=normal \
    --skip-test-db >"$folder/log/mariadb-install.log" 2>&1
  setsid mariadbd --no-defaults --user=root --datadir="$folder/database" --socket="$MYSQL_UNIX_PORT" --skip-networking \
    --pid-file="$folder/run/mariadbd.pid" --innodb-buffer-pool-size=32M --innodb-flush-log-at-trx-commit=0 \
    >"$folder/log/mariadbd.log" 2>&1 </dev/null &
  wait_for MariaDB mariadb --no-defaults --socket="$MYSQL_UNIX_PORT" -e 'select 1'
  slurmdbd
  wait_for 'the accounting' sacctmgr -i add cluster kdspec
  slurmctld
  wait_for 'the controller' scontrol ping
  for ((node = 1; node <= nodes; node++)); do start_node "$folder" "node$node"; done
  wait_for "$nodes idle nodes" sh -c "[ \"\$(sinfo -h -N -t idle -o %n | wc -l)\" = $nodes ]"
  echo "export SLURM_CONF=$SLURM_CONF"
}

# The processes below a process, and itself.
family() {
  local child
  for child in $(pgrep -P "$1" || true); do family "$child"; done
  echo "$1"
}

# Ends the node's daemon, those of its steps (known by the log that they share with it), and all that these started.
kill_node() {
  local folder=$1 node=$2 pid
  local doomed=()
  [ ! -e "$folder/run/$node.pid" ] || doomed+=("$(cat "$folder/run/$node.pid")")
  for pid in $(pgrep -x slurmstepd || true); do
    if ls -l "/proc/$pid/fd" 2>/dev/null | grep -qF "$folder/log/$node.log"; then
      mapfile -t -O "${#doomed[@]}" doomed < <(family "$pid")
    fi
  done
  for pid in "${doomed[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  rm -f "$folder/run/$node.pid"
}

stop() {
  folder=$(realpath -m "$1")
  [ -d "$folder" ] || return 0
  export SLURM_CONF="$folder/slurm.conf"
  scancel --user="$(id -un)" 2>/dev/null || true
  local file
  for file in "$folder"/run/node*.pid "$folder"/run/slurmctld.pid "$folder"/run/slurmdbd.pid "$folder"/run/mariadbd.pid \
    "$folder"/run/munged.pid; do
    [ -e "$file" ] || continue
    local pid
    pid=$(cat "$file")
    kill "$pid" 2>/dev/null || true
    for ((try = 0; try < 100; try++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
  rm -rf "$folder"
}

case ${1:-} in
  install) install ;;
  start) start "$2" ;;
  kill) kill_node "$(realpath "$2")" "$3" ;;
  revive) start_node "$(realpath "$2")" "$3" ;;
  stop) stop "$2" ;;
  *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | head -n -1 >&2; exit 2 ;;
esac
