/*
 * The one lock of the process around netCDF-C, which is not thread-safe: its reader and its writer live in
 * folders that do not know each other. Hold it around every call of the library; it does not nest.
 */
#ifndef BC_STORE_NETCDF_LOCK_H
#define BC_STORE_NETCDF_LOCK_H

void bc_netcdf_lock(void);
void bc_netcdf_unlock(void);

#endif
