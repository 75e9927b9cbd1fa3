//! Names on the machine: they carry the site, so that two sites run side by side.

use std::hash::{DefaultHasher, Hash, Hasher};

use mainstay_site::names::{Domain, ServerName};

/// The environment variable that marks every process of a lab; its value is the site's domain. A process that lost its
/// parents is found by it where there are no namespaces.
pub const VARIABLE: &str = "MAINSTAY_LAB";

/// A namespace is a file below `/run/netns`, and a file name has 255 bytes; a domain alone may have 253
/// (RFC 1035 § 2.3.4) and a server's label 63. What is longer than this keeps its beginning and gets a hash.
const DOMAIN_BYTES_MAX: usize = 120;

/// The namespace of a server. `_` is in no domain and no label (RFC 1123 § 2.1), so no two pairs share a name.
pub fn server(site: &Domain, server: &ServerName) -> String {
    format!("ms-{}_{server}", bounded(site.as_str()))
}

/// The namespace that holds the bridge.
pub fn bridge(site: &Domain) -> String {
    format!("ms-{}__bridge", bounded(site.as_str()))
}

/// The namespace that stands for everything outside: clients live there.
pub fn internet(site: &Domain) -> String {
    format!("ms-{}__internet", bounded(site.as_str()))
}

/// The bridge's port of the end at `index`. An interface's name has 15 bytes (IFNAMSIZ), too few for a server's.
pub fn port(index: usize) -> String {
    format!("p{}", index + 1)
}

/// `domain`, cut to what fits a file name. [`DefaultHasher::new`] is the same in every process of one build, and
/// [`crate::Record`] keeps the names that another build gave.
fn bounded(domain: &str) -> String {
    if domain.len() <= DOMAIN_BYTES_MAX {
        return domain.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    domain.hash(&mut hasher);
    let kept: String = domain.chars().take(DOMAIN_BYTES_MAX - 17).collect();
    format!("{kept}~{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_a_file_and_differ() {
        let long = |last: &str| Domain(format!("{}.{last}", vec!["a".repeat(60); 4].join(".")));
        let label = ServerName("s".repeat(63));
        for site in [long("com"), long("org"), Domain::from("foobar.com")] {
            assert!(server(&site, &label).len() <= 255);
        }
        assert_ne!(server(&long("com"), &label), server(&long("org"), &label));
        assert_eq!(server(&"foobar.com".into(), &"web1".into()), "ms-foobar.com_web1");
        assert_ne!(server(&"foobar.com".into(), &"internet".into()), internet(&"foobar.com".into()));
    }
}
