//! Pattern tables.

use crate::open::{OpenFailure, OpenOptions, Opened};
use crate::spec::{self, TableSpec};

macro_rules! later {
    ($($name:ident)*) => {$(
        pub(crate) fn $name(spec: &TableSpec<'_>, options: &OpenOptions) -> Result<Opened, OpenFailure> {
            Err(spec::unsupported(spec.kind, options).into())
        }
    )*};
}
later!(regexp pcre cidr);
