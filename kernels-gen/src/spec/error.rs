//! An error that shows the line of the preset.

use miette::{Diagnostic, NamedSource, SourceSpan};
use std::ops::Range;

/// What is wrong with a preset, where, and what would be right.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error(transparent)]
#[diagnostic(transparent)]
pub struct SpecError(Box<Fault>);

#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{message}")]
struct Fault {
    message: String,
    #[source_code]
    source_code: NamedSource<String>,
    #[label("{label}")]
    span: SourceSpan,
    label: String,
    #[help]
    help: Option<String>,
}

impl SpecError {
    pub(crate) fn at(file: &str, text: &str, span: Range<usize>, message: String) -> Self {
        SpecError(Box::new(Fault {
            message,
            source_code: NamedSource::new(file, text.to_owned()).with_language("TOML"),
            span: span.into(),
            label: "here".to_owned(),
            help: None,
        }))
    }

    pub(crate) fn label(mut self, label: &str) -> Self {
        self.0.label = label.to_owned();
        self
    }

    pub(crate) fn help(mut self, help: &str) -> Self {
        self.0.help = Some(help.to_owned());
        self
    }

    /// An error of the parser, which knows the place and, for an unknown name, the known ones.
    pub(crate) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let message =
            error.message().replace("expected usize", "expected a whole number from 0 on");
        let help = if message.starts_with("missing field") {
            Some("presets/ in the workspace has complete ones".to_owned())
        } else {
            suggestion(&message)
        };
        let fault = SpecError::at(file, text, span, message);
        match help {
            Some(help) => fault.help(&help),
            None => fault,
        }
    }
}

/// serde says "unknown field `heds`, expected one of `name`, `heads`": the nearest name, if one is
/// near.
fn suggestion(message: &str) -> Option<String> {
    if !message.starts_with("unknown") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    let distance = |name: &str| strsim::damerau_levenshtein(wrong, name);
    // Of a name that is cut short, the whole one.
    let near = names.min_by_key(|name| (!name.starts_with(wrong), distance(name)))?;
    (distance(near) <= 2.max(wrong.len() / 3)).then(|| format!("did you mean `{near}`?"))
}
