/*
 * What brings a damaged or lost thing of a store back: the files that its values came from, and the command
 * that ingests them. Internal.
 *
 * Lifetime: bc_remedy_init, one bc_remedy_of_.. after another, bc_remedy_dispose; source and command are
 * valid until the next of them. Threads: one. Cost: that for a segment walks over all tiles of the index.
 */
#ifndef BC_STORE_REMEDY_H
#define BC_STORE_REMEDY_H

#include "store/source_order.h"

typedef struct bc_remedy {
  bc_snapshot *snap; /* borrowed */
  uint8_t *from;     /* by source: values of it are wanted */
  uint8_t *all;      /* the same of every question so far */
  uint32_t n_sources;
  bc_source_order order; /* loaded for the first command */
  bc_buf source_text, command_text;
  const char *source, *command; /* the answer: in these, or in known */
  uint64_t files;               /* stands for the files of the command; 0: it names none */
  bool needed;                  /* of a segment: a tile in force is in it */
  struct {                      /* questions that come again: tiles of a few lost segments, in turns */
    uint64_t question, files;
    bool needed;
    char *source, *command;
  } known[32];
  size_t n_known;
  uint64_t one_files; /* files of some command */
  bool several;       /* commands differ */
  bool any_compact, bare_compact;
  bool unlisted; /* of something it is not known which files bring it back */
} bc_remedy;

bc_status bc_remedy_init(bc_remedy *r, bc_snapshot *snap, bc_err *err) BC_MUST_CHECK;
void bc_remedy_dispose(bc_remedy *r);

/* A tile whose head can be read. */
bc_status bc_remedy_of_tile(bc_remedy *r, const bc_tile_head *head, bc_err *err) BC_MUST_CHECK;
/* A tile whose head is in this segment and cannot be read. */
bc_status bc_remedy_of_lost_tile(bc_remedy *r, uint32_t segment, bc_err *err) BC_MUST_CHECK;
/* A segment file; the command ends with a compact, which removes it. Of one whose files are not known there
 * is no command. */
bc_status bc_remedy_of_segment(bc_remedy *r, uint32_t segment, bc_err *err) BC_MUST_CHECK;
/* All that was asked for, in one go: the files of several segments may have replaced values of one another,
 * and then the order matters, which one command keeps. */
bc_status bc_remedy_of_all(bc_remedy *r, bc_err *err) BC_MUST_CHECK;
/* Something that no file brings back. */
void bc_remedy_none(bc_remedy *r);

/* One of the files, without its folders; "" when none is known. */
static inline const char *bc_remedy_source(const bc_remedy *r) { return r->source; }
/* "bctool ingest netcdf STORE FILE.. --mend"; "" when no file is known; of a published store words, not a
 * command. With so many files that a command would be too long, it ends with "...". */
static inline const char *bc_remedy_command(const bc_remedy *r) { return r->command; }

#endif
