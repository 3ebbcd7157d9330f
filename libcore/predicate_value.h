/* predicate_value.h: values as predicates see them: pieces of stored events, literals, and what jq makes of them. */
#ifndef ES_PREDICATE_VALUE_H
#define ES_PREDICATE_VALUE_H

#include "esdb.h"
#include "format/json_path.h"

/* The kinds of JSON values in jq's order, and two results that are no values. */
enum es_kind {
    ES_NULL,
    ES_FALSE,
    ES_TRUE,
    ES_NUMBER,
    ES_STRING,
    ES_ARRAY,
    ES_OBJECT,
    ES_EMPTY,  /* no output at all */
    ES_UNSURE, /* an error, or versions of jq differ */
};

struct es_value {
    enum es_kind kind;
    bool stored;                    /* a string: `text` is JSON with quotes and escapes, else it is the text itself */
    bool small;                     /* a number: `integer` is its value, of at most 2^53 in magnitude */
    const struct esdb_event *event; /* an object that is the whole event */
    struct fmt_text text;           /* at == NULL: a number that is `integer`; a string that is not at hand (base64) */
    int64_t integer;
};

/* The fields of an event, in the order of their names' table. */
enum es_field {
    ES_FIELD_POSITION,
    ES_FIELD_STREAM_ID,
    ES_FIELD_VERSION,
    ES_FIELD_EVENT_ID,
    ES_FIELD_EVENT_TYPE,
    ES_FIELD_EPOCH_US,
    ES_FIELD_DATA,
    ES_FIELD_METADATA,
    ES_FIELD_DATA_CONTENT_TYPE,
    ES_FIELD_METADATA_CONTENT_TYPE,
    ES_FIELD_DATA_BASE64,
    ES_FIELDS,
};

/* The field of this name, or ES_FIELDS. */
enum es_field es_field_by_name(struct fmt_text name);

/* Sets *out to the field's value; ES_NULL, and false, when the event has none. */
bool es_value_of_field(const struct esdb_event *e, enum es_field f, struct es_value *out);

/* Sets *out to what a piece of stored JSON is. */
void es_value_of_json(struct fmt_text json, struct es_value *out);

enum es_order { ES_LESS, ES_EQUAL, ES_GREATER, ES_ORDER_UNSURE };

/* jq's order of two values (not ES_EMPTY, not ES_UNSURE). */
enum es_order es_value_order(const struct es_value *a, const struct es_value *b);

/* A number's decimal text: its own, or written to `room`. */
#define ES_NUMBER_ROOM 24u
struct fmt_text es_value_number_text(const struct es_value *v, char room[ES_NUMBER_ROOM]);

/* Makes *v's text that of the string itself: as it stands when there is no escape, else decoded into `room`. False when
 * it does not fit, is not at hand, or jq versions differ about it (lone surrogates). */
#define ES_TEXT_ROOM 1024u
bool es_value_text(const struct es_value *v, char room[ES_TEXT_ROOM], struct fmt_text *out);

#endif
