"""A real Slurm on this machine, for tests: controller, nodes and, on request, accounting.

    python tests/slurm/cluster.py up DIR [--accounting] [--nodes 2]   # prints the export line
    python tests/slurm/cluster.py down DIR

Debian's packages, as root, on 127.0.0.1, without systemd or cgroups: a node is a `slurmd` of its
own. Three partitions: `main`, whose jobs `urgent` preempts, and `short`, which allows one minute.
Everything lies in DIR; what is stopped is named by pid files there and by nothing else.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PACKAGES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
PACKAGES |= {"munged": "munge"}
FOR_ACCOUNTING = {"slurmdbd": "slurmdbd", "mariadbd": "mariadb-server"}
DAEMONS = ("slurmctld", "slurmdbd", "mariadbd", "munged")
SECONDS = 600
"""Of patience with Slurm's own daemons and commands: a busy machine is no fault."""

CONFIGURATION = """\
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmdTimeout=60
SlurmctldTimeout=30
KillWait=15
MinJobAge={remembered}
MessageTimeout=30
{accounting}
NodeName=node[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] \
CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=9 PreemptMode=OFF State=UP
PartitionName=short Nodes=ALL MaxTime=1 PriorityTier=1 State=UP
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.socket"""
DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=of-this-machine-alone
StorageLoc=accounts
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


def why_not(*, accounting: bool = False) -> str | None:
    """Install what is missing where apt-get can; say why there can be no Slurm here."""
    if os.geteuid() != 0:
        return "a Slurm for tests is started by root alone"
    wanted = PACKAGES | (FOR_ACCOUNTING if accounting else {})
    missing = [package for program, package in wanted.items() if shutil.which(program) is None]
    if not missing:
        return None
    if shutil.which("apt-get") is None:
        return f"there is no apt-get for {', '.join(missing)}"
    policy = Path("/usr/sbin/policy-rc.d")  # the packages are not to start anything themselves
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *missing]):
            ended = subprocess.run(
                ["apt-get", "-y", *command], env=quiet, capture_output=True, text=True, check=False
            )
            if ended.returncode:
                return f"apt-get {command[0]} failed: {ended.stderr.strip()[-200:]}"
    finally:
        if made:
            policy.unlink(missing_ok=True)
    return None


class Slurm:
    """A Slurm in a folder.

    Args:
        folder: Made if it is not there.
        nodes: How many.
        accounting: Whether sacct works.
        remembered: Seconds for which the controller knows a job that is over.
        port: The first of a dozen that are free.
    """

    def __init__(self, folder, *, nodes=2, accounting=False, remembered=7200, port=26810):
        self.folder = Path(folder).absolute()
        self.nodes = [f"node{number + 1}" for number in range(nodes)]
        self.accounting, self.remembered, self.port = accounting, remembered, port
        self.environment = {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def up(self):
        for name in ("state", "database"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self._configure()
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(os.urandom(512))
            key.chmod(0o400)
        names = {"socket": "munge.socket", "pid-file": "munged.pid"}
        names |= {"log-file": "munged.log", "seed-file": "munged.seed", "key-file": "munge.key"}
        files = [f"--{option}={self.folder / name}" for option, name in names.items()]
        self._do(["munged", "--force", *files])
        if self.accounting:
            self._database_up()
        self.controller_up()
        for node in self.nodes:
            self.node_up(node)
        return self

    def controller_up(self):
        self._do(["slurmctld", "-f", self.environment["SLURM_CONF"]])
        self._until(lambda: "is UP" in self.ask("scontrol", "ping"), "slurmctld")

    def node_up(self, node):
        (self.folder / f"spool-{node}").mkdir(exist_ok=True)
        self._do(["slurmd", "-N", node, "-f", self.environment["SLURM_CONF"]])
        self._until(lambda: self.node_state(node) in ("idle", "mixed", "allocated"), node)

    def node_down(self, node):
        """Kill a node at once: its slurmd, and the job that it runs with all processes."""
        daemon = self.folder / f"slurmd-{node}.pid"
        found = [int(daemon.read_text()), *_of_node(self.folder, node)]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # none may tell of another's end
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
        daemon.unlink()

    def node_state(self, node):
        return self.ask("sinfo", "-h", "-N", "-n", node, "-p", "main", "-o", "%T").strip("*~\n ")

    def down(self):
        jobs = self.ask("squeue", "-h", "-o", "%A").split()
        if jobs:
            self.ask("scancel", *jobs)
            end = time.monotonic() + 40
            while time.monotonic() < end and self.ask("squeue", "-h").strip():
                time.sleep(0.3)
        daemons = [self.folder / f"{name}.pid" for name in DAEMONS]
        for path in [*self.folder.glob("slurmd-*.pid"), *daemons]:
            self._kill(path, signal.SIGTERM)

    def ask(self, *command):
        """Return what a command of Slurm prints; empty where it fails."""
        ended = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return ended.stdout if ended.returncode == 0 else ""

    def _configure(self):
        host = socket.gethostname().partition(".")[0]
        port = self.port + 1
        text = CONFIGURATION.format(
            folder=self.folder,
            host=host,
            port=self.port,
            node_port=self.port + 2,
            nodes=len(self.nodes),
            first=self.port + 3,
            last=self.port + 2 + len(self.nodes),
            remembered=self.remembered,
            accounting=ACCOUNTING.format(port=port, folder=self.folder) if self.accounting else "",
        )
        (self.folder / "slurm.conf").write_text(text)
        if self.accounting:
            database = self.folder / "slurmdbd.conf"
            database.write_text(DATABASE.format(folder=self.folder, host=host, port=port))
            database.chmod(0o600)

    def _database_up(self):
        data = self.folder / "database"
        if not (data / "mysql").exists():
            self._do(
                [
                    *("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={data}"),
                    *("--auth-root-authentication-method=socket", "--skip-test-db"),
                ]
            )
        with (self.folder / "mariadbd.log").open("wb") as log:
            server = subprocess.Popen(
                [
                    *("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}"),
                    *(f"--socket={data / 's'}", f"--pid-file={data / 'pid'}"),
                    *("--skip-networking", "--innodb-buffer-pool-size=64M"),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        (self.folder / "mariadbd.pid").write_text(str(server.pid))
        client = ["mariadb", "--no-defaults", f"--socket={data / 's'}", "-e"]
        self._until(lambda: self.ask(*client, "select 1"), "mariadbd")
        made = (
            "create database if not exists accounts;"
            "create or replace user slurm@localhost identified by 'of-this-machine-alone';"
            "grant all on accounts.* to slurm@localhost"
        )
        self._do([*client, made])
        sockets = {"MYSQL_UNIX_PORT": str(data / "s"), "MARIADB_UNIX_PORT": str(data / "s")}
        self._do(["slurmdbd"], {**sockets, "SLURM_CONF": str(self.folder / "slurmdbd.conf")})
        self._until(lambda: self._works("sacctmgr", "-n", "-i", "list", "cluster"), "slurmdbd")
        self._works("sacctmgr", "-n", "-i", "add", "cluster", "bench")

    def _works(self, *command):
        environment = {**os.environ, **self.environment}
        ended = subprocess.run(command, env=environment, capture_output=True, check=False)
        return ended.returncode == 0

    def _do(self, command, more=None):
        log = self.folder / f"{command[0]}.start.log"
        with log.open("ab") as file:
            ended = subprocess.run(
                command,
                env={**os.environ, **self.environment, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                check=False,
            )
        if ended.returncode:
            raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-500:]}")

    def _until(self, holds, what):
        end = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > end:
                raise RuntimeError(f"{what} did not come up; see {self.folder}")
            time.sleep(0.2)

    def _kill(self, path, number):
        """End the process that a pid file names, if it is still the one that wrote it."""
        if not path.exists():
            return
        process, program = int(path.read_text()), path.stem.partition("-")[0]
        status = Path(f"/proc/{process}/comm")
        end = time.monotonic() + 20
        while status.exists() and status.read_text().strip() == program:
            os.kill(process, number if time.monotonic() < end - 5 else signal.SIGKILL)
            time.sleep(0.3)
            if time.monotonic() > end:
                break
        path.unlink(missing_ok=True)


def _of_node(folder, node):
    """Return the processes of a node's jobs: the step managers, and all that descend from them."""
    parents, jobs, names = {}, set(), {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            number = int(place.name)
            parents[number] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            names[number] = (place / "comm").read_text().strip()
            variables = (place / "environ").read_bytes()
            if f"SLURMD_NODENAME={node}\0".encode() in variables:
                jobs |= {number} if str(folder).encode() in variables else set()
    managers = {parents[number] for number in jobs if number in parents}
    managers = {number for number in managers if names.get(number) == "slurmstepd"}
    found = jobs | managers
    for number in parents:
        above = number
        while above > 1 and above not in managers:
            above = parents.get(above, 0)
        found |= {number} if above in managers else set()
    return found - {os.getpid()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("up", "down"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accounting", action="store_true")
    parser.add_argument("--nodes", type=int, default=2)
    args = parser.parse_args()
    slurm = Slurm(args.folder, nodes=args.nodes, accounting=args.accounting)
    if args.what == "down":
        slurm.down()
        return 0
    reason = why_not(accounting=args.accounting)
    if reason:
        sys.stderr.write(f"No Slurm here: {reason}\n")
        return 1
    slurm.up()
    sys.stdout.write(f"export SLURM_CONF={slurm.environment['SLURM_CONF']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
