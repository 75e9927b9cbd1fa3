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
    let source = shown(text, |one| !one.is_ascii());
    let whole = |text: &str| shown(text, |_| true);
    let mut out = String::new();
    for mistake in mistakes {
        let mut snippet = Snippet::source(&source)
            .path(path)
            .annotation(AnnotationKind::Primary.span(mistake.span.clone()).label(whole(&mistake.label)));
        if let Some((span, label)) = &mistake.also {
            snippet = snippet.annotation(AnnotationKind::Context.span(span.clone()).label(whole(label)));
        }
        let mut group = Level::ERROR.primary_title(whole(&mistake.message)).element(snippet);
        if let Some(hint) = &mistake.hint {
            group = group.element(Level::HELP.message(whole(hint)));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    let count = mistakes.len();
    out.push_str(&format!("{path}: {count} mistake{}\n", if count == 1 { "" } else { "s" }));
    out
}

/// The text with a dot for each control character that is `meant`: some of them act on a terminal (ECMA-48). Those
/// outside of ASCII have two bytes, and so has the dot: places in the text stay what they were.
fn shown(text: &str, meant: impl Fn(char) -> bool) -> String {
    text.chars().map(|one| if one.is_control() && meant(one) { '·' } else { one }).collect()
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
#[path = "../../site/src/properties/wild.rs"]
mod wild;

#[cfg(test)]
mod tests {
    use mainstay_site::declaration::{Anywhere, parse};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrapped_lines_stay_within_the_width() {
        let text = wrap("one two three four", 9, 2);
        assert_eq!(text, "one two\n  three\n  four");
    }

    fn assert_rendered(text: &str) {
        let Err(mistakes) = parse(text, &Anywhere) else { return };
        let shown = diagnostics("site.toml", text, &mistakes, false);
        assert!(shown.matches("error: ").count() >= mistakes.len(), "{shown}");
        assert!(
            mistakes
                .iter()
                .all(|mistake| mistake.hint.as_ref().is_none_or(|hint| shown.contains(&super::shown(hint, |_| true)))),
            "{shown}"
        );
        let raw = |one: char| one.is_control() && one != '\n';
        assert!(!shown.contains(raw), "what a file holds must not act on the terminal: {shown:?}");
    }

    proptest! {
        #[test]
        fn every_mistake_can_be_shown(text in any::<String>(), mutant in wild::mutant(), site in wild::site()) {
            [text, mutant, site].iter().for_each(|text| assert_rendered(text));
        }
    }
}
