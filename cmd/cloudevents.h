/*
 * cloudevents.h: events as CloudEvents 1.0 in JSON, structured mode, and back.
 *
 *   CloudEvent                         esdb
 *   id, type                           event_id, event_type
 *   subject                            stream_id
 *   source                             metadata.source where that is a URI reference; else esdb:STORE_ID/STREAM, which
 *                                      is dropped when it comes back
 *   time                               epoch_us (in: with --preserve only)
 *   datacontenttype                    data_content_type; application/json where there is none
 *   dataschema                         metadata.dataschema
 *   data, data_base64                  data
 *   correlationid causationid actorid  metadata.correlation_id, .causation_id, .actor_id
 *   any other extension attribute      the member of metadata with the same name
 *   esdbmetadata                       metadata as JSON in a string, when attributes cannot express all of it
 *   esdbmetadatatype                   metadata_content_type
 *   esdbversion, esdbposition          version, position, as strings: integers of CloudEvents have 32 bits (in: ignored)
 *
 * What comes out goes in again as the same event. Members of metadata come back in the order of the attributes.
 */
#ifndef CMD_CLOUDEVENTS_H
#define CMD_CLOUDEVENTS_H

#include "cmd.h"
#include "format/json.h"
#include "format/json_path.h"

/* Prints an event without a newline. */
void cmd_cloudevents_print(struct cmd_out *out, const struct esdb_event *e);

struct cmd_cloudevent {
    struct fmt_json_value key[FMT_ENVELOPE_KEYS]; /* what an event of esdb would have */
    uint64_t epoch_us;                            /* 0: no time */
    bool is_own;                                  /* printed by esdb */
    char wrong[160];                              /* what is wrong, the attribute's name first */
};

/* Has this object, valid JSON without white space, the mark of a CloudEvent? */
bool cmd_cloudevents_is(struct fmt_text object);

/* Room that cmd_cloudevents_take() needs. */
#define CMD_CLOUDEVENTS_ROOM(len) (3 * (len) + 256)

/* Translates such an object. The values of out->key point into it or into `room`. `has_stream`: a foreign event's subject
 * is not its stream, but goes to the metadata. `ignore_unknown`: attributes that CloudEvents does not allow are left out.
 * False: see out->wrong. */
bool cmd_cloudevents_take(struct fmt_text object, bool has_stream, bool ignore_unknown, char *room,
                          struct cmd_cloudevent *out);

#endif
