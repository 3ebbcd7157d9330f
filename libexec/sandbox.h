/* sandbox.h: locks a process in before it runs code that nobody vouches for. See sandbox.c for what is left to it. */
#ifndef JQ_SANDBOX_H
#define JQ_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/* Ends with the parent, closes every descriptor but 0, empties the environment, forgets inherited signal settings. For the
 * very beginning of main. `parent`: 0 or the process id that the parent must still have; false when it has not. */
bool sandbox_begin(void);
bool sandbox_parent_lives(uint32_t parent);

/* Limits and locks in for good. `memory_max`: bytes of address space; 0: as it is. NULL when done, else a static text of
 * what could not be done, with errno. Landlock may be missing (Linux before 5.13): without a descriptor and without
 * open() it has nothing left to refuse. Limits and seccomp must be there. */
const char *sandbox_enter(uint64_t memory_max);

#endif
