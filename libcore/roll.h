/* roll.h: closing a segment and going on in the next. FORMAT.md section 10. */
#ifndef ES_ROLL_H
#define ES_ROLL_H

#include "recover.h"

/* True when a frame of that length may not be written into the tail's segment. */
bool es_must_roll(const esdb *db, const struct es_tail *tail, size_t frame_len);

/* Append lock held. Closes the segment (with a barrier frame when its last frame does not say so), makes it durable, trims
 * it, creates the next one durably; *tail is then the beginning of that. */
int es_roll(esdb *db, struct es_tail *tail, struct esdb_error *err);

/* Append and sync lock held, the tail's last frame rolled: makes the old segment durable, trims it, creates the next one
 * durably; *tail is then the beginning of that. */
int es_next_segment(esdb *db, struct es_tail *tail, struct esdb_error *err);
/* No lock held. Closes the active segment whatever its size and begins the next one, with a barrier. */
int es_roll_now(esdb *db, struct esdb_error *err);

/* Writes the index of a closed segment. */
int es_seal(esdb *db, uint64_t segment, struct esdb_error *err);

/* No lock held. Writes the index of segments before `active` that have none and merges directory tables that are due.
 * Derived files: what fails is made later. Cheap when there is nothing to do. */
void es_seal_rolled(esdb *db, uint64_t active);

#endif
