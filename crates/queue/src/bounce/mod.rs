//! Delivery reports (RFC 3464), in Postfix's shape (bounce(8), bounce(5)).
