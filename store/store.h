/*
 * The store: a directory NAME.bcube/ with a marker, segments/ and index/.
 *
 * Lifetime: whatever a function hands out as borrowed is valid until its snapshot or store closes.
 * Threads: a bc_store opened for reading may be shared; a bc_snapshot belongs to one thread at a time.
 * Processes: one writer, any number of readers. A handle is of no use after fork(): every call then gives
 * BC_E_INVAL; open again in the child.
 */
#ifndef BC_STORE_STORE_H
#define BC_STORE_STORE_H

#include "schema.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BC_FORMAT_MAJOR 1
#define BC_FORMAT_MINOR 0

typedef struct bc_store bc_store;
typedef struct bc_snapshot bc_snapshot;

/**
 * Make an empty store on one grid.
 * @param[in] path  folder to make; by custom NAME.bcube. Its parent must exist
 * @return BC_E_EXISTS when the path is there already; BC_E_IO, BC_E_FULL, BC_E_READONLY
 */
BC_API bc_status bc_store_create(const char *path, const bc_grid *grid, bc_err *err) BC_MUST_CHECK;

#define BC_OPEN_READ   0u
#define BC_OPEN_WRITE  1u /* takes the writer lock: BC_E_BUSY names the holder */
#define BC_OPEN_NOLOCK 2u /* never writes to the folder, not even LMDB's lock file; for published stores */
/**
 * @return BC_E_NOTFOUND; BC_E_CORRUPT "not a biocube store"; BC_E_VERSION, BC_E_FEATURE (made by a newer
 * version) Cost: independent of the number of tiles; no segment is opened
 */
BC_API bc_status bc_store_open(const char *path, unsigned flags, bc_store **out, bc_err *err) BC_MUST_CHECK;
BC_API void bc_store_close(bc_store *st); /* NULL is fine. Streams and views that are still open stay valid */
BC_API const char *bc_store_path(const bc_store *st);

typedef struct bc_store_info {
  char uuid[37];
  int32_t format_major, format_minor;
  uint64_t snapshot; /* number of commits */
  uint64_t n_tiles, n_segments, n_sources, n_modalities, n_grids;
  uint64_t segment_bytes, index_bytes; /* on disk */
  uint64_t n_lost; /* of the segments: the index was made anew without them: what they held is not known */
  uint32_t newest; /* segment that was committed later than all that the index knows of: a copy of the index
                      was put back; 0: none */
} bc_store_info;

/**
 * The state at one commit: schema now, tiles while planning. Holds an index transaction: keep it for
 * milliseconds, not for hours (old pages cannot be reused meanwhile).
 */
BC_API bc_status bc_snapshot_open(bc_store *st, bc_snapshot **out, bc_err *err) BC_MUST_CHECK;
BC_API void bc_snapshot_close(bc_snapshot *s);
BC_API uint64_t bc_snapshot_id(const bc_snapshot *s);
BC_API bc_status bc_snapshot_info(bc_snapshot *s, bc_store_info *out, bc_err *err) BC_MUST_CHECK;
BC_API size_t bc_snapshot_grids(const bc_snapshot *s);
BC_API const bc_grid *bc_snapshot_grid(const bc_snapshot *s, size_t i);
BC_API size_t bc_snapshot_modalities(const bc_snapshot *s);
/** In order of their ids; the id is also the index i. */
BC_API const bc_modality *bc_snapshot_modality(const bc_snapshot *s, size_t i);
BC_API bc_status bc_snapshot_usage(bc_snapshot *s, uint16_t modality, bc_usage *out,
                                   bc_err *err) BC_MUST_CHECK;
/** Sources by number from 0 upward; BC_E_NOTFOUND past the last (numbers may have holes). */
BC_API bc_status bc_snapshot_source(bc_snapshot *s, uint32_t id, bc_source_rec *out,
                                    bc_err *err) BC_MUST_CHECK;
BC_API uint32_t bc_snapshot_source_limit(bc_snapshot *s); /* greater than any id */

/** Statistics of one level of a modality (index into its levels; 0 without a level axis), of the values in
 * force. Cost: one pass over the modality's index entries and heads; values are decoded only where pieces of
 * a tile share steps, until compaction merges them. */
BC_API bc_status bc_snapshot_level_usage(bc_snapshot *s, uint16_t modality, bc_usage *levels, size_t n_levels,
                                         uint64_t *damaged, bc_err *err) BC_MUST_CHECK;
/** All steps of a modality, ascending; bc_times_free. */
BC_API bc_status bc_snapshot_times(bc_snapshot *s, uint16_t modality, int64_t **times, size_t *n,
                                   uint64_t *damaged, bc_err *err) BC_MUST_CHECK;
/* damaged, of both: tiles that cannot be read are added to it and passed over (their steps are known to the
 * index, their statistics are left out); NULL: such a tile is BC_E_CORRUPT or BC_E_CHECKSUM. */
BC_API void bc_times_free(int64_t *times);

/* ---- verify ---- */
typedef struct bc_damage {
  bc_status code;
  const char *what; /* one sentence: what is wrong and what to do */
  uint32_t segment; /* file, or 0 when it is not about a segment */
  bool is_summary;  /* no finding: told last, when findings name different commands; what and command mend all
                     */
  bool has_tile;    /* the fields below are set */
  const char *group, *name;
  uint32_t cell;
  int64_t time;
  const char *source; /* name of the first file it came from; "" when unknown */
  /* "bctool ingest netcdf STORE FILE.. --mend": brings the values back; "" when unknown */
  const char *command;
  uint32_t command_number; /* of a long one, else 0; told a second time, command is "": it is the one of that
                              number */
} bc_damage;
typedef struct bc_verify_report {
  uint64_t segments, tiles, bytes; /* looked at */
  uint64_t damaged;                /* findings */
  uint64_t orphans;                /* segments that the index does not know yet */
  uint64_t leftovers;              /* files of older numbers that it does not know any more */
} bc_verify_report;
/**
 * @param[in] full  false: heads, tails and sizes of all segments; true: every byte's checksum, every block
 * decoded
 * @param[in] found called for each damage; may be NULL
 * @return BC_OK also when damage was found (see report->damaged); BC_E_CANCELLED; BC_E_IO
 */
BC_API bc_status bc_store_verify(bc_store *st, bool full, void (*found)(void *ctx, const bc_damage *d),
                                 void *ctx, const bc_progress *progress, bc_verify_report *report,
                                 bc_err *err) BC_MUST_CHECK;

/* ---- upkeep ---- */
typedef struct bc_reindex_report {
  uint64_t segments, tiles; /* applied; tiles count superseded ones too */
  uint64_t damaged;         /* segments passed over */
} bc_reindex_report;
/**
 * Make the index anew from the segments alone: for a lost or damaged index. Nothing is lost if it is
 * interrupted.
 * @param[in] skipped called with a sentence for each segment that is damaged and passed over; may be NULL
 * @return BC_OK also when segments were passed over (see report->damaged); BC_E_BUSY when a writer is at work
 */
BC_API bc_status bc_store_reindex(const char *path, const bc_progress *progress,
                                  void (*skipped)(void *ctx, const char *what), void *ctx,
                                  bc_reindex_report *report, bc_err *err) BC_MUST_CHECK;

typedef struct bc_compact_opts {
  uint64_t memory;        /* bytes; 0 = a quarter of the machine's, at most 1 GiB */
  uint64_t segment_bytes; /* of the segments that are made, about; 0 = 256 MiB */
  bool dry_run;           /* look only; the store may then be open for reading */
  bool forget_lost; /* give up tiles that cannot be opened, and segments that the index was made without */
} bc_compact_opts;
typedef struct bc_compact_report {
  uint64_t segments_before, segments_after, rewritten; /* dry run: rewritten = would be */
  uint64_t bytes_before, bytes_after; /* of segment files, leftovers included; both equal in a dry run */
  uint64_t tiles_before, tiles_after;
  uint64_t moved;        /* tiles copied as they are */
  uint64_t merged, made; /* pieces that became one with others, tiles made of them */
  uint64_t read_bytes;   /* stored bytes of all these */
  uint64_t damaged;      /* tiles left where they are because they cannot be read: run bc_store_verify */
  uint64_t forgotten;    /* tiles given up (forget_lost) */
  uint64_t leftovers;    /* files removed that an interrupted run had left */
  uint64_t commits;
} bc_compact_report;
/**
 * Merge pieces of tiles that came at different times, drop what is superseded, and write small segments
 * together, sorted so that consecutive steps of a variable lie one after the other. No value changes. Readers
 * go on with what they have open.
 *
 * Works in commits of about one segment each: whatever happens in between, the store is whole, and another
 * run goes on from there. Needs as much free space on disk as the segments that are rewritten.
 * @param[in] st    open for writing, and without a writer at work
 * @param[in] opts  may be NULL
 * @return BC_E_CANCELLED (what was committed stays); BC_E_BUDGET: memory below 32 MiB; BC_E_CORRUPT when the
 * index does not agree with itself; BC_E_FULL, BC_E_IO
 */
BC_API bc_status bc_store_compact(bc_store *st, const bc_compact_opts *opts, const bc_progress *progress,
                                  bc_compact_report *report, bc_err *err) BC_MUST_CHECK;

typedef struct bc_publish_opts {
  bool link; /* segments are the same files under a second name, where the file system can; else copies */
  bool overwrite; /* replace dest if it is a published store */
} bc_publish_opts;
typedef struct bc_publish_report {
  uint64_t snapshot, segments, linked; /* linked: of these not copied */
  uint64_t bytes, index_bytes;         /* of segments; of the index */
} bc_publish_report;
/**
 * Write an immutable copy of the present snapshot as a new store at dest, which appears whole or not at all.
 * It opens without any lock and is never written to, so it works on read-only and network file systems, for
 * any number of processes; opening it for writing is BC_E_READONLY. Its files have mode 0444, a linked file
 * under both names. The uuid stays the same. What was copied is held against its checksums; of linked files
 * heads and directories are.
 * @param[in] opts may be NULL
 * @return BC_E_EXISTS; BC_E_CORRUPT, BC_E_CHECKSUM when something is damaged: nothing is published then;
 * BC_E_CANCELLED, BC_E_FULL
 */
BC_API bc_status bc_store_publish(bc_store *st, const char *dest, const bc_publish_opts *opts,
                                  const bc_progress *progress, bc_publish_report *report,
                                  bc_err *err) BC_MUST_CHECK;

/** "bctool 1.0.0" etc.: version of this library, and of those it was built with, one per line. Static text.
 */
BC_API const char *bc_version(void);
BC_API const char *bc_version_details(void);

#ifdef __cplusplus
}
#endif
#endif
