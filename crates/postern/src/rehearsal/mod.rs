//! Sessions without a socket: the real session and the real policy engine, a clock that is a number, and a world that
//! whoever rehearses provides. Explanations, tests and dialogs are rehearsals.

mod content;
pub mod dialog;
mod script;
mod session;
mod zone;

pub use content::{Checked, Cleaned, on_the_wire};
pub use session::{Decided, Rehearsal, Setting, Stuck};
pub use zone::{Scripted, Zone};
