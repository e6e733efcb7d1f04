//! The project's checks, by hand or by CI.

fn main() {}
