#include "format/bytes.h"
#include "format/checksum.h"
#include "seal.h"

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

int es_index_posting(const struct fmt_table *t, uint32_t i, uint32_t *ordinal) {
    const unsigned char *at;
    int rc = entry(t, FMT_SECTION_POSTINGS, 4, i, &at);
    if (rc == 0)
        *ordinal = fmt_get32(at);
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

uint32_t es_id_hash(struct esdb_text event_id) {
    return (uint32_t)fmt_checksum(event_id.at, event_id.len);
}

int es_index_ids_seek(struct es_index_ids *c, const struct fmt_table *t, uint32_t hash) {
    const struct fmt_section *s = fmt_table_find(t, FMT_SECTION_IDS);
    if (!s)
        return ESDB_ECORRUPT;
    uint64_t low = 0, high = s->entry_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const unsigned char *at;
        int rc = entry(t, FMT_SECTION_IDS, 8, middle, &at);
        if (rc < 0)
            return ESDB_ECORRUPT;
        if (fmt_get32(at) < hash)
            low = middle + 1;
        else
            high = middle;
    }
    *c = (struct es_index_ids){t, s, low, hash};
    return 0;
}

int es_index_ids_next(struct es_index_ids *c, uint32_t *ordinal) {
    const unsigned char *at;
    int rc = entry(c->table, FMT_SECTION_IDS, 8, c->at, &at);
    if (rc == ESDB_ENOTFOUND)
        return ESDB_END;
    if (rc < 0)
        return rc;
    if (fmt_get32(at) != c->hash)
        return ESDB_END;
    *ordinal = fmt_get32(at + 4);
    c->at++;
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
