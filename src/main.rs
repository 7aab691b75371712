//! The command `arras`; everything is in the library, where tests can call it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    arras::cli::run(std::env::args_os())
}
