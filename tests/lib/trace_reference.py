#!/usr/bin/env python3
"""Appends a random graph of events to the store $ESDB_STORE, and compares what esdb-trace says about it with what follows
from the output of esdb-read --all. Argument: the seed."""
import json
import random
import subprocess
import sys

seed = int(sys.argv[1])
rng = random.Random(seed)


def run(*args):
    done = subprocess.run(args, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def make():
    """Few ids, so that they occur in several streams; causes older, newer, missing; some cycles."""
    count = rng.choice([5, 20, 60, 200])
    names = ["n%d" % i for i in range(max(2, int(count * rng.choice([0.7, 0.95, 2]))))]
    forward = rng.choice([0, 0.02, 0.3])
    used, lines = set(), []
    for i in range(count):
        stream, name = "s-%d" % rng.randrange(4), rng.choice(names)
        if (stream, name) in used:
            continue
        used.add((stream, name))
        metadata = {}
        draw = rng.random()
        if draw < 0.75 and lines:
            metadata["causation_id"] = json.loads(rng.choice(lines))["event_id"]
        elif draw < 0.75 + forward * 0.2:
            metadata["causation_id"] = rng.choice(names)
        elif draw < 0.8:
            metadata["causation_id"] = rng.choice(["gone", "gone too", None, 7, ""])
        if rng.random() < 0.5:
            metadata["correlation_id"] = "c%d" % rng.randrange(3)
        if rng.random() < 0.5:
            metadata["actor_id"] = rng.choice(["al", "bo", 12])
        event = {"stream_id": stream, "event_type": "T%d" % rng.randrange(3), "event_id": name, "data": {"pad": "x" * rng.randrange(900)}}
        if metadata or rng.random() < 0.5:
            event["metadata"] = metadata
        lines.append(json.dumps(event))
    subprocess.run(["esdb-append", "-q", "--batch", "7"], input="\n".join(lines), text=True, check=True)


def name(value):
    if isinstance(value, bool) or value is None or isinstance(value, (list, dict)) or value == "":
        return None
    return str(value)


make()
events = [json.loads(line) for line in run("esdb-read", "--all")[1].splitlines()]
for e in events:
    m = e.get("metadata", {})
    e["cause"], e["correlation"], e["actor"] = (name(m.get(k)) for k in ("causation_id", "correlation_id", "actor_id"))
all_ids = {e["event_id"] for e in events}


def with_ids(found):
    return [e["position"] for e in events if e["event_id"] in found]


def ancestors(start):
    """Ids, the start included."""
    found, more = set(), {start}
    while more:
        found |= more
        more = {e["cause"] for e in events if e["event_id"] in found and e["cause"]} - found
    return found


def descendants(starts):
    """Positions of the events that any of the starts caused, directly or not."""
    causes, found = set(starts), set()
    while True:
        new = {e["position"] for e in events if e["cause"] in causes}
        if new == found:
            return found
        found = new
        causes |= {events[p]["event_id"] for p in found}


def chain(start):
    path = [next(e["position"] for e in events if e["event_id"] == start)]
    while True:
        e = events[path[-1]]
        if e["cause"] is None:
            return 0, path[::-1]
        older = [x["position"] for x in events if x["event_id"] == e["cause"] and x["position"] < e["position"]]
        newer = [x["position"] for x in events if x["event_id"] == e["cause"] and x["position"] >= e["position"]]
        if not older and not newer:
            return 9, path[::-1]
        at = older[-1] if older else newer[0]
        if at in path:
            return 9, path[::-1]
        path.append(at)


class Graph:
    def __init__(self, positions, missing_counts):
        self.events = [events[p] for p in sorted(positions)]
        self.nodes = list(dict.fromkeys(e["event_id"] for e in self.events))
        here = set(self.nodes)
        self.edges = {(e["cause"], e["event_id"]) for e in self.events if e["cause"] in here}
        self.missing = {(e["cause"], e["event_id"]) for e in self.events if e["cause"] and e["cause"] not in all_ids}
        self.outside = {(e["cause"], e["event_id"]) for e in self.events
                        if e["cause"] in all_ids and e["cause"] not in here}
        self.roots = [n for n in self.nodes if not any(t == n for _, t in self.edges)]
        self.leaves = [n for n in self.nodes if not any(f == n for f, _ in self.edges)]
        self.order, left = [], list(self.nodes)
        while left:
            free = [n for n in left if not any(t == n and f in left for f, t in self.edges)]
            if not free:
                break
            self.order.append(free[0])
            left.remove(free[0])
        self.cyclic = bool(left)
        depth = {}
        for n in self.order:
            depth[n] = max([depth[f] + 1 for f, t in self.edges if t == n], default=0)
        self.depth = None if self.cyclic else max(depth.values(), default=0)

    def positions(self, ids):
        return [e["position"] for n in ids for e in self.events if e["event_id"] == n]


checks = 0


def check(args, status, positions=None):
    global checks
    checks += 1
    got, out, err = run("esdb-trace", *args)
    seen = [json.loads(line)["position"] for line in out.splitlines()] if positions is not None else out
    if got != status or (positions is not None and seen != positions):
        sys.exit("seed %d: esdb-trace %s: status %d, want %d; %s, want %s; %s" %
                 (seed, " ".join(args), got, status, seen, positions, err))
    return out


def check_graph(ident, by, g):
    status = 9 if g.missing else 0
    args = [ident, "--by", by]
    out = json.loads(check(["graph", *args], status))
    stats = json.loads(check(["stats", "--json", *args], status))
    pairs = lambda key, a, b: [(x[a], x[b]) for x in out[key]]
    want = {"nodes": len(g.nodes), "events": len(g.events), "edges": len(g.edges), "roots": len(g.roots),
            "leaves": len(g.leaves), "missing": len(g.missing), "outside": len(g.outside), "depth": g.depth}
    cycle = stats.pop("cycle")
    assert stats == want, (seed, args, stats, want)
    assert bool(cycle) == g.cyclic and cycle == out["cycle"], (seed, args, cycle)
    for i, n in enumerate(cycle):
        assert (n, cycle[(i + 1) % len(cycle)]) in g.edges, (seed, args, cycle)
    assert [n["event_id"] for n in out["nodes"]] == g.nodes, (seed, args)
    for n in out["nodes"]:
        assert n["positions"] == g.positions([n["event_id"]]), (seed, args, n)
    edges = pairs("edges", "from", "to")
    assert len(edges) == len(set(edges)) and set(edges) == g.edges, (seed, args)
    assert sorted(pairs("missing", "causation_id", "effect")) == sorted(g.missing), (seed, args)
    assert sorted(pairs("outside", "causation_id", "effect")) == sorted(g.outside), (seed, args)
    assert out["roots"] == g.roots and out["root"] == (g.roots[0] if g.roots else None), (seed, args)
    check(["roots", *args], status, sorted(g.positions(g.roots)))
    check(["leaves", *args], status, sorted(g.positions(g.leaves)))
    check(["topo", *args], 9 if g.cyclic else status, [] if g.cyclic else g.positions(g.order))
    tree = check(["tree", *args], status).splitlines()
    drawn = [line for line in tree if "(shown above)" not in line and "(cycle)" not in line]
    assert len(drawn) == len(g.nodes), (seed, args, tree)


for ident in rng.sample(sorted(all_ids), min(len(all_ids), 12)):
    own = set(with_ids({ident}))
    up = ancestors(ident)
    gone = 9 if up - all_ids else 0
    check(["effects", ident], 0, [e["position"] for e in events if e["cause"] == ident and e["event_id"] != ident])
    below = [p for p in sorted(descendants({ident})) if events[p]["event_id"] != ident]
    check(["effects", "--all", ident], 0, below)
    check(["effects", "--all", "-r", ident], 0, below[::-1])
    check(["ancestors", ident], gone, [p for p in with_ids(up) if p not in own])
    status, path = chain(ident)
    check(["chain", ident], status, path)
    check_graph(ident, "event", Graph(set(with_ids(up)) | descendants(up & all_ids), None))
    for other in rng.sample(sorted(all_ids), min(len(all_ids), 5)):
        got, out, _ = run("esdb-trace", "path", other, ident)
        assert got == (0 if other in up else gone or 4), (seed, other, ident, got)
        steps = list(dict.fromkeys(json.loads(line)["event_id"] for line in out.splitlines()))
        if got == 0:
            assert steps[0] == other and steps[-1] == ident, (seed, other, ident, steps)
            for a, b in zip(steps, steps[1:]):
                assert any(e["cause"] == a and e["event_id"] == b for e in events), (seed, a, b)
        checks += 1
for c in sorted({e["correlation"] for e in events if e["correlation"]}):
    own = [e["position"] for e in events if e["correlation"] == c]
    check(["correlated", c], 0, own)
    check_graph(c, "correlation", Graph(set(own), None))
for a in sorted({e["actor"] for e in events if e["actor"]}):
    check(["actor", a], 0, [e["position"] for e in events if e["actor"] == a])
print("%d events, %d answers compared" % (len(events), checks))
