bctool help
bctool --help | cmp - "$(bctool help > a; echo a)"
bctool -h | cmp - a
