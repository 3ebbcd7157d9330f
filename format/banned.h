/*
 * Functions that have no place in this code base become compile errors.
 *
 * The Makefile includes this header before every source file (-include). The libc headers that declare the names come
 * first, because a poisoned name may not even be declared afterwards. What to use instead:
 *
 *   strcpy strcat stpcpy   memcpy with a checked length, or the bounded buffer helpers
 *   sprintf vsprintf       snprintf, with the result checked
 *   atoi atol atoll atof   strtoll, strtoull, strtod, with end pointer and errno checked
 *   strtok                 memchr or strsep on a private copy
 *   gets                   getline, read
 */
#ifndef FMT_BANNED_H
#define FMT_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#pragma GCC poison strcpy strcat stpcpy wcscpy wcscat
#pragma GCC poison sprintf vsprintf gets
#pragma GCC poison atoi atol atoll atof
#pragma GCC poison strtok

#endif
