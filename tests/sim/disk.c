/* A store of libcore's own log on the disk of os.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/event.h"
#include "libcore/error.h"
#include "libcore/install.h"
#include "libcore/os.h"
#include "libcore/replica.h"
#include "libcore/visible.h"
#include "tests/sim/os.h"

#define INCARNATION 77u

struct disk {
    struct sim *sim;
    unsigned node;
    char path[512];
    struct es_replica *replica; /* NULL: down */
    struct es_replica_syncer *syncer;
    esdb *reader;
    esdb_batch *batch;
    uint64_t durable;
    struct rep_past *past;
    size_t past_count, past_room;
    struct rep_start start;
    struct es_buffer frames;
    struct es_part *part; /* fetched and checked */
    size_t part_count;
    uint64_t *checksum; /* of frame i, for when the node is down */
    size_t checksum_room;
};

static char directory[256];

static void told(struct disk *d, const char *what, const struct esdb_error *err) {
    if (sim_os_dead(d->node))
        return;
    sim_violation(d->sim, "node %u: %s: %s", d->node + 1, what, err->text);
}

static bool open_all(struct disk *d) {
    struct esdb_error err = {0};
    int rc = es_replica_open(d->path, &d->replica, &err);
    if (rc == ESDB_EPOISONED) { /* as whoever runs the node does */
        err = (struct esdb_error){0};
        rc = esdb_repair(d->path, &err);
        if (rc == 0)
            rc = es_replica_open(d->path, &d->replica, &err);
    }
    if (rc != 0) {
        told(d, "opening", &err);
        return false;
    }
    if (es_replica_syncer_open(d->replica, &d->syncer, &err) != 0 ||
        esdb_open(d->path, ESDB_READ, &d->reader, &err) != 0) {
        told(d, "opening", &err);
        return false;
    }
    d->durable = es_replica_last(d->replica);
    return true;
}

static void close_all(struct disk *d) {
    esdb_close(d->reader);
    es_replica_syncer_close(d->syncer);
    es_replica_close(d->replica);
    d->reader = NULL;
    d->syncer = NULL;
    d->replica = NULL;
}

static void remember(struct disk *d, uint64_t index, uint64_t checksum) {
    if (index >= d->checksum_room) {
        d->checksum_room = (size_t)index * 2 + 64;
        d->checksum = realloc(d->checksum, d->checksum_room * sizeof *d->checksum);
    }
    d->checksum[index] = checksum;
}

/* The first frame, a membership, is the same on all nodes: node 0 makes it. */
static void begin_log(struct disk *d, const unsigned char *configuration, size_t len) {
    static unsigned char first[4096];
    static size_t first_len;
    struct esdb_error err = {0};
    uint64_t upto;
    int rc;
    if (d->node == 0) {
        uint32_t got;
        d->frames.len = 0;
        rc = es_replica_append_made(d->replica, FMT_FRAME_CONFIGURATION, 0, 1, configuration, len, &err);
        if (rc == 0)
            rc = es_replica_read(d->replica, 1, 1, SIZE_MAX, &d->frames, &got, &err);
        if (rc == 0) {
            first_len = d->frames.len;
            memcpy(first, d->frames.at, first_len);
        }
    } else
        rc = es_replica_append(d->replica, first, first_len, &err);
    if (rc == 0)
        rc = es_replica_sync(d->syncer, &upto, &err);
    if (rc == 0)
        rc = es_replica_publish(d->replica, 1, &err);
    if (rc == 0)
        rc = es_replica_save(d->replica, &err);
    struct es_replica_frame f = {0};
    if (rc != 0 || !es_replica_look(d->replica, 1, &f))
        told(d, "beginning", &err);
    remember(d, 1, f.mark.checksum);
    d->durable = 1;
}

static void remove_directory(void) {
    rmdir(directory);
}

static void *create(struct sim *s, unsigned node, uint64_t id, const unsigned char *configuration, size_t len) {
    static bool installed;
    struct disk *d = calloc(1, sizeof *d);
    struct esdb_error err = {0};
    struct esdb_settings settings = {.segment_size = 65536, .store_id = {1, 2, 3}};
    struct es_raft_state state = {.node = id, .term = len ? 1 : 0};
    if (!installed) {
        snprintf(directory, sizeof directory, "%s/esdb-sim-XXXXXX", s->directory);
        if (!mkdtemp(directory))
            abort();
        sim_os_install(directory);
        atexit(remove_directory);
        installed = true;
    }
    d->sim = s;
    d->node = node;
    snprintf(d->path, sizeof d->path, "%s/n%u", directory, node);
    if (esdb_create(d->path, &settings, &err) != 0 || es_replica_convert(d->path, INCARNATION, &state, &err) != 0)
        told(d, "creating", &err);
    else if (len && open_all(d)) {
        begin_log(d, configuration, len);
        close_all(d);
    }
    esdb_batch_open(&d->batch);
    return d;
}

static void destroy(void *store) {
    struct disk *d = store;
    close_all(d);
    sim_os_forget(d->node);
    esdb_batch_close(d->batch);
    free(d->checksum);
    free(d->part);
    es_buffer_release(&d->frames);
    free(d->past);
    free(d);
}

static int add_past(void *context, const struct fmt_frame *f, const unsigned char *payload, size_t len) {
    struct disk *d = context;
    if (d->past_count == d->past_room) {
        d->past_room = d->past_room ? d->past_room * 2 : 256;
        d->past = realloc(d->past, d->past_room * sizeof *d->past);
    }
    remember(d, f->index, f->checksum);
    d->past[d->past_count++] =
        (struct rep_past){.term = f->term, .kind = f->kind, .payload = payload, .payload_len = len};
    if (f->index == d->start.committed)
        d->start.committed_term = f->term;
    if (payload && f->index <= d->start.committed) {
        d->start.configuration_index = f->index;
        d->start.configuration = payload;
        d->start.configuration_len = len;
    }
    return 0;
}

static bool start(void *store, struct rep_start *out) {
    struct disk *d = store;
    struct esdb_error err = {0};
    if (!open_all(d))
        return false;
    const struct es_raft_state *state = es_replica_state(d->replica);
    d->past_count = 0;
    d->start = (struct rep_start){
        .term = state->term, .vote = state->vote, .committed = es_replica_committed(d->replica), .first = 1};
    if (es_replica_walk(d->replica, 1, add_past, d, &err) != 0) {
        told(d, "starting", &err);
        return false;
    }
    d->start.past = d->past;
    d->start.past_count = d->past_count;
    *out = d->start;
    return true;
}

static void crash(void *store, bool power) {
    struct disk *d = store;
    d->part_count = 0;
    close_all(d);
    if (power)
        sim_os_power_loss(d->sim, d->node);
    else
        sim_os_die(d->node, 0, 0);
}

static bool look(void *store, uint64_t index, struct rep_frame *out) {
    struct disk *d = store;
    struct es_replica_frame f;
    if (!d->replica) { /* down: it has what it had, as far as that was durable */
        *out = (struct rep_frame){.index = index, .checksum = index <= d->durable ? d->checksum[index] : 0};
        return index <= d->durable;
    }
    if (!es_replica_look(d->replica, index, &f))
        return false;
    *out = (struct rep_frame){.index = index,
                              .term = f.term,
                              .checksum = f.mark.checksum,
                              .position_end = f.mark.end_position,
                              .kind = f.kind};
    return true;
}

static int save(void *store, uint64_t term, uint64_t vote) {
    struct disk *d = store;
    struct es_raft_state *state = es_replica_state(d->replica);
    state->term = term;
    state->vote = vote;
    return es_replica_save(d->replica, NULL);
}

static int cut(void *store, uint64_t index) {
    struct disk *d = store;
    struct esdb_error err = {0};
    int rc = es_replica_cut(d->replica, index, &err);
    if (rc != 0)
        told(d, "cutting", &err);
    d->durable = index - 1;
    return rc;
}

static int append(void *store, const struct rep_entry *entries, size_t count) {
    struct disk *d = store;
    struct esdb_error err = {0};
    for (size_t i = 0; i < count; i++) {
        const struct rep_entry *e = &entries[i];
        int rc = e->frame
                     ? es_replica_append(d->replica, e->frame, e->frame_len, &err)
                     : es_replica_append_made(d->replica, e->kind, e->flags, e->term, e->payload, e->payload_len, &err);
        if (rc != 0) {
            told(d, "appending", &err);
            return rc;
        }
        struct es_replica_frame f;
        if (es_replica_look(d->replica, e->index, &f))
            remember(d, e->index, f.mark.checksum);
    }
    return 0;
}

static int sync_all(void *store, uint64_t *upto) {
    struct disk *d = store;
    struct esdb_error err = {0};
    int rc = es_replica_sync(d->syncer, upto, &err);
    if (rc != 0)
        told(d, "syncing", &err);
    else if (*upto > d->durable)
        d->durable = *upto;
    return rc;
}

static void publish(void *store, uint64_t committed) {
    struct disk *d = store;
    struct esdb_error err = {0};
    if (es_replica_publish(d->replica, committed, &err) != 0)
        told(d, "publishing", &err);
}

static void read_frames(void *store, uint64_t first, uint32_t count, struct rep_frames *out) {
    struct disk *d = store;
    struct esdb_error err = {0};
    uint32_t got = 0;
    d->frames.len = 0;
    if (es_replica_read(d->replica, first, count, 20000, &d->frames, &got, &err) != 0)
        told(d, "reading", &err);
    *out = (struct rep_frames){.at = d->frames.at, .len = d->frames.len, .count = got};
}

static int prepare(void *store, struct sim_op *op, uint64_t index, uint64_t term, const unsigned char **frame,
                   size_t *len) {
    struct disk *d = store;
    struct esdb_error err = {0};
    struct esdb_receipt receipt;
    char stream[16], id[24], data[8000];
    size_t largest = d->sim->seed % 4 == 0 ? sizeof data : 1200; /* some logs have many segments */
    (void)index;
    int stream_len = snprintf(stream, sizeof stream, "s%u", op->stream);
    int id_len = snprintf(id, sizeof id, "op-%u", op->number);
    int data_len = 1 + (int)sim_below(d->sim, largest - 2);
    memset(data, '1', (size_t)data_len);
    struct esdb_new_event e = {.stream_id = {stream, (size_t)stream_len},
                               .event_type = {"t", 1},
                               .event_id = {id, (size_t)id_len},
                               .data = {data, (size_t)data_len}};
    esdb_batch_clear(d->batch);
    int rc = esdb_batch_add(d->batch, &e, &err);
    if (rc == 0 && op->expected != -2)
        rc = esdb_batch_expect(d->batch, e.stream_id, op->expected, &err);
    if (rc == 0)
        rc = es_replica_prepare(d->replica, d->batch, ESDB_IDEMPOTENT, term, frame, len, &receipt, &err);
    if (rc == ESDB_ECONFLICT)
        return 1;
    if (rc == ES_MUST_ROLL)
        return 2;
    if (rc == ESDB_END)
        return 3;
    if (rc != 0) {
        told(d, "preparing", &err);
        return -1;
    }
    struct fmt_event made;
    if (fmt_event_decode(*frame + FMT_FRAME_HEADER_SIZE, *len - FMT_FRAME_HEADER_SIZE, &made) != NULL)
        return -1;
    op->version = (int64_t)made.version;
    return 0;
}

static uint64_t durable(void *store) {
    return ((struct disk *)store)->durable;
}

static uint64_t shown(void *store) {
    struct disk *d = store;
    struct es_visible v;
    struct esdb_error err = {0};
    if (es_visible(d->reader, &v, &err) != 0) {
        told(d, "showing", &err);
        return 0;
    }
    return v.index;
}

static void walk(void *store, uint64_t upto, void (*fn)(void *context, const struct sim_event *e), void *context) {
    struct disk *d = store;
    struct esdb_error err = {0};
    for (uint64_t index = 1; index <= upto; index++) {
        uint32_t got = 0;
        struct fmt_frame f;
        struct fmt_event e;
        char text[32];
        d->frames.len = 0;
        if (es_replica_read(d->replica, index, 1, SIZE_MAX, &d->frames, &got, &err) != 0 || got != 1 ||
            fmt_frame_decode(d->frames.at, d->frames.len, &f) != NULL) {
            told(d, "walking", &err);
            return;
        }
        if (f.kind != FMT_FRAME_EVENTS)
            continue;
        if (fmt_event_decode(d->frames.at + f.header_len, d->frames.len - f.header_len, &e) != NULL) {
            sim_violation(d->sim, "an event of frame %llu is not whole", (unsigned long long)index);
            return;
        }
        snprintf(text, sizeof text, "%.*s", (int)e.event_id.len, (const char *)e.event_id.at);
        struct sim_event found = {.index = f.index, .term = f.term, .version = (int64_t)e.version};
        found.op = (uint32_t)strtoul(text + 3, NULL, 10);
        snprintf(text, sizeof text, "%.*s", (int)e.stream_id.len, (const char *)e.stream_id.at);
        found.stream = (uint32_t)strtoul(text + 1, NULL, 10);
        fn(context, &found);
    }
}

/* ---- catching up by segments ---- */

#define PIECE 20000u

static struct es_part_begin after(const struct es_part *p) {
    return (struct es_part_begin){.index = p->end.index,
                                  .position = p->end.end_position,
                                  .checksum = p->end.checksum,
                                  .last_epoch_us = p->end.last_epoch_us,
                                  .term = p->term};
}

/* Some more bytes of a segment. 1: it is whole and checked. */
static int fetch_segment(struct disk *d, struct disk *from, int folder, const struct es_outline *o,
                         const struct es_part_begin *begin, unsigned *pieces, struct es_part *out) {
    struct esdb_error err = {0};
    uint64_t have;
    int fd, rc = es_part_open(d->reader, folder, o->first_index, begin->base, &fd, &have, &err);
    while (*pieces > 0 && rc == 0 && have < o->size) {
        unsigned char bytes[PIECE];
        size_t len = o->size - have < PIECE ? (size_t)(o->size - have) : PIECE;
        ssize_t n = es_outline_read(from->reader, o->first_index, have, bytes, len, &err);
        rc = n < 0 ? (int)n : n == 0 ? ESDB_ENOTFOUND : es_pwrite(fd, bytes, (size_t)n, have);
        have += n > 0 ? (uint64_t)n : 0;
        --*pieces;
    }
    if (rc == 0 && have >= o->size) {
        rc = es_part_check(d->reader, fd, o->first_index, o->size, begin, out, &err);
        if (rc == ESDB_ECORRUPT) { /* of before a power loss: again, from its begin */
            sim_trace(d->sim, "node %u: %s", d->node + 1, err.text);
            es_part_remove(folder, o->first_index);
        }
        rc = rc == 0 ? 1 : rc == ESDB_ECORRUPT ? 0 : rc;
    }
    es_close(&fd);
    return rc;
}

static int fetch_all(struct disk *d, struct disk *from, const struct es_outline *o, size_t count, unsigned pieces) {
    struct esdb_error err = {0};
    struct es_part_begin begin;
    uint64_t segment;
    int rc = 1, folder = es_part_folder(d->reader, &err);
    if (folder < 0)
        return folder;
    es_replica_lacks(d->replica, &segment, &begin);
    segment = segment ? segment : 1;
    size_t i = 0;
    while (i < count && o[i].first_index < segment)
        i++;
    d->part = realloc(d->part, (count + 1) * sizeof *d->part);
    d->part_count = 0;
    for (; rc == 1 && i < count; i++) {
        rc = fetch_segment(d, from, folder, &o[i], &begin, &pieces, &d->part[d->part_count]);
        if (rc == 1)
            begin = after(&d->part[d->part_count++]);
    }
    es_close(&folder);
    return rc;
}

static int fetch(void *store, void *other, uint64_t upto, uint64_t checksum, unsigned pieces) {
    struct disk *d = store, *from = other;
    struct esdb_error err = {0};
    struct es_outline *o;
    size_t count;
    int rc = es_outline(from->reader, es_replica_committed(d->replica) + 1, upto, checksum, &o, &count, &err);
    if (rc != 0)
        return rc == ESDB_ENOTFOUND ? 0 : rc;
    rc = fetch_all(d, from, o, count, pieces);
    free(o);
    return rc;
}

static int adopt(void *store, uint64_t upto, uint64_t checksum) {
    struct disk *d = store;
    struct esdb_error err = {0};
    struct es_replica_frame f;
    if (d->part_count == 0 || d->part[d->part_count - 1].end.index != upto ||
        d->part[d->part_count - 1].end.checksum != checksum) {
        sim_violation(d->sim, "node %u is to adopt what it did not fetch", d->node + 1);
        return -1;
    }
    int rc = es_replica_adopt(d->replica, d->part, d->part_count, &err);
    d->part_count = 0;
    if (rc != 0) {
        told(d, "installing", &err);
        return rc;
    }
    for (uint64_t i = 1; i <= upto && es_replica_look(d->replica, i, &f); i++)
        remember(d, i, f.mark.checksum);
    d->durable = upto;
    return 0;
}

static void die(void *store, unsigned calls, int error) {
    sim_os_die(((struct disk *)store)->node, calls, error);
}

static enum sim_death dead(void *store) {
    return sim_os_dead(((struct disk *)store)->node);
}

const struct sim_store_ops sim_disk_ops = {create, destroy,  start,   crash,       look,    save,    cut,
                                           append, sync_all, publish, read_frames, prepare, durable, shown,
                                           walk,   fetch,    adopt,   die,         dead};
