/* event_json.h: an event as a line of JSON, into a buffer. esdb.h has the same for callers with room of their own. */
#ifndef ES_EVENT_JSON_H
#define ES_EVENT_JSON_H

#include "buffer.h"
#include "esdb.h"

/* Adds the line, newline included, as esdb-read prints it. 0 or -ENOMEM (unchanged). */
int es_event_json(const struct esdb_event *e, struct es_buffer *out);

#endif
