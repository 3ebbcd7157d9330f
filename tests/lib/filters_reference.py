#!/usr/bin/env python3
"""filters_reference.py: asks esdb-read random questions about random stores, and compares each answer with the one that
brute force gives: the second reader of the format (tests/decoder) prints all events, its rules of stream life say which of
them are shown, and the filters are applied here one by one, by Python, and by jq(1) for --select.

usage: filters_reference.py [--seconds S] [--stores N] [--queries N] SEED

Works in the current directory. Prints what was tried, and of a wrong answer the command and the seed; then status 1.
"""

import argparse
import collections
import json
import os
import random
import re
import subprocess
import sys
import time
from decimal import Decimal

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "decoder")]
import esdb_decode  # noqa: E402
import esdb_visible  # noqa: E402
import random_store  # noqa: E402

DECODER = os.path.join(HERE, "..", "decoder", "esdb_decode.py")


class Number:
    """A number as it is written, compared by its value."""

    def __init__(self, written):
        self.written, self.value = written, Decimal(written)


def fold(value):
    """What a reader of JSON makes of halves of surrogate pairs."""
    return re.sub("[\ud800-\udfff]", "\ufffd", value)


def members_of(pairs):
    return {fold(k): v for k, v in pairs}


def parse(text):
    return json.loads(text, parse_int=Number, parse_float=Number, object_pairs_hook=members_of)


class Event:
    def __init__(self, line):
        self.line = line
        self.all = parse(line)
        self.position, self.version, self.epoch_us = (int(self.all[k].written) for k in ("position", "version", "epoch_us"))
        self.stream, self.type, self.id = self.all["stream_id"], self.all["event_type"], self.all["event_id"]
        self.metadata = self.all.get("metadata")
        if not isinstance(self.metadata, dict):
            self.metadata = {}


# ---- single filters ----

def is_match(pattern, text):
    """Wildcards: * and ?, and a backslash."""
    expression = ""
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\" and i + 1 < len(pattern):
            i += 1
            c = pattern[i]
            expression += re.escape(c)
        else:
            expression += {"*": "(?s:.*)", "?": "(?s:.)"}.get(c) or re.escape(c)
        i += 1
    return re.fullmatch(expression, text) is not None


def has_wildcard(pattern):
    return re.search(r"[*?]", re.sub(r"\\.", "", pattern, flags=re.S)) is not None


def unescaped(pattern):
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.S)


def written(value):
    """A scalar as --where and --tag compare it; None for others."""
    if isinstance(value, str):
        return fold(value)
    if isinstance(value, Number):
        return value.written
    return {True: "true", False: "false", None: "null"}.get(value, None) if not isinstance(value, (dict, list)) else None


def passes_where(event, key, value):
    return key in event.metadata and written(event.metadata[key]) == value


def passes_tags(event, tags, all_of_them):
    there = event.metadata.get("tags")
    there = {written(t) for t in there} if isinstance(there, list) else set()
    return all(t in there for t in tags) if all_of_them else any(t in there for t in tags)


def kind(value):
    return "bool" if isinstance(value, bool) else type(value).__name__


def equal(a, b):
    if kind(a) != kind(b):
        return False
    if isinstance(a, Number):
        return a.value == b.value
    if isinstance(a, str):
        return fold(a) == fold(b)
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return a == b


ABSENT = object()


def compare(operator, value, operand):
    if kind(value) != kind(operand):
        return False
    x, y = (value.value, operand.value) if isinstance(value, Number) else (fold(value), fold(operand))
    return {"$gt": x > y, "$gte": x >= y, "$lt": x < y, "$lte": x <= y}[operator]


def holds(operator, value, operand):
    if operator == "$exists":
        return (value is not ABSENT) == operand
    if operator == "$ne":
        return value is ABSENT or not equal(value, operand)
    if value is ABSENT:
        return False
    if operator == "$eq":
        return equal(value, operand)
    if operator == "$in":
        return any(equal(value, x) for x in operand)
    if operator == "$prefix":
        return isinstance(value, str) and fold(value).startswith(fold(operand))
    return compare(operator, value, operand)


def contains(pattern, value):
    """--match"""
    if isinstance(pattern, dict) and any(k.startswith("$") for k in pattern):
        return all(holds(k, value, v) for k, v in pattern.items())
    if value is ABSENT:
        return False
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(contains(p, value.get(k, ABSENT)) for k, p in pattern.items())
    if isinstance(pattern, list):
        return isinstance(value, list) and all(any(contains(p, v) for v in value) for p in pattern)
    return equal(pattern, value)


# ---- a store as the second reader sees it ----

class View:
    def __init__(self, store):
        done = subprocess.run([sys.executable, "-B", DECODER, store], capture_output=True, check=False)
        assert done.returncode == 0, "the second reader: %d %s" % (done.returncode, done.stderr.decode())
        self.events = [Event(line + "\n") for line in done.stdout.decode().split("\n")[:-1]]
        self.selected = {}

    def shown(self, end):
        """The events before position `end` that are shown when that is all there is."""
        past = [e for e in self.events if e.position < end]
        life = esdb_visible.life_of([(e.line, {"stream_id": e.stream, "event_type": e.type}) for e in past])
        return [e for e in past if e.version >= life.get(e.stream, 0)]

    def existing(self, end):
        """The streams that exist then: those that were truncated to the end do, deleted ones do not."""
        past = [e for e in self.events if e.position < end]
        newest = {e.stream: e.version for e in past}
        out = set(newest)
        for e in past:
            if e.stream.startswith("$meta:") and isinstance(e.all.get("data"), dict) and "deleted_before" in e.all["data"]:
                deleted, name = int(e.all["data"]["deleted_before"].written), e.stream[6:]
                (out.discard if deleted > newest.get(name, -1) or e.type == "$stream-closed" else out.add)(name)
        return out

    def select(self, expression):
        """What jq says of every event: {position: true, or "failed"}; what is not there is false."""
        if expression not in self.selected:
            program = '[.position, (try first((%s\n) | select(.) | true) catch "failed")]' % expression
            done = subprocess.run(["jq", "-c", program], input="".join(e.line for e in self.events).encode(),
                                  capture_output=True, check=False)
            assert done.returncode == 0, "jq: %s: %s" % (expression, done.stderr.decode())
            self.selected[expression] = dict(
                answer for answer in map(json.loads, done.stdout.splitlines()) if len(answer) == 2)
        return self.selected[expression]


# ---- questions ----

class Query:
    """A command line, and what it asks for."""

    def __init__(self, rng, view):
        self.rng, self.view, self.args = rng, view, []
        self.some = view.shown(float("inf")) if rng.random() < 0.8 else []
        self.some = self.some or view.events or [Event('{"position":0,"version":0,"epoch_us":0,"stream_id":"a","event_type":"A","event_id":"x"}')]
        self.target = rng.choice(self.some)
        self.streams, self.regex, self.literal, self.system, self.partition = [], False, False, False, None
        self.types, self.wheres, self.tags, self.all_tags, self.ids = [], [], [], False, []
        self.match = self.select = self.as_of = self.since = self.until = None
        self.first, self.last, self.versions, self.limit = 0, float("inf"), None, None
        self.invert = self.reverse = False
        self.answer, self.tail = "lines", rng.random() < 0.1
        self.choose()

    def event(self):
        """Often the same one, so that filters agree about something."""
        return self.target if self.rng.random() < 0.7 else self.rng.choice(self.some)

    def give(self, option, argument):
        short = {"--type": "-t", "--limit": "-n"}.get(option)
        if short and self.rng.random() < 0.5:
            self.args += [short, argument]
        elif self.rng.random() < 0.5:
            self.args += ["%s=%s" % (option, argument)]
        else:
            self.args += [option, argument]

    def choose(self):
        rng = self.rng
        filters = [self.add_types, self.add_wheres, self.add_tags, self.add_ids, self.add_match, self.add_select]
        for add in rng.sample(filters, rng.choice([0, 1, 1, 1, 1, 2, 2, 3])):
            add()
        if any([self.types, self.wheres, self.tags, self.ids, self.match, self.select]) and rng.random() < 0.15:
            self.invert = True
            self.args.append(rng.choice(["-v", "--invert-match"]))
        if self.tail:
            self.follow()
            return
        for add in rng.sample([self.add_times, self.add_as_of, self.add_range, self.add_versions, self.add_partition],
                              rng.choice([0, 0, 0, 1, 1, 2, 3])):
            add()
        if rng.random() < 0.3:
            self.reverse = True
            self.args.append(rng.choice(["-r", "--reverse"]))
        draw = rng.random()
        if draw < 0.2:
            self.limit = rng.choice([1, 2, 10, 100, 10**6])
            self.give("--limit", str(self.limit))
        elif draw < 0.25:
            self.limit = 1
            self.args.append("--first")
        elif draw < 0.3:
            self.answer = "any"
            self.args.append("--any")
        if self.answer == "lines" and rng.random() < 0.1:
            self.answer = "count"
            self.args.append("--count")
        if rng.random() < 0.2:
            self.system = True
            self.args.append("--system")
        self.add_streams()

    def follow(self):
        """esdb-tail up to the end: from a position on, or the last events."""
        if self.rng.random() < 0.5:
            self.first = self.event().position
            self.args.append("--from=" + self.rng.choice(["pos:%d", "%d"]) % self.first)
        else:
            self.limit = self.rng.choice([1, 5, 50])
            self.give("--lines", str(self.limit))
        if self.rng.random() < 0.3:
            self.add_partition()
        self.args.append("--until-end")
        self.add_streams()

    # the streams

    def add_streams(self):
        rng = self.rng
        draw = rng.random()
        if self.ids and not self.invert and draw < 0.5 and not self.tail:
            return
        if draw < 0.45:
            self.args.append(rng.choice(["-a", "--all"]))
            return
        if draw < 0.55:
            self.literal = True
            self.args.append("--literal")
        elif draw < 0.65:
            self.regex = True
            self.args.append("--regex")
        for _ in range(rng.choice([1, 1, 1, 2, 3, 10])):
            self.streams.append(self.regex_for() if self.regex else self.pattern_for() if not self.literal else self.name())
        self.args += ["--"] + self.streams

    def name(self):
        return self.rng.choice([self.event().stream, self.event().stream, self.event().stream, "no-such", "a*b", "many-3"])

    def wildcards(self, name):
        """A pattern that may match the name."""
        rng, out = self.rng, list(name)
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            at = rng.randrange(len(out) + 1)
            out[at:at + rng.choice([0, 1, 1, 3])] = [rng.choice("*??")]
        return "".join(out)

    def escaped(self, name):
        return re.sub(r"([*?\\])", r"\\\1", name)

    def pattern_for(self):
        draw = self.rng.random()
        if draw < 0.4:
            return self.escaped(self.name())
        if draw < 0.8:
            return self.wildcards(self.name())
        return self.rng.choice(["*", "?", "??", "order-*", "o*-1?", "*-*", "K?ln-*", "a\\*b", "a\\?b", "a?b", "*\\", "many-*", "**1**", "$*", "*:a*"])

    def regex_for(self):
        return self.rng.choice(["^order-[12]$", "order-1", "^many-.*[02468]$", "^a.b$", "(a|b)$", "^.{2}$", "^[a-c]", "-1?0", "^K.ln", ".", "^$",
                                "^[^a-z]", "\\*", "x{3}", "[[:space:]]", "^.$", "ln-[12]|^b", "\u65e5", "^[\u00f6\u65e5]", "meta"])

    # filters

    def add_types(self):
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            t = self.rng.choice([self.event().type, "Order", "no-such"])
            t = self.escaped(t) if self.rng.random() < 0.7 else self.rng.choice([self.wildcards(t), "Order*", "?", "\u00c4*", "*"])
            if t:
                self.types.append(t)
                self.give("--type", t)

    def scalars(self, key):
        """What some events have there."""
        events = [self.target] * 20 + self.rng.sample(self.some, min(20, len(self.some)))
        out = [e.metadata[key] for e in events if key in e.metadata]
        out = [x for v in out for x in (v if isinstance(v, list) else [v])]
        return [w for w in map(written, out) if w is not None and "\0" not in w] + ["no-such"]

    def add_wheres(self):
        for _ in range(self.rng.choice([1, 1, 1, 2])):
            key = self.rng.choice(["shop", "actor_id", "causation_id", "correlation_id", "n", "tags", "\u00fc", "no"])
            given = self.rng.choice(self.scalars(key))
            self.wheres.append((key, given))
            self.give("--where", key + "=" + given)

    def add_tags(self):
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            tag = self.rng.choice(self.scalars("tags"))
            if tag:
                self.tags.append(tag)
                self.give("--tag", tag)
        if self.tags and self.rng.random() < 0.4:
            self.all_tags = True
            self.args.append("--all-tags")

    def add_ids(self):
        for _ in range(self.rng.choice([1, 1, 2, 5])):
            self.ids.append(self.rng.choice([self.event().id, self.event().id, "no-such", "7-"]))
            self.give("--id", self.ids[-1])

    def add_match(self):
        rng = self.rng
        fields = {}
        for _ in range(rng.choice([1, 1, 2])):
            event = self.event().all
            field = rng.choice([k for k in event if k != "data_base64"] + ["data", "metadata"] * 4)
            fields[field] = self.part_of(event.get(field, Number("7")))
        self.match = self.dump(fields)
        self.give("--match", self.match)

    def dump(self, value):
        if isinstance(value, Number):
            return value.written
        if isinstance(value, dict):
            return "{%s}" % ",".join("%s: %s" % (json.dumps(k), self.dump(v)) for k, v in value.items())
        if isinstance(value, list):
            return "[%s]" % ", ".join(map(self.dump, value))
        return json.dumps(fold(value) if isinstance(value, str) else value, ensure_ascii=self.rng.random() < 0.5)

    def part_of(self, value, depth=0):
        """A pattern that the value contains, or nearly."""
        rng = self.rng
        draw = rng.random()
        if isinstance(value, dict) and draw < 0.85:
            keys = [k for k in value if not k.startswith("$")]
            out = {k: self.part_of(value[k], depth + 1) for k in keys if rng.random() < 0.4}
            if rng.random() < 0.2:
                out[rng.choice(["total", "n", "none"])] = rng.choice([{"$exists": True}, {"$exists": False}, {"$ne": Number("7")}, None])
            return out
        if isinstance(value, list) and draw < 0.85:
            return [self.part_of(v, depth + 1) for v in value if rng.random() < 0.5]
        if isinstance(value, (dict, list)) and not self.plain(value):
            return {"$exists": True}
        if draw < 0.3:
            return value
        return self.operators(value)

    def plain(self, value):
        return not isinstance(value, dict) or not any(k.startswith("$") for k in value)

    def operators(self, value):
        rng, out = self.rng, {}
        for _ in range(rng.choice([1, 1, 2])):
            other = value if rng.random() < 0.6 else rng.choice([Number("7"), Number("0"), Number("7.00"), "K\u00f6ln", "", None, True, [], {}, Number("9007199254740993")])
            operator = rng.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$exists", "$prefix"])
            if operator in ("$gt", "$gte", "$lt", "$lte") and not isinstance(other, (Number, str)):
                operator = "$eq"
            if operator == "$prefix":
                other = fold(other)[:rng.randrange(4)] if isinstance(other, str) else "n"
            out[operator] = [other, "north", Number("1")] if operator == "$in" else rng.random() < 0.7 if operator == "$exists" else other
        return out

    def add_select(self):
        self.select = self.expression()
        self.give("--select", self.select)

    def path(self):
        return self.rng.choice([".data.total", ".data.n", ".data.s", ".data", ".metadata.shop", ".metadata.actor_id", ".event_type", ".stream_id", ".version", ".position",
                                '.data["a b"]', '.data."\u00fc"', ".data.o.n", ".data.list", ".metadata.tags", ".no", '.data["$x"]', ".epoch_us", ".event_id", ".data_content_type"])

    def operand(self):
        return self.rng.choice(["1", "7", "7.0", "0.1", "-3", "100", "1e2", "9007199254740993", '"north"', '"K\\u00f6ln"', '"OrderPlaced"', '"order-1"', "null", "true", "false", '""', "[]", "{}"])

    def condition(self):
        rng = self.rng
        draw = rng.random()
        if draw < 0.25:
            path, field = rng.choice([(".event_type", "event_type"), (".stream_id", "stream_id"), (".version", "version"), (".position", "position"),
                                      (".metadata.shop", "shop"), (".metadata.actor_id", "actor_id")])
            value = self.target.all.get(field, self.target.metadata.get(field, Number("1")))
            if not isinstance(value, (dict, list)):
                return "%s %s %s" % (path, rng.choice(["==", "==", "<=", ">="]), self.dump(value))
        if draw < 0.6:
            return "%s %s %s" % (self.path(), rng.choice(["==", "!=", "<", "<=", ">", ">="]), self.operand())
        if draw < 0.75:
            return "(%s | %s(%s))" % (rng.choice([".event_type", ".stream_id", ".event_type", self.path()]), rng.choice(["startswith", "endswith", "contains", "test"]),
                                      rng.choice(['"order"', '"Order"', '"n"', '"K\\u00f6"', '"1"', '""', '"aid"']))
        if draw < 0.8:
            return self.path()
        return "(%s)" % rng.choice([
            ".metadata.tags | length > 1", 'any(.metadata.tags[]?; . == "web")', ".data.n * 2 > 5", "(.data.total // 0) > 1", '.data | type == "object"', "[.data.n, 1] | add > 3",
            ".data.n + 1 > 2", ".data[0]", 'has("metadata")', '.data.s | ascii_downcase == "north"', "empty", "true, false", "null, .version > 2", ".position % 3 == 0",
            '.event_type | test("^Ord.*d$")', ".data.list | index(1)", ".metadata.tags | contains([\"web\"])?", ".data | tostring | length > 40", "[.[]] | length > 8",
            "if .version > 3 then true else error(\"low\") end", ".data as [$a] | $a == 1", "first(.data.list[]?) == 1", ".metadata | keys == [\"shop\"]", ".data.o | not", "error(null)"])

    def expression(self):
        rng = self.rng
        out = self.condition()
        for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
            out = "%s %s %s" % (out, rng.choice(["and", "or"]), self.condition())
        if rng.random() < 0.15:
            out = "(%s) | not" % out
        return out

    # times and ranges

    def add_times(self):
        times = sorted(self.event().epoch_us + self.rng.choice([0, 0, 0, -1, 1]) for _ in range(2))
        if self.rng.random() < 0.7:
            self.since = times[0]
            self.give("--since", self.time(times[0]))
        if self.rng.random() < 0.7:
            self.until = times[1]
            self.give("--until", self.time(times[1]))

    def time(self, us):
        seconds, part = divmod(us, 10**6)
        return self.rng.choice([str(us), "@%d.%06d" % (seconds, part),
                                time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + ".%06dZ" % part])

    def add_as_of(self):
        event = self.event()
        if self.rng.random() < 0.5:
            self.as_of = event.position + 1
            self.give("--as-of", "pos:%d" % event.position)
        else:
            us = event.epoch_us + self.rng.choice([0, 0, -1])
            self.as_of = sum(e.epoch_us <= us for e in self.view.events)
            self.give("--as-of", self.time(us))

    def add_range(self):
        first, last = sorted(self.event().position + self.rng.choice([0, 1]) for _ in range(2))
        if self.rng.random() < 0.7:
            self.first = first
            self.give("--from", str(first))
        if self.rng.random() < 0.7:
            self.last = last
            self.give("--to", str(last))

    def add_versions(self):
        a, b = sorted(self.rng.randrange(20) for _ in range(2))
        form, self.versions = self.rng.choice([("%d..%d" % (a, b), (a, b)), ("%d.." % a, (a, float("inf"))), ("..%d" % b, (0, b)), ("%d" % a, (a, a))])
        self.give("--versions", form)

    def add_partition(self):
        n = self.rng.choice([1, 2, 3, 7])
        self.partition = (self.rng.randrange(n) + 1, n)
        self.give("--partition", "%d/%d" % self.partition)

    # the answer by brute force

    def has_stream(self, event):
        stream, hidden = event.stream, event.stream.startswith("$") and not self.system
        if self.partition and esdb_decode.checksum(stream.encode()) % self.partition[1] + 1 != self.partition[0]:
            return False
        if not self.streams:
            return not hidden
        if self.regex:
            return not hidden and any(regex_found(p, stream) for p in self.streams)
        for p in self.streams:
            if self.literal or not has_wildcard(p):
                if stream == (p if self.literal else unescaped(p)):
                    return True
            elif (not hidden or p.startswith("$")) and is_match(p, stream):
                return True
        return False

    def in_range(self, e):
        return self.first <= e.position <= self.last and (not self.versions or self.versions[0] <= e.version <= self.versions[1]) and \
            (self.since is None or e.epoch_us >= self.since) and (self.until is None or e.epoch_us <= self.until)

    def verdict(self, e):
        """True, False, "failed": by all filters but the streams and ranges."""
        passes = (not self.types or any(is_match(p, e.type) for p in self.types)) and (not self.ids or e.id in self.ids) and \
            all(passes_where(e, *w) for w in self.wheres) and (not self.tags or passes_tags(e, self.tags, self.all_tags)) and \
            (self.match is None or contains(parse(self.match), e.all))
        if passes and self.select is not None:
            passes = self.view.select(self.select).get(e.position, False)
            if passes == "failed":
                return "failed"
        return passes != self.invert

    def expected(self):
        """(lines, may fail, must fail)"""
        end = self.as_of if self.as_of is not None else float("inf")
        shown = self.view.shown(end)
        self.there = self.view.existing(end)
        lines, must = [], False
        verdicts = [(e, self.verdict(e)) for e in shown if self.has_stream(e) and self.in_range(e)]
        may = any(v == "failed" for _, v in verdicts)
        limit = 1 if self.answer == "any" else self.limit if self.limit is not None else float("inf")
        from_end = self.reverse or (self.tail and self.limit is not None)
        for e, v in reversed(verdicts) if from_end else verdicts:
            if len(lines) == limit:
                break
            if v == "failed":
                must = True
            elif v:
                lines.append(e.line)
        return lines[::-1] if self.tail and from_end else lines, may, must

    def statuses(self, lines, may, must):
        """The exit statuses that are right."""
        missing = not self.regex and self.answer != "any" and any(
            (p if self.literal else unescaped(p)) not in self.there for p in self.streams if self.literal or not has_wildcard(p))
        out = set()
        if may:
            out.add(8)
        if missing and self.tail:  # both would be right
            out.add(4)
        if not must:
            out.add(4 if missing or (self.answer == "any" and not lines) else 0)
        return out


REGEXES = {}


def regex_found(pattern, text):
    if pattern not in REGEXES:
        REGEXES[pattern] = re.compile(pattern.replace("[[:space:]]", "\\s").replace("x{3}", "x{3}"))
    return REGEXES[pattern].search(text) is not None


# ---- asking ----

def ask(rng, view, store, seen):
    query = Query(rng, view)
    lines, may, must = query.expected()
    command = ["esdb-tail", "-S", store] if query.tail else ["esdb-read", "-S", store, "--explain=json"]
    command += query.args
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    want = "%d\n" % len(lines) if query.answer == "count" else "" if query.answer == "any" else "".join(lines)
    got = done.stdout.decode()
    if got != want or done.returncode not in query.statuses(lines, may, must):
        raise AssertionError(tell(command, done, query, want, lines, may, must))
    for line in done.stderr.decode().splitlines():
        if line.startswith("{"):
            told = json.loads(line)
            seen["path " + told["path"] + " " + told["key"]] += 1
            seen["select " + told["select"]] += 1
    seen["esdb-tail"] += query.tail
    seen["status %d" % done.returncode] += 1
    seen["answers with events" if lines else "empty answers"] += 1


def quoted(command):
    return " ".join("'%s'" % a.replace("'", "'\\''") for a in command)


def tell(command, done, query, want, lines, may, must):
    got, wanted = done.stdout.decode().splitlines(), want.splitlines()
    out = ["wrong answer: " + quoted(command),
           "status %d, right were %s; %d lines, right were %d" % (done.returncode, query.statuses(lines, may, must), len(got), len(wanted)),
           "stderr: " + done.stderr.decode()]
    out += ["missing: " + x for x in wanted if x not in set(got)][:5] + ["too much: " + x for x in got if x not in set(wanted)][:5]
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--stores", type=int, default=4)
    parser.add_argument("--queries", type=int, default=60)
    parser.add_argument("seed", type=int)
    o = parser.parse_args()
    seen, begin, asked, events = collections.Counter(), time.monotonic(), 0, 0
    os.environ["LC_ALL"], os.environ["TZ"] = "C.UTF-8", "UTC"
    time.tzset()
    for n in range(o.stores):
        seed = o.seed + n
        rng = random.Random(seed)
        store = "random-%d" % seed
        maker = random_store.Maker(rng, store)
        try:
            for part in range(2):
                maker.make(rng.choice([3, 10, 25]))
                view = View(store)
                random_store.bare_copy(store, store + "-bare")
                events += len(view.events)
                for _ in range(o.queries // 2):
                    if time.monotonic() - begin > o.seconds:
                        break
                    ask(rng, view, store + "-bare" if rng.random() < 0.2 else store, seen)
                    asked += 1
        except AssertionError as e:
            print("seed %d, after %d questions: %s" % (seed, asked, e))
            return 1
    for what, count in sorted(seen.items()):
        print("%6d %s" % (count, what))
    print("%d stores, %d events, %d questions, seeds %d to %d: all answers are right" % (o.stores, events, asked, o.seed, o.seed + o.stores - 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
