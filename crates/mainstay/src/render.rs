//! What a person sees: mistakes with line and caret, tables.

use std::io::{IsTerminal, Write};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use mainstay_site::declaration::Diagnostic;

/// Whether `stream` gets colour: a terminal, unless `NO_COLOR` is set (no-color.org).
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Every mistake of the file at `path`, as text.
pub fn diagnostics(path: &str, text: &str, mistakes: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
    let mut out = String::new();
    for mistake in mistakes {
        let mut snippet = Snippet::source(text)
            .path(path)
            .annotation(AnnotationKind::Primary.span(mistake.span.clone()).label(mistake.label.as_str()));
        if let Some((span, label)) = &mistake.also {
            snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(label.as_str()));
        }
        let mut group = Level::ERROR.primary_title(mistake.message.as_str()).element(snippet);
        if let Some(hint) = &mistake.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    let count = mistakes.len();
    out.push_str(&format!("{path}: {count} mistake{}\n", if count == 1 { "" } else { "s" }));
    out
}

/// Text in a style, where the stream shows styles.
pub struct Paint(pub bool);

impl Paint {
    fn wrap(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
    /// Headings.
    pub fn bold(&self, text: &str) -> String {
        self.wrap("1", text)
    }
    /// What matters less.
    pub fn dim(&self, text: &str) -> String {
        self.wrap("2", text)
    }
    /// What is wrong.
    pub fn red(&self, text: &str) -> String {
        self.wrap("31", text)
    }
    /// What deserves a look.
    pub fn yellow(&self, text: &str) -> String {
        self.wrap("33", text)
    }
    /// What is well.
    pub fn green(&self, text: &str) -> String {
        self.wrap("32", text)
    }
}

/// Breaks `text` into lines of at most `width` characters, the further ones behind `indent` spaces.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// Writes to standard output; a reader that has gone away ends the program quietly, as `head` expects.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints a value as JSON, followed by a line break.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?));
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn wrapped_lines_stay_within_the_width() {
        let text = super::wrap("one two three four", 9, 2);
        assert_eq!(text, "one two\n  three\n  four");
    }
}
