#!/usr/bin/env python3
"""esdb_decode.py: a second, independent reader of esdb stores, written from format/FORMAT.md alone.

usage: esdb_decode.py STORE

Prints every event of the store, system streams included, as `esdb-read --all --system` does, and checks everything
that FORMAT.md lets one check in the log: checksums, the chain, the invariants. It looks at store.yaml and log/*.log and
at nothing else, and writes nothing. Findings go to stderr, one a line: KIND: FILE: OFFSET: what. KIND is damage, torn
(an append that never ended) or note. Exit status: 0 done, 2 not a store or a newer format, 5 damage.
"""

import base64
import json
import os
import re
import struct
import sys

from esdb_blocks import content_of
from esdb_checksum import checksum, fold, r64

# ---- store.yaml, section 2 ----

KNOWN_VERSION = 1
BEGINS = re.compile(rb'\{"deleted_before":[0-9]+,"truncated_before":([1-9][0-9]*)[},]')


class Newer(Exception):
    """The store needs a newer reader: it is refused."""


def broken(*rules):
    """Of rules, each a condition and what is wrong without it: what the first says that does not hold, or None."""
    return next((text for holds, text in rules if not holds), None)


def require(*rules):
    if text := broken(*rules):
        raise ValueError(text)


def read_settings(store):
    with open(os.path.join(store, "store.yaml"), encoding="utf-8") as f:
        text = f.read(64 << 10)
    settings = {}
    for line in text.splitlines():
        match = re.fullmatch(r"([a-z_]+):\s*(.*?)\s*", line)
        if match:
            settings[match[1]] = match[2].strip("\"'")
    number = {k: int(settings.get(k, "0"), 0)
              for k in ("format", "features_required", "incarnation", "segment_size")}
    if number["format"] > KNOWN_VERSION or number["features_required"] != 0:
        raise Newer(f"store.yaml: the store has format {number['format']}")
    if not number["format"] or not number["incarnation"] or not 1 << 16 <= number["segment_size"] <= 1 << 30:
        raise ValueError("store.yaml: a setting is missing or out of range")
    number["store_id"] = bytes.fromhex(settings.get("store_id", "0" * 32).replace("-", ""))
    number["durable"] = settings.get("durability", "fsync") != "none"
    return number


# ---- segment header, section 3 ----

class Segment:
    FORMAT = struct.Struct("<8sII6Q16sQ16s3I4sQ")

    def __init__(self, b, name, store_id):
        require((len(b) >= 128, "segment header is cut short"))
        (magic, self.header_len, version, _, required, self.first_index, self.first_position, self.prev_checksum,
         self.last_epoch_us, owner, _, _, self.content_size, self.table_offset, self.block_size, _,
         check) = self.FORMAT.unpack_from(b)
        self.compressed = required == 1
        require((magic == b"ESDBLOG\n", "no segment magic"),
                (checksum(b[:120]) == check, "segment header checksum is wrong"))
        if version > KNOWN_VERSION or required & ~1:
            raise Newer("segment is of a newer format")
        require((128 <= self.header_len <= 4096 and self.header_len % 8 == 0, "segment header length is out of range"),
                (not self.compressed or self.block_size in [1 << n for n in range(14, 21)],
                 "size of compressed blocks is out of range"),
                (not self.compressed or self.header_len < self.content_size <= 1088 << 20,
                 "size before compression is out of range"),
                (not self.compressed or self.header_len <= self.table_offset <= 1088 << 20,
                 "table of compressed blocks is out of range"),
                (self.first_index == name != 0, "segment has the name of another one"),
                (owner == store_id, "segment belongs to another store"))


# ---- frames and events, sections 4 and 5 ----

EVENTS, HOLE, THINNED = 1, 4, 129  # kinds of frames
ROLLS, ERASED = 1, 16  # flags of frames, of events


class Frame:
    """A whole header at offset `at` of b; ValueError says what is wrong."""

    FORMAT = struct.Struct("<4sHBBII12Q")

    def __init__(self, b, at):
        require((len(b) - at >= 112, "frame header is cut short"))
        (magic, self.header_len, self.kind, self.flags, self.frame_len, self.count, self.index, self.term,
         self.first_position, self.committed_index, self.incarnation, _, self.last_epoch_us, self.prev_checksum,
         self.payload_checksum, self.checksum, self.synced_index, synced_checksum) = self.FORMAT.unpack_from(b, at)
        self.at = at
        self.has_events = self.kind in (EVENTS, THINNED)
        least, payload = {HOLE: 48, THINNED: 72}.get(self.kind, 0), self.frame_len - self.header_len
        most = (64 << 20) + (72 if self.kind == THINNED else 0)
        require((magic == b"ESF1", "no frame magic"),
                (checksum(b[at:at + 88]) == self.checksum, "frame header checksum is wrong"),
                (self.header_len >= 112 and self.header_len % 8 == 0, "frame header length is out of range"),
                (payload >= 0 and self.frame_len % 8 == 0 and self.frame_len <= most, "frame length is out of range"),
                (self.count <= min(1 << 20, payload // 64), "event count is out of range"),
                (self.has_events == (self.count > 0), "event count does not fit the kind of frame"),
                (payload >= least, "hole frame is too short" if self.kind == HOLE else "thinned frame is too short"),
                (self.index > 0, "frame index is zero"))
        if self.kind >= 128 and self.kind != THINNED:
            raise Newer(f"frame kind {self.kind} is not known")
        self.synced_intact = synced_checksum == fold(self.checksum, self.synced_index)
        if not self.synced_intact:
            self.synced_index = 0

    def check(self, b):
        """The payload. Returns the faults as (offset, text) and the whole events as (number in frame, Event)."""
        faults, events = [], []
        at, end = self.at + self.header_len, self.at + self.frame_len
        if not self.has_events:
            if checksum(b[at:end]) != self.payload_checksum:
                faults.append((at, "payload checksum is wrong"))
            elif self.kind == HOLE:
                faults += self.check_hole(b)
            return faults, events
        chain, ordinals = 0, range(self.count)
        if self.kind == THINNED:
            faults, ordinals, at = self.thinned_head(b)
            if faults:
                return faults, events
            chain = r64(b, at - 8)
        for i in ordinals:
            try:
                event = Event(b, at, end)
            except ValueError as e:
                faults.append((at, str(e)))
                return faults, events
            if event.intact:
                events.append((i, event))
            faults += [(at, "event checksum is wrong")] * (not event.intact)
            chain = fold(chain, event.checksum)
            at += event.event_len
        if not faults and at != end:
            faults.append((self.at, "events do not fill the frame"))
        elif not faults and chain != self.payload_checksum:
            faults.append((self.at, "payload checksum is wrong"))
        return faults, events

    def hole(self, b):
        return struct.unpack_from("<6Q", b, self.at + self.header_len)

    def check_hole(self, b):
        wrong = any(end < begin for end, begin in zip(self.hole(b), (self.index, self.term, self.first_position)))
        return [(self.at + self.header_len, "hole ends before it begins")] * wrong

    def thinned_head(self, b):
        """What stands before the events that are left: faults, their ordinals, where they begin."""
        start = self.at + self.header_len
        runs = r64(b, start + 48)
        at = start + 56 + 8 * runs + 8
        if not 1 <= runs <= self.count or at > self.at + self.frame_len:
            return [(start, "number of runs is out of range")], [], at
        if checksum(b[start:at - 8]) != r64(b, at - 8):
            return [(start, "checksum of what was removed is wrong")], [], at
        firsts, places = zip(*(struct.unpack_from("<II", b, start + 56 + 8 * i) for i in range(runs)))
        lengths = [end - first for first, end in zip(firsts, (*firsts[1:], self.count))]
        ends = [place + n for place, n in zip(places, lengths)]
        inside = ends[-1] <= self.hole(b)[2] - self.first_position
        if firsts[0] or min(lengths) <= 0 or any(e >= p for e, p in zip(ends, places[1:])) or not inside:
            return self.check_hole(b) or [(start, "events of a thinned frame are out of order")], [], at
        return self.check_hole(b), [i for place, n in zip(places, lengths) for i in range(place, place + n)], at


class Event:
    FORMAT = struct.Struct("<Q16sQQIIIHHHHBBBB")

    def __init__(self, b, at, end):
        require((end - at >= 64, "event header is cut short"))
        (self.checksum, _, self.version, self.epoch_us, self.event_len, data_len, metadata_len, header_len, self.flags,
         stream_len, type_len, id_len, data_type_len, metadata_type_len, _) = self.FORMAT.unpack_from(b, at)
        self.at, parts = at, []
        lengths = (stream_len, type_len, id_len, data_type_len, metadata_type_len, data_len, metadata_len)
        long = self.event_len > min(end - at, 16 << 20)
        require((not long and self.event_len % 8 == 0, "event length is out of range"),
                (header_len >= 64 and header_len % 8 == 0, "event header length is out of range"),
                (max(stream_len, type_len) <= 255, "a length in the event header is out of range"),
                ((header_len + sum(lengths) + 7) // 8 * 8 == self.event_len, "event lengths do not add up"))
        self.intact = checksum(b[at + 8:at + self.event_len]) == self.checksum
        if self.intact and self.flags & ~(7 | ERASED):
            raise Newer("event has a flag that is not known")
        at += header_len
        for n in lengths:
            parts.append(bytes(b[at:at + n]))
            at += n
        (self.stream_id, self.event_type, self.event_id, self.data_content_type, self.metadata_content_type, self.data,
         self.metadata) = parts

    def line(self, position):
        out = b'{"position":%d,"stream_id":%s,"version":%d,"event_id":%s,"event_type":%s,"epoch_us":%d' % (
            position, quote(self.stream_id), self.version, quote(self.event_id), quote(self.event_type), self.epoch_us)
        if self.flags & 1:
            out += b',"data_base64":"%s"' % base64.b64encode(self.data) if self.flags & 4 else b',"data":' + self.data
        if self.flags & 2:
            out += b',"metadata":' + self.metadata
        if self.data_content_type:
            out += b',"data_content_type":' + quote(self.data_content_type)
        if self.metadata_content_type:
            out += b',"metadata_content_type":' + quote(self.metadata_content_type)
        return out + b"}\n"


def quote(text):
    return json.dumps(text.decode(errors="surrogateescape"), ensure_ascii=False).encode(errors="surrogateescape")


# ---- the log, sections 6 and 11 ----

class Expected:
    """What the next frame must say, I1 to I6."""

    def __init__(self, segment):
        self.index, self.position = segment.first_index, segment.first_position
        self.prev_checksum, self.epoch_us = segment.prev_checksum, segment.last_epoch_us
        self.term, self.rolled = 0, False

    def fault(self, f, room):
        return broken((f.index == self.index, "frame index is not the next one"),
                      (f.prev_checksum == self.prev_checksum, "frame does not chain to the one before"),
                      (f.first_position == self.position, "frame position is not the next one"),
                      (f.last_epoch_us >= self.epoch_us, "time goes backwards"),
                      (f.term >= self.term, "term goes backwards"),
                      (f.frame_len <= room, "frame is cut short"))

    def take_over(self, f):
        """Goes on with a frame that was found beyond damage."""
        self.index, self.position, self.prev_checksum = f.index, f.first_position, f.prev_checksum
        self.epoch_us, self.term, self.rolled = 0, 0, False

    def advance(self, f, b):
        self.index, self.position, self.prev_checksum = f.index + 1, f.first_position + f.count, f.checksum
        self.epoch_us, self.term, self.rolled = f.last_epoch_us, f.term, bool(f.flags & ROLLS)
        if f.kind in (HOLE, THINNED):
            last_index, self.term, self.position, self.prev_checksum, _, self.epoch_us = f.hole(b)
            self.index = last_index + 1


def find_header(b, at, min_index):
    """The next whole header at a multiple of 8 whose frame lies inside b."""
    for magic in re.compile(b"ESF1").finditer(b, at):
        if magic.start() % 8 == 0:
            try:
                f = Frame(b, magic.start())
                if f.index >= min_index and f.frame_len <= len(b) - f.at:
                    return f
            except (ValueError, Newer):
                pass
    return None


class Log:
    def __init__(self, store, out):
        self.store, self.out, self.damaged = store, out, False
        self.settings = read_settings(store)
        self.versions = {}
        self.gaps = False  # a hole, a late beginning or damage explains missing versions
        self.expected = self.incarnation = None  # of the segment before, of the frame before
        self.proof = 0

    def run(self):
        names = sorted(int(n[:16], 16) for n in os.listdir(os.path.join(self.store, "log"))
                       if re.fullmatch(r"[0-9a-f]{16}\.log", n))
        if not names:
            self.damage("log", 0, "holds no segment")
        for name in names:
            self.segment(name, name == names[-1])

    def tell(self, kind, path, offset, text):
        print(f"{kind}: {path}: {offset}: {text}", file=sys.stderr)

    def damage(self, path, offset, text):
        self.damaged = self.gaps = True
        self.tell("damage", path, offset, text)

    def segment(self, name, active):
        path = f"log/{name:016x}.log"
        with open(os.path.join(self.store, path), "rb") as f:
            b = f.read()
        try:
            segment = Segment(b, name, self.settings["store_id"])
        except ValueError as e:
            self.expected = self.damage(path, 0, str(e))
            return
        self.join(path, segment)
        if segment.compressed:
            b = content_of(segment, b, lambda offset, text: self.damage(path, offset, text))
        expected = Expected(segment)
        at, self.proof = segment.header_len, 0
        while at is not None:
            at = self.step(path, b, at, expected, active)
        self.expected = expected

    def join(self, path, segment):
        """I7"""
        was = self.expected
        if was is None:
            if segment.first_index != 1:
                self.gaps = True
                self.tell("note", path, 0, f"the log begins with frame {segment.first_index}")
        elif segment.first_index != was.index:
            self.damage(path, 0, f"frames {was.index} to {segment.first_index - 1} are missing")
        elif segment.prev_checksum != was.prev_checksum or segment.first_position != was.position:
            self.damage(path, 48, "does not continue the segment before")

    def proven(self, b, at, end):
        """Does anything say that a frame above `end` was durable?"""
        proof = self.proof
        while self.settings["durable"] and (f := find_header(b, at, end + 2)):
            at = f.at + 8
            try:
                whole = f.incarnation == self.settings["incarnation"] and not f.check(b)[0]
            except Newer:
                whole = False
            if whole:
                proof = max(proof, f.synced_index)
                at = f.at + f.frame_len
        return self.settings["durable"] and proof > end

    def step(self, path, b, at, expected, active):
        """One place where a frame is expected. Returns where the next one is; None: the segment is done."""
        frame = fault = None
        if not any(b[at:at + 112]):  # absent
            if not any(b[at:]):
                return None
            fault = "zeros, with bytes behind them"
        elif expected.rolled:
            fault = "bytes after the frame that closes the segment"
        else:
            try:
                frame = Frame(b, at)
                fault = expected.fault(frame, len(b) - at)
            except ValueError as e:
                fault = str(e)
        faults, events = [(at, fault)] if fault else [], []
        if not fault:
            faults, events = frame.check(b)
        if faults and active and not self.proven(b, at + 8, expected.index - 1):
            self.tell("torn", path, *faults[0])
            return None
        for offset, text in faults:
            self.damage(path, offset, f"frame {expected.index}: {text}")
        if fault or (faults and not (frame.has_events and (frame.kind == EVENTS or not frame.thinned_head(b)[0]))):
            frame = find_header(b, at + 8, expected.index + 1)
            if frame is None:
                return None
            expected.take_over(frame)
            return frame.at
        self.take(path, frame, events, expected)
        expected.advance(frame, b)
        return at + frame.frame_len

    def take(self, path, frame, events, expected):
        if not frame.synced_intact:
            self.damage(path, frame.at + 96, "checksum of synced_index is wrong")
        if frame.synced_index >= frame.index or frame.committed_index >= frame.index:
            self.damage(path, frame.at, "a watermark is ahead of its frame")  # I9
        if frame.incarnation not in (self.settings["incarnation"], self.incarnation):
            self.tell("note", path, frame.at, f"frame {frame.index}: of an earlier incarnation")
        self.proof, self.incarnation = max(self.proof, frame.synced_index), frame.incarnation
        self.gaps = self.gaps or frame.kind in (HOLE, THINNED)
        epoch_us = expected.epoch_us
        for i, event in events:
            if not epoch_us <= event.epoch_us <= frame.last_epoch_us:
                self.damage(path, event.at, "time is out of order")  # I4
            epoch_us, want = event.epoch_us, self.versions.get(event.stream_id, 0)
            if event.version != want and not (self.gaps and event.version > want):
                self.damage(path, event.at, f"version {event.version} where {want} should be")  # I8
            self.versions[event.stream_id] = event.version + 1
            if event.stream_id.startswith(b"$meta:") and (begins := BEGINS.match(event.data)):  # of a restored stream
                self.versions.setdefault(event.stream_id[6:], int(begins[1]))
            if not event.flags & ERASED:
                self.out.write(event.line(frame.first_position + i))


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        log = Log(sys.argv[1], sys.stdout.buffer)
        log.run()
    except (Newer, ValueError, FileNotFoundError, NotADirectoryError) as e:
        print(f"refused: {e}", file=sys.stderr)
        return 2
    return 5 if log.damaged else 0


if __name__ == "__main__":
    sys.exit(main())
