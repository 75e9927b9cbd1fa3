//! Taking out of a cache what an operator knows to be stale.

use mainstay_http::{Cache, Config};
use mainstay_site::wire::{Address, Purge};

/// Takes it out of the cache of an engine that follows `config`; at how many addresses there was something. `None` without a
/// cache.
pub(crate) fn carry_out(config: &Config, purge: &Purge) -> Option<u64> {
    // All routes share one.
    let cache = config.routes.iter().find_map(|route| route.cache.as_ref())?;
    let purged: usize = match purge {
        Purge::Addresses(addresses) => addresses.iter().map(|address| at(cache, address)).sum(),
        Purge::Tags(tags) => tags.iter().map(|tag| cache.purge_tag(tag)).sum(),
        Purge::Everything => cache.clear(),
    };
    tracing::info!(addresses = purged, "purged as asked: {}", told(purge));
    Some(purged as u64)
}

fn at(cache: &Cache, address: &Address) -> usize {
    match &address.host {
        Some(host) => cache.purge(host, &address.target),
        None => cache.purge_target(&address.target),
    }
}

/// For the log: who looks for a page that is slow today finds why.
fn told(purge: &Purge) -> String {
    let shown = |address: &Address| format!("{}{}", address.host.as_deref().unwrap_or("*"), address.target);
    match purge {
        Purge::Addresses(addresses) => addresses.iter().map(shown).collect::<Vec<_>>().join(" "),
        Purge::Tags(tags) => format!("tags {}", tags.join(" ")),
        Purge::Everything => "everything".into(),
    }
}
