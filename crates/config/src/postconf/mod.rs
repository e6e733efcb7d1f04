//! postconf(1): prints and edits what the files say, in Postfix's exact format.

mod edit;
mod options;

use crate::host::HostFacts;
use crate::main_cf::MainCf;
use crate::master_cf::MasterCf;

pub use edit::{Edit, edit_main, edit_master};
pub use options::{Classes, Mode, Options};

/// What the command writes, and its exit status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// For standard output.
    pub stdout: String,
    /// For standard error, with the `postconf: ` prefix on each line.
    pub stderr: String,
    /// Exit status: 0, or 1 after a fatal error.
    pub exit: u8,
}

/// Runs the command, editing excepted ([`edit_main`], [`edit_master`]). `main` is `None` if there is no `main.cf`
/// (or it is not wanted, as with `-d`); `master` is `None` if there is no `master.cf`.
pub fn run(options: &Options, main: Option<&MainCf>, master: Option<&MasterCf>, host: &HostFacts) -> Output {
    let _ = (options, main, master, host);
    Output::default()
}
