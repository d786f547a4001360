/*
 * The one lock of the process around netCDF-C, which is not thread-safe: its reader and its writer live in
 * folders that do not know each other. Hold it around every call of the library; it does not nest.
 */
#ifndef BC_STORE_NETCDF_LOCK_H
#define BC_STORE_NETCDF_LOCK_H

/* file: the name of the file that is read, alive until the lock is given back; NULL when none is. */
void bc_netcdf_lock(const char *file);
void bc_netcdf_unlock(void);

/* The file that the library is reading in this thread, or NULL. For a signal handler: damaged HDF5 files make
 * the library itself break down. */
const char *bc_netcdf_reading(void);

#endif
