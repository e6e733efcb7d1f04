//! Parameters whose names start with the name of a master.cf service.

/// One family of service parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceParameter {
    /// What follows the service name, with the underscore.
    pub suffix: &'static str,
    /// The parameter whose value is the default.
    pub default: &'static str,
    /// Type of the value.
    pub kind: super::Kind,
}

/// The families that every delivery service has; `_time_limit` is for pipe(8) and spawn(8) only.
pub const SERVICE_SUFFIXES: &[ServiceParameter] = {
    use super::Kind::{Integer, String, Time};
    const fn row(suffix: &'static str, default: &'static str, kind: super::Kind) -> ServiceParameter {
        ServiceParameter { suffix, default, kind }
    }
    &[
        row("_delivery_slot_cost", "$default_delivery_slot_cost", Integer),
        row("_delivery_slot_discount", "$default_delivery_slot_discount", Integer),
        row("_delivery_slot_loan", "$default_delivery_slot_loan", Integer),
        row(
            "_destination_concurrency_failed_cohort_limit",
            "$default_destination_concurrency_failed_cohort_limit",
            Integer,
        ),
        row("_destination_concurrency_limit", "$default_destination_concurrency_limit", Integer),
        row("_destination_concurrency_negative_feedback", "$default_destination_concurrency_negative_feedback", String),
        row("_destination_concurrency_positive_feedback", "$default_destination_concurrency_positive_feedback", String),
        row("_destination_rate_delay", "$default_destination_rate_delay", Time),
        row("_destination_recipient_limit", "$default_destination_recipient_limit", Integer),
        row("_extra_recipient_limit", "$default_extra_recipient_limit", Integer),
        row("_initial_destination_concurrency", "$initial_destination_concurrency", Integer),
        row("_minimum_delivery_slots", "$default_minimum_delivery_slots", Integer),
        row("_recipient_limit", "$default_recipient_limit", Integer),
        row("_recipient_refill_delay", "$default_recipient_refill_delay", Time),
        row("_recipient_refill_limit", "$default_recipient_refill_limit", Integer),
        row("_transport_rate_delay", "$default_transport_rate_delay", Time),
        row("_time_limit", "$command_time_limit", Time),
    ]
};

/// Splits `SERVICE_suffix` at the longest suffix that fits.
pub fn service_parameter(name: &str) -> Option<(&str, &'static ServiceParameter)> {
    SERVICE_SUFFIXES
        .iter()
        .filter_map(|family| {
            let service = name.strip_suffix(family.suffix)?;
            (!service.is_empty()).then_some((service, family))
        })
        .min_by_key(|(service, _)| service.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_suffix_wins() {
        for (name, want) in [
            ("slow_destination_recipient_limit", Some(("slow", "_destination_recipient_limit"))),
            ("slow_recipient_limit", Some(("slow", "_recipient_limit"))),
            ("pol_time_limit", Some(("pol", "_time_limit"))),
            ("_time_limit", None),
            ("slow_limit", None),
        ] {
            assert_eq!(service_parameter(name).map(|(s, f)| (s, f.suffix)), want, "{name}");
        }
    }
}
