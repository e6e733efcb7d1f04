//! The program; see the library.

use std::process::ExitCode;

/// Measured against the C library's: cheaper, and what idle sessions used goes back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    postern::cli::run()
}
