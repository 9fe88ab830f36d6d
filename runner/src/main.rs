//! The `syncset` binary.

fn main() -> std::process::ExitCode {
    syncset::main()
}
