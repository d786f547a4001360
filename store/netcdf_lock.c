#include "store/netcdf_lock.h"

#include <pthread.h>
#include <stddef.h>

static pthread_mutex_t k_netcdf = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local const char *volatile k_reading;

/* Neither call can fail on an initialised mutex that its owner unlocks. */
void bc_netcdf_lock(const char *file)
{
  (void)pthread_mutex_lock(&k_netcdf);
  k_reading = file;
}

void bc_netcdf_unlock(void)
{
  k_reading = NULL;
  (void)pthread_mutex_unlock(&k_netcdf);
}

const char *bc_netcdf_reading(void) { return k_reading; }
