#!/usr/bin/env python3
"""Judges what clients of a cluster saw against the logs that are there at the end.

    history.py DIRECTORY        prints counts, and on stderr what is wrong; status 1 when anything is

DIRECTORY holds history-*.jsonl, an operation a line, in any order, and final-NODE.tsv, a node's log at the end: a line an
event with position, stream, version and event id. Times are nanoseconds of one clock.

    {"op":"append","client":C,"node":N,"t0":T,"t1":T,"outcome":O,"events":[[STREAM,ID],...],"expect":[[STREAM,VERSION],...],
     "versions":[V,...],"position":P,"existed":B,"stream":STREAM,"actual":V}
        O ok: versions, position (of the first event) and existed are those of the receipt. O conflict: stream and actual are
        what the conflict named (-1: no event). O failed: nothing was written. O unknown: also without t1, for a client that died.
        Without existed, position is where a frame of its own stands.
    {"op":"read","node":N,"t0":T,"t1":T,"stream":STREAM,"from":V,"ids":[ID,...],"consistent":B}
        all events of the stream from version V on, as a node showed them

The log is the order of everything: each append has its position as its point. What a conflict or a read has seen holds for a
range of positions. The history is linearizable when each operation has a point in its range, at least as late as the points
of all operations that ended before it began; the earliest points that are possible show it. Reads that are not consistent
may be old, but what a node shows never goes back.
"""

import bisect
import glob
import json
import os
import sys

NEVER = float('inf')


class Log:
    """The log of one node at the end."""

    def __init__(self, rows, wrong):
        self.rows = rows
        self.where = {}  # id -> (position, stream, version)
        self.streams = {}  # stream -> positions, by version
        self.ids = {}  # stream -> ids, by version
        last = -1
        for position, stream, version, event_id in rows:
            if position <= last:
                wrong('order', f'position {position} follows {last}')
            last = position
            if event_id in self.where:
                wrong('duplicate', f'{event_id} stands at {self.where[event_id][0]} and {position}')
            self.where[event_id] = (position, stream, version)
            positions = self.streams.setdefault(stream, [])
            if version != len(positions):
                wrong('versions', f'{stream} has version {version} after {len(positions) - 1}')
            positions.append(position)
            self.ids.setdefault(stream, []).append(event_id)

    def span(self, stream, count):
        """The positions at which that many events of the stream are there: (first, last)."""
        positions = self.streams.get(stream, [])
        if count > len(positions):
            return None
        first = positions[count - 1] if count else -1
        return first, positions[count] - 1 if count < len(positions) else NEVER


class Checker:
    def __init__(self, operations, logs):
        self.operations = operations
        self.logs = logs
        self.findings = []
        self.spans = []  # (t0, t1, first, last, writes, operation): for the order in real time
        self.seen = {}  # node -> the same of what it showed

    def wrong(self, rule, text):
        self.findings.append((rule, text))

    def check(self):
        """Returns the findings: (rule, text)."""
        if not self.logs:
            self.wrong('nodes', 'there is no log at the end')
            return self.findings
        self.check_nodes()
        first = sorted(self.logs)[0]
        self.log = Log(self.logs[first], self.wrong)
        self.check_ids()
        for operation in self.operations:
            (self.check_append if operation['op'] == 'append' else self.check_read)(operation)
        self.check_time('real-time', self.spans)
        for node, spans in self.seen.items():
            self.check_time('back', spans, node)
        return self.findings

    def check_nodes(self):
        names = sorted(self.logs)
        for name in names[1:]:
            if self.logs[name] == self.logs[names[0]]:
                continue
            one, other = self.logs[names[0]], self.logs[name]
            at = next((i for i, (x, y) in enumerate(zip(one, other)) if x != y), min(len(one), len(other)))
            self.wrong('nodes', f'{names[0]} ({len(one)} events) and {name} ({len(other)}) differ from event {at} on')

    def check_ids(self):
        """What is there was asked for, and what was asked for in vain is not there."""
        self.asked = {}  # id -> when the first append with it began
        may = set()
        failed = {}
        for o in self.operations:
            if o['op'] != 'append':
                continue
            for _, event_id in o['events']:
                self.asked[event_id] = min(o['t0'], self.asked.get(event_id, NEVER))
                if o['outcome'] in ('ok', 'unknown'):
                    may.add(event_id)
                else:
                    failed[event_id] = o
        for event_id, (position, stream, _) in self.log.where.items():
            if stream.startswith('$'):
                continue
            if event_id not in self.asked:
                self.wrong('phantom', f'{event_id} at {position} was never appended')
            elif event_id not in may:
                self.wrong('failed', f'{event_id} at {position}: its append ended with {failed[event_id]["outcome"]}')

    def check_append(self, o):
        ids = [event_id for _, event_id in o['events']]
        there = [self.log.where.get(event_id) for event_id in ids]
        present = [w for w in there if w]
        if o['outcome'] == 'ok' and len(present) < len(ids):
            missing = [i for i, w in zip(ids, there) if not w]
            self.wrong('lost', f'{missing[0]} was acknowledged by {o["node"]} and is not there')
            return
        if 0 < len(present) < len(ids):
            self.wrong('half', f'of one append {len(present)} events of {len(ids)} are there ({ids[0]})')
            return
        if o['outcome'] == 'conflict':
            self.check_conflict(o)
        if o['outcome'] not in ('ok', 'unknown') or not present:
            return
        for (stream, event_id), (position, at, _) in zip(o['events'], there):
            if stream != at:
                self.wrong('place', f'{event_id} was meant for {stream} and stands in {at}')
        positions = [w[0] for w in there]
        if positions != list(range(positions[0], positions[0] + len(ids))):
            self.wrong('half', f'the events of one append do not stand together ({ids[0]})')
        if o['outcome'] == 'ok':
            versions = [w[2] for w in there]
            if o['versions'] != versions or o['position'] != positions[0]:
                self.wrong('place', f'{ids[0]}: the receipt says position {o["position"]}, versions {o["versions"]}; '
                           f'it stands at {positions[0]}, {versions}')
        self.check_expected(o, there)
        if o['outcome'] == 'unknown':  # an earlier one with the same ids may be the one that wrote them
            self.spans.append((min(self.asked[i] for i in ids), NEVER, positions[0], positions[0], True, o))
        elif o.get('existed'):
            self.spans.append((o['t0'], o['t1'], positions[-1], NEVER, False, o))
        else:
            self.spans.append((o['t0'], o['t1'], positions[0], positions[-1], True, o))

    def check_expected(self, o, there):
        for stream, expected in o.get('expect', []):
            firsts = [w[2] for w in there if w[1] == stream]
            count = bisect.bisect_left(self.log.streams.get(stream, []), there[0][0])
            had = firsts[0] - 1 if firsts else count - 1
            if had != expected and not o.get('existed'):
                self.wrong('expected', f'{o["events"][0][1]} expected {stream} at {expected}, it was at {had}')

    def check_conflict(self, o):
        expected = dict(map(tuple, o.get('expect', []))).get(o['stream'])
        if expected is not None and expected == o['actual']:
            self.wrong('expected', f'a conflict of {o["stream"]} at {expected}, which was what was expected')
        span = self.log.span(o['stream'], o['actual'] + 1)
        if not span:
            self.wrong('shown', f'a conflict told of version {o["actual"]} of {o["stream"]}, which never was')
            return
        self.spans.append((o['t0'], o['t1'], *span, False, o))

    def check_read(self, o):
        ids = self.log.ids.get(o['stream'], [])
        count = o['from'] + len(o['ids'])
        if ids[o['from']:count] != o['ids']:
            self.wrong('shown', f'{o["node"]} showed in {o["stream"]} from {o["from"]} on what is not there at the end')
            return
        for event_id in o['ids']:
            if self.asked.get(event_id, 0) > o['t1']:
                self.wrong('future', f'{o["node"]} showed {event_id} before its append began')
        span = self.log.span(o['stream'], count)
        if not o['ids']:  # all that this says is that there were not more
            span = (-1, span[1] if span else NEVER)
        entry = (o['t0'], o['t1'], *span, False, o)
        self.seen.setdefault(o['node'], []).append(entry)
        if o.get('consistent'):
            self.spans.append(entry)

    def check_time(self, rule, spans, node=None):
        """The earliest points that are possible: each not before those of all that ended before it began."""
        moments = []
        for i, (t0, t1, *_) in enumerate(spans):
            moments.append((t0, 0, i))
            if t1 is not NEVER:
                moments.append((t1, 1, i))
        moments.sort()  # at the same moment they overlap: beginnings first
        points = [None] * len(spans)
        latest, whose = -1, None
        for _, ends, i in moments:
            t0, t1, first, last, writes, o = spans[i]
            if ends:
                if points[i] > latest:
                    latest, whose = points[i], o
                continue
            points[i] = max(last if writes else first, latest)
            if latest > last or (writes and latest >= first):
                if rule == 'back':
                    self.wrong('back', f'{node} showed less of {o["stream"]} than it had shown before')
                else:
                    kind = 'stale' if o['op'] == 'read' else 'real-time'
                    self.wrong(kind, f'{describe(o)} belongs before position {last + 1 if last is not NEVER else last}; '
                               f'{describe(whose)}, which ended before it began, at {latest} or after')
                points[i] = last if last is not NEVER else first


def describe(o):
    if o['op'] == 'read':
        return f'a read of {o["stream"]} on {o["node"]}'
    return f'the append of {o["events"][0][1]} on {o["node"]} ({o["outcome"]})'


def load(directory):
    """Returns (operations, logs) of a directory."""
    operations, logs = [], {}
    for name in sorted(glob.glob(os.path.join(directory, 'history-*.jsonl'))):
        with open(name, encoding='utf-8') as lines:
            for line in lines:
                if line.endswith('\n'):  # a client that was killed leaves half a line
                    operations.append(json.loads(line))
    for name in sorted(glob.glob(os.path.join(directory, 'final-*.tsv'))):
        rows = []
        with open(name, encoding='utf-8') as lines:
            for line in lines:
                position, stream, version, event_id = line.rstrip('\n').split('\t')
                rows.append((int(position), stream, int(version), event_id))
        logs[os.path.basename(name)[6:-4]] = rows
    return merge(operations), logs


def merge(operations):
    """An append that is announced before it is sent ("begin") and has no second line is one whose client died."""
    begun, done = {}, []
    for o in operations:
        if o.get('outcome') == 'begin':
            begun[(o['client'], o['number'])] = o
        else:
            done.append(o)
    for o in done:
        begun.pop((o.get('client'), o.get('number')), None)
    done.extend(dict(o, outcome='unknown') for o in begun.values())
    return done


def main():
    if len(sys.argv) != 2:
        print('usage: history.py DIRECTORY', file=sys.stderr)
        sys.exit(2)
    operations, logs = load(sys.argv[1])
    findings = Checker(operations, logs).check()
    for rule, text in findings[:20]:
        print(f'{rule}: {text}', file=sys.stderr)
    counts = {}
    for o in operations:
        kind = o['outcome'] if o['op'] == 'append' else 'consistent' if o.get('consistent') else 'read'
        counts[kind] = counts.get(kind, 0) + 1
    print(json.dumps({'operations': len(operations), 'nodes': len(logs), **counts, 'wrong': len(findings)}))
    sys.exit(1 if findings else 0)


if __name__ == '__main__':
    main()
