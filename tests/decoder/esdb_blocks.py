"""esdb_blocks.py: compressed segments, section 3 of FORMAT.md, for esdb_decode.py. Decompresses with the command zstd."""

import struct
import subprocess

from esdb_checksum import checksum, fold, r64


def content_of(segment, b, damage):
    """What the file b of a compressed segment stands for. damage(offset, text) is told of bad blocks, which read as zeros
    then, and of a bad table."""
    out, end, entries, filled = bytearray(b[:segment.header_len]), segment.header_len, b"", True
    out[24:32], out[104:120] = bytes(8), bytes(16)
    out[120:128] = checksum(bytes(out[:120])).to_bytes(8, "little")
    for i in range((segment.content_size + segment.block_size - 1) // segment.block_size):
        size = min((i + 1) * segment.block_size, segment.content_size) - len(out)
        at = segment.table_offset + 16 * i
        entry = b[at:at + 16]
        offset, stored_len, check = struct.unpack("<IIQ", entry if len(entry) == 16 else bytes(16))
        text, data = block(b[:segment.table_offset], segment.header_len, i, offset, stored_len, check, size)
        if len(entry) < 16:
            text = "the file ends before its entry"
        if text:
            placed = offset >= segment.header_len and offset + stored_len <= len(b)
            damage(offset if placed else at, f"compressed block {i}: {text}")
        out += bytes(size) if text else data
        entries += entry
        filled, end = filled and offset == end, end + stored_len
    after = segment.table_offset + len(entries)
    if after + 8 > len(b):
        damage(segment.table_offset, "the file ends before the table of blocks does")
    elif fold(checksum(entries), r64(b, 120)) != r64(b, after):
        damage(segment.table_offset, "checksum of the table of blocks is wrong")
    elif not filled or end != segment.table_offset:
        damage(segment.table_offset, "blocks do not lie one after the other")
    elif after + 8 != len(b):
        damage(segment.table_offset, "bytes after the table of blocks")
    return bytes(out)


def block(b, begin, i, offset, stored_len, check, size):
    """What is wrong with block i, or None, and its bytes."""
    if not (0 < stored_len <= size and begin <= offset and offset + stored_len <= len(b)):
        return "its place is out of range", None
    stored = b[offset:offset + stored_len]
    if fold(checksum(stored), i) != check:
        return "its checksum is wrong", None
    if stored_len < size:
        done = subprocess.run(["zstd", "-dcq"], input=stored, capture_output=True, check=False)
        stored = done.stdout
    return None if len(stored) == size else "it does not decompress to what it should", stored
