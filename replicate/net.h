/* net.h: encrypted connections between the nodes of a store, on a libuv loop. WIRE.md section 4.
 *
 * A node keeps one connection to each peer, which it made, and sends everything on that; on those that peers made to it, it
 * only listens. So messages of one direction stay in order, and it never matters who called first. Lost connections are
 * made again. A message that cannot be sent now is lost: who sends it knows that this can be.
 *
 * Everything is of one thread. Messages are whole: at least REP_MESSAGE_HEAD bytes, with type and size in their head. */
#ifndef RD_NET_H
#define RD_NET_H

#include <uv.h>

#include "config.h"

struct rd_net;

struct rd_net_events {
    void *context;
    /* How large a message of that type may be; 0: there is no such type. Asked before memory is taken. */
    size_t (*size_max)(void *context, unsigned type);
    /* A whole message of peers[peer]; the bytes are valid during the call. False: the connection is closed, `why` says
     * what is logged. */
    bool (*message)(void *context, size_t peer, const unsigned char *bytes, size_t len, const char **why);
    /* The connection to peers[peer] is there, or gone. */
    void (*up)(void *context, size_t peer);
    void (*down)(void *context, size_t peer);
    /* Something that somebody should know: a line of text. */
    void (*log)(void *context, const char *text);
};

/* Listens on config->listen and begins to connect to the peers. Config, identity and events are borrowed until the end. */
int rd_net_open(uv_loop_t *loop, const struct rd_config *config, const struct rd_identity *self,
                const struct rd_net_events *events, struct rd_net **out, struct esdb_error *err);

/* The port that is listened on: other than the configured one when that was 0. */
uint16_t rd_net_port(const struct rd_net *net);

/* Sends the parts, which are copied, as one message. False: there is no connection to this peer, or too much waits for it. */
bool rd_net_send(struct rd_net *net, size_t peer, const struct rep_bytes *parts, size_t count);

bool rd_net_is_up(const struct rd_net *net, size_t peer);
size_t rd_net_queued(const struct rd_net *net, size_t peer); /* bytes that wait */

struct rd_net_counts {
    uint64_t accepted, refused, handshakes_failed, messages_in, messages_out, bytes_in, bytes_out, dropped;
    size_t connections;
};
void rd_net_get_counts(const struct rd_net *net, struct rd_net_counts *out);

/* Closes everything; when the loop has run until nothing is left, `done` is called and the net is gone. */
void rd_net_close(struct rd_net *net, void (*done)(void *context));

#endif
