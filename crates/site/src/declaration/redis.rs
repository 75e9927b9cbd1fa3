//! `[cache]`: Redis for the applications.

use super::diagnostic::Errors;
use super::reader::{At, Section};
use super::syntax::size;
use crate::model::Redis;

/// `[cache]` and where it stands.
pub(super) fn read(file: &Section<'_>, errors: &mut Errors) -> Option<At<Redis>> {
    let (section, span) = file.section("cache", "[cache]", errors)?;
    let value = Redis { memory_bytes: memory(&section, errors).unwrap_or(Redis::default().memory_bytes) };
    Some(At { value, span })
}

fn memory(section: &Section<'_>, errors: &mut Errors) -> Option<u64> {
    let at = section.text("memory", errors)?;
    let bytes = size(&at.value).filter(|bytes| Redis::MEMORY_BYTES.contains(bytes));
    if bytes.is_none() {
        errors
            .add(&at.span, format!("`{}` is no size for a cache", at.value))
            .label("a number with KiB, MiB or GiB, from 4 MiB to 1 TiB")
            .hint("for example memory = \"256 MiB\"");
    }
    bytes
}
