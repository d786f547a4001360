for c in create 'ingest netcdf' info ls query stats plot verify version help; do
  # shellcheck disable=SC2086
  bctool help $c
  # shellcheck disable=SC2086
  bctool $c --help > a
  # shellcheck disable=SC2086
  bctool help $c | cmp - a
  echo ----------------
done
bctool ingest
bctool help ingest | cmp - "$(bctool ingest --help > a; echo a)"
