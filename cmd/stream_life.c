/* stream_life.c: esdb-stream delete, undelete and truncate. */
#include "stream.h"

int cmd_stream_change(esdb *db, const struct cmd_stream_request *r, const char *stream) {
    struct esdb_text name = cmd_text(stream);
    struct esdb_error err = {0};
    int rc = 0;
    if (r->action == DELETE)
        rc = esdb_stream_delete(db, name, r->expected, r->hard, NULL, &err);
    else if (r->action == UNDELETE)
        rc = esdb_stream_undelete(db, name, NULL, &err);
    else
        rc = esdb_stream_truncate(db, name, r->before, NULL, &err);
    return rc != 0 ? cmd_report(rc, &err) : 0;
}
