#include "seal.h"

#include <errno.h>

#include "format/bytes.h"
#include "format/checksum.h"
/* Entry i of a section of the right kind and entry size. A table that lacks the section is damaged, or not for us. */
static int entry(const struct fmt_table *t, enum fmt_table_section type, uint16_t size, uint64_t i,
                 const unsigned char **out) {
    const struct fmt_section *s = fmt_table_find(t, type);
    bool damaged;
    if (t->header.kind != FMT_TABLE_SEGMENT || !s || s->entry_size != size)
        return ESDB_ECORRUPT;
    *out = fmt_table_entry(t, s, i, &damaged);
    if (*out)
        return 0;
    return damaged ? ESDB_ECORRUPT : ESDB_ENOTFOUND;
}

int es_stream_slot_decode(struct fmt_text value, struct es_stream_slot *out) {
    if (value.len != 16)
        return ESDB_ECORRUPT;
    *out = (struct es_stream_slot){fmt_get64(value.at), fmt_get32(value.at + 8), fmt_get32(value.at + 12)};
    return 0;
}

int es_index_stream(const struct fmt_table *t, struct esdb_text stream, struct es_stream_slot *out) {
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_STREAMS);
    struct fmt_table_cursor c;
    struct fmt_text key = {stream.at, stream.len};
    if (t->header.kind != FMT_TABLE_SEGMENT || !s)
        return ESDB_ECORRUPT;
    int rc = fmt_table_seek(&c, t, s, key);
    if (rc < 0)
        return ESDB_ECORRUPT;
    if (rc > 0 || fmt_key_compare(c.key, key) != 0)
        return ESDB_ENOTFOUND;
    return es_stream_slot_decode(c.value, out);
}

int es_index_posting(const struct fmt_table *t, uint32_t i, struct es_event_place *out) {
    const unsigned char *at;
    int rc = entry(t, FMT_SECTION_POSTINGS, 8, i, &at);
    if (rc == 0)
        *out = (struct es_event_place){fmt_get32(at), fmt_get32(at + 4)};
    return rc;
}

int es_index_offset(const struct fmt_table *t, uint32_t ordinal, uint64_t *offset) {
    const unsigned char *at;
    int rc = entry(t, FMT_SECTION_EVENTS, 4, ordinal, &at);
    if (rc == 0)
        *offset = (uint64_t)fmt_get32(at) * 8;
    return rc;
}

int es_index_frame(const struct fmt_table *t, uint32_t nth, struct es_frame_place *out) {
    const unsigned char *at;
    int rc = entry(t, FMT_SECTION_FRAMES, 8, nth, &at);
    if (rc == 0)
        *out = (struct es_frame_place){nth, fmt_get32(at + 4), (uint64_t)fmt_get32(at) * 8};
    return rc;
}

int es_index_frame_of(const struct fmt_table *t, uint32_t ordinal, struct es_frame_place *out) {
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_FRAMES);
    if (!s || s->entry_count > UINT32_MAX)
        return ESDB_ECORRUPT;
    uint32_t low = 0, high = (uint32_t)s->entry_count; /* frames before low begin at or before the event */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct es_frame_place f = {0};
        int rc = es_index_frame(t, middle, &f);
        if (rc < 0)
            return rc == ESDB_ENOTFOUND ? ESDB_ECORRUPT : rc;
        if (f.first_event <= ordinal)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? ESDB_ENOTFOUND : es_index_frame(t, low - 1, out);
}

static int key_at(const struct fmt_table *t, uint64_t i, uint32_t *hash, uint32_t *ordinal) {
    const unsigned char *at;
    if (entry(t, FMT_SECTION_KEYS, 8, i, &at) < 0)
        return ESDB_ECORRUPT;
    *hash = fmt_get32(at);
    *ordinal = fmt_get32(at + 4);
    return 0;
}

static uint64_t square_root(uint64_t n) {
    uint64_t root = 1;
    while (root * root < n)
        root *= 2;
    return root;
}

/* Number of the first key with at least this hash. Hashes are spread evenly: it lies near its share of all keys, rarely
 * further off than their square root. So looks above and below that close in on it; what is left is halved. */
static int first_key(const struct fmt_table *t, uint64_t count, uint32_t wanted, uint64_t *out) {
    uint64_t low = 0, high = count; /* keys before low are less, from high on not */
    uint32_t low_hash = 0, high_hash = UINT32_MAX;
    for (int looks = 0; low < high; looks++) {
        uint64_t guess = low + (high - low) / 2;
        if (looks < 4 && wanted >= low_hash && high_hash > low_hash) {
            uint64_t slack = square_root(high - low);
            double share = (double)(wanted - low_hash) / ((double)high_hash - low_hash);
            guess = low + (uint64_t)(share * (double)(high - low));
            if (looks % 2 == 0)
                guess = guess + slack < high ? guess + slack : high - 1;
            else
                guess = guess > low + slack ? guess - slack : low;
        }
        uint32_t hash, ordinal;
        if (key_at(t, guess, &hash, &ordinal) < 0)
            return ESDB_ECORRUPT;
        if (hash < wanted) {
            low = guess + 1;
            low_hash = hash;
        } else {
            high = guess;
            high_hash = hash;
        }
    }
    *out = low;
    return 0;
}

int es_index_keys(const struct fmt_table *t, uint64_t hash, uint64_t events, struct es_buffer *ordinals) {
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_KEYS);
    uint32_t wanted = (uint32_t)(hash >> 32), found, ordinal;
    uint64_t i;
    if (!s || s->entry_size != 8 || first_key(t, s->entry_count, wanted, &i) < 0)
        return ESDB_ECORRUPT;
    for (; i < s->entry_count; i++) {
        if (key_at(t, i, &found, &ordinal) < 0)
            return ESDB_ECORRUPT;
        if (found != wanted)
            break;
        if (ordinal < events && es_buffer_add(ordinals, &ordinal, sizeof ordinal) < 0)
            return -ENOMEM;
    }
    return 0;
}

int es_index_damage(const struct fmt_table *t, uint32_t i, struct es_index_damage *out) {
    const unsigned char *at;
    if (!fmt_table_find(t, FMT_SECTION_DAMAGE))
        return ESDB_END;
    int rc = entry(t, FMT_SECTION_DAMAGE, 16, i, &at);
    if (rc == 0)
        *out = (struct es_index_damage){fmt_get64(at), fmt_get32(at + 8), fmt_get32(at + 12)};
    return rc == ESDB_ENOTFOUND ? ESDB_END : rc;
}
