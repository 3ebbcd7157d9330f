/* Any bytes as the configuration of a node: taken with everything in its range, or refused with a place. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "replicate/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct rd_config c;
    struct esdb_error err = {0};
    int rc = rd_config_parse("dir/node.yaml", (const char *)data, size, &c, &err);
    if (rc != 0) {
        assert(rc == ESDB_EUSAGE && strncmp(err.text, "dir/node.yaml:", 14) == 0);
        return 0;
    }
    assert(c.node[0] && c.peer_count <= REP_SERVERS_MAX && c.self <= c.peer_count && c.key_file[0]);
    assert(c.heartbeat_ms * 4 <= c.election_timeout_ms && c.listen.host[0]);
    return 0;
}
