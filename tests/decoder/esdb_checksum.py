"""esdb_checksum.py: the one checksum of the format, section 1 of FORMAT.md, for esdb_decode.py."""

import struct

# ---- XXH3-64 (xxHash 0.8), section 1 ----

M64 = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")


def r64(b, at, size=8):
    return int.from_bytes(b[at:at + size], "little")


def swap(value, size):
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def multiply_fold(a, b):
    product = a * b
    return (product ^ product >> 64) & M64


def avalanche(h):
    h = (h ^ h >> 37) * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def avalanche64(h):
    h = (h ^ h >> 33) * P64_2 & M64
    h = (h ^ h >> 29) * P64_3 & M64
    return h ^ h >> 32


def mix16(b, at, s):
    return multiply_fold(r64(b, at) ^ r64(SECRET, s), r64(b, at + 8) ^ r64(SECRET, s + 8))


def hash_to_16(b, n, seed):
    if n == 0:
        return avalanche64(seed ^ r64(SECRET, 56) ^ r64(SECRET, 64))
    if n < 4:
        combined = b[0] << 16 | b[n >> 1] << 24 | b[n - 1] | n << 8
        return avalanche64(combined ^ ((r64(SECRET, 0, 4) ^ r64(SECRET, 4, 4)) + seed & M64))
    if n < 9:
        seed ^= swap(seed & 0xFFFFFFFF, 4) << 32
        h = (r64(b, n - 4, 4) + (r64(b, 0, 4) << 32)) ^ ((r64(SECRET, 8) ^ r64(SECRET, 16)) - seed & M64)
        h ^= (h << 49 | h >> 15) & M64 ^ (h << 24 | h >> 40) & M64
        h = h * 0x9FB21C651E98DF25 & M64
        h = (h ^ (h >> 35) + n) * 0x9FB21C651E98DF25 & M64
        return h ^ h >> 28
    low = r64(b, 0) ^ ((r64(SECRET, 24) ^ r64(SECRET, 32)) + seed & M64)
    high = r64(b, n - 8) ^ ((r64(SECRET, 40) ^ r64(SECRET, 48)) - seed & M64)
    return avalanche(n + swap(low, 8) + high + multiply_fold(low, high) & M64)


def hash_to_240(b, n):
    h = n * P64_1
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            h += mix16(b, 16 * i, 32 * i) + mix16(b, n - 16 * (i + 1), 32 * i + 16)
        return avalanche(h & M64)
    h = avalanche(h + sum(mix16(b, 16 * i, 16 * i) for i in range(8)) & M64)
    h += sum(mix16(b, 16 * i, 16 * (i - 8) + 3) for i in range(8, n // 16))
    return avalanche(h + mix16(b, n - 16, 119) & M64)


SECRET_WORDS = {at: struct.unpack_from("<8Q", SECRET, at) for at in [*range(0, 128, 8), 121, 128]}


def accumulate(acc, b, at, s):
    data = struct.unpack_from("<8Q", b, at)
    key = SECRET_WORDS[s]
    for i in range(8):
        k = data[i] ^ key[i]
        acc[i ^ 1] += data[i]
        acc[i] = acc[i] + (k & 0xFFFFFFFF) * (k >> 32) & M64


def hash_long(b, n):
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    for at in range(0, (n - 1) // 64 * 64, 64):
        accumulate(acc, b, at, at // 8 % 128)
        if at % 1024 == 960 and at + 64 < n:
            for i in range(8):
                v = acc[i] & M64
                acc[i] = (v ^ v >> 47 ^ SECRET_WORDS[128][i]) * P32_1 & M64
    accumulate(acc, b, n - 64, 121)
    acc = [v & M64 for v in acc]
    h = n * P64_1
    for i in range(4):
        h += multiply_fold(acc[2 * i] ^ r64(SECRET, 11 + 16 * i), acc[2 * i + 1] ^ r64(SECRET, 19 + 16 * i))
    return avalanche(h & M64)


def checksum(b, seed=0):
    n = len(b)
    if n <= 16:
        return hash_to_16(b, n, seed)
    assert seed == 0  # the format uses seeds with 8 bytes only
    return hash_to_240(b, n) if n <= 240 else hash_long(b, n)


def fold(chain, value):
    return checksum(value.to_bytes(8, "little"), chain)
