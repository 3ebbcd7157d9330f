/*
 * pipeline.h: frames on their way into the store, and their receipts.
 *
 * While input comes slowly, a frame is appended and made durable at once, by the caller's thread. When input comes
 * faster, a second thread appends finished frames, starts writing them to the disk, and makes many of them durable with
 * one sync, while the caller fills the next ones. Either way a receipt is printed only when its frame is durable, and
 * receipts are printed in order.
 */
#ifndef CMD_PIPELINE_H
#define CMD_PIPELINE_H

#include "cmd.h"

struct cmd_pipeline_options {
    unsigned flags;     /* ESDB_IDEMPOTENT */
    bool quiet;         /* no receipts */
    uint64_t linger_ms; /* the longest that an appended frame waits for its sync */
};

struct cmd_pipeline;

/* The handle is the pipeline's until it is closed. */
struct cmd_pipeline *cmd_pipeline_open(esdb *db, const struct cmd_pipeline_options *o);

/* Demands a version of a stream for the first frame; later frames expect what the ones before them wrote. The text is
 * copied. Before the first submit. */
void cmd_pipeline_expect(struct cmd_pipeline *p, struct esdb_text stream_id, int64_t expected);

/* An empty batch to fill. It comes back with cmd_pipeline_submit(). */
esdb_batch *cmd_pipeline_batch(struct cmd_pipeline *p);

/* Appends the batch as one frame. `lines`: for the receipt. `full`: more is likely to follow at once; otherwise the
 * frame is made durable without delay. An empty batch checks expectations. False when an append failed: then nothing
 * more is written, and cmd_pipeline_close() tells why. */
bool cmd_pipeline_submit(struct cmd_pipeline *p, esdb_batch *b, uint64_t lines, bool full);

/* Input pauses: makes what was appended durable. */
void cmd_pipeline_pause(struct cmd_pipeline *p);

/* Becomes readable when an append fails behind the caller's back; -1 while that cannot be. */
int cmd_pipeline_failure_fd(const struct cmd_pipeline *p);

/* What is durable. */
struct cmd_pipeline_result {
    uint64_t events, lines;
    uint64_t last_position; /* when there are events */
    bool failed;
    int code; /* of the failure */
    struct esdb_error err;
};

/* Finishes everything. */
void cmd_pipeline_close(struct cmd_pipeline *p, struct cmd_pipeline_result *out);

#endif
