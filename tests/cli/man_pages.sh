# docs/man is what the option tables say: else run tools/mkman
"$CLI/../../tools/mkman" "$(command -v bctool)" man
diff -r "$CLI/../../docs/man" man
