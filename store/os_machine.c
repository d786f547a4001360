/*
 * Clocks, random bytes, and what kind of machine this is. Nothing here can fail, so no fault hook is passed.
 */
#define _DEFAULT_SOURCE 1 /* getrandom, numbers of processors and pages beside POSIX 2008 */

#include "store/os.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/random.h>
#endif

int64_t bc_os_now(void)
{
  struct timespec ts = { 0, 0 };

  (void)clock_gettime(CLOCK_REALTIME, &ts);
  return (int64_t)ts.tv_sec;
}

double bc_os_monotonic(void)
{
  struct timespec ts = { 0, 0 };

  (void)clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* For uuids and names, not for keys: when the kernel has no bytes for us, unequal is good enough. */
static void random_fallback(uint8_t *p, size_t n)
{
  static atomic_uint_fast64_t calls;
  struct timespec ts = { 0, 0 };
  uint64_t state = 0;

  (void)clock_gettime(CLOCK_REALTIME, &ts);
  state = (uint64_t)ts.tv_nsec ^ (uint64_t)ts.tv_sec << 30 ^ (uint64_t)getpid() << 48 ^
          atomic_fetch_add(&calls, 1) * UINT64_C(0xD1342543DE82EF95);
  for (size_t i = 0; i < n; i++) { /* splitmix64 */
    uint64_t z = (state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    p[i] = (uint8_t)(z >> 56);
  }
}

void bc_os_random(uint8_t *p, size_t n)
{
#ifdef __linux__
  while (n > 0) {
    const ssize_t k = getrandom(p, n, 0);
    if (k < 0 && errno == EINTR) continue;
    if (k <= 0) break;
    p += k;
    n -= (size_t)k;
  }
#endif
  if (n > 0) random_fallback(p, n);
}

long bc_os_pid(void) { return (long)getpid(); }

uint64_t bc_os_physical_memory(void)
{
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  uint64_t bytes = 0;

  if (pages <= 0 || page <= 0 || !bc_mul_u64((uint64_t)pages, (uint64_t)page, &bytes)) return 0;
  return bytes;
}

int bc_os_cpus(void)
{
  const long n = sysconf(_SC_NPROCESSORS_ONLN);

  return n < 1 ? 1 : (int)BC_MIN(n, 4096);
}
