#!/usr/bin/env python3
"""hostile_archive.py GOOD NAME: writes the tar of an archive that must be refused, made from a good one.

GOOD is a tar as esdb-archive wrote it, decompressed. `hostile_archive.py --list` prints the names, with what is to be said."""

import io
import re
import sys
import tarfile

def member(name, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o444
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def pack(*members, form=tarfile.USTAR_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as t:
        for info, data in members:
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(good):
    with tarfile.open(fileobj=io.BytesIO(good)) as t:
        return [t.extractfile(n).read() for n in ("manifest.json", "events.jsonl")]


def both(manifest, events):
    """An archive whose manifest tells the events' right size."""
    manifest = re.sub(rb'"size":[0-9]+', b'"size":%d' % len(events), manifest)
    return pack(member("manifest.json", manifest), member("events.jsonl", events))


def special(kind, **more):
    def make(manifest, events):
        return pack(member("manifest.json", type=kind, **more), member("events.jsonl", events))
    return make


def named(name, form=tarfile.USTAR_FORMAT):
    def make(manifest, events):
        return pack(member(name, manifest), member("events.jsonl", events), form=form)
    return make


def with_manifest(old, new):
    def make(manifest, events):
        assert old in manifest
        return pack(member("manifest.json", manifest.replace(old, new, 1)), member("events.jsonl", events))
    return make


def with_events(change):
    def make(manifest, events):
        return both(manifest, change(events))
    return make


def lines(change):
    def make(events):
        return b"".join(line + b"\n" for line in change(events.splitlines()))
    return make


def cut(make, length):
    return lambda manifest, events: make(manifest, events)[:length]


def good(manifest, events):
    return pack(member("manifest.json", manifest), member("events.jsonl", events))


def huge(manifest, events):
    """A member that says that it has 8 GiB, and a manifest that agrees."""
    size = 8589934591
    manifest = re.sub(rb'"size":[0-9]+', b'"size":%d' % size, manifest)
    head = pack(member("manifest.json", manifest))[:512 + -(-len(manifest) // 512) * 512]
    return head + member("events.jsonl", size=size)[0].tobuf(tarfile.USTAR_FORMAT) + events


CASES = {
    # members that would write somewhere else
    "dotdot": (named("../manifest.json"), "is a path"),
    "dotdot-only": (named(".."), "is a path"),
    "absolute": (named("/manifest.json"), "is a path"),
    "folder": (named("x/manifest.json"), "is a path"),
    "pax-path": (named("../" + "x" * 200, tarfile.PAX_FORMAT), "too long"),
    "pax-dotdot": (named("é/../../manifest.json", tarfile.PAX_FORMAT), "is a path|cannot be unpacked"),
    "gnu-long-name": (named("/" + "x" * 300, tarfile.GNU_FORMAT), "too long"),
    "symlink": (special(tarfile.SYMTYPE, linkname="/etc/passwd"), "is a symbolic link"),
    "hard-link": (special(tarfile.LNKTYPE, linkname="/etc/passwd"), "is a hard link"),
    "character-device": (special(tarfile.CHRTYPE, devmajor=1, devminor=1), "is a device"),
    "block-device": (special(tarfile.BLKTYPE, devmajor=8), "is a device"),
    "pipe": (special(tarfile.FIFOTYPE), "is a pipe"),
    "directory": (special(tarfile.DIRTYPE), "is a directory|is a path"),
    "setuid": (lambda m, e: pack(member("manifest.json", m, mode=0o4755), member("events.jsonl", e)), "setuid"),
    # other members than there must be
    "empty": (lambda m, e: pack(), "lacks"),
    "no-events": (lambda m, e: pack(member("manifest.json", m)), "lacks"),
    "wrong-order": (lambda m, e: pack(member("events.jsonl", e), member("manifest.json", m)), "must hold manifest.json"),
    "two-manifests": (lambda m, e: pack(member("manifest.json", m), member("manifest.json", m)), "must hold"),
    "third-member": (lambda m, e: pack(member("manifest.json", m), member("events.jsonl", e), member("evil", b"x")),
                     "must hold"),
    "behind-the-end": (lambda m, e: good(m, e) + pack(member("evil", b"x")), "must hold"),
    "other-name": (named("manifest.json\x01"), "must hold"),
    # manifests
    "other-stream": (with_manifest(b'"stream_id":"victim"', b'"stream_id":"other!"'), "another stream"),
    "other-versions": (with_manifest(b'"to":9', b'"to":8'), "other versions"),
    "other-count": (with_manifest(b'"count":10', b'"count":11'), "tells of"),
    "wrong-hash": (lambda m, e: pack(member("manifest.json", re.sub(rb'("xxh128":")..', rb"\g<1>zz", m)),
                                     member("events.jsonl", e)), "the hash"),
    "newer": (with_manifest(b'"archive":1', b'"archive":2'), "newer version"),
    "manifest-with-spaces": (with_manifest(b',"to"', b', "to"'), "no JSON as esdb writes it"),
    "manifest-with-more": (with_manifest(b'}\n', b',"x":1}\n'), "not written as esdb"),
    "manifest-no-json": (lambda m, e: pack(member("manifest.json", b"[" * 1000), member("events.jsonl", e)), "no JSON"),
    "manifest-bomb": (lambda m, e: pack(member("manifest.json", b" " * (8 << 20)), member("events.jsonl", e)),
                      "too large"),
    "huge-member": (huge, "too large"),
    # events
    "other-size": (lambda m, e: pack(member("manifest.json", m), member("events.jsonl", e + b"\n")), "not as long"),
    "event-of-another-stream": (with_events(lambda e: e.replace(b'"stream_id":"victim"', b'"stream_id":"other!"', 1)),
                                "of another stream"),
    "out-of-order": (with_events(lines(lambda x: x[1::-1] + x[2:])), "out of order"),
    "twice": (with_events(lines(lambda x: x[:1] + x)), "out of order"),
    "beyond": (with_events(lambda e: e.replace(b'"version":9', b'"version":10')), "not of the versions"),
    "missing": (with_events(lines(lambda x: x[:-1])), "the hash"),
    "changed": (with_events(lambda e: e.replace(b'"n":3', b'"n":4')), "the hash"),
    "no-newline": (with_events(lambda e: e[:-1]), "cut short"),
    "no-json": (with_events(lambda e: b"x" + e[1:]), "no event"),
    "not-utf-8": (with_events(lambda e: e.replace(b"Even", b"Ev\xffn", 1)), "no event"),
    "white-space": (with_events(lambda e: e.replace(b',"version"', b', "version"', 1)), "not written as esdb"),
    "unknown-member": (with_events(lambda e: e.replace(b',"version"', b',"x":1,"version"', 1)), "no event"),
    "huge-version": (with_events(lambda e: e.replace(b'"version":0', b'"version":99999999999999999999', 1)), "no event"),
    "deep": (with_events(lambda e: e.replace(b'{"n":0}', b"[" * 100000 + b"]" * 100000)), "no event"),
    "endless-line": (with_events(lambda e: b" " * (40 << 20)), "too long|no event"),
    "truncated-tar": (cut(good, 1600), "[Tt]runcated|cut short"),
}


def main():
    if sys.argv[1] == "--list":
        for name, (_, says) in CASES.items():
            print(name, says, sep="\t")
        return
    with open(sys.argv[1], "rb") as f:
        parts = read(f.read())
    sys.stdout.buffer.write(CASES[sys.argv[2]][0](*parts))


main()
