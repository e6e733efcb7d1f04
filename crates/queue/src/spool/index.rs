//! Index
