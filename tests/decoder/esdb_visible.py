#!/usr/bin/env python3
"""esdb_visible.py: what of a store is shown, by "The life of streams" in format/FORMAT.md section 6.

usage: esdb_decode.py STORE | esdb_visible.py [POSITION]

Passes those lines that are not hidden, as of POSITION (events from there on do not count; default: all count).
"""

import json
import re
import sys

TYPES = ("$stream-deleted", "$stream-undeleted", "$stream-truncated", "$stream-closed")
DATA = re.compile(r'\{"deleted_before":(0|[1-9][0-9]*),"truncated_before":(0|[1-9][0-9]*)[},]')


def raw_data(line):
    """The data as it is stored, not as a JSON reader understands it."""
    at = line.find(',"data":', line.index(',"epoch_us":'))
    return line[at + 8:] if at >= 0 else ""


def life_of(events):
    """{stream: the first version that is shown} (L1, L2)"""
    life = {}
    for line, e in events:
        stream = e["stream_id"].removeprefix("$meta:")
        if stream == e["stream_id"] or not 1 <= len(stream.encode()) <= 240 or stream.startswith("$"):
            continue
        match = DATA.match(raw_data(line))
        if e["event_type"] in TYPES and match and int(match[1]) < 1 << 63 and int(match[2]) < 1 << 63:
            closed = e["event_type"] == "$stream-closed"
            life[stream] = float("inf") if closed else max(int(match[1]), int(match[2]))
    return life


def main():
    end = int(sys.argv[1]) if len(sys.argv) > 1 else float("inf")
    events = [(line, json.loads(line)) for line in sys.stdin]
    events = [(line, e) for line, e in events if e["position"] < end]
    life = life_of(events)
    for line, e in events:
        if e["version"] >= life.get(e["stream_id"], 0):
            sys.stdout.write(line)


if __name__ == "__main__":
    main()
