//! Which parameters act in postern today. The one file to edit when another one starts to act.

/// What setting a parameter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Honour {
    /// Postern acts on it.
    Acts,
    /// Nothing in postern corresponds to it; setting it does no harm.
    Harmless,
    /// Postfix acts on it, postern does not yet; the text names the feature that is missing.
    NotYet(&'static str),
}

/// What setting this parameter does. Unknown names are user parameters, which act.
pub fn honoured(name: &str) -> Honour {
    let _ = name;
    Honour::Acts
}
