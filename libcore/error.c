#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void record(struct esdb_error *err, int code, const char *file, uint64_t offset, const char *format,
                   va_list args) {
    err->code = code;
    err->offset = offset;
    err->file[0] = '\0';
    if (file)
        snprintf(err->file, sizeof err->file, "%s", file);
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    if (code > ESDB_EUSAGE && n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", strerror(-code));
}

int es_fail(struct esdb_error *err, int code, const char *format, ...) {
    if (err && err->code == 0) {
        va_list args;
        va_start(args, format);
        record(err, code, NULL, 0, format, args);
        va_end(args);
    }
    return code;
}

int es_fail_at(struct esdb_error *err, int code, const char *file, uint64_t offset, const char *format, ...) {
    if (err && err->code == 0) {
        va_list args;
        va_start(args, format);
        record(err, code, file, offset, format, args);
        va_end(args);
    }
    return code;
}

int es_fail_open(struct esdb_error *err, int code, const char *store, const char *file) {
    const char *why = code == -ELOOP || code == -EXDEV ? "is a symbolic link"
                      : code == -EMLINK                ? "has more than one name"
                      : code == -EINVAL                ? "is not a regular file"
                                                       : NULL;
    if (why)
        return es_fail_at(err, ESDB_EDENIED, file, 0, "%s/%s: %s, refused", store, file, why);
    return es_fail_at(err, code, file, 0, "%s/%s", store, file);
}

const char *esdb_strerror(int code) {
    switch (code) {
    case 0:
        return "done";
    case ESDB_END:
        return "no more";
    case ESDB_EUSAGE:
        return "wrong usage or configuration";
    case ESDB_ECONFLICT:
        return "conflict";
    case ESDB_ENOTFOUND:
        return "no such thing";
    case ESDB_ECORRUPT:
        return "damaged data";
    case ESDB_EUNAVAILABLE:
        return "unavailable, nothing was written";
    case ESDB_EDENIED:
        return "denied";
    case ESDB_EINVALID:
        return "invalid input";
    case ESDB_EUNKNOWN:
        return "outcome unknown";
    case ESDB_EPOISONED:
        return "store is poisoned by an earlier I/O error";
    default:
        return strerror(-code);
    }
}

int esdb_exit_status(int code) {
    switch (code) {
    case 0:
        return 0;
    case ESDB_EUSAGE:
        return 2;
    case ESDB_ECONFLICT:
        return 3;
    case ESDB_ENOTFOUND:
        return 4;
    case ESDB_ECORRUPT:
        return 5;
    case ESDB_EUNAVAILABLE:
        return 6;
    case ESDB_EDENIED:
        return 7;
    case ESDB_EINVALID:
        return 8;
    case ESDB_EUNKNOWN:
        return 10;
    case -EACCES:
    case -EPERM:
        return 7;
    default:
        return 1;
    }
}
