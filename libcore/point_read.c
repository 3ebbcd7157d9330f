#include "point_read.h"

#include "format/bytes.h"
#include "os.h"

#define WINDOW 4096u   /* holds most events, and some neighbours of a small one */
#define LONE 1024u     /* the same, but no neighbours: less to copy */
#define READS_MAX 256u /* in one segment; then it is mapped */

void es_window_release(struct es_window *w) {
    es_buffer_release(&w->bytes);
    *w = (struct es_window){0};
}

void es_window_expect(struct es_window *w, struct es_event_place at, struct es_event_place next) {
    w->lone = next.offset8 < at.offset8 || (uint64_t)(next.offset8 - at.offset8) * 8 >= WINDOW;
}

/* Bytes from offset on that the window holds. */
static size_t held(const struct es_window *w, uint64_t segment, uint64_t offset) {
    if (w->segment != segment || offset < w->at || offset - w->at >= w->bytes.len)
        return 0;
    return w->bytes.len - (size_t)(offset - w->at);
}

/* Reads `want` bytes at offset; fewer where the segment ends. */
static int fill(struct es_window *w, const struct es_view *v, uint64_t offset, size_t want) {
    w->segment = 0;
    w->bytes.len = 0;
    int rc = es_buffer_reserve(&w->bytes, want);
    if (rc < 0)
        return rc;
    ssize_t n = es_segment_read(v->db, v->seg, w->bytes.at, want, offset);
    if (n < 0)
        return (int)n;
    w->segment = v->seg->name;
    w->at = offset;
    w->bytes.len = (size_t)n;
    return 0;
}

/* The whole record, as far as its header can be believed. */
static int fetch(struct es_window *w, const struct es_view *v, uint64_t offset) {
    const struct es_segment *seg = v->seg;
    uint64_t room = seg->size - offset, small = w->lone && !seg->is_packed ? LONE : WINDOW;
    size_t have = held(w, seg->name, offset);
    if (have < FMT_EVENT_HEADER_SIZE || have < fmt_event_len(w->bytes.at + (offset - w->at))) {
        uint64_t block =
            seg->is_packed ? seg->packed.header.block_size - offset % seg->packed.header.block_size : small;
        if (block < small) /* the next one costs as much again */
            small = block < FMT_EVENT_HEADER_SIZE ? FMT_EVENT_HEADER_SIZE : block;
        int rc = fill(w, v, offset, (size_t)(room < small ? room : small));
        if (rc < 0)
            return rc;
        have = held(w, seg->name, offset);
    }
    if (have < FMT_EVENT_HEADER_SIZE)
        return 0;
    uint32_t len = fmt_event_len(w->bytes.at + (offset - w->at));
    return len > have && len <= room && len <= FMT_EVENT_SIZE_MAX ? fill(w, v, offset, len) : 0;
}

static int tell_unread(const struct es_view *v, uint64_t offset, int rc, struct esdb_error *err) {
    char path[ES_NAME_SIZE];
    es_segment_path(v->seg->name, ES_NAME_LOG, path);
    return es_fail_at(err, rc, path, offset, "%s/%s, offset %llu", v->db->path, path, (unsigned long long)offset);
}

int es_view_read_at(struct es_view *v, struct es_event_place place, struct es_window *w, struct fmt_event *out,
                    struct esdb_error *err) {
    uint64_t offset = (uint64_t)place.offset8 * 8;
    struct es_segment *seg = v->seg;
    if (offset == ES_OFFSET_REMOVED || (!seg->is_packed && (seg->reads >= READS_MAX || seg->fd < 0)))
        return es_view_event_at(v, place, out, err);
    const unsigned char *at = NULL;
    if (offset != 0 && offset < seg->size) {
        seg->reads++;
        int rc = fetch(w, v, offset);
        if (rc < 0)
            return tell_unread(v, offset, rc, err);
        at = w->bytes.at + (offset - w->at);
    }
    const char *wrong = es_view_check(v, at, offset, held(w, seg->name, offset), out);
    return wrong ? es_view_wrong(v, place.ordinal, offset, wrong, err) : 0;
}

int es_view_read(struct es_view *v, uint32_t ordinal, struct es_window *w, struct fmt_event *out,
                 struct esdb_error *err) {
    uint64_t offset;
    int rc = es_view_offset(v, ordinal, &offset, err);
    return rc < 0 ? rc : es_view_read_at(v, (struct es_event_place){ordinal, (uint32_t)(offset / 8)}, w, out, err);
}
