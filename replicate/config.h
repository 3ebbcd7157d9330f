/* config.h: the configuration of a node, a YAML file: esdb-raftd(8) lists the fields. Parsing is pure. */
#ifndef RD_CONFIG_H
#define RD_CONFIG_H

#include <sys/socket.h>

#include "handshake.h"
#include "message.h"

#define RD_CONFIG_SIZE_MAX (64u << 10)
#define RD_NAME_MAX 63u  /* a label of the domain name system; it is the address in the membership (REP_ADDRESS_MAX) */
#define RD_HOST_MAX 255u /* RFC 1035 */
#define RD_PATH_ROOM 1024u /* of a file named in the configuration, with the terminating zero */

/* HOST:PORT, [IPV6]:PORT. */
struct rd_address {
    char host[RD_HOST_MAX + 1]; /* "": not given. Without brackets */
    uint16_t port;
};

struct rd_peer_config {
    char name[RD_NAME_MAX + 1];
    struct rd_address address;
    unsigned char public_key[RD_KEY_SIZE];
};

struct rd_config {
    char node[RD_NAME_MAX + 1];
    char store[RD_PATH_ROOM];    /* "": not given, -S says it */
    char key_file[RD_PATH_ROOM]; /* of the node's secret key */
    unsigned char store_id[16];
    struct rd_address listen;
    struct rd_address metrics; /* on a loopback address; host "": none */
    /* All nodes of the store; this one may be among them (self, else peer_count). */
    struct rd_peer_config peers[REP_SERVERS_MAX];
    size_t peer_count, self;
    /* milliseconds */
    uint64_t election_timeout_ms, heartbeat_ms, handshake_timeout_ms;
    /* limits */
    uint64_t connections_max;   /* of peers and strangers together */
    uint64_t clients_max;       /* of the local socket */
    uint64_t send_buffer_bytes; /* waiting for one peer */
    uint64_t trail_bytes; /* of the log's end that peers are caught up from frame by frame; before it, by segments */
    uint64_t fetch_rate_bytes; /* of segments that are given to others, a second */
};

/* Parses `text`. Paths that are not absolute are taken from the directory of `file`, which also stands in messages.
 * ESDB_EUSAGE: "FILE:LINE:COLUMN: FIELD: what is wrong". *out is written only on success. */
int rd_config_parse(const char *file, const char *text, size_t len, struct rd_config *out, struct esdb_error *err);

/* The same from the file. */
int rd_config_load(const char *file, struct rd_config *out, struct esdb_error *err);

/* "HOST:PORT" as it stands in the configuration. False: it is none. */
bool rd_address_parse(const char *text, struct rd_address *out);

/* For a socket. False: it is no address of this host's loopback; *out says nothing then. */
bool rd_address_loopback(const struct rd_address *a, struct sockaddr_storage *out);

/* ---- keys ---- */

#define RD_KEY_TEXT_ROOM sodium_base64_ENCODED_LEN(RD_KEY_SIZE, sodium_base64_VARIANT_ORIGINAL)
void rd_key_print(const unsigned char key[RD_KEY_SIZE], char out[RD_KEY_TEXT_ROOM]);
bool rd_key_parse(const char *text, unsigned char out[RD_KEY_SIZE]);

/* Makes a new identity and writes its secret half to `file`, which must not exist: mode 0600, durable. */
int rd_key_create(const char *file, struct rd_identity *out, struct esdb_error *err);

/* Reads it. ESDB_EDENIED: others than its owner may read or write it; ESDB_EUSAGE: it is no key. To be released. */
int rd_key_load(const char *file, struct rd_identity *out, struct esdb_error *err);

#endif
