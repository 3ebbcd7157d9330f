/* key_scan.h: the events that may have one of some keys (format/event_keys.h), in order of positions, through the
 * indexes of all segments. */
#ifndef ES_KEY_SCAN_H
#define ES_KEY_SCAN_H

#include "buffer.h"
#include "point_read.h"
#include "recover.h"

struct es_key_scan {
    esdb *db;
    uint64_t *hashes; /* owned */
    size_t hash_count;
    bool reverse;
    uint64_t from_position, to_position;
    struct es_visible visible;
    uint64_t *names; /* segments, ascending; owned */
    size_t count, seen;
    bool open, told_segment, told_end;
    struct es_view view;
    struct es_window window;
    struct es_buffer ordinals; /* u32, of the open segment: ascending, each once */
    size_t next;               /* of them, in the direction of reading */
    uint64_t segments;         /* that were looked into */
};

/* hashes: copied. Positions are inclusive. */
int es_key_scan_init(struct es_key_scan *s, esdb *db, const uint64_t *hashes, size_t count, bool reverse,
                     uint64_t from_position, uint64_t to_position, const struct es_visible *visible,
                     struct esdb_error *err);

/* 0, ESDB_END, ESDB_ECORRUPT (an event or a segment is damaged, passed over by the next call), other errors. Hashes may
 * agree by chance: the caller looks at each event. It stays valid until the next call. */
int es_key_scan_next(struct es_key_scan *s, struct fmt_event *out, uint64_t *position, struct esdb_error *err);

void es_key_scan_release(struct es_key_scan *s);

#endif
