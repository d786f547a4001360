for c in compact publish reindex; do
  bctool help $c
  bctool $c --help > a
  bctool help $c | cmp - a
  echo ----------------
done
