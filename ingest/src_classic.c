/*
 * The header of a classic netCDF file, CDF-1, 2 or 5; big-endian. The library takes what lies beyond the end
 * of a short file for zeros, so the sizes are added up here.
 */
#include "ingest/src_int.h"

#define NAME_MAX_NC 256 /* NC_MAX_NAME, of dimensions, variables and attributes */

typedef struct classic {
  bc_cursor c;
  bool wide; /* CDF-5: 64-bit counts */
  bool far;  /* CDF-2 and 5: 64-bit offsets */
  bool bad;  /* what no writer writes, and the library does not check */
  uint64_t n_records;
  bc_buf dims; /* lengths, 8 bytes each */
  uint64_t fixed_end, record_bytes, record_begin, last_begin, last_bytes, n_record_vars;
} classic;

static uint32_t be32(bc_cursor *c)
{
  const uint8_t *p = bc_cur_take(c, 4);
  return p == NULL ? 0 : bc_be32(p);
}

static uint64_t be64(bc_cursor *c)
{
  const uint64_t hi = be32(c);
  return hi << 32 | be32(c);
}

static uint64_t count_of(classic *k) { return k->wide ? be64(&k->c) : be32(&k->c); }

static void skip_padded(classic *k, uint64_t n)
{
  const uint64_t padded = n > UINT64_MAX - 3 ? n : (n + 3) & ~UINT64_C(3);

  if (padded > k->c.b.n)
    k->c.ok = false;
  else
    (void)bc_cur_take(&k->c, (size_t)padded);
}

/* A name. The library copies it into the caller's memory, of which it promises to need NAME_MAX_NC bytes, but
 * checks no length when it reads a file. */
static void skip_name(classic *k)
{
  const uint64_t n = count_of(k);

  if (n > NAME_MAX_NC)
    k->bad = true;
  else
    skip_padded(k, n);
}

static uint64_t classic_type_size(uint32_t type)
{
  static const uint8_t size[] = { 0, 1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8 };
  return type < BC_ARRAY_LEN(size) ? size[type] : 0;
}

static void skip_atts(classic *k)
{
  uint64_t n;

  (void)be32(&k->c); /* tag */
  n = count_of(k);
  for (uint64_t i = 0; i < n && k->c.ok && !k->bad; i++) {
    uint64_t count, bytes;
    uint32_t type;
    skip_name(k);
    type = be32(&k->c);
    count = count_of(k);
    if (!bc_mul_u64(count, classic_type_size(type), &bytes)) k->c.ok = false;
    skip_padded(k, bytes);
  }
}

static bc_status read_classic_dims(classic *k, bc_err *err)
{
  uint64_t n;

  (void)be32(&k->c);
  n = count_of(k);
  for (uint64_t i = 0; i < n && k->c.ok && !k->bad; i++) {
    skip_name(k);
    BC_RET(bc_buf_u64(&k->dims, count_of(k), err));
  }
  return BC_OK;
}

/* Size of a variable's data (of one record when it has the record dimension); false when its header is bad.
 */
static bool classic_extent(classic *k, uint64_t *bytes, bool *record)
{
  const uint64_t n_dims = count_of(k);
  uint64_t size = 1;

  *record = false;
  for (uint64_t d = 0; d < n_dims && k->c.ok; d++) {
    const uint64_t id = count_of(k);
    uint64_t len;
    if (id >= k->dims.n / 8) return false;
    len = bc_le64(k->dims.p + id * 8);
    if (len == 0 && d == 0)
      *record = true;
    else if (!bc_mul_u64(size, len, &size))
      return false;
  }
  *bytes = size;
  return true;
}

static bool read_classic_var(classic *k)
{
  uint64_t size = 0, type_size, begin, end;
  bool record = false;

  skip_name(k);
  if (!classic_extent(k, &size, &record)) return false;
  skip_atts(k);
  type_size = classic_type_size(be32(&k->c));
  if (type_size == 0 || !bc_mul_u64(size, type_size, &size)) return false;
  (void)count_of(k); /* vsize: wrong by design for large variables */
  begin = k->far ? be64(&k->c) : be32(&k->c);
  if (!k->c.ok || !bc_add_u64(begin, size, &end)) return false;
  if (!record) {
    k->fixed_end = BC_MAX(k->fixed_end, end);
    return true;
  }
  k->record_begin = k->n_record_vars == 0 ? begin : BC_MIN(k->record_begin, begin);
  if (begin >= k->last_begin) {
    k->last_begin = begin;
    k->last_bytes = size;
  }
  k->n_record_vars++;
  return size <= UINT64_MAX - 3 && bc_add_u64(k->record_bytes, (size + 3) & ~UINT64_C(3), &k->record_bytes);
}

/* Bytes that the file must have at least. */
static uint64_t classic_end(const classic *k)
{
  /* a lone record variable is not padded to four bytes */
  const uint64_t stride = k->n_record_vars == 1 ? k->last_bytes : k->record_bytes;
  uint64_t end = 0;

  if (k->n_record_vars == 0 || k->n_records == 0) return k->fixed_end;
  if (!bc_mul_u64(stride, k->n_records - 1, &end) || !bc_add_u64(end, k->last_begin, &end) ||
      !bc_add_u64(end, k->last_bytes, &end))
    return UINT64_MAX;
  return BC_MAX(end, k->fixed_end);
}

bc_status bc_classic_need(bc_bytes head, uint64_t *need, bool *complete, bc_err *err)
{
  bc_status st = BC_OK;
  classic k = { .c = { .b = head, .at = 4, .ok = true }, .dims = bc_buf_empty((size_t)1 << 30) };
  bool fine = true;
  uint64_t n = 0;

  k.wide = head.p[3] == 5;
  k.far = head.p[3] != 1;
  *need = 0;
  k.n_records = count_of(&k);
  if (k.n_records == (k.wide ? UINT64_MAX : UINT32_MAX)) k.n_records = 0; /* still being written: unknown */
  BC_TRY(read_classic_dims(&k, err));
  skip_atts(&k);
  (void)be32(&k.c);
  n = count_of(&k);
  for (uint64_t i = 0; i < n && fine && k.c.ok && !k.bad; i++)
    fine = read_classic_var(&k);
  *complete = k.c.ok || k.bad;
  *need = fine && !k.bad ? classic_end(&k) : UINT64_MAX;
out:
  bc_buf_dispose(&k.dims);
  return st;
}
