/*
 * Texts that users write: every option of a selection, points from a table, times and periods, name patterns.
 * Input: kind, then the text. Kind 7: a file of points.
 */
#include <math.h>

#include "fuzz.h"
#include "query/select.h"

static void check_selection(const bc_select *s)
{
  for (size_t i = 0; i < s->n_points; i++)
    FUZZ_CHECK(fabs(s->points[i].lat) <= 90 && fabs(s->points[i].lon) <= 360);
  for (size_t i = 0; i < s->n_levels; i++)
    FUZZ_CHECK(isfinite(s->levels[i]));
  for (size_t i = 0; i < s->n_vars; i++)
    FUZZ_CHECK(s->vars[i][0] != '\0');
  if (s->has_bbox)
    FUZZ_CHECK(s->south >= -90 && s->south <= s->north && s->north <= 90 && s->east - s->west <= 360);
  FUZZ_CHECK(s->t_begin < s->t_end && s->every_time >= 1 && s->every_space >= 1);
  FUZZ_CHECK(s->agg == BC_AGG_NONE || s->period.n >= 1);
}

static void try_time(const char *text, size_t n)
{
  bc_err err = { 0 };
  int64_t begin = 0, end = 0;
  char out[BC_TIME_TEXT];
  if (FUZZ(bc_time_parse(text, n, &begin, &end, &err)) != BC_OK) return;
  FUZZ_CHECK(begin < end && begin >= BC_TIME_MIN && end <= BC_TIME_MAX + 1);
  int64_t again = 0, past = 0;
  const char *shown = bc_time_format(begin, out);
  FUZZ_CHECK(bc_time_parse(shown, strlen(shown), &again, &past, &err) == BC_OK && again == begin);
}

static void try_period(const char *text)
{
  static const int64_t at[] = { BC_TIME_MIN, -1,           0, 1, 1551398400, BC_TIME_MAX, INT64_MAX,
                                INT64_MIN,   INT64_MIN + 1 };
  bc_err err = { 0 };
  bc_period p;
  if (FUZZ(bc_period_parse(text, &p, &err)) != BC_OK) return;
  FUZZ_CHECK(p.n >= 1);
  for (size_t i = 0; i < BC_ARRAY_LEN(at); i++) {
    const int64_t floor = bc_period_floor(p, at[i]), next = bc_period_next(p, floor);
    if (at[i] >= BC_TIME_MIN && at[i] <= BC_TIME_MAX) FUZZ_CHECK(floor <= at[i] && at[i] < next);
  }
}

/* Text before and behind a line feed: pattern and name. */
static void try_glob(char *text)
{
  char *name = strchr(text, '\n');
  if (name == NULL) return;
  *name++ = '\0';
  (void)bc_glob_match(text, name);
  FUZZ_CHECK(bc_edit_distance(text, name) == bc_edit_distance(name, text));
  FUZZ_CHECK(bc_glob_match("*", name));
}

static void try_points(bc_select *s, const char *text, size_t n)
{
  bc_err err = { 0 };
  char path[FUZZ_PATH];
  fuzz_write(fuzz_path(path, "points.csv"), text, n);
  (void)FUZZ(bc_select_add_points_file(s, path, &err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  fuzz_in in = { data, size };
  bc_err err = { 0 };
  bc_select s;
  const uint8_t kind = fuzz_u8(&in);
  char *text = malloc(in.n + 1);
  FUZZ_CHECK(text != NULL);
  if (in.n > 0) memcpy(text, in.p, in.n);
  text[in.n] = '\0';
  bc_select_init(&s);
  switch (kind % 11) {
  case 0: (void)FUZZ(bc_select_add_vars(&s, text, &err)); break;
  case 1: (void)FUZZ(bc_select_set_bbox(&s, text, &err)); break;
  case 2: (void)FUZZ(bc_select_add_at(&s, text, &err)); break;
  case 3: (void)FUZZ(bc_select_set_time(&s, text, &err)); break;
  case 4: (void)FUZZ(bc_select_add_levels(&s, text, &err)); break;
  case 5: (void)FUZZ(bc_select_set_agg(&s, text, &err)); break;
  case 6: (void)FUZZ(bc_select_set_every(&s, text, &err)); break;
  case 7: try_points(&s, text, in.n); break;
  case 8: try_time(text, in.n); break;
  case 9: try_period(text); break;
  default: try_glob(text); break;
  }
  check_selection(&s);
  bc_select_dispose(&s);
  free(text);
  return 0;
}
