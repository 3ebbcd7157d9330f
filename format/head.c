#include "head.h"

#include <assert.h>
#include <stddef.h>

#include "checksum.h"

static_assert(offsetof(struct fmt_head, generation) == 64, "layout");
static_assert(offsetof(struct fmt_head, appended) == 128, "layout");
static_assert(offsetof(struct fmt_head, synced) == 192, "layout");
static_assert(offsetof(struct fmt_head, wake) == 256, "layout");
static_assert(offsetof(struct fmt_head, life) == 280, "layout");
static_assert(offsetof(struct fmt_head, appended_mark) == 384, "layout");
static_assert(offsetof(struct fmt_head, synced_mark) == 512, "layout");
static_assert(sizeof(struct fmt_head) == FMT_HEAD_SIZE, "one page");
static_assert(sizeof(struct fmt_mark) == 64, "one cache line");

/* Never zero for a value of zero, so that a zeroed page holds no valid word. */
static uint64_t word_check(uint64_t value) {
    uint64_t mixed = (value + 1) * 0x9e3779b97f4a7c15ull;
    mixed ^= mixed >> 29;
    return (mixed * 0xbf58476d1ce4e5b9ull) >> 48;
}

uint64_t fmt_word_encode(uint64_t value) {
    assert(value <= FMT_WORD_MAX);
    return word_check(value) << 48 | value;
}

bool fmt_word_decode(uint64_t word, uint64_t *value) {
    uint64_t v = word & FMT_WORD_MAX;
    if (word == 0 || word >> 48 != word_check(v))
        return false;
    *value = v;
    return true;
}

uint64_t fmt_mark_check(const struct fmt_mark *m) {
    return fmt_checksum(m, offsetof(struct fmt_mark, check));
}

uint64_t fmt_head_check(const struct fmt_head *h) {
    return fmt_checksum(h, offsetof(struct fmt_head, check));
}
