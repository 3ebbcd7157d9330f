/* settings.h: store.yaml, the identity and settings of a store. FORMAT.md section 2. */
#ifndef ES_SETTINGS_H
#define ES_SETTINGS_H

#include "esdb.h"

struct es_settings {
    struct esdb_settings user;
    uint64_t incarnation; /* 48 bits; a new one for every fork of history */
    uint64_t created_us;
    uint64_t features_optional, features_required;
    uint32_t version;
    bool replicated; /* esdb-raftd writes it, and nobody else: raft_state.h, replica.h */
    bool backup;     /* nothing may be written here: esdb-backup restore makes a store of it */
};

/* Reads store.yaml in dir. ESDB_EUSAGE: absent ("not a store"), not understood, or of a newer format. */
int es_settings_load(int dir, const char *path, struct es_settings *out, struct esdb_error *err);

/* The same from text that is there already; path is for messages. */
int es_settings_parse(const unsigned char *text, size_t len, const char *path, struct es_settings *out,
                      struct esdb_error *err);

/* The text of store.yaml for s, at most `room` bytes with the terminating zero. Returns its length. */
size_t es_settings_print(const struct es_settings *s, char *out, size_t room);

/* 16 bytes <-> 8-4-4-4-12 hexadecimal digits. */
void es_uuid_print(const unsigned char id[16], char out[37]);
bool es_uuid_parse(const char *text, unsigned char out[16]);

#endif
