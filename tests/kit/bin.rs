//! The binary that the suites run: the real one, with fail points.

fn main() -> std::process::ExitCode {
    syncset::main()
}
