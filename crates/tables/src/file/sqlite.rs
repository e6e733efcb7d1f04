//! later
use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::{self, TableSpec};
pub(crate) fn open(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
    Err(spec::unsupported(spec.kind, options).into())
}
