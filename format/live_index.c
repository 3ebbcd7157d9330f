#include "live_index.h"

#include <assert.h>

#include "checksum.h"

static_assert(sizeof(struct fmt_live_entry) == 40, "live index entry is 40 bytes");
static_assert(sizeof(struct fmt_live_key) == 16, "a key is 16 bytes");
static_assert(offsetof(struct fmt_live_header, events) == 128, "layout");
static_assert(sizeof(struct fmt_live_header) <= FMT_LIVE_HEADER_SIZE, "header page");

static uint32_t link_check(uint32_t target, uint64_t place) {
    uint64_t mixed = (target + 0x9e3779b97f4a7c15ull) * (place * 2 + 0xff51afd7ed558ccdull);
    mixed ^= mixed >> 32;
    mixed *= 0xbf58476d1ce4e5b9ull;
    return (uint32_t)(mixed >> 32) | 0x80000000u;
}

uint64_t fmt_link_encode(uint32_t target, uint64_t place) {
    return (uint64_t)link_check(target, place) << 32 | target;
}

bool fmt_link_decode(uint64_t word, uint64_t place, uint32_t *target) {
    uint32_t t = (uint32_t)word;
    if (word != 0 && word >> 32 != link_check(t, place))
        return false;
    *target = t;
    return true;
}

uint32_t fmt_live_entry_check(const struct fmt_live_entry *e, uint32_t ordinal) {
    return (uint32_t)XXH3_64bits_withSeed(e, offsetof(struct fmt_live_entry, check), ordinal);
}

uint64_t fmt_live_header_check(const struct fmt_live_header *h) {
    return fmt_checksum(h, offsetof(struct fmt_live_header, check));
}

uint32_t fmt_live_key_check(const struct fmt_live_key *k, uint32_t number) {
    return link_check(k->hash ^ k->ordinal * 0x9e3779b1u, (uint64_t)k->next << 32 | number);
}

size_t fmt_live_size(uint64_t capacity, uint64_t key_capacity) {
    return FMT_LIVE_HEADER_SIZE + (size_t)capacity * (sizeof(struct fmt_live_entry) + sizeof(uint64_t)) +
           (size_t)key_capacity * (sizeof(struct fmt_live_key) + sizeof(uint64_t));
}
