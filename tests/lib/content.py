#!/usr/bin/env python3
"""content.py STORE: the bytes of all segments of a store, of compressed ones what they stand for, to stdout."""
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "decoder"))
from esdb_blocks import content_of  # noqa: E402
from esdb_decode import Segment, read_settings  # noqa: E402

store = sys.argv[1]
for name in sorted(os.listdir(os.path.join(store, "log"))):
    if name.endswith(".log"):
        with open(os.path.join(store, "log", name), "rb") as f:
            b = f.read()
        segment = Segment(b, int(name[:16], 16), read_settings(store)["store_id"])
        sys.stdout.buffer.write(content_of(segment, b, lambda *what: sys.exit(what)) if segment.compressed else b)
