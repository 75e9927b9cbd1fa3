//! How the program ends; `mainstay help` tells the codes.

use std::process::ExitCode;

/// Something went wrong that standard error explains.
pub const FAILED: u8 = 1;
/// The declaration has mistakes. (2 is clap's: the command line has.)
pub const INVALID: u8 = 3;
/// The declaration is valid and has findings that `--deny` forbids.
pub const DENIED: u8 = 4;
/// The site is up, or asked about, and not everything in it serves.
pub const UNWELL: u8 = 5;

/// A declaration with mistakes: the whole text for standard error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Why, from the outermost on, without what was said before: many errors have their cause in their own words.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut said = error.to_string();
    let new = |cause: String| {
        let is_new = !said.contains(&cause);
        said = cause;
        is_new.then(|| said.clone())
    };
    error.chain().skip(1).map(ToString::to_string).filter_map(new).collect()
}

/// Says what went wrong, each cause on a line of its own, and gives the code.
#[expect(clippy::print_stderr, reason = "this is where errors are said")]
pub fn code(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => match error.downcast_ref::<Invalid>() {
            Some(Invalid(text)) => {
                eprint!("{text}");
                ExitCode::from(INVALID)
            }
            None => {
                eprintln!("error: {error}");
                causes(&error).iter().for_each(|cause| eprintln!("  because: {cause}"));
                ExitCode::from(FAILED)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::causes;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("no such file").context("k.pem: no such file").context("the site cannot be put together");
        assert_eq!(causes(&error), ["k.pem: no such file"]);
        assert!(causes(&anyhow!("alone")).is_empty());
    }
}
