"""random_store.py: makes stores of all sorts with the tools, for filters_reference.py. Every choice comes from the generator
that is handed in, so that a seed gives the same store again (times and made-up event ids apart)."""

import glob
import json
import os
import shutil
import subprocess
import time

STREAMS = ["a", "ab", "b", "order-1", "order-2", "order-10", "order-11", "K\u00f6ln-1", "K\u00f6ln-2", "\u65e5\u672c",
           "\U0001f600x", "a*b", "a?b", "b\\c", "-dash", "x y", "x=y", "Order-1", "\u043a\u043e\u0442", "z" * 240, '"quoted"', "[a-c]", "a.b"]
TYPES = ["OrderPlaced", "OrderPaid", "Order", "A", "AB", "\u00c4", "\u00c4rger", "T*", "\u0442\u0438\u043f", "x" * 255, "$mine"]
WORDS = ["north", "south", "n", "", "K\u00f6ln", "7", "7.0", "true", "null", "\u65e5\u672c", "\U0001f600", "a=b", "x\"y\\z", "line\nbreak", "tab\t"]
TAGS = ["new", "web", "vip", "K\u00f6ln", "\U0001f600", "7", "", "true", "long" * 30]
KEYS = ["total", "n", "s", "list", "o", "\u00fc", "a b", "$x", "x\"y"]
NUMBERS = ["0", "-0", "1", "1.0", "1e0", "10E-1", "7", "7.0", "-3", "0.1", "0.10", "1.5", "100", "1e2", "9007199254740993", "9007199254740992",
           "9007199254740993.0", "123456789012345678901234567890", "1e400", "-1e-400", "5e-324", "1e308", "1000.25"]
ID_LENGTHS = [1, 8, 40, 64]


def text(rng, value, halves=True):
    """A JSON string, some characters escaped that need not be; rarely the second half of a surrogate pair, which no name may
    have (jq 1.6 reads no event that has a first half alone)."""
    out = []
    for c in value:
        if rng.random() < 0.1:
            units = c.encode("utf-16-be")
            out += ["\\u%s" % (units[i:i + 2].hex().upper() if rng.random() < 0.5 else units[i:i + 2].hex()) for i in range(0, len(units), 2)]
        else:
            out.append(json.dumps(c, ensure_ascii=False)[1:-1])
    if halves and rng.random() < 0.02:
        out.insert(rng.randrange(len(out) + 1), "\\udc00")
    return '"%s"' % "".join(out)


def space(rng):
    return rng.choice(["", "", "", "", " ", "\n", "\t "])


def members(rng, pairs):
    return "{%s%s}" % (space(rng), ",".join("%s%s%s:%s%s" % (space(rng), text(rng, k), space(rng), space(rng), v) for k, v in pairs))


def value(rng, depth=0):
    draw = rng.random()
    if draw < 0.3:
        return rng.choice(NUMBERS)
    if draw < 0.6:
        return text(rng, rng.choice(WORDS))
    if draw < 0.75 or depth > 2:
        return rng.choice(["true", "false", "null", "[]", "{}"])
    if draw < 0.87:
        return "[%s]" % ",".join(space(rng) + value(rng, depth + 1) for _ in range(rng.randrange(4)))
    return members(rng, [(rng.choice(KEYS), value(rng, depth + 1)) for _ in range(rng.randrange(4))])


def name_value(rng, choices):
    """What an id, an actor or a tag may be in the metadata: mostly a string."""
    draw = rng.random()
    if draw < 0.8:
        return text(rng, rng.choice(choices))
    return rng.choice(["7", "7.0", "true", "null", "[]", '{"a":1}', "12", "-0"])


def metadata(rng):
    if rng.random() < 0.03:
        return rng.choice(['["tags","new"]', '"tags"', "7", "null", "{}"])
    pairs = []
    if rng.random() < 0.5:
        pairs.append(("tags", name_value(rng, TAGS) if rng.random() < 0.1 else
                      "[%s]" % ",".join(name_value(rng, TAGS) for _ in range(rng.randrange(5)))))
    for key in ("causation_id", "correlation_id", "actor_id"):
        if rng.random() < 0.4:
            pairs.append((key, name_value(rng, ["id-1", "id-2", "id-3", "K\u00f6ln", "7", "w" * 100, "w" * 101])))
    if rng.random() < 0.6:
        pairs.append(("shop", name_value(rng, WORDS)))
    if rng.random() < 0.3:
        pairs.append((rng.choice(KEYS), value(rng, 1)))
    rng.shuffle(pairs)
    if pairs and rng.random() < 0.1:  # a key twice: the last one counts
        key = rng.choice(pairs)[0]
        pairs.append((key, "[%s]" % text(rng, rng.choice(TAGS)) if key == "tags" else name_value(rng, WORDS)))
    return members(rng, pairs)


class Maker:
    def __init__(self, rng, store):
        self.rng, self.store, self.used, self.clock, self.is_new = rng, store, set(), None, True
        self.streams = rng.sample(STREAMS, rng.choice([3, 8, len(STREAMS)])) + ["many-%d" % i for i in range(rng.choice([0, 5, 60]))]
        self.run(["esdb-init", "--segment-size", rng.choice(["64K", "64K", "100K", "1M"]), store])

    def run(self, command, given=None):
        return subprocess.run(command, input=given, capture_output=True, check=False)

    def event(self):
        rng = self.rng
        stream = rng.choice(self.streams)
        pairs = [("stream_id", text(rng, stream, False)), ("event_type", text(rng, rng.choice(TYPES), False))]
        if rng.random() < 0.7:
            event_id = "%d-" % rng.randrange(400)
            event_id += "\u00e4" * ((rng.choice(ID_LENGTHS) - len(event_id)) // 2)
            if (stream, event_id) not in self.used:
                self.used.add((stream, event_id))
                pairs.append(("event_id", json.dumps(event_id, ensure_ascii=rng.random() < 0.5)))
        draw = rng.random()
        if draw < 0.6:
            pairs.append(("data", members(rng, [(rng.choice(KEYS), value(rng, 1)) for _ in range(rng.randrange(6))])))
        elif draw < 0.8:
            pairs.append(("data", value(rng)))
        elif draw < 0.9:
            pairs += [("data_base64", '"/wAB%s"' % ("AAAA" * rng.randrange(30))), ("data_content_type", '"application/x-thing"')]
        if rng.random() < 0.8:
            pairs.append(("metadata", metadata(rng)))
        if draw >= 0.9 and rng.random() < 0.5:
            pairs.append(("data", '{"pad":"%s"}' % ("x" * rng.randrange(9000))))
        if self.clock:
            self.clock += rng.choice([0, 0, 0, 1, 1000, 999999, 3600 * 10**6])
            pairs.append(("epoch_us", str(self.clock)))
        return "{%s}" % ",".join("%s:%s" % (json.dumps(k), v) for k, v in pairs)

    def append(self, count, *options):
        lines = "\n".join(self.event() for _ in range(count)) + "\n"
        done = self.run(["esdb-append", "-q", "-S", self.store, *options], lines.encode())
        if done.returncode != 0:
            raise AssertionError("append: %d %s" % (done.returncode, done.stderr.decode()))

    def step(self):
        """One change of the store."""
        rng = self.rng
        draw = rng.random()
        stream = rng.choice(self.streams)
        life = ["esdb-stream", "-S", self.store]
        if draw < 0.33:
            self.append(rng.choice([50, 150, 300]), "--batch", rng.choice(["4096", "64", "7"]))
        elif draw < 0.55:
            for _ in range(rng.randrange(1, 6)):
                self.append(1)
        elif draw < 0.6:
            lines = "".join("plain %s \u00fc\n" % rng.random() for _ in range(rng.randrange(5)))
            self.run(["esdb-append", "-q", "-S", self.store, "--lines", "-t", "Line", "--", stream], lines.encode())
        elif draw < 0.65:
            self.run(life + ["delete", "--", stream])
        elif draw < 0.74:
            self.run(life + ["undelete", "--", stream])
        elif draw < 0.81:
            self.run(life + ["truncate", "--before", str(rng.choice([1, 5, 30])), "--", stream])
        elif draw < 0.82:
            self.run(life + ["delete", "--hard", "--confirm=" + stream, "--", stream])
            if stream in self.streams and len(self.streams) > 1:
                self.streams.remove(stream)
        elif draw < 0.91:
            self.lag()
        else:
            for path in glob.glob(self.store + "/log/*.live") + ([self.store + "/head"] if rng.random() < 0.3 else []):
                if os.path.exists(path):
                    os.unlink(path)

    def lag(self):
        """Events whose writer died before it brought the live index up to date: an old copy of the index comes back."""
        before = {path: open(path, "rb").read() for path in glob.glob(self.store + "/log/*.live")}
        for _ in range(self.rng.randrange(1, 4)):
            self.append(self.rng.randrange(1, 5))
        for path, content in before.items():
            if os.path.exists(path):
                with open(path, "r+b") as f:
                    f.write(content)

    def make(self, steps):
        rng = self.rng
        if self.is_new and rng.random() < 0.7:  # an import of what happened long ago
            self.clock = int(time.mktime((2020, 1, 1, 0, 0, 0, 0, 0, 0))) * 10**6
            self.append(rng.choice([200, 500]), "--preserve")
        self.clock, self.is_new = None, False
        for _ in range(steps):
            self.step()


def bare_copy(store, to):
    """The log alone: everything derived from it is missing."""
    shutil.rmtree(to, ignore_errors=True)
    os.makedirs(to + "/log", mode=0o755)
    shutil.copy(store + "/store.yaml", to)
    for path in glob.glob(store + "/log/*.log"):
        shutil.copy(path, to + "/log")
