# What developers run. `just` is not needed for anything else: the scripts are in `.ci`.

# Every test, PostgreSQL included.
test *ARGS:
    .ci/test {{ARGS}}

# What has to pass before a merge.
ci:
    .ci/run

# Format and lint.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets --locked -- -D warnings

# End-to-end benches; the figures are in benches/README.md.
bench *ARGS:
    cargo run --release -p syncset-benches -- {{ARGS}}

# Kills runs N times while writers change the source, and compares row by row.
crash N="1000":
    SYNCSET_CRASH_KILLS={{N}} cargo test --workspace --locked --test suites crash:: -- --nocapture
