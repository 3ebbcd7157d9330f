/* poison.h: a store that an I/O error has hit. FORMAT.md section 12. */
#ifndef ES_POISON_H
#define ES_POISON_H

#include "store.h"

/* A failed write to the log: poisons the store, unless the disk was full. Returns the code to hand on. */
int es_write_failed(esdb *db, const char *what, int code, struct esdb_error *err);

/* Records an I/O error for everybody: the poison file, the word in head, a wake-up. Returns ESDB_EPOISONED. */
int es_poison(esdb *db, const char *what, int code, struct esdb_error *err);

/* ESDB_EPOISONED with the recorded text when the poison file is there, else 0. */
int es_check_poison(esdb *db, struct esdb_error *err);

#endif
