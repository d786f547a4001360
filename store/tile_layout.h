/*
 * Byte layout of a tile head, shared by the reader (tile.c) and the writer (tile_head_put.c). Internal.
 * docs/format.md, "tile head".
 */
#ifndef BC_STORE_TILE_LAYOUT_H
#define BC_STORE_TILE_LAYOUT_H

enum {
  BC_TH_MAGIC_OFF = 0,     /*   0-3   "BCTL" */
  BC_TH_VERSION_OFF = 4,   /*   4     1; a reader refuses others */
  BC_TH_KIND_OFF = 5,      /*   5     0 = raster; later: records, blobs */
  BC_TH_FIXED_OFF = 6,     /*   6-7   where the tables begin, >= 128; an unknown tail is skipped */
  BC_TH_BYTES_OFF = 8,     /*   8-11  whole head with checksum */
  BC_TH_INCOMPAT_OFF = 12, /*  12-13  must-understand bits: none yet */
  BC_TH_COMPAT_OFF = 14,   /*  14-15  may-ignore bits: none yet */
  BC_TH_CELL_OFF = 16,     /*  16-19 */
  BC_TH_MODALITY_OFF = 20, /*  20-21 */
  BC_TH_PART_OFF = 22,     /*  22-23 */
  BC_TH_TIME_OFF = 24,     /*  24-31  signed */
  BC_TH_DTYPE_OFF = 32,    /*  32 */
  BC_TH_CODEC_OFF = 33,    /*  33 */
  BC_TH_LAYOUT_OFF = 34,   /*  34 */
  BC_TH_REGULAR_OFF = 35,  /*  35     0 or 1 */
  BC_TH_RSVD1_OFF = 36,    /*  36-39  zero */
  BC_TH_NT_OFF = 40,       /*  40-43 */
  BC_TH_NL_OFF = 44,       /*  44-47 */
  BC_TH_Y0_OFF = 48,       /*  48-51 */
  BC_TH_X0_OFF = 52,       /*  52-55 */
  BC_TH_NY_OFF = 56,       /*  56-59 */
  BC_TH_NX_OFF = 60,       /*  60-63 */
  BC_TH_BT_OFF = 64,       /*  64-67 */
  BC_TH_BY_OFF = 68,       /*  68-71 */
  BC_TH_BX_OFF = 72,       /*  72-75 */
  BC_TH_NSOURCES_OFF = 76, /*  76-79 */
  BC_TH_TFIRST_OFF = 80,   /*  80-87  signed */
  BC_TH_TSTEP_OFF = 88,    /*  88-95  signed */
  BC_TH_ABSENT_OFF = 96,   /*  96-103 */
  BC_TH_CONST_OFF = 104,   /* 104-111 */
  BC_TH_PAYLOAD_OFF = 112, /* 112-119 */
  BC_TH_NBLOCKS_OFF = 120, /* 120-123 */
  BC_TH_RSVD2_OFF = 124,   /* 124-127 zero */
  BC_TH_FIXED = 128,
  /* then: times nt x 8 (unless regular), blocks x 16, statistics nl x 48, sources x 4, levels nl x 2,
   * zeros to a multiple of 8, XXH3-64 of all before it */
  BC_TH_HASH_BYTES = 8
};
#define BC_TH_MAGIC   "BCTL"
#define BC_TH_VERSION 1
_Static_assert(BC_TH_RSVD2_OFF + 4 == BC_TH_FIXED, "tile head layout");

#define BC_TILE_MAX_NT     (1u << 24)
#define BC_TILE_MAX_NL     256u
#define BC_TILE_MAX_SIDE   (1u << 20)
#define BC_TILE_MAX_BLOCK  (16u << 20) /* decoded bytes */
#define BC_TILE_MAX_VALUES (UINT64_C(1) << 56)

/* Values are stored and handed out as they lie in memory. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the tile codecs are written for little-endian machines"
#endif

#endif
