/* limits.h: every limit of esdb in one place, with its reason. Sizes in bytes. */
#ifndef FMT_LIMITS_H
#define FMT_LIMITS_H

#define FMT_VERSION 1u                   /* of the whole store format; FORMAT.md section 1 */
#define FMT_STREAM_ID_MAX 240u           /* a user's name; leaves room for a system prefix below 256 */
#define FMT_STREAM_NAME_MAX 255u         /* with "$snapshot:" and the like before it */
#define FMT_EVENT_TYPE_MAX 255u          /* fits a file name and one byte */
#define FMT_EVENT_ID_MAX 64u             /* a SHA-256 in hex, a UUID, a ULID */
#define FMT_CONTENT_TYPE_MAX 127u        /* RFC 6838: type and subtype of at most 127 characters are wise */
#define FMT_EVENT_SIZE_MAX (16u << 20)   /* one event, encoded: a reader must be able to hold it */
#define FMT_FRAME_SIZE_MAX (64u << 20)   /* one append: held in memory by writer, verifier and wire */
#define FMT_FRAME_EVENTS_MAX (1u << 20)  /* events in a frame: bounds the work under the append lock */
#define FMT_JSON_DEPTH_MAX 256u          /* nesting; deeper input is an attack or a mistake */
#define FMT_SEGMENT_SIZE_MIN (64u << 10) /* smaller ones cost more in files than they give back */
#define FMT_SEGMENT_SIZE_MAX (1u << 30)  /* offsets are kept in units of 8 in 32 bits, with much room */
#define FMT_SEGMENT_SIZE_DEFAULT (128u << 20)
#define FMT_SEGMENT_FILE_MAX (FMT_SEGMENT_SIZE_MAX + FMT_FRAME_SIZE_MAX) /* a larger file is not a segment */
#define FMT_SNAPSHOT_STATE_MAX (64u << 20) /* a state before compression: a reader must be able to hold it */
#define FMT_EVENT_KEY_BYTES_MAX 256u       /* the hash of an indexed key is about so much of its beginning */
#define FMT_SETTINGS_SIZE_MAX (64u << 10)  /* store.yaml and configuration files */

#endif
