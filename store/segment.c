#include "store/segment.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "store/store.h"

static const uint8_t k_magic[8] = { 'B', 'C', 'S', 'E', 'G', '\r', '\n', 0x1a };
static const uint8_t k_end_magic[8] = { 'B', 'C', 'S', 'E', 'N', 'D', '\r', '\n' };

/* Segment header, 64 bytes, little-endian. docs/format.md section 3. */
enum {
  HDR_MAGIC = 0,     /*  0-7  */
  HDR_MAJOR = 8,     /*  8-9   a reader refuses a greater one */
  HDR_MINOR = 10,    /* 10-11  informative */
  HDR_LEN = 12,      /* 12-15  >= 64; an unknown tail is skipped */
  HDR_INCOMPAT = 16, /* 16-23  must-understand bits */
  HDR_COMPAT = 24,   /* 24-31  may-ignore bits */
  HDR_UUID = 32,     /* 32-47  of the store */
  HDR_ID = 48,       /* 48-51  number of the segment */
  HDR_RESERVED = 52, /* 52-55  zero */
  HDR_HASH = 56,     /* 56-63  XXH3-64 of bytes 0-55 */
  HDR_SIZE = 64
};
/* Footer, the last 64 bytes. */
enum {
  FTR_MAGIC = 0,      /*  0-7  */
  FTR_DIR_OFF = 8,    /*  8-15  of the directory */
  FTR_DIR_BYTES = 16, /* 16-23 */
  FTR_TILES = 24,     /* 24-31 */
  FTR_FILE = 32,      /* 32-39  bytes of the whole file */
  FTR_DIR_HASH = 40,  /* 40-47  XXH3-64 of the directory */
  FTR_ID = 48,        /* 48-51 */
  FTR_RESERVED = 52,  /* 52-55  zero */
  FTR_HASH = 56,      /* 56-63  XXH3-64 of bytes 0-55 */
  FTR_SIZE = 64
};
/* A directory entry: 48 bytes, then the head. */
enum {
  ENT_BYTES = 0,       /*  0-3   of the entry, head included */
  ENT_SEGMENT = 4,     /*  4-7   where the payload lies */
  ENT_OFFSET = 8,      /*  8-15 */
  ENT_STORED = 16,     /* 16-23 */
  ENT_HASH = 24,       /* 24-31  XXH3-64 of the payload */
  ENT_HEAD_BYTES = 32, /* 32-35 */
  ENT_RESERVED = 36,   /* 36-39  zero */
  ENT_ENTRY_HASH = 40, /* 40-47  XXH3-64 of bytes 0-39 */
  ENT_SIZE = 48
};
enum { DIR_SCHEMA_BYTES = 0, DIR_RESERVED = 4, DIR_TILES = 8, DIR_SIZE = 16 };

#define WRITE_BUFFER ((size_t)1 << 20)
#define DIR_MAX      ((size_t)1 << 36)

void bc_segment_name(uint32_t id, char out[BC_SEGMENT_NAME])
{
  (void)snprintf(out, BC_SEGMENT_NAME, "%010" PRIu32 ".seg", id);
}

bool bc_segment_id(const char *name, uint32_t *id)
{
  uint64_t v = 0;
  if (strlen(name) != 14 || strcmp(name + 10, ".seg") != 0) return false;
  for (int i = 0; i < 10; i++) {
    if (name[i] < '0' || name[i] > '9') return false;
    v = v * 10 + (uint64_t)(name[i] - '0');
  }
  *id = (uint32_t)v;
  return v > 0 && v <= UINT32_MAX;
}

bool bc_segment_is_unfinished(const char *name)
{
  char stem[15];
  uint32_t id = 0;
  if (strlen(name) < 14 || strncmp(name + 14, ".tmp-", 5) != 0) return false;
  memcpy(stem, name, 14);
  stem[14] = '\0';
  return bc_segment_id(stem, &id);
}

/* ---- writing ---- */

typedef struct pending {
  bc_tile_key key;
  bc_tile_rec rec;
} pending;

struct bc_segw {
  bc_outfile out;
  uint32_t id;
  uint64_t at;    /* end of what was added, buffered bytes included */
  bc_buf buffer;  /* not yet written */
  bc_buf entries; /* directory entries */
  pending *tiles;
  size_t n, cap;
  bool finished;
};

static bc_status flush(bc_segw *w, bc_err *err)
{
  if (w->buffer.n == 0) return BC_OK;
  /* At its own place: a write that failed half-way and was forgiven (same_payload) is then done again whole.
   */
  const bc_status st = bc_os_out_pwrite(&w->out, w->buffer.p, w->buffer.n, w->at - w->buffer.n, err);
  if (st == BC_OK) w->buffer.n = 0;
  return st;
}

static bc_status append(bc_segw *w, const void *p, size_t n, bc_err *err)
{
  if (w->buffer.n + n > WRITE_BUFFER) BC_RET(flush(w, err));
  if (n >= WRITE_BUFFER)
    BC_RET(bc_os_out_pwrite(&w->out, p, n, w->at, err));
  else
    BC_RET(bc_buf_put(&w->buffer, p, n, err));
  w->at += n;
  return BC_OK;
}

static bc_status pad64(bc_segw *w, bc_err *err)
{
  static const uint8_t zero[64];
  return append(w, zero, (size_t)(bc_round_up64(w->at) - w->at), err);
}

bc_status bc_segw_open(const char *folder, uint32_t id, const uint8_t uuid[16], bc_segw **out, bc_err *err)
{
  bc_status st = BC_OK;
  char name[BC_SEGMENT_NAME];
  uint8_t h[HDR_SIZE] = { 0 };
  *out = NULL;
  bc_segment_name(id, name);
  bc_segw *w = bc_calloc(1, sizeof *w);
  char *path = bc_asprintf("%s/%s", folder, name);
  if (w == NULL || path == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "segment: no memory");
    goto out;
  }
  w->id = id;
  w->buffer = bc_buf_empty(2 * WRITE_BUFFER);
  w->entries = bc_buf_empty(DIR_MAX);
  BC_TRY(bc_os_out_create(path, false, &w->out, err));
  memcpy(h + HDR_MAGIC, k_magic, 8);
  bc_put_le16(h + HDR_MAJOR, BC_FORMAT_MAJOR);
  bc_put_le16(h + HDR_MINOR, BC_FORMAT_MINOR);
  bc_put_le32(h + HDR_LEN, HDR_SIZE);
  memcpy(h + HDR_UUID, uuid, 16);
  bc_put_le32(h + HDR_ID, id);
  bc_put_le64(h + HDR_HASH, bc_hash64(h, HDR_HASH));
  BC_TRY(append(w, h, sizeof h, err));
  *out = w;
  w = NULL;
out:
  bc_free(path);
  bc_segw_close(w);
  return st;
}

/* Seconds after the bucket's time; 0 for a static tile, and for what cannot be in a bucket. */
static uint32_t after_bucket(const bc_tile_head *h, uint32_t step)
{
  int64_t d = 0;

  if (__builtin_sub_overflow(bc_tile_time(h, step), h->key.time, &d) || d < 0 || d > UINT32_MAX) return 0;
  return (uint32_t)d;
}

/* The record of a tile from its head: statistics of all levels together. */
static void rec_from_head(const bc_tile_head *h, bc_tile_rec *r)
{
  r->codec = h->codec;
  r->n_steps = h->nt;
  r->even = h->regular;
  r->first = after_bucket(h, 0);
  r->last = after_bucket(h, h->nt - 1);
  r->decoded = (uint64_t)h->nt * h->nl * h->ny * h->nx * bc_dtype_size(h->dtype);
  r->n_absent = h->n_absent;
  r->min = INFINITY;
  r->max = -INFINITY;
  for (uint32_t l = 0; l < h->nl; l++) {
    const bc_level_stats s = bc_tile_stats(h, l);
    r->n_valid += s.n_valid;
    r->n_missing += s.n_missing;
    r->sum += s.sum;
    r->sumsq += s.sumsq;
    if (s.min < r->min) r->min = s.min;
    if (s.max > r->max) r->max = s.max;
  }
}

static bc_status grow_tiles(bc_segw *w, bc_err *err)
{
  if (w->n < w->cap) return BC_OK;
  const size_t cap = w->cap == 0 ? 256 : w->cap + w->cap / 2;
  size_t bytes = 0;
  if (!bc_mul_sz(cap, sizeof *w->tiles, &bytes)) return BC_FAIL(err, BC_E_RANGE, "segment: %zu tiles", cap);
  pending *p = bc_realloc(w->tiles, bytes);
  if (p == NULL) return BC_FAIL(err, BC_E_NOMEM, "segment: no memory for %zu tiles", cap);
  w->tiles = p;
  w->cap = cap;
  return BC_OK;
}

static bc_status put_entry(bc_segw *w, const bc_tile_rec *r, bc_bytes head, bc_err *err)
{
  uint8_t e[ENT_SIZE] = { 0 };
  if (head.n > UINT32_MAX - ENT_SIZE) return BC_FAIL(err, BC_E_RANGE, "tile head of %zu bytes", head.n);
  bc_put_le32(e + ENT_BYTES, (uint32_t)(ENT_SIZE + head.n));
  bc_put_le32(e + ENT_SEGMENT, r->segment);
  bc_put_le64(e + ENT_OFFSET, r->offset);
  bc_put_le64(e + ENT_STORED, r->stored);
  bc_put_le64(e + ENT_HASH, r->hash);
  bc_put_le32(e + ENT_HEAD_BYTES, r->head_bytes);
  bc_put_le64(e + ENT_ENTRY_HASH, bc_hash64(e, ENT_ENTRY_HASH));
  BC_RET(bc_buf_reserve(&w->entries, sizeof e + head.n, err));
  BC_RET(bc_buf_put(&w->entries, e, sizeof e, err));
  return bc_buf_put(&w->entries, head.p, head.n, err);
}

bc_status bc_segw_add(bc_segw *w, bc_bytes head, bc_bytes payload, const bc_tile_rec *reuse, bc_err *err)
{
  bc_tile_head h;
  bc_tile_rec r = { .head_segment = w->id, .segment = w->id };
  BC_RET(bc_tile_head_parse(head, &h, err));
  if (h.payload_bytes != payload.n)
    return BC_FAIL(err, BC_E_INTERNAL, "segment: a payload of %zu bytes whose head says %" PRIu64, payload.n,
                   h.payload_bytes);
  BC_RET(grow_tiles(w, err));
  rec_from_head(&h, &r);
  r.stored = payload.n;
  r.head_bytes = (uint32_t)head.n;
  if (reuse != NULL) {
    r.segment = reuse->segment;
    r.offset = reuse->offset;
    r.hash = reuse->hash;
  } else {
    BC_RET(pad64(w, err));
    r.offset = w->at;
    r.hash = bc_hash64(payload.p, payload.n);
    BC_RET(append(w, payload.p, payload.n, err));
  }
  r.head_offset = w->entries.n + ENT_SIZE; /* from the first entry; finish adds where that stands */
  BC_RET(put_entry(w, &r, head, err));
  w->tiles[w->n++] = (pending){ h.key, r };
  return BC_OK;
}

bc_status bc_segw_read(bc_segw *w, uint64_t off, void *dst, size_t n, bc_err *err)
{
  BC_RET(flush(w, err));
  return bc_os_out_pread(&w->out, dst, n, off, err);
}

uint64_t bc_segw_bytes(const bc_segw *w) { return w->finished ? w->at : w->at + w->entries.n; }
size_t bc_segw_count(const bc_segw *w) { return w->n; }

static bc_status put_footer(bc_segw *w, uint64_t dir_off, uint64_t dir_bytes, uint64_t dir_hash, bc_err *err)
{
  uint8_t f[FTR_SIZE] = { 0 };
  memcpy(f + FTR_MAGIC, k_end_magic, 8);
  bc_put_le64(f + FTR_DIR_OFF, dir_off);
  bc_put_le64(f + FTR_DIR_BYTES, dir_bytes);
  bc_put_le64(f + FTR_TILES, w->n);
  bc_put_le64(f + FTR_FILE, w->at + FTR_SIZE);
  bc_put_le64(f + FTR_DIR_HASH, dir_hash);
  bc_put_le32(f + FTR_ID, w->id);
  bc_put_le64(f + FTR_HASH, bc_hash64(f, FTR_HASH));
  return append(w, f, sizeof f, err);
}

bc_status bc_segw_finish(bc_segw *w, bc_bytes schema, bc_err *err)
{
  bc_status st = BC_OK;
  bc_buf dir = bc_buf_empty(DIR_MAX);
  uint8_t d[DIR_SIZE] = { 0 };
  if (schema.n > UINT32_MAX) return BC_FAIL(err, BC_E_RANGE, "segment: a schema of %zu bytes", schema.n);
  BC_TRY(pad64(w, err));
  const uint64_t dir_off = w->at;
  bc_put_le32(d + DIR_SCHEMA_BYTES, (uint32_t)schema.n);
  bc_put_le64(d + DIR_TILES, w->n);
  BC_TRY(bc_buf_reserve(&dir, sizeof d + schema.n + w->entries.n, err));
  BC_TRY(bc_buf_put(&dir, d, sizeof d, err));
  BC_TRY(bc_buf_put(&dir, schema.p, schema.n, err));
  BC_TRY(bc_buf_put(&dir, w->entries.p, w->entries.n, err));
  BC_TRY(append(w, dir.p, dir.n, err));
  BC_TRY(put_footer(w, dir_off, dir.n, bc_hash64(dir.p, dir.n), err));
  BC_TRY(flush(w, err));
  BC_TRY(bc_os_out_publish(&w->out, false, err));
  for (size_t i = 0; i < w->n; i++)
    w->tiles[i].rec.head_offset += dir_off + DIR_SIZE + schema.n;
  w->finished = true;
out:
  bc_buf_dispose(&dir);
  return st;
}

void bc_segw_tile(const bc_segw *w, size_t i, bc_tile_key *key, bc_tile_rec *rec)
{
  *key = w->tiles[i].key;
  *rec = w->tiles[i].rec;
}

void bc_segw_close(bc_segw *w)
{
  if (w == NULL) return;
  bc_os_out_discard(&w->out);
  bc_buf_dispose(&w->buffer);
  bc_buf_dispose(&w->entries);
  bc_free(w->tiles);
  bc_free(w);
}

/* ---- reading ---- */

struct bc_segment {
  atomic_int refs;
  bc_map map;
  uint32_t id;
  uint64_t n_tiles;
  uint64_t dir_off, dir_bytes, dir_hash;
  bc_bytes schema;
  bc_bytes entries;
};

static bc_status check_header(const bc_segment *s, const char *path, const uint8_t uuid[16], bc_err *err)
{
  const uint8_t *h = s->map.p;
  if (s->map.n < HDR_SIZE + DIR_SIZE + FTR_SIZE)
    return BC_FAIL(err, BC_E_TRUNCATED, "%s: %zu bytes, a segment has at least %d", path, s->map.n,
                   HDR_SIZE + DIR_SIZE + FTR_SIZE);
  if (memcmp(h + HDR_MAGIC, k_magic, 8) != 0) return BC_FAIL(err, BC_E_CORRUPT, "%s: not a segment", path);
  if (bc_le16(h + HDR_MAJOR) != BC_FORMAT_MAJOR && bc_le16(h + HDR_MAJOR) != 0) /* 0: zeros, not a version */
    return BC_FAIL(err, BC_E_VERSION, "%s: format %u.%u, this version reads %d.x: use a newer bctool", path,
                   bc_le16(h + HDR_MAJOR), bc_le16(h + HDR_MINOR), BC_FORMAT_MAJOR);
  if (bc_le16(h + HDR_MAJOR) == 0 || bc_le64(h + HDR_HASH) != bc_hash64(h, HDR_HASH))
    return BC_FAIL(err, BC_E_CHECKSUM, "%s: the header is damaged (checksum)", path);
  if (bc_le32(h + HDR_LEN) < HDR_SIZE || bc_le32(h + HDR_LEN) > s->map.n || bc_le32(h + HDR_RESERVED) != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "%s: header length %" PRIu32, path, bc_le32(h + HDR_LEN));
  if (bc_le64(h + HDR_INCOMPAT) != 0)
    return BC_FAIL(err, BC_E_FEATURE, "%s: needs features 0x%" PRIx64 " that this version does not know",
                   path, bc_le64(h + HDR_INCOMPAT));
  if (memcmp(h + HDR_UUID, uuid, 16) != 0)
    return BC_FAIL(err, BC_E_CORRUPT, "%s: belongs to another store", path);
  if (bc_le32(h + HDR_ID) != s->id)
    return BC_FAIL(err, BC_E_CORRUPT, "%s: says it is segment %" PRIu32, path, bc_le32(h + HDR_ID));
  return BC_OK;
}

static bc_status check_footer(bc_segment *s, const char *path, bc_err *err)
{
  const uint8_t *f = s->map.p + s->map.n - FTR_SIZE;
  if (memcmp(f + FTR_MAGIC, k_end_magic, 8) != 0 || bc_le64(f + FTR_FILE) != s->map.n)
    return BC_FAIL(err, BC_E_TRUNCATED, "%s: the end is missing (%zu bytes are there)", path, s->map.n);
  if (bc_le64(f + FTR_HASH) != bc_hash64(f, FTR_HASH) || bc_le32(f + FTR_RESERVED) != 0)
    return BC_FAIL(err, BC_E_CHECKSUM, "%s: the footer is damaged (checksum)", path);
  s->dir_off = bc_le64(f + FTR_DIR_OFF);
  s->dir_bytes = bc_le64(f + FTR_DIR_BYTES);
  s->n_tiles = bc_le64(f + FTR_TILES);
  s->dir_hash = bc_le64(f + FTR_DIR_HASH);
  if (bc_le32(f + FTR_ID) != s->id || s->dir_off < HDR_SIZE || s->dir_bytes < DIR_SIZE ||
      !bc_in_bounds(s->dir_off, s->dir_bytes, s->map.n - FTR_SIZE))
    return BC_FAIL(err, BC_E_CORRUPT, "%s: directory at %" PRIu64 ", %" PRIu64 " bytes, outside the file",
                   path, s->dir_off, s->dir_bytes);
  return BC_OK;
}

static bc_status check_directory(bc_segment *s, const char *path, bool deep, bc_err *err)
{
  const uint8_t *d = s->map.p + s->dir_off;
  const uint64_t schema = bc_le32(d + DIR_SCHEMA_BYTES), rest = s->dir_bytes - DIR_SIZE;
  if (schema > rest || bc_le64(d + DIR_TILES) != s->n_tiles || bc_le32(d + DIR_RESERVED) != 0 ||
      s->n_tiles > (rest - schema) / ENT_SIZE)
    return BC_FAIL(err, BC_E_CORRUPT, "%s: directory of %" PRIu64 " bytes for %" PRIu64 " tiles", path,
                   s->dir_bytes, s->n_tiles);
  s->schema = (bc_bytes){ d + DIR_SIZE, (size_t)schema };
  s->entries = (bc_bytes){ d + DIR_SIZE + schema, (size_t)(rest - schema) };
  if (deep && bc_hash64(d, (size_t)s->dir_bytes) != s->dir_hash)
    return BC_FAIL(err, BC_E_CHECKSUM, "%s: the directory is damaged (checksum)", path);
  return BC_OK;
}

bc_status bc_segment_check_directory(const bc_segment *s, bc_err *err)
{
  if (bc_hash64(s->map.p + s->dir_off, (size_t)s->dir_bytes) == s->dir_hash) return BC_OK;
  return BC_FAIL(err, BC_E_CHECKSUM, "segment %" PRIu32 ": the directory is damaged (checksum)", s->id);
}

bc_status bc_segment_open(const char *folder, uint32_t id, const uint8_t uuid[16], bool deep,
                          bc_segment **out, bc_err *err)
{
  bc_status st = BC_OK;
  char name[BC_SEGMENT_NAME];
  *out = NULL;
  bc_segment_name(id, name);
  bc_segment *s = bc_calloc(1, sizeof *s);
  char *path = bc_asprintf("%s/%s", folder, name);
  if (s == NULL || path == NULL) {
    st = BC_FAIL(err, BC_E_NOMEM, "segment: no memory");
    goto out;
  }
  s->id = id;
  atomic_init(&s->refs, 1);
  st = bc_os_map_ro(path, &s->map, err);
  if (st == BC_E_INVAL) /* a fault of the store, not of the request */
    st = BC_FAIL(err, BC_E_CORRUPT, "%s: not a regular file: it is no segment", path);
  if (st != BC_OK) goto out;
  BC_TRY(check_header(s, path, uuid, err));
  BC_TRY(check_footer(s, path, err));
  BC_TRY(check_directory(s, path, deep, err));
  *out = s;
  s = NULL;
out:
  bc_free(path);
  bc_segment_unref(s);
  return st;
}

bc_segment *bc_segment_ref(bc_segment *s)
{
  atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
  return s;
}

void bc_segment_unref(bc_segment *s)
{
  if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1) return;
  bc_os_unmap(&s->map);
  bc_free(s);
}

int bc_segment_refs(bc_segment *s) { return atomic_load(&s->refs); }
uint32_t bc_segment_number(const bc_segment *s) { return s->id; }
uint64_t bc_segment_bytes(const bc_segment *s) { return s->map.n; }
bc_bytes bc_segment_schema(const bc_segment *s) { return s->schema; }
uint64_t bc_segment_count(const bc_segment *s) { return s->n_tiles; }
uint64_t bc_segment_payload_bytes(const bc_segment *s) { return s->dir_off - HDR_SIZE; }

bc_status bc_segment_slice(const bc_segment *s, uint64_t off, uint64_t len, bc_bytes *out, bc_err *err)
{
  if (!bc_bytes_sub((bc_bytes){ s->map.p, s->map.n }, off, len, out))
    return BC_FAIL(err, BC_E_CORRUPT,
                   "segment %" PRIu32 ": %" PRIu64 " bytes at %" PRIu64 " lie outside its %zu bytes", s->id,
                   len, off, s->map.n);
  return BC_OK;
}

/* One directory entry at *at; moves *at to the next. */
static bc_status read_entry(const bc_segment *s, size_t *at, bc_tile_rec *rec, bc_bytes *head, bc_err *err)
{
  bc_bytes e;
  if (!bc_bytes_sub(s->entries, *at, ENT_SIZE, &e))
    return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": the directory ends inside an entry", s->id);
  if (bc_le64(e.p + ENT_ENTRY_HASH) != bc_hash64(e.p, ENT_ENTRY_HASH))
    return BC_FAIL(err, BC_E_CHECKSUM, "segment %" PRIu32 ": a directory entry is damaged (checksum)", s->id);
  const uint64_t bytes = bc_le32(e.p + ENT_BYTES), head_bytes = bc_le32(e.p + ENT_HEAD_BYTES);
  if (bytes != ENT_SIZE + head_bytes || bc_le32(e.p + ENT_RESERVED) != 0 ||
      !bc_bytes_sub(s->entries, *at + ENT_SIZE, head_bytes, head))
    return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": a directory entry of %" PRIu64 " bytes", s->id,
                   bytes);
  *rec = (bc_tile_rec){
    .head_segment = s->id,
    .segment = bc_le32(e.p + ENT_SEGMENT),
    .offset = bc_le64(e.p + ENT_OFFSET),
    .stored = bc_le64(e.p + ENT_STORED),
    .hash = bc_le64(e.p + ENT_HASH),
    .head_offset = (uint64_t)(head->p - s->map.p),
    .head_bytes = (uint32_t)head_bytes,
  };
  *at += (size_t)bytes;
  return BC_OK;
}

bc_status bc_segment_each(const bc_segment *s, bc_segment_fn each, void *ctx, bc_err *err)
{
  size_t at = 0;
  for (uint64_t i = 0; i < s->n_tiles; i++) {
    bc_tile_rec rec;
    bc_bytes head;
    bc_tile_head h;
    BC_RET(read_entry(s, &at, &rec, &head, err));
    if (bc_tile_head_parse(head, &h, NULL) == BC_OK) rec_from_head(&h, &rec);
    BC_RET(each(ctx, &rec, head, err));
  }
  if (at != s->entries.n)
    return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": %zu bytes after the last directory entry", s->id,
                   s->entries.n - at);
  return BC_OK;
}

typedef struct gaps {
  const bc_segment *s;
  uint64_t at;
} gaps;

static bc_status zero_until(gaps *g, uint64_t end, bc_err *err)
{
  if (end < g->at || end > g->s->dir_off)
    return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": payloads overlap at byte %" PRIu64, g->s->id,
                   end);
  for (; g->at < end; g->at++)
    if (g->s->map.p[g->at] != 0)
      return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": byte %" PRIu64 " between payloads is not zero",
                     g->s->id, g->at);
  return BC_OK;
}

static bc_status next_payload(void *ctx, const bc_tile_rec *rec, bc_bytes head, bc_err *err)
{
  gaps *g = ctx;
  (void)head;
  /* A tile without payload, or one whose equal was stored before it, takes no room. */
  if (rec->segment != g->s->id || rec->stored == 0 || rec->offset < g->at) return BC_OK;
  BC_RET(zero_until(g, rec->offset, err));
  if (!bc_in_bounds(rec->offset, rec->stored, g->s->dir_off))
    return BC_FAIL(err, BC_E_CORRUPT, "segment %" PRIu32 ": a payload reaches into the directory", g->s->id);
  g->at = rec->offset + rec->stored;
  return BC_OK;
}

bc_status bc_segment_check_gaps(const bc_segment *s, bc_err *err)
{
  gaps g = { s, HDR_SIZE };
  BC_RET(bc_segment_each(s, next_payload, &g, err));
  return zero_until(&g, s->dir_off, err);
}
