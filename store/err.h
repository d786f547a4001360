/*
 * Status codes and the caller-owned error record.
 *
 * Every fallible function returns bc_status and takes a bc_err * last (NULL is accepted). The layer that
 * detects a failure writes the message; the layers above pass it on unchanged. Nothing is printed, nothing is
 * kept in globals. Threads: a bc_err belongs to its caller.
 */
#ifndef BC_STORE_ERR_H
#define BC_STORE_ERR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define BC_API               __attribute__((visibility("default")))
#define BC_MUST_CHECK        __attribute__((warn_unused_result))
#define BC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define BC_API
#define BC_MUST_CHECK
#define BC_PRINTF(fmt, args)
#endif

/* Values are pinned once released: add, never renumber. The tens say who can mend it. */
typedef enum bc_status {
  BC_OK = 0,
  /* the request is wrong */
  BC_E_INVAL = -10,
  BC_E_RANGE = -11,
  BC_E_NOTFOUND = -12,
  BC_E_EXISTS = -13,
  BC_E_READONLY = -14,
  BC_E_UNSUPPORTED = -15,
  BC_E_CANCELLED = -16,
  BC_E_CONFLICT = -17, /* new values differ from those stored */
  BC_E_BUDGET = -18,   /* would need more memory than allowed */
  /* the data are wrong */
  BC_E_CORRUPT = -20,
  BC_E_CHECKSUM = -21,
  BC_E_TRUNCATED = -22,
  BC_E_VERSION = -23,
  BC_E_FEATURE = -24,
  /* the machine is wrong */
  BC_E_IO = -30,
  BC_E_NOMEM = -31,
  BC_E_FULL = -32,
  BC_E_BUSY = -33,
  BC_E_NET = -34,
  /* we are wrong */
  BC_E_INTERNAL = -90
} bc_status;

typedef struct bc_err {
  bc_status code;
  int sys;            /* errno, or the code of the library named by domain; 0 if none */
  const char *domain; /* static text: "bc" "os" "lmdb" "zstd" "netcdf" "zip" "png" "json" */
  const char *file;   /* static text: source file that raised it */
  int line;
  char msg[480]; /* UTF-8, one line, cut when too long; undefined after BC_OK */
} bc_err;

/** Name of a status code, for logs: "BC_E_CORRUPT". Static text, never NULL. */
BC_API const char *bc_status_name(bc_status code);

/** Fill *err (may be NULL) and return code. Use BC_FAIL and BC_FAIL_SYS. */
BC_API bc_status bc_err_set(bc_err *err, bc_status code, const char *domain, int sys, const char *file,
                            int line, const char *fmt, ...) BC_PRINTF(7, 8);

#define BC_FAIL(err, code, ...) bc_err_set((err), (code), "bc", 0, __FILE__, __LINE__, __VA_ARGS__)
#define BC_FAIL_SYS(err, code, domain, sys, ...)                                                             \
  bc_err_set((err), (code), (domain), (sys), __FILE__, __LINE__, __VA_ARGS__)

/* In a function that owns something: jump to its single label out: */
#define BC_TRY(expr)                                                                                         \
  do {                                                                                                       \
    if ((st = (expr)) != BC_OK) goto out;                                                                    \
  } while (0)
/* In a function that owns nothing. */
#define BC_RET(expr)                                                                                         \
  do {                                                                                                       \
    const bc_status bc_st_ = (expr);                                                                         \
    if (bc_st_ != BC_OK) return bc_st_;                                                                      \
  } while (0)
/* At out: keep the first failure. */
#define BC_KEEP(expr)                                                                                        \
  do {                                                                                                       \
    const bc_status bc_st_ = (expr);                                                                         \
    if (st == BC_OK) st = bc_st_;                                                                            \
  } while (0)

#ifdef __cplusplus
}
#endif
#endif
