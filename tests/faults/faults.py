"""What the rows in Python share. A row makes a Row, counts, complains and finishes; lib.bash is the same for the shell.

From the environment: BUILD (build), BOUNDED (the part that continuous integration runs), SCALE (100: per cent of that)."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(REPO, os.environ.get('BUILD') or 'build')
BIN = BUILD + '/bin'
FAULTS = BUILD + '/faults'
BOUNDED = bool(os.environ.get('BOUNDED'))
SCALE = int(os.environ.get('SCALE') or 100)
SHM = '/dev/shm' if os.access('/dev/shm', os.W_OK) else tempfile.gettempdir()

sys.dont_write_bytecode = True
os.environ.pop('ESDB_STORE', None)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def some(full, bounded):
    """The size of a full run, or SCALE per cent of that of a bounded one."""
    return max(1, bounded * SCALE // 100) if BOUNDED else full


class Row:
    """The name, the working directory and the counts of a row."""

    def __init__(self, name):
        self.name = name
        self.bad = 0
        self.counts = []
        self.work = tempfile.mkdtemp(prefix='esdb-faults.', dir=SHM)
        atexit.register(shutil.rmtree, self.work, ignore_errors=True)

    def count(self, number, what):
        self.counts.append(f'{number} {what}')

    def complain(self, text):
        self.bad += 1
        if self.bad <= int(os.environ.get('SHOW', '5')):
            print(f'  {self.name}: {text}', file=sys.stderr, flush=True)

    def finish(self):
        print(f'{self.name:<14} {", ".join(self.counts)}: {self.bad} bad', flush=True)
        sys.exit(1 if self.bad else 0)


def tool(name, *arguments, **options):
    """Runs a tool; stdout and stderr are text unless options say otherwise."""
    return subprocess.run([f'{BIN}/esdb-{name}', *arguments], capture_output=True, text=True, **options)


def store_check(row, store, receipts=None):
    """Runs the examination of check.h on a store."""
    command = [FAULTS + '/storecheck', store] + ([receipts] if receipts else [])
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        row.complain(result.stderr.strip() or f'storecheck died with {result.returncode}')
    return result.stdout.strip()
