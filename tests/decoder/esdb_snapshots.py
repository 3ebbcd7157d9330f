#!/usr/bin/env python3
"""esdb_snapshots.py: the snapshots of a stream, by "Snapshots" in format/FORMAT.md section 6.

usage: esdb_decode.py STORE | esdb_snapshots.py STREAM [POSITION]

Prints those that count, the highest version first, as of POSITION (events from there on do not count; default: all count):
what `esdb-snapshot load --json --at VERSION STREAM` prints of each, but for epoch_us. States are decompressed by zstd(1).
"""

import base64
import json
import re
import subprocess
import sys

from esdb_visible import DATA, TYPES, raw_data

SIZE_MAX = 64 << 20


def number(text):
    """Decimal, without sign or leading zeros, below 2^63; else None."""
    if isinstance(text, str) and re.fullmatch(r"0|[1-9][0-9]*", text) and int(text) < 1 << 63:
        return int(text)
    return None


def members(text):
    """The raw text of each member of a JSON object; {} when it is none. Of two with one name the last counts."""
    found, at, decoder = {}, 1, json.JSONDecoder()
    if not text.startswith("{"):
        return found
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        begin = at + 1
        _, at = decoder.raw_decode(text, begin)
        found[name] = text[begin:at]
        at += text[at] == ","
    return found


def life_of(events, stream):
    """(D, closed) of the stream (L1)."""
    life = 0, False
    for line, e in events:
        if e["stream_id"] == "$meta:" + stream and e["event_type"] in TYPES and (match := DATA.match(raw_data(line))):
            life = int(match[1]), e["event_type"] == "$stream-closed"
    return life


class Snapshot:
    """What an event says; ValueError: nothing."""

    def __init__(self, line, e):
        self.position, self.event_type = e["position"], e["event_type"]
        own = members(line)
        said = members(own.get("metadata", ""))
        if "latest" not in said or (said["latest"] != "null" and number(said["latest"]) is None):
            raise ValueError
        if self.event_type == "$snapshot-deleted":
            self.first, self.last = number(said.get("first")), number(said.get("last"))
            if self.first is None or self.last is None:
                raise ValueError
            return
        self.version, self.size = number(said.get("version")), number(said.get("size"))
        self.since, self.metadata = number(said.get("from", "0")), said.get("metadata")
        self.form, self.compression = said.get("state"), said.get("compression")
        if self.event_type != "$snapshot-saved" or None in (self.version, self.size, self.since):
            raise ValueError
        if self.form not in ('"json"', '"bytes"') or self.compression not in ('"none"', '"zstd"'):
            raise ValueError
        as_bytes = self.form == '"bytes"' or self.compression == '"zstd"'
        if ("data_base64" in own) != as_bytes or ("data" in own) == as_bytes or said["latest"] == "null":
            raise ValueError
        self.data = base64.b64decode(e["data_base64"]) if as_bytes else own["data"].encode()
        if self.compression == '"none"' and len(self.data) != self.size:
            raise ValueError

    def line(self, stream):
        state = self.data
        if self.compression == '"zstd"':
            assert self.size <= SIZE_MAX
            state = subprocess.run(["zstd", "-dcq"], input=self.data, stdout=subprocess.PIPE, check=True).stdout
            assert len(state) == self.size
        is_json = self.form == '"json"'
        shown = state.decode() if is_json else '"%s"' % base64.b64encode(state).decode()
        metadata = f',"metadata":{self.metadata}' if self.metadata and self.metadata.startswith("{") else ""
        return (f'{{"stream_id":{json.dumps(stream, ensure_ascii=False)},"version":{self.version},'
                f'"position":{self.position},"size":{self.size},"stored_size":{len(self.data)},"form":{self.form}'
                f'{metadata},"{"state" if is_json else "state_base64"}":{shown}}}')


def count(events, stream):
    """{version: snapshot} of those that count (S1, S2)."""
    deleted_before, closed = life_of(events, stream)
    found = {}
    for line, e in events:
        if e["stream_id"] != "$snapshot:" + stream:
            continue
        try:
            s = Snapshot(line, e)
        except ValueError:
            continue
        if e["event_type"] == "$snapshot-deleted":
            found = {v: other for v, other in found.items() if not s.first <= v <= s.last}
        else:
            found[s.version] = s if s.since == deleted_before else found.get(s.version)
    return {v: s for v, s in found.items() if s and v >= deleted_before and not closed}


def main():
    stream, end = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    events = [(line.rstrip("\n"), json.loads(line)) for line in sys.stdin]
    events = [(line, e) for line, e in events if e["position"] < end]
    for _, s in sorted(count(events, stream).items(), reverse=True):
        print(s.line(stream))


if __name__ == "__main__":
    main()
