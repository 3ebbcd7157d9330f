#!/usr/bin/env python3
"""Does history.py find what is wrong? A history of a store that does all as it should, and faults planted in copies of it:
each must be found, by the rule that it breaks, and the whole history must be found right. Prints a line each."""

import copy
import random
import sys

sys.dont_write_bytecode = True
import history  # noqa: E402


def record(seed=1, count=400):
    """Clients that overlap, with all kinds of operations, at a store that is linearizable. Returns (operations, log)."""
    draw = random.Random(seed)
    log, streams, operations, now = [], {}, [], 1000
    shown = {'a': 0, 'b': 0, 'c': 0}
    for number in range(count):
        t0 = now + draw.randrange(-30, 30)
        now += 20
        at = max(now, t0 + 1)  # the moment at which it takes place: all follow each other
        now = at
        t1 = at + draw.randrange(1, 60)
        node, stream = draw.choice('abc'), f's{draw.randrange(4)}'
        kind = draw.choices(['append', 'expect', 'both', 'conflict', 'unknown', 'failed', 'again', 'read', 'consistent'],
                            [40, 10, 5, 8, 8, 8, 3, 12, 6])[0]
        version = len(streams.setdefault(stream, []))
        o = {'op': 'append', 'client': node, 'node': node, 'number': number, 't0': t0, 't1': t1}
        if kind in ('read', 'consistent'):
            end = len(log) if kind == 'consistent' else draw.randrange(shown[node], len(log) + 1)
            shown[node] = max(shown[node], end)
            ids = [row[3] for row in log[:end] if row[1] == stream]
            start = draw.randrange(len(ids) + 1)
            o.update(op='read', stream=stream, ids=ids[start:], consistent=kind == 'consistent')
            o['from'] = start
            # What a node shows it shows when it is asked: reads of one node do not overlap here.
            o['t0'], o['t1'] = at - 1, at
        elif kind == 'again' and any(p['outcome'] == 'ok' for p in operations if p['op'] == 'append'):
            old = draw.choice([p for p in operations if p.get('outcome') == 'ok'])
            o.update(copy.deepcopy({k: old[k] for k in ('events', 'versions', 'position')}), outcome='ok', existed=True)
        elif kind == 'unknown' and draw.random() < 0.3 and any(p.get('outcome') == 'unknown' for p in operations):
            old = draw.choice([p for p in operations if p.get('outcome') == 'unknown'])  # sent again, and nobody knows again
            o.update(copy.deepcopy({k: old[k] for k in ('events', 'versions', 'position')}), outcome='unknown')
        else:
            names = [stream, f's{draw.randrange(4)}'] if kind == 'both' else [stream]
            o['events'] = [[name, f'e{number}-{i}'] for i, name in enumerate(names)]
            if kind == 'expect':
                o['expect'] = [[stream, version - 1]]
            if kind == 'conflict':
                o.update(outcome='conflict', expect=[[stream, version + 3]], stream=stream, actual=version - 1)
            elif kind == 'failed':
                o['outcome'] = 'failed'
            else:
                o.update(outcome='unknown' if kind == 'unknown' else 'ok', existed=False, position=len(log), versions=[])
                if kind != 'unknown' or draw.random() < 0.5:
                    for name, event_id in o['events']:
                        versions = streams.setdefault(name, [])
                        o['versions'].append(len(versions))
                        log.append((len(log), name, len(versions), event_id))
                        versions.append(event_id)
        operations.append(o)
    return operations, log


class Planted:
    """One history and the log, to be changed."""

    def __init__(self):
        self.operations, log = record()
        self.logs = {node: list(log) for node in 'abc'}

    def pick(self, **wanted):
        """An operation in the middle with these values."""
        found = [o for o in self.operations if all(o.get(k) == v for k, v in wanted.items())]
        return found[len(found) // 2]

    def everywhere(self, change):
        for node, rows in self.logs.items():
            self.logs[node] = change(list(rows))


def renumbered(rows):
    """The same events, at the positions and versions that they have in this order."""
    versions, out = {}, []
    for position, (_, stream, _, event_id) in enumerate(rows):
        out.append((position, stream, versions.setdefault(stream, 0), event_id))
        versions[stream] += 1
    return out


def acknowledged_lost(h):
    gone = [o for o in h.operations if o.get('outcome') == 'ok' and not o['existed']][-1]
    h.everywhere(lambda rows: renumbered([r for r in rows if r[3] != gone['events'][0][1]]))


def failed_is_there(h):
    event = h.pick(outcome='failed')['events'][0]
    h.everywhere(lambda rows: renumbered(rows + [(0, event[0], 0, event[1])]))


def conflict_is_there(h):
    event = h.pick(outcome='conflict')['events'][0]
    h.everywhere(lambda rows: renumbered(rows + [(0, event[0], 0, event[1])]))


def duplicate(h):
    h.everywhere(lambda rows: renumbered(rows + [rows[len(rows) // 2]]))


def phantom(h):
    h.everywhere(lambda rows: renumbered(rows + [(0, 's1', 0, 'nobody')]))


def hole_in_versions(h):
    h.everywhere(lambda rows: rows[:-1] + [rows[-1][:2] + (rows[-1][2] + 1,) + rows[-1][3:]])


def other_version_told(h):
    h.pick(outcome='ok', existed=False)['versions'][0] += 1


def half_a_frame(h):
    o = [o for o in h.operations if o['op'] == 'append' and len(o['events']) == 2 and o['outcome'] == 'ok'][-1]
    o['outcome'] = 'unknown'
    h.everywhere(lambda rows: renumbered([r for r in rows if r[3] != o['events'][1][1]]))


def expected_not_honoured(h):
    o = [o for o in h.operations if o.get('outcome') == 'ok' and o.get('expect')][3]
    o['expect'][0][1] -= 1


def conflict_without_reason(h):
    o = h.pick(outcome='conflict')
    o['expect'] = [[o['stream'], o['actual']]]


def order_in_real_time(h):
    """An append that ended early stands after one that began late."""
    plain = [o for o in h.operations if o.get('outcome') == 'ok' and not o['existed'] and len(o['events']) == 1]
    early, late = plain[10], plain[-10]
    early['t0'], early['t1'], late['t0'], late['t1'] = late['t0'], late['t1'], early['t0'], early['t1']


def stale_conflict(h):
    o = [o for o in h.operations if o.get('outcome') == 'conflict' and o['actual'] >= 2][-1]
    o['actual'] -= 2


def stale_consistent_read(h):
    o = [o for o in h.operations if o.get('consistent') and len(o['ids']) >= 2][-1]
    o['ids'] = o['ids'][:-2]


def uncommitted_shown(h):
    """A node showed an event that another one has taken the place of."""
    o = [o for o in h.operations if o['op'] == 'read' and o['ids']][-1]
    o['ids'][-1] = h.pick(outcome='failed')['events'][0][1]


def more_than_there_is(h):
    o = [o for o in h.operations if o['op'] == 'read' and o['ids']][-1]
    o['from'] += 1000


def went_back(h):
    """A node shows less than before, which only an order of its own reads tells."""
    reads = [o for o in h.operations if o['op'] == 'read' and o['node'] == 'b' and not o['consistent'] and o['ids']]
    first, second = reads[1], reads[-1]
    first.update({k: second[k] for k in ('ids', 'from', 'stream')})
    for o in h.operations:  # as if they had been asked for from the beginning
        if o['op'] == 'append':
            o['t0'] = min(o['t0'], first['t0'] - 1)
    second.update({'from': 0, 'ids': [r[3] for r in h.logs['a'] if r[1] == second['stream']][:1]})


def shown_before_asked(h):
    o = [o for o in h.operations if o.get('outcome') == 'ok' and not o['existed'] and len(o['events']) == 1][5]
    read = h.operations[0]
    stream, event_id = o['events'][0]
    version = o['versions'][0]
    read.clear()
    read.update(op='read', node='c', t0=0, t1=1, stream=stream, ids=[event_id], consistent=False)
    read['from'] = version


def nodes_differ(h):
    rows = h.logs['c']
    rows[-1], rows[-2] = rows[-2], rows[-1]


def node_lacks_the_end(h):
    h.logs['b'].pop()


def existed_elsewhere(h):
    o = h.pick(outcome='ok', existed=True)
    o['position'] += 1


PLANTED = [(acknowledged_lost, 'lost'), (failed_is_there, 'failed'), (conflict_is_there, 'failed'), (duplicate, 'duplicate'),
           (phantom, 'phantom'), (hole_in_versions, 'versions'), (other_version_told, 'place'), (half_a_frame, 'half'),
           (expected_not_honoured, 'expected'), (conflict_without_reason, 'expected'), (order_in_real_time, 'real-time'),
           (stale_conflict, 'real-time'), (stale_consistent_read, 'stale'), (uncommitted_shown, 'shown'),
           (more_than_there_is, 'shown'), (went_back, 'back'), (shown_before_asked, 'future'), (nodes_differ, 'nodes'),
           (node_lacks_the_end, 'nodes'), (existed_elsewhere, 'place')]


def main():
    bad = 0
    for seed in range(20):
        operations, log = record(seed, 800)
        findings = history.Checker(operations, {node: list(log) for node in 'abc'}).check()
        if findings:
            bad += 1
            print(f'seed {seed}: a right history is found wrong: {findings[0]}')
    for plant, rule in PLANTED:
        h = Planted()
        plant(h)
        rules = sorted({found for found, _ in history.Checker(h.operations, h.logs).check()})
        bad += rule not in rules
        print(f'{plant.__name__}: {", ".join(rules) or "nothing found"}{"" if rule in rules else ", not " + rule}')
    print(f'{len(PLANTED)} planted, {bad} bad')
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
