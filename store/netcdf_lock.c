#include "store/netcdf_lock.h"

#include <pthread.h>

static pthread_mutex_t k_netcdf = PTHREAD_MUTEX_INITIALIZER;

/* Neither call can fail on an initialised mutex that its owner unlocks. */
void bc_netcdf_lock(void) { (void)pthread_mutex_lock(&k_netcdf); }

void bc_netcdf_unlock(void) { (void)pthread_mutex_unlock(&k_netcdf); }
