"""Nodes of a cluster, each in a network namespace of its own, and what can happen to them.

A Cluster makes keys, configurations, namespaces (tests/faults/netswitch.c carries the packets) and a small disk for each
node. Where this machine lets nobody make namespaces, the nodes listen on loopback: then nothing happens to the network."""

import atexit
import glob
import hashlib
import json
import os
import signal
import socket
import subprocess
import time

STORE_ID = '0190d3a8-6e4b-7c1f-9a3e-0123456789ab'


def quiet(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def wait_for(seconds, what):
    """The first true value of what(), or its last one when time is up."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value or time.monotonic() >= end:
            return value
        time.sleep(0.02)


class Node:
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number  # from 1
        self.name = 'abcdefgh'[number - 1]
        self.disk = f'{cluster.work}/{self.name}'  # its own, so that it can be full
        self.store = f'{self.disk}/store'
        self.config = f'{cluster.work}/{self.name}.yaml'
        self.log = f'{cluster.work}/{self.name}.log'
        self.switch = f'{cluster.work}/{self.name}.eio'
        self.namespace = f'{cluster.prefix}{self.name}'
        self.address = None
        self.process = None
        self.ends = []  # statuses with which it ended by itself

    def start(self, *options):
        environment = dict(os.environ, EIO_SWITCH=self.switch)
        if self.cluster.shim:
            environment['LD_PRELOAD'] = self.cluster.shim
        command = [f'{self.cluster.bin}/esdb-raftd', '-c', self.config, *options]
        if self.cluster.network:
            command = ['ip', 'netns', 'exec', self.namespace, *command]
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                                            cwd=self.cluster.work)

    def runs(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        if self.runs():
            self.process.send_signal(number)

    def kill(self):
        if self.process:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def revive(self):
        """Starts it again when it has ended. Returns why it did, as it said it: None when it was killed or had not."""
        if self.runs():
            return None
        status = self.process.returncode if self.process else None
        why = None
        if status is not None:
            self.ends.append(status)
            with open(self.log, encoding='utf-8', errors='replace') as log:
                why = f'status {status}: {log.readlines()[-1:]}'
        self.start()
        return why

    def status(self):
        """What esdb-cluster status says, {} when there is no answer."""
        if not self.runs():
            return {}
        try:
            result = subprocess.run([f'{self.cluster.bin}/esdb-cluster', 'status', '--json', '-S', self.store, '--timeout', '300ms'],
                                    capture_output=True, text=True, timeout=3)
            return json.loads(result.stdout) if result.returncode == 0 else {}
        except (subprocess.TimeoutExpired, ValueError):
            return {}

    def read(self):
        """The whole log as events: (rows for the checker, a digest of all that esdb-read prints)."""
        rows, digest = [], hashlib.sha256()
        reader = subprocess.Popen([f'{self.cluster.bin}/esdb-read', '-S', self.store, '--all', '--system'],
                                  stdout=subprocess.PIPE)
        for line in reader.stdout:
            digest.update(line)
            e = json.loads(line)
            rows.append((e['position'], e['stream_id'], e['version'], e['event_id']))
        if reader.wait() != 0:
            return None, None
        return rows, digest.hexdigest()

    def frames(self):
        """index -> (term, kind, position, count, checksum) of each frame. A checksum covers all frames before it."""
        out = {}
        dump = subprocess.Popen([f'{self.cluster.bin}/esdb-dump', '-S', self.store, '--json'], stdout=subprocess.PIPE)
        for line in dump.stdout:
            if b'"what":"frame"' in line:
                f = json.loads(line)
                out[f['index']] = tuple(f[k] for k in ('term', 'kind', 'position', 'count', 'checksum'))
        dump.wait()
        return out


class Cluster:
    def __init__(self, work, build, count, disk_mib=256):
        self.work = work
        self.bin = f'{build}/bin'
        self.faults = f'{build}/faults'
        self.prefix = f'esdb{os.getpid()}'
        self.shim = f'{self.faults}/eioshim.so' if os.path.basename(build) == 'build' else None
        self.network = self.switch = None
        self.disks = []
        self.nodes = [Node(self, i + 1) for i in range(count)]
        atexit.register(self.close)
        self.make_network()
        for node in self.nodes:
            os.makedirs(node.disk)
            if quiet('mount', '-t', 'tmpfs', '-o', f'size={disk_mib}m', 'tmpfs', node.disk):
                self.disks.append(node.disk)
        self.configure()

    # ---- the network ----

    def make_network(self):
        made = all(quiet('ip', 'netns', 'add', n.namespace) and quiet('ip', '-n', n.namespace, 'link', 'set', 'lo', 'up')
                   for n in self.nodes)
        self.network = made
        if made:
            self.switch = subprocess.Popen([f'{self.faults}/netswitch', *(n.namespace for n in self.nodes)],
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.network = self.switch.stdout.readline().strip() == 'ready'
        for node in self.nodes:
            if self.network:
                node.address = f'10.77.0.{node.number}:7117'
            else:
                with socket.socket() as s:
                    s.bind(('127.0.0.1', 0))
                    node.address = f'127.0.0.1:{s.getsockname()[1]}'

    def order(self, *words):
        self.switch.stdin.write(' '.join(str(w) for w in words) + '\n')
        self.switch.stdin.flush()

    def heal(self):
        if self.network:
            self.order('heal')

    def part(self, *groups):
        """Only nodes of one group reach each other."""
        for group in groups:
            for other in groups:
                for x in group:
                    for y in other:
                        if group is not other:
                            self.order('cut', x.number, y.number)

    # ---- the nodes ----

    def configure(self):
        keys = {}
        for n in self.nodes:
            made = subprocess.run([f'{self.bin}/esdb-raftd', '--keygen', f'{self.work}/{n.name}.key'], capture_output=True,
                                  text=True, check=True)
            keys[n.name] = made.stdout.strip()
        for n in self.nodes:
            with open(n.config, 'w', encoding='utf-8') as out:
                print(f'node: {n.name}\nstore: {n.store}\nstore_id: {STORE_ID}\nkey_file: {self.work}/{n.name}.key\n'
                      f'listen: {n.address}\npeers:', file=out)
                for m in self.nodes:
                    print(f'  - {{name: {m.name}, address: "{m.address}", public_key: {keys[m.name]}}}', file=out)

    def begin(self):
        """Starts all; True when all are voters."""
        self.nodes[0].start('--bootstrap')
        for n in self.nodes[1:]:
            n.start()
        return wait_for(20, self.healthy)

    def healthy(self):
        return any(s.get('role') == 'leader' and s.get('healthy') for s in (n.status() for n in self.nodes))

    def leader(self):
        """The node that leads, in the newest term that anybody knows; None."""
        found = [(s.get('term', 0), n.number) for n in self.nodes if (s := n.status()).get('role') == 'leader']
        return self.nodes[max(found)[1] - 1] if found else None

    def settle(self, seconds=40):
        """All run, reach each other and have the same log. Returns what is missing, '' when nothing is."""
        self.heal()
        for n in self.nodes:
            n.signal(signal.SIGCONT)

        def level():
            for n in self.nodes:
                n.revive()
            all_of = [n.status() for n in self.nodes]
            ends = {(s.get('commit'), s.get('last')) for s in all_of}
            return self.healthy() and len(ends) == 1 and len(set(ends.pop())) == 1

        if wait_for(seconds, level):
            return ''
        return '; '.join(f'{n.name}: {n.status()}' for n in self.nodes)

    def close(self):
        for n in self.nodes:
            n.signal(signal.SIGCONT)
            n.kill()
        if self.switch:
            self.switch.stdin.close()
            self.switch.wait()
            self.switch = None
        for n in self.nodes:
            quiet('ip', 'netns', 'del', n.namespace)
        for disk in self.disks:
            quiet('umount', '-l', disk)
        self.disks = []

    def differences(self):
        """What the logs differ in, as events and as frames; [] when they are the same. Leaves final-NODE.tsv."""
        out, digests, frames = [], {}, {}
        for n in self.nodes:
            rows, digests[n.name] = n.read()
            if rows is None:
                out.append(f'{n.name} cannot be read')
                continue
            with open(f'{self.work}/final-{n.name}.tsv', 'w', encoding='utf-8') as file:
                for row in rows:
                    print(*row, sep='\t', file=file)
            frames[n.name] = n.frames()
            verified = subprocess.run([f'{self.bin}/esdb-verify', '-q', '-S', n.store], capture_output=True, text=True)
            if verified.returncode != 0:
                out.append(f'{n.name}: {verified.stderr or verified.stdout}')
        if len(set(digests.values())) != 1:
            out.append(f'what esdb-read prints differs: {digests}')
        for name, of_node in frames.items():
            for index, frame in of_node.items():
                for other, theirs in frames.items():
                    if index in theirs and theirs[index] != frame:
                        out.append(f'frame {index} is {frame} on {name} and {theirs[index]} on {other}')
                        return out
            if max(of_node, default=0) != max(max(f, default=0) for f in frames.values()):
                out.append(f'{name} ends with frame {max(of_node, default=0)}')
        return out

    def logs(self):
        for name in sorted(glob.glob(f'{self.work}/*.log')):
            with open(name, encoding='utf-8', errors='replace') as text:
                yield name, text.read()
