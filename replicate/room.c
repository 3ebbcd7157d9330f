/* room.c: a full disk. Nothing is accepted that has no room yet: as the leader, this node refuses clients; as a follower it takes
 * an append as if it held no frames, and the leader sends them again. What raft itself writes when a node becomes the leader
 * finds room that is kept free; a node that has not even that does not stand for election. Any other error stops the node. */
#include <errno.h>

#include "daemon_internal.h"
#include "format/frame.h"

#define KEPT (8u << 10)          /* a barrier and a membership */
#define KEPT_CLIENTS (64u << 10) /* what clients leave free for decisions that make room (ESDB_USE_RESERVE) */

bool rd_room(struct rd_daemon *d, size_t len) {
    struct esdb_error err = {0};
    int rc = rd_log_reserve(d->log, len + KEPT, &err);
    bool full = rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG;
    if (full != d->full && (rc == 0 || full))
        rd_say(d, full ? "its disk is full: it takes no more frames until there is space" : "there is space again");
    if (rc == 0 || full) {
        d->full = full;
        return !full;
    }
    *d->err = err;
    rd_daemon_stop(d, rc);
    return false;
}

bool rd_room_for_client(struct rd_daemon *d, size_t len, unsigned flags) {
    return rd_room(d, len + (flags & ESDB_USE_RESERVE ? 0 : KEPT_CLIENTS));
}

/* The frames of `all` up to the end of a segment: how many, how long, and the last of them. What is malformed is for the
 * driver to refuse: all of it. */
static struct rep_frames first_part(const struct rep_frames *all, struct fmt_frame *last) {
    struct rep_frames part = {.at = all->at};
    while (part.count < all->count) {
        if (fmt_frame_decode(all->at + part.len, all->len - part.len, last) != NULL ||
            last->frame_len > all->len - part.len)
            return *all;
        part.len += last->frame_len;
        part.count++;
        if (last->flags & FMT_FRAME_ROLLS)
            return part;
    }
    return *all;
}

int rd_room_receive(struct rd_daemon *d, uint64_t peer, struct rep_message *m) {
    struct rep_frames all = m->append.frames;
    for (;;) {
        struct fmt_frame last = {0};
        struct rep_frames part = first_part(&all, &last);
        if (part.count > 0 && !rd_room(d, part.len))
            part = all = (struct rep_frames){0};
        if (d->stopping)
            return 0;
        m->append.frames = part;
        int rc = rep_receive(d->driver, rd_now(d), peer, m);
        if (part.count == all.count || rc != 0)
            return rc;
        rd_daemon_act(d, rc);
        m->append.prev_index = last.index;
        m->append.prev_term = last.term;
        m->append.prev_checksum = last.checksum;
        all = (struct rep_frames){all.at + part.len, all.len - part.len, all.count - part.count};
    }
}
