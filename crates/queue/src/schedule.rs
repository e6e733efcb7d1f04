//! When to try again, and how much at once (qmgr(8)). Pure: time is an argument.
