/* checksum_wide.c: XXH3-64 of longer inputs with AVX2, where the processor has it: twice as fast as what every x86-64 can
 * do, and a quarter of the time of a scan. The result is the same. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx2")
#define XXH_VECTOR XXH_AVX2
#define WIDE 1
#else
#define WIDE 0
#endif

#include "checksum.h"

/* libc asked the processor when the process began. gcc's own __builtin_cpu_supports asks it again in each process that is
 * linked with it, and every question costs a microsecond or more in a virtual machine. */
#if !WIDE
#define HAS_AVX2() false
#elif defined(__has_include) && __has_include(<sys/platform/x86.h>) /* glibc 2.33 */
#include <sys/platform/x86.h>
#define HAS_AVX2() CPU_FEATURE_ACTIVE(AVX2)
#else
#define HAS_AVX2() __builtin_cpu_supports("avx2")
#endif

bool fmt_checksum_can_be_wide(void) {
    return HAS_AVX2();
}

uint64_t fmt_checksum_wide(const void *at, size_t len) {
    return XXH3_64bits(at, len);
}
