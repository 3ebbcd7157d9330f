/* ingest.h: events from standard input: JSON, CloudEvents, lines of text, or all of it as one event's data. */
#ifndef CMD_INGEST_H
#define CMD_INGEST_H

#include "cmd.h"
#include "format/json.h"
#include "input.h"

enum cmd_ingest_mode { CMD_INGEST_JSON, CMD_INGEST_LINES, CMD_INGEST_RAW };

enum cmd_ingest_result {
    CMD_INGEST_EVENT,
    CMD_INGEST_MORE, /* more input is needed: cmd_input_read(), then again */
    CMD_INGEST_END,
    CMD_INGEST_BAD, /* see `bad`; cmd_ingest_skip() goes on behind it */
};

/* A member for the metadata of every event, from -m. */
struct cmd_member {
    struct esdb_text key; /* as given */
    char *json;           /* "key":"value"; owned */
    size_t json_len;
};

/* First the caller's settings, then state. */
struct cmd_ingest {
    enum cmd_ingest_mode mode;
    struct esdb_text stream_id;    /* of every event; at == NULL: each names its own */
    struct esdb_text event_type;   /* of events that name none */
    struct esdb_text content_type; /* of lines and raw data; at == NULL: found out */
    struct cmd_member *members;
    size_t member_count;
    bool ignore_unknown;
    bool preserve;           /* epoch_us is kept */
    bool system;             /* events may belong to system streams */
    struct esdb_text source; /* event ids are made from it, source_position and the event's number; at == NULL: not */
    uint64_t source_position;

    struct cmd_input in;
    bool discarding; /* up to the next newline */
    size_t scanned;  /* bytes behind in.begin that were found incomplete */
    struct fmt_envelope envelope;
    bool is_cloudevent;     /* envelope was translated from one */
    uint64_t cloudevent_us; /* its time; 0: none */
    uint64_t number;        /* of the events so far */
    char id[37];            /* made from the source */
    size_t event_at;        /* index in in.at of the event */
    char *room;             /* what had to be changed before it is stored; owned */
    size_t room_len, room_size;

    struct {
        size_t at;   /* index in in.at */
        bool syntax; /* the rest of the line is lost */
        char text[640];
    } bad;
};

void cmd_ingest_init(struct cmd_ingest *g, int fd); /* after the settings */
void cmd_ingest_release(struct cmd_ingest *g);

/* Adds KEY=VALUE to the metadata of every event. NULL, or what is wrong with it. */
const char *cmd_ingest_add_member(struct cmd_ingest *g, const char *text);

/* The next event. Its texts are valid until the next call on g or g->in. `paused`: no input is there right now, so
 * look at what is there even if it is little. */
enum cmd_ingest_result cmd_ingest_next(struct cmd_ingest *g, struct esdb_new_event *e, bool paused);

/* Makes the last event a bad one: libcore refused it with `text`, which begins with the name of a key. */
void cmd_ingest_refuse(struct cmd_ingest *g, const char *text);

/* Prints "line N, byte N: ..." for the bad event. */
void cmd_ingest_report(struct cmd_ingest *g);

/* How many lines of input stand whole before the bad event. */
uint64_t cmd_ingest_lines_before(struct cmd_ingest *g);

/* Goes on behind the bad event; behind its line when it was no JSON. */
void cmd_ingest_skip(struct cmd_ingest *g);

#endif
