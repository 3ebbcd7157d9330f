/* A store in memory: whole frames, of which the first so many are durable. Client frames are of a kind that readers skip. */
#include <stdlib.h>
#include <string.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/frame.h"
#include "tests/sim/sim.h"

#define KIND_OP 100u
#define OP_SIZE 32u

struct frame {
    unsigned char *bytes;
    size_t len;
    struct fmt_frame f;
};

struct memory {
    struct sim *sim;
    struct frame *frame; /* frame[i] has index i + 1 */
    size_t count, room, durable;
    uint64_t term, vote, committed;
    struct rep_past *past;
    unsigned char *bytes;
    size_t bytes_room;
    unsigned char made[FMT_FRAME_HEADER_SIZE + OP_SIZE];
    unsigned fails_after; /* calls; 0: never */
    bool failed;
};

static bool fails(struct memory *m) {
    if (m->fails_after == 0 || --m->fails_after > 0)
        return false;
    m->failed = true;
    return true;
}

static void push(struct memory *m, const unsigned char *bytes, const struct fmt_frame *f) {
    if (m->count == m->room) {
        m->room = m->room ? m->room * 2 : 64;
        m->frame = realloc(m->frame, m->room * sizeof *m->frame);
    }
    struct frame *new = &m->frame[m->count++];
    *new = (struct frame){.bytes = malloc(f->frame_len), .len = f->frame_len, .f = *f};
    memcpy(new->bytes, bytes, f->frame_len);
}

static void pop_to(struct memory *m, size_t count) {
    while (m->count > count)
        free(m->frame[--m->count].bytes);
    if (m->durable > count)
        m->durable = count;
}

/* Makes a frame after the last one; out has room for header and payload. */
static struct fmt_frame make(const struct memory *m, uint8_t kind, uint64_t term, const unsigned char *payload,
                             size_t len, unsigned char *out) {
    struct fmt_frame f = {.kind = kind,
                          .frame_len = (uint32_t)(FMT_FRAME_HEADER_SIZE + len),
                          .index = m->count + 1,
                          .term = term,
                          .committed_index = m->committed,
                          .incarnation = 1,
                          .prev_checksum = m->count ? m->frame[m->count - 1].f.checksum : 0,
                          .payload_checksum = fmt_checksum(payload, len)};
    if (len)
        memcpy(out + FMT_FRAME_HEADER_SIZE, payload, len);
    fmt_frame_encode(&f, out);
    return f;
}

static void *create(struct sim *s, unsigned node, uint64_t id, const unsigned char *configuration, size_t len) {
    struct memory *m = calloc(1, sizeof *m);
    unsigned char bytes[FMT_FRAME_HEADER_SIZE + REP_CONFIGURATION_MAX];
    (void)node;
    (void)id;
    m->sim = s;
    m->term = len ? 1 : 0;
    if (len) {
        struct fmt_frame f = make(m, FMT_FRAME_CONFIGURATION, 1, configuration, len, bytes);
        push(m, bytes, &f);
        m->durable = m->committed = 1;
    }
    return m;
}

static void destroy(void *store) {
    struct memory *m = store;
    pop_to(m, 0);
    free(m->frame);
    free(m->past);
    free(m->bytes);
    free(m);
}

static bool start(void *store, struct rep_start *out) {
    struct memory *m = store;
    uint64_t committed = m->committed;
    m->durable = m->count; /* recovery syncs what it finds */
    for (size_t i = 0; i < m->count; i++)
        if (m->frame[i].f.committed_index > committed)
            committed = m->frame[i].f.committed_index;
    if (committed > m->count) {
        sim_violation(m->sim, "committed frames are gone");
        return false;
    }
    m->committed = committed;
    *out = (struct rep_start){.term = m->term, .vote = m->vote, .committed = committed, .first = 1};
    m->past = realloc(m->past, (m->count + 1) * sizeof *m->past);
    for (size_t i = 0; i < m->count; i++) {
        const struct frame *f = &m->frame[i];
        bool configuration = f->f.kind == FMT_FRAME_CONFIGURATION;
        m->past[i] = (struct rep_past){.term = f->f.term,
                                       .kind = f->f.kind,
                                       .payload = configuration ? f->bytes + FMT_FRAME_HEADER_SIZE : NULL,
                                       .payload_len = configuration ? f->len - FMT_FRAME_HEADER_SIZE : 0};
        if (configuration && i < committed) {
            out->configuration_index = i + 1;
            out->configuration = m->past[i].payload;
            out->configuration_len = m->past[i].payload_len;
        }
    }
    out->committed_term = committed ? m->frame[committed - 1].f.term : 0;
    out->past = m->past;
    out->past_count = m->count;
    return true;
}

static void crash(void *store, bool power) {
    struct memory *m = store;
    m->failed = false;
    m->fails_after = 0;
    if (power && m->count > m->durable)
        pop_to(m, m->durable + sim_below(m->sim, m->count - m->durable + 1));
    if (power) /* it was saved lazily: any earlier value may be what the disk has */
        m->committed = sim_below(m->sim, m->committed + 1);
    if (m->committed == 0 && m->count)
        m->committed = 1;
}

static bool look(void *store, uint64_t index, struct rep_frame *out) {
    struct memory *m = store;
    if (index == 0 || index > m->count)
        return false;
    const struct fmt_frame *f = &m->frame[index - 1].f;
    *out = (struct rep_frame){.index = index, .term = f->term, .checksum = f->checksum, .kind = f->kind};
    return true;
}

static int save(void *store, uint64_t term, uint64_t vote) {
    struct memory *m = store;
    if (fails(m))
        return -1;
    m->term = term;
    m->vote = vote;
    return 0;
}

static int cut(void *store, uint64_t index) {
    struct memory *m = store;
    if (fails(m))
        return -1;
    pop_to(m, index - 1);
    m->durable = m->count;
    return 0;
}

static int append(void *store, const struct rep_entry *entries, size_t count) {
    struct memory *m = store;
    for (size_t i = 0; i < count; i++) {
        if (fails(m))
            return -1;
        unsigned char bytes[FMT_FRAME_HEADER_SIZE + REP_CONFIGURATION_MAX];
        struct fmt_frame f;
        const unsigned char *frame = entries[i].frame;
        if (!frame) {
            f = make(m, entries[i].kind, entries[i].term, entries[i].payload, entries[i].payload_len, bytes);
            frame = bytes;
        } else
            fmt_frame_decode(frame, entries[i].frame_len, &f);
        if (f.index != m->count + 1 || f.prev_checksum != (m->count ? m->frame[m->count - 1].f.checksum : 0)) {
            sim_violation(m->sim, "a frame with index %llu is written after %zu", (unsigned long long)f.index,
                          m->count);
            return -1;
        }
        push(m, frame, &f);
    }
    return 0;
}

static int sync_all(void *store, uint64_t *upto) {
    struct memory *m = store;
    if (fails(m))
        return -1;
    *upto = m->durable = m->count;
    return 0;
}

static void publish(void *store, uint64_t committed) {
    ((struct memory *)store)->committed = committed;
}

static void read_frames(void *store, uint64_t first, uint32_t count, struct rep_frames *out) {
    struct memory *m = store;
    size_t len = 0;
    *out = (struct rep_frames){0};
    for (uint64_t i = first; i < first + count && i <= m->count; i++) {
        const struct frame *f = &m->frame[i - 1];
        if (len + f->len > m->bytes_room) {
            m->bytes_room = (len + f->len) * 2;
            m->bytes = realloc(m->bytes, m->bytes_room);
        }
        memcpy(m->bytes + len, f->bytes, f->len);
        len += f->len;
        out->count++;
    }
    out->at = m->bytes;
    out->len = len;
}

static bool decode(const struct frame *f, struct sim_event *out) {
    const unsigned char *p = f->bytes + FMT_FRAME_HEADER_SIZE;
    if (f->f.kind != KIND_OP)
        return false;
    *out = (struct sim_event){f->f.index, f->f.term, fmt_get32(p), fmt_get32(p + 4), (int64_t)fmt_get64(p + 8)};
    return true;
}

static int prepare(void *store, struct sim_op *op, uint64_t index, uint64_t term, const unsigned char **frame,
                   size_t *len) {
    struct memory *m = store;
    struct sim_event e;
    unsigned char payload[OP_SIZE] = {0};
    int64_t version = -1;
    (void)index;
    for (size_t i = m->sim->retries ? m->count : 0; i > 0; i--)
        if (decode(&m->frame[i - 1], &e) && e.op == op->number)
            return 3;
    for (size_t i = m->count; i > 0; i--)
        if (decode(&m->frame[i - 1], &e) && e.stream == op->stream) {
            version = e.version;
            break;
        }
    if (op->expected != -2 && op->expected != version)
        return 1;
    op->version = version + 1;
    fmt_put32(payload, op->number);
    fmt_put32(payload + 4, op->stream);
    fmt_put64(payload + 8, (uint64_t)op->version);
    make(m, KIND_OP, term, payload, sizeof payload, m->made);
    *frame = m->made;
    *len = sizeof m->made;
    return 0;
}

static uint64_t durable(void *store) {
    return ((struct memory *)store)->durable;
}

static uint64_t shown(void *store) {
    return ((struct memory *)store)->committed;
}

static void walk(void *store, uint64_t upto, void (*fn)(void *context, const struct sim_event *e), void *context) {
    struct memory *m = store;
    struct sim_event e;
    for (size_t i = 0; i < m->count && i < upto; i++)
        if (decode(&m->frame[i], &e))
            fn(context, &e);
}

static void die(void *store, unsigned calls, int error) {
    struct memory *m = store;
    m->fails_after = error || calls == 0 ? calls : 0; /* power goes between two calls here */
    m->failed = calls ? m->failed : false;
}

static enum sim_death dead(void *store) {
    return ((struct memory *)store)->failed ? SIM_ERROR : SIM_ALIVE;
}

const struct sim_store_ops sim_memory_ops = {create, destroy,  start,   crash,       look,    save,    cut,
                                             append, sync_all, publish, read_frames, prepare, durable, shown,
                                             walk,   NULL,     NULL,    die,         dead};
