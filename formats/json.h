/*
 * JSON text, written piece by piece: objects, arrays and their values, for listings and metadata.
 *
 * Errors    remembered: the calls that add return nothing, bc_json_text tells the first failure.
 * Lifetime  the text is borrowed: valid until the next call with the same writer.
 * Threads   one at a time per writer.
 */
#ifndef BC_FORMATS_JSON_H
#define BC_FORMATS_JSON_H

#include <stdbool.h>

#include "../store/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bc_json bc_json;

/** pretty: a line for each value, two blanks deeper at each level; else all on one line, without blanks. */
BC_API bc_status bc_json_open(bool pretty, bc_json **out, bc_err *err) BC_MUST_CHECK;
BC_API void bc_json_close(bc_json *j); /* NULL is fine */

/* key: the member's name inside an object; NULL inside an array and for the outermost value. */
BC_API void bc_json_begin_object(bc_json *j, const char *key);
BC_API void bc_json_begin_array(bc_json *j, const char *key);
/** Close the innermost object or array. */
BC_API void bc_json_end(bc_json *j);
/** NULL gives null. Bytes that are not UTF-8 become U+FFFD. */
BC_API void bc_json_str(bc_json *j, const char *key, const char *value);
BC_API void bc_json_int(bc_json *j, const char *key, int64_t value);
BC_API void bc_json_uint(bc_json *j, const char *key, uint64_t value);
/** Shortest text that reads back as the same double; NaN and infinities, which JSON lacks, give null. */
BC_API void bc_json_num(bc_json *j, const char *key, double value);
BC_API void bc_json_bool(bc_json *j, const char *key, bool value);
BC_API void bc_json_null(bc_json *j, const char *key);
/** Seconds since 1970 as "2019-03-01T00:00:00Z"; BC_TIME_STATIC gives null. */
BC_API void bc_json_time(bc_json *j, const char *key, int64_t value);

/**
 * @param[out] text  NUL-terminated, ended by a line feed when pretty
 * @param[out] n     its bytes; may be NULL
 * @return BC_E_NOMEM; BC_E_INTERNAL when an object or array is still open, or a key is missing or too many
 */
BC_API bc_status bc_json_text(bc_json *j, const char **text, size_t *n, bc_err *err) BC_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
