#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* A message on its way, with all that it points to. */
struct sim_packet {
    uint64_t from, to; /* ids */
    struct rep_message m;
    unsigned char bytes[]; /* of frames, or of a membership */
};

static struct sim_packet *pack(uint64_t from, uint64_t to, const struct rep_message *m) {
    size_t len = m->type == REP_APPEND    ? m->append.frames.len
                 : m->type == REP_INSTALL ? m->install.configuration_len
                                          : 0;
    struct sim_packet *p = malloc(sizeof *p + len + 1);
    *p = (struct sim_packet){.from = from, .to = to, .m = *m};
    if (len)
        memcpy(p->bytes, m->type == REP_APPEND ? m->append.frames.at : m->install.configuration, len);
    if (m->type == REP_INSTALL)
        p->m.install.configuration = p->bytes;
    if (m->type == REP_APPEND)
        p->m.append.frames.at = len ? p->bytes : NULL;
    return p;
}

void sim_packet_free(struct sim_packet *p) {
    free(p);
}

void sim_send(struct sim_node *from, uint64_t peer, const struct rep_message *m) {
    struct sim *s = from->sim;
    struct rep_message filled = *m;
    struct sim_node *to = sim_node_of(s, peer);
    if (!to)
        return;
    s->messages++;
    if (m->type == REP_APPEND) {
        struct rep_frame prev = {0};
        if (!rep_outgoing(from->driver, m))
            return;
        if (m->append.prev_index && !s->ops->look(from->store, m->append.prev_index, &prev))
            return;
        filled.append.prev_checksum = prev.checksum;
        uint32_t want = m->append.frames.count;
        if (want && sim_chance(s, 300)) /* only a part fits */
            want = 1 + (uint32_t)sim_below(s, want);
        filled.append.frames = (struct rep_frames){0};
        if (want)
            s->ops->read(from->store, m->append.prev_index + 1, want, &filled.append.frames);
    }
    int copies = sim_chance(s, s->faults.repeat) && !s->healing ? 2 : 1;
    for (int i = 0; i < copies; i++) {
        if (s->cut_off[from->number][to->number] || (!s->healing && sim_chance(s, s->faults.drop)))
            continue;
        uint64_t delay = 1 + sim_below(s, s->faults.delay_ms + 1);
        if (!s->healing && sim_chance(s, s->faults.overtake))
            delay += sim_below(s, 400);
        sim_schedule(s, s->now + delay, SIM_PACKET, to->number, 0, 0, pack(from->id, peer, &filled));
    }
}

void sim_deliver(struct sim *s, struct sim_packet *p) {
    struct sim_node *n = sim_node_of(s, p->to);
    if (n && n->up && !s->cut_off[(p->from - 1) % SIM_IDS][n->number]) {
        int rc = rep_receive(n->driver, sim_clock(n), p->from, &p->m);
        if (rc == REP_EREFUSED)
            sim_violation(s, "node %u refuses a message of node %u: %s", n->number + 1,
                          (unsigned)((p->from - 1) % SIM_IDS) + 1, rep_error(n->driver));
        sim_after_event(n);
    }
    sim_packet_free(p);
}
