/* What is said when a library breaks down on a damaged file. */
#ifndef BCT_BREAKDOWN_H
#define BCT_BREAKDOWN_H

/* From here on a crash inside netCDF-C, while it reads a file, ends the program with one line and the exit
 * code of damaged data. Nothing is lost: what a killed ingest had committed stays. Other crashes are as they
 * were. */
void bct_watch_breakdowns(void);

#endif
