//! Delivery: queue to the next hop.
