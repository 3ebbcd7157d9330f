/* fault_os.h: makes one of libcore's system calls fail. */
#ifndef TEST_FAULT_OS_H
#define TEST_FAULT_OS_H

#include <stdbool.h>

enum fault_call {
    FAULT_OPENAT,
    FAULT_PREAD,
    FAULT_PWRITE,
    FAULT_FDATASYNC,
    FAULT_FSYNC,
    FAULT_FTRUNCATE,
    FAULT_FALLOCATE,
    FAULT_RENAMEAT,
    FAULT_UNLINKAT,
    FAULT_MKDIRAT,
    FAULT_MMAP,
    FAULT_CALLS
};
extern const char *const fault_name[FAULT_CALLS];

#define FAULT_SHORT (-1) /* pread and pwrite: half of what was asked for */
#define FAULT_HALF (-2)  /* pwrite: half is written, then EIO */
#define FAULT_DIE (-3)   /* the process ends before the call */

/* Wraps the table; no call fails yet. Counts begin at 0. */
void fault_install(void);
void fault_remove(void);

/* The nth call (from 1, counted from now) fails with `error` (an errno or FAULT_...), once. */
void fault_at(enum fault_call call, unsigned nth, int error);

/* The nth call and every one after it fail, until fault_clear. */
void fault_from(enum fault_call call, unsigned nth, int error);

/* Every call from now on fails, until fault_clear. */
void fault_always(enum fault_call call, int error);
void fault_clear(void);

/* Only calls on files whose names end so count and fail (NULL: all). Borrowed. */
void fault_only(const char *suffix);

bool fault_fired(void);                  /* since fault_at or fault_always */
unsigned fault_count(enum fault_call c); /* calls since fault_at, fault_always or fault_clear */

#endif
