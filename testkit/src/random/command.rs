//! A directory and commands to run in it, one after the other: what is run on Postfix's tools and on ours.

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: Vec<u8>,
    /// Its mode.
    pub mode: u32,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `postmap`, `postalias` or `postconf`.
    pub tool: &'static str,
    /// Its arguments.
    pub arguments: Vec<Vec<u8>>,
    /// Its standard input.
    pub input: Vec<u8>,
    /// Lines come in an order of Postfix's own making, so that only what they are can be compared.
    pub unordered: bool,
}

/// What is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Files, there before the first command.
    pub files: Vec<File>,
    /// Commands.
    pub steps: Vec<Step>,
}

impl Case {
    /// Add a file that others may read.
    pub fn file(&mut self, name: &str, text: impl Into<Vec<u8>>) {
        self.files.push(File { name: name.to_owned(), text: text.into(), mode: 0o644 });
    }

    /// Add a command.
    pub fn step<A: Into<Vec<u8>>>(&mut self, tool: &'static str, arguments: impl IntoIterator<Item = A>) -> &mut Step {
        let arguments = arguments.into_iter().map(Into::into).collect();
        self.steps.push(Step { tool, arguments, input: Vec::new(), unordered: false });
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    /// The case as a shell script, up to a command.
    pub fn script(&self, steps: usize) -> String {
        let mut script = String::new();
        for file in &self.files {
            script.push_str(&format!("printf '%b' {} > {}\n", quoted(&file.text), quoted(file.name.as_bytes())));
        }
        for step in self.steps.iter().take(steps) {
            if !step.input.is_empty() {
                script.push_str(&format!("printf '%b' {} | ", quoted(&step.input)));
            }
            script.push_str(step.tool);
            for argument in &step.arguments {
                script.push(' ');
                script.push_str(&word(argument));
            }
            script.push('\n');
        }
        script
    }
}

/// A word for the shell.
fn word(text: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./:=,@".contains(byte);
    if !text.is_empty() && text.iter().all(plain) {
        return String::from_utf8_lossy(text).into_owned();
    }
    let escaped: String = text.iter().map(|&byte| escape(byte)).collect();
    format!("$'{escaped}'")
}

/// A text for `printf '%b'`.
fn quoted(text: &[u8]) -> String {
    format!(
        "$'{}'",
        text.iter().map(|&byte| escape(byte)).collect::<String>().replace('\\', "\\\\").replace("\\\\'", "\\'")
    )
}

fn escape(byte: u8) -> String {
    match byte {
        b'\'' => "\\'".to_owned(),
        b'\\' => "\\\\".to_owned(),
        b'\n' => "\\n".to_owned(),
        b'\t' => "\\t".to_owned(),
        byte if byte.is_ascii_graphic() || byte == b' ' => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    }
}
