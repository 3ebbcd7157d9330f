/* outgoing.c: messages of the consensus to peers. */
#include "daemon_internal.h"

#define APPEND_BYTES (1u << 20) /* frames of one message to a peer, unless one alone is larger */
#define QUEUED_BYTES (8u << 20) /* what waits for a slow peer, before the rest is left out: the driver asks again */

static int send_encoded(struct rd_daemon *d, size_t peer, const struct rep_message *m) {
    struct rep_encoded e;
    if (!rep_message_encode(m, &e))
        return 0;
    const struct rep_bytes parts[] = {{e.head, e.head_len}, e.part[0], e.part[1]};
    rd_net_send(d->net, peer, parts, 3);
    return 0;
}

/* Frames of an append are read when they are sent, in as many messages as they need. */
static int flush_peer(struct rd_daemon *d, size_t peer) {
    struct rd_outgoing *o = &d->outgoing[peer];
    struct rep_message m = o->append;
    uint32_t left = m.append.frames.count, sent;
    if (!o->any)
        return 0;
    o->any = false;
    if (!rd_net_is_up(d->net, peer) || d->peers[peer].raft_id != o->peer || !rep_outgoing(d->driver, &m))
        return 0;
    do {
        struct rep_frame prev = {0};
        if (m.append.prev_index > 0 && !rd_log_look(d->log, m.append.prev_index, &prev))
            return 0;
        m.append.prev_term = prev.term;
        m.append.prev_checksum = prev.checksum;
        m.append.frames = (struct rep_frames){0};
        int rc =
            left == 0 ? 0 : rd_log_read(d->log, m.append.prev_index + 1, left, APPEND_BYTES, &m.append.frames, d->err);
        if (rc == 0)
            rc = send_encoded(d, peer, &m);
        if (rc < 0)
            return rc;
        sent = m.append.frames.count;
        m.append.prev_index += sent;
        left -= sent;
    } while (left > 0 && sent > 0 && rd_net_queued(d->net, peer) < QUEUED_BYTES);
    return 0;
}

/* Does it go on where the one that waits ends? */
static bool continues(const struct rd_outgoing *o, const struct rep_action *a) {
    const struct rep_append *had = &o->append.append, *more = &a->message->append;
    return o->any && o->peer == a->peer && o->append.term == a->message->term &&
           had->prev_index + had->frames.count == more->prev_index &&
           had->frames.count + more->frames.count <= REP_APPEND_FRAMES_MAX;
}

int rd_outgoing_add(struct rd_daemon *d, const struct rep_action *a) {
    size_t peer = rd_member_peer(d, a->peer);
    if (peer == d->config->peer_count || !rd_net_is_up(d->net, peer) || d->peers[peer].raft_id != a->peer)
        return 0;
    struct rd_outgoing *o = &d->outgoing[peer];
    bool append = a->message->type == REP_APPEND;
    if (append && continues(o, a)) {
        o->append.append.frames.count += a->message->append.frames.count;
        o->append.append.commit = a->message->append.commit;
        return 0;
    }
    int rc = flush_peer(d, peer);
    if (rc < 0 || !append)
        return rc < 0 ? rc : send_encoded(d, peer, a->message);
    *o = (struct rd_outgoing){.any = true, .peer = a->peer, .append = *a->message};
    return 0;
}

int rd_outgoing_flush(struct rd_daemon *d) {
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < d->config->peer_count; i++)
        rc = flush_peer(d, i);
    return rc;
}
